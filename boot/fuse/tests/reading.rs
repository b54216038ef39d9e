//! Reading by the kernel's calls: contents, directories, permissions, and refusals to write.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::stage::{FQRN, Stage};
use common::{SMALL, User, eventually, output, text};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::tools::is_root;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

/// Random bytes that do not compress away.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// A private mapping of a whole file, read-only.
struct Mapped(*mut libc::c_void, usize);

impl Mapped {
    fn of(file: &File, length: usize) -> Mapped {
        // SAFETY: a new mapping of an open file; its address is checked.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Mapped(at, length)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for as long as `self` lives; the file never changes.
        unsafe { std::slice::from_raw_parts(self.0.cast(), self.1) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, used by nobody any more.
        unsafe { libc::munmap(self.0, self.1) };
    }
}

/// "What is read, by whatever call and from as many threads as there are, are the published bytes."
#[test]
fn random_reads_agree_with_a_golden_copy() {
    let sizes = [0, 1, 4095, 4096, 4097, 131_072, 1_000_003, 5_000_000];
    let golden: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| noise(*size, n as u64)).collect();
    let mut forge = Forge::new(FQRN);
    for (number, bytes) in golden.iter().enumerate() {
        forge = forge.file(format!("/file{number}"), bytes);
        if bytes.len() > 500_000 {
            forge = forge.chunks_of(300_000);
        }
    }
    let Some(stage) = Stage::of(forge) else { return };
    for passthrough in ["no", "yes"] {
        let user = stage.user().option("CVMFS_FUSE_PASSTHROUGH", passthrough);
        let mount = user.mount(FQRN);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (mount, golden) = (&mount, &golden);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    for _ in 0..300 {
                        let number = random.usize(..golden.len());
                        let bytes = &golden[number];
                        let file = File::open(mount.path(format!("file{number}"))).unwrap();
                        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
                        let at = random.usize(..bytes.len() + 5000);
                        let length = random.usize(..70_000);
                        let expected = &bytes[at.min(bytes.len())..(at + length).min(bytes.len())];
                        match random.u8(..3) {
                            0 if !bytes.is_empty() => {
                                let mapped = Mapped::of(&file, bytes.len());
                                let end = (at + length).min(bytes.len());
                                assert_eq!(&mapped.bytes()[at.min(end)..end], expected, "mapped {number} at {at}");
                            }
                            1 => {
                                // Past the end nothing is read, and what is short is at the end.
                                let mut found = vec![0; length];
                                let mut got = 0;
                                while got < length {
                                    match file.read_at(&mut found[got..], (at + got) as u64).unwrap() {
                                        0 => break,
                                        count => got += count,
                                    }
                                }
                                assert_eq!(&found[..got], expected, "read {number} at {at}");
                            }
                            _ => assert_eq!(&fs::read(mount.path(format!("file{number}"))).unwrap(), bytes),
                        }
                    }
                });
            }
        });
    }
    // A file is asked for once, whatever is read of it and by however many.
    let mut asked: Vec<String> = stage.server.paths().into_iter().filter(|path| path.contains("/data/")).collect();
    let count = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(count, 2 * asked.len(), "once for each of two caches");
}

/// One entry as `getdents64` gives it: name, number, type, position after it.
type Entry = (Vec<u8>, u64, u8, i64);

/// Reads a directory from where it is, with room for `room` bytes at a time.
fn entries(directory: &File, room: usize) -> Vec<Entry> {
    let mut all = Vec::new();
    let mut buffer = vec![0u8; room];
    loop {
        // SAFETY: the buffer has the length that is told.
        let got = unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), room) };
        assert!(got >= 0, "{}", std::io::Error::last_os_error());
        let got = usize::try_from(got).unwrap();
        if got == 0 {
            return all;
        }
        let mut at = 0;
        while at < got {
            let record = &buffer[at..];
            let number = u64::from_ne_bytes(record[..8].try_into().unwrap());
            let position = i64::from_ne_bytes(record[8..16].try_into().unwrap());
            let length = u16::from_ne_bytes(record[16..18].try_into().unwrap());
            let name = record[19..].split(|&byte| byte == 0).next().unwrap().to_vec();
            all.push((name, number, record[18], position));
            at += usize::from(length);
        }
    }
}

fn seek(directory: &File, position: i64) {
    // SAFETY: it takes no pointer.
    assert_eq!(unsafe { libc::lseek(directory.as_raw_fd(), position, libc::SEEK_SET) }, position);
}

