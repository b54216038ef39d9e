use super::directory::Dir;
use super::{Cache, Namespace};
use rustix::fs::{AtFlags, FlockOperation, StatVfsMountFlags};
use std::path::Path;

/// What the cache's file system can do, found by trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Type of the file system, by its usual name or its number.
    pub file_system: String,
    /// Whether it is on this machine's own disk or memory.
    pub local_file_system: bool,
    /// `None` if locks work, otherwise why not.
    pub no_locks: Option<String>,
    /// `None` if objects can be hard-linked within the cache, otherwise why not.
    pub no_hard_links: Option<String>,
    /// Mounted `noexec`: programs cannot be executed from their place in the cache.
    pub noexec: bool,
    /// `fs.protected_hardlinks`: only own files can be hard-linked.
    pub protected_hard_links: Option<bool>,
    /// Whether the cache can be written at all.
    pub writable: bool,
}

impl Cache {
    /// What the file system can do; tried at the first call.
    pub fn capabilities(&self) -> &Capabilities {
        self.capabilities.get_or_init(|| {
            let dir = &self.top.objects;
            let (file_system, local_file_system) = file_system(dir);
            let protected = std::fs::read_to_string("/proc/sys/fs/protected_hardlinks").ok();
            let flags = rustix::fs::fstatvfs(dir.fd()).map(|s| s.f_flag);
            let mut found = Capabilities {
                file_system,
                local_file_system,
                no_locks: None,
                no_hard_links: None,
                noexec: flags.is_ok_and(|f| f.contains(StatVfsMountFlags::NOEXEC)),
                protected_hard_links: protected.map(|text| text.trim() != "0"),
                writable: false,
            };
            match self.writable(Namespace::Objects) {
                Ok(dir) => self.try_out(dir, &mut found),
                Err(e) => (found.no_locks, found.no_hard_links) = (Some(e.to_string()), Some(e.to_string())),
            }
            found
        })
    }

    /// Whether a file of the cache can be hard-linked into `directory`: `None` if so, otherwise why not.
    pub fn no_links_to(&self, directory: &Path) -> Option<String> {
        let Ok(dir) = self.writable(Namespace::Objects) else { return Some("the cache is read-only".into()) };
        let (from, to) = (self.temporary_name(), directory.join(format!(".link.{}", std::process::id())));
        let tried = dir.create_new(&from, 0o555).and_then(|_| {
            rustix::fs::linkat(dir.fd(), &from, rustix::fs::CWD, &to, AtFlags::empty())?;
            rustix::fs::unlink(&to)
        });
        let _ = dir.unlink(&from);
        tried.err().map(|e| e.to_string())
    }

    fn try_out(&self, dir: &Dir, found: &mut Capabilities) {
        let (name, link) = (self.temporary_name(), self.temporary_name());
        match dir.create_new(&name, 0o600) {
            Ok(file) => {
                found.writable = true;
                let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
                let linked = rustix::fs::linkat(dir.fd(), &name, dir.fd(), &link, AtFlags::empty());
                found.no_locks = locked.err().map(|e| e.to_string());
                found.no_hard_links = linked.err().map(|e| e.to_string());
            }
            Err(e) => (found.no_locks, found.no_hard_links) = (Some(e.to_string()), Some(e.to_string())),
        }
        let _ = dir.unlink(&link);
        let _ = dir.unlink(&name);
    }
}

/// Name of a directory's file system and whether it is local. FUSE counts as remote: nobody knows what is behind it.
fn file_system(dir: &Dir) -> (String, bool) {
    let Ok(stat) = rustix::fs::fstatfs(dir.fd()) else { return ("unknown".into(), false) };
    let number = stat.f_type as u32;
    match FILE_SYSTEMS.iter().find(|(n, ..)| *n == number) {
        Some((_, name, local)) => ((*name).into(), *local),
        None => (format!("{number:#x}"), false),
    }
}

/// `f_type` from statfs(2).
const FILE_SYSTEMS: &[(u32, &str, bool)] = &[
    (0xef53, "ext4", true),
    (0x5846_5342, "xfs", true),
    (0x9123_683e, "btrfs", true),
    (0x0102_1994, "tmpfs", true),
    (0x794c_7630, "overlayfs", true),
    (0x2fc1_2fc1, "zfs", true),
    (0xf2f5_2010, "f2fs", true),
    (0x8584_58f6, "ramfs", true),
    (0xca45_1a4e, "bcachefs", true),
    (0x6969, "nfs", false),
    (0x0bd0_0bd0, "lustre", false),
    (0x4750_4653, "gpfs", false),
    (0xff53_4d42, "cifs", false),
    (0xfe53_4d42, "smb2", false),
    (0x00c3_6400, "ceph", false),
    (0x6573_5546, "fuse", false),
    (0x1983_0326, "beegfs", false),
    (0x0102_1997, "9p", false),
    (0x5346_414f, "afs", false),
    (0x6b41_4653, "afs", false),
    (0xaad7_aaea, "panfs", false),
];