/// "Directories are listed whole in buffers of any size; every position is unique and can be returned to; types and numbers are
/// those of `stat`."
#[test]
fn directories_by_small_steps_and_leaps() {
    let Some(user) = User::of_small() else { return };
    let mount = user.mount(SMALL);
    let path = mount.path("bigdir2");
    let directory = File::open(&path).unwrap();
    let all = entries(&directory, 65536);
    assert!(all.len() > 300);
    for room in [48, 280, 1000] {
        seek(&directory, 0);
        assert_eq!(entries(&directory, room), all, "{room} bytes at a time");
    }
    let mut positions: Vec<i64> = all.iter().map(|entry| entry.3).collect();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), all.len());
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        let after = random.usize(..all.len());
        seek(&directory, all[after].3);
        assert_eq!(entries(&directory, 300), all[after + 1..], "after entry {after}");
    }
    for (name, number, kind, _) in &all {
        let found = fs::symlink_metadata(path.join(std::ffi::OsStr::from_bytes(name))).unwrap();
        assert_eq!(u64::from(found.mode() >> 12), u64::from(*kind), "{}", String::from_utf8_lossy(name));
        assert!(*number == found.ino() || name == b"..", "{}", String::from_utf8_lossy(name));
    }
}

/// "A call that would change something is refused by the kernel with `EROFS`, as on every file system that is mounted read-only."
#[test]
fn nothing_can_be_changed() {
    let Some(user) = User::of_small() else { return };
    let mount = user.mount(SMALL);
    let name = |name: &str| CString::new(mount.path(name).as_os_str().as_bytes()).unwrap();
    let (file, new) = (name(".cvmfsdirtab"), name("new"));
    let (f, n) = (file.as_ptr(), new.as_ptr());
    let refused = |call: &str, outcome: libc::c_int| {
        let error = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((outcome, error), (-1, Some(libc::EROFS)), "{call}");
    };
    // SAFETY: paths that end with a zero, and no other pointers but null.
    unsafe {
        refused("open for writing", libc::open(f, libc::O_WRONLY));
        refused("open to truncate", libc::open(f, libc::O_RDONLY | libc::O_TRUNC));
        refused("create", libc::open(n, libc::O_RDONLY | libc::O_CREAT, 0o644));
        refused("mkdir", libc::mkdir(n, 0o755));
        refused("mknod", libc::mknod(n, libc::S_IFIFO, 0));
        refused("symlink", libc::symlink(f, n));
        refused("link", libc::link(f, n));
        refused("unlink", libc::unlink(f));
        refused("rmdir", libc::rmdir(name("bigdir").as_ptr()));
        refused("rename", libc::rename(f, n));
        refused("chmod", libc::chmod(f, 0o600));
        refused("chown", libc::chown(f, 1, 1));
        refused("truncate", libc::truncate(f, 0));
        refused("utimes", libc::utimensat(libc::AT_FDCWD, f, std::ptr::null(), 0));
        refused("setxattr", libc::setxattr(f, c"user.x".as_ptr(), c"".as_ptr().cast(), 0, 0));
        refused("removexattr", libc::removexattr(f, c"user.x".as_ptr()));
        refused("access", libc::access(f, libc::W_OK));
    }
    assert_eq!(fs::create_dir(mount.path("bigdir")).unwrap_err().raw_os_error(), Some(libc::EEXIST));
    assert_eq!(fs::create_dir(mount.path("new")).unwrap_err().raw_os_error(), Some(libc::EROFS));
    assert_eq!(fs::remove_file(mount.path(".cvmfsdirtab")).unwrap_err().raw_os_error(), Some(libc::EROFS));
    let long = "x".repeat(256);
    assert_eq!(fs::metadata(mount.path(&long)).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
    assert_eq!(fs::metadata(mount.path(&long[1..])).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    assert_eq!(fs::metadata(mount.path(".cvmfsdirtab/x")).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
}

/// "The kernel judges by the permission bits who may read, search and run; with `CVMFS_CHECK_PERMISSIONS=no` everybody may
/// what root may."
#[test]
fn permissions_are_the_kernels_business() {
    if !is_root() {
        return cvmfs_tests::tools::skip("only root can become somebody else");
    }
    for (checks, expected) in [("yes", "denied denied read"), ("no", "read listed read")] {
        let Some(user) = User::of_small() else { return };
        let user = user.option("CVMFS_CHECK_PERMISSIONS", checks);
        let mount = user.mount(SMALL);
        fs::set_permissions(user.home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let script = "cat modes/f_0000 >/dev/null 2>&1 && echo -n 'read ' || echo -n 'denied '
            ls modes/d_0700 >/dev/null 2>&1 && echo -n 'listed ' || echo -n 'denied '
            cat .cvmfsdirtab >/dev/null 2>&1 && echo -n read || echo -n denied";
        let mut command = Command::new(cvmfs_tests::tools::SOMEBODY_ELSE[0]);
        command.args(&cvmfs_tests::tools::SOMEBODY_ELSE[1..]).args(["sh", "-c", script]).current_dir(&mount.place);
        assert_eq!(text(&mut command), expected, "{checks}");
    }
}

/// "`statfs` tells FUSE, read-only, and a number of blocks that is not zero."
#[test]
fn the_file_system_says_what_it_is() {
    let Some(user) = User::of_small() else { return };
    let mount = user.mount(SMALL);
    assert_eq!(text(Command::new("stat").args(["-f", "-c", "%t %l"]).arg(&mount.place)), "65735546 255\n");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(mount.place.to_str().unwrap())).unwrap();
    assert!(line.starts_with("cvmfs2 ") && line.contains(" fuse ro,"), "{line}");
    assert!(text(Command::new("df").arg(&mount.place)).contains("4294967296"));
}

/// "Programs run out of it, and find themselves under their own names."
#[test]
fn programs_run() {
    let Some(stage) = Stage::of(
        Forge::new(FQRN)
            .file("/bin/true", fs::read("/bin/true").unwrap())
            .mode(0o755)
            .file("/bin/readlink", fs::read(fs::canonicalize("/bin/readlink").unwrap()).unwrap())
            .mode(0o755)
            .file("/bin/script", "#!/bin/sh\necho \"$0\"\n")
            .mode(0o755)
            .file("/bin/none", "#!/bin/sh\n"),
    ) else {
        return;
    };
    let mount = stage.user().mount(FQRN);
    output(&mut Command::new(mount.path("bin/true")));
    let own = text(Command::new(mount.path("bin/readlink")).arg("/proc/self/exe"));
    assert_eq!(Path::new(own.trim_end()), mount.path("bin/readlink"));
    assert_eq!(text(&mut Command::new(mount.path("bin/script"))), format!("{}\n", mount.path("bin/script").display()));
    assert_eq!(Command::new(mount.path("bin/none")).spawn().unwrap_err().raw_os_error(), Some(libc::EACCES));
}

/// "What the kernel forgets is forgotten here, too."
#[test]
fn memory_is_given_back() {
    if !is_root() {
        return cvmfs_tests::tools::skip("only root can make the kernel forget");
    }
    let Some(user) = User::of_small() else { return };
    let mount = user.mount(SMALL);
    let known = || {
        let said = text(&mut mount.ask("--status"));
        said.split(' ').nth(2).unwrap().parse::<usize>().unwrap()
    };
    output(Command::new("find").arg(&mount.place).args(["-printf", "%s"]));
    assert!(known() > 2000, "{}", known());
    eventually("the kernel has forgotten", || {
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        known() == 1
    });
    output(Command::new("find").arg(&mount.place).args(["-printf", "%s"]));
}

/// "Owners are those of the catalog, after `CVMFS_UID_MAP` and `CVMFS_GID_MAP`, or, with `CVMFS_CLAIM_OWNERSHIP`, the user who mounts."
#[test]
fn owners_can_be_translated() {
    let Some(stage) = Stage::of(Forge::new(FQRN).file("/a", "").owner(7, 8).file("/b", "").owner(9, 9)) else { return };
    let owners = |user: User| {
        let mount = user.mount(FQRN);
        ["a", "b"].map(|name| fs::metadata(mount.path(name)).map(|found| (found.uid(), found.gid())).unwrap())
    };
    assert_eq!(owners(stage.user()), [(7, 8), (9, 9)]);
    let claimed = (libcvmfs::identity::user(), libcvmfs::identity::group());
    assert_eq!(owners(stage.user().option("CVMFS_CLAIM_OWNERSHIP", "yes")), [claimed; 2]);
    let user = stage.user();
    fs::write(user.path("users"), "7 1007\n* 65534\n").unwrap();
    fs::write(user.path("groups"), "8 1008\n").unwrap();
    let (users, groups) = (user.path("users").display().to_string(), user.path("groups").display().to_string());
    let user = user.option("CVMFS_UID_MAP", &users).option("CVMFS_GID_MAP", &groups);
    assert_eq!(owners(user), [(1007, 1008), (65534, 9)]);
}
