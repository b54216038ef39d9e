//! Opening files for writing, and making them, in a root of its own.

use super::walk::{Found, Spot, Walked};
use super::{Inside, open_flags, real_path};
use crate::supervisor::calls::{At, Buffer};
use crate::supervisor::open::{open_by_itself, open_elsewhere};
use crate::supervisor::{Answer, Outcome};
use cvmfs_union::child_path;
use cvmfs_view::{Errno, Refusal, verdict};
use libc::c_int;
use libcvmfs::namespace::LastLink;
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// How often a name is looked for that others make and remove at the same time.
const MOST_LOOKS: u32 = 64;

impl Inside<'_> {
    /// `None`: it only reads, as all programs may.
    pub(super) fn open(&self, at: At, flags: c_int, mode: u32) -> Result<Option<Answer>, Refusal> {
        let has = |flag: c_int| flags & flag == flag;
        let unnamed = has(libc::O_TMPFILE);
        let makes = verdict::creates(flags) && !unnamed;
        if makes && has(libc::O_DIRECTORY) {
            // As since Linux 6.4; those before it make a file.
            return Err(Errno(libc::EINVAL).into());
        }
        if !makes && !verdict::writes(flags) {
            return Ok(None);
        }
        let exclusive = makes && has(libc::O_EXCL);
        let last = if has(libc::O_NOFOLLOW) || exclusive { LastLink::Keep } else { LastLink::Follow };
        let path = self.task.memory.path(at.path)?;
        let mut looks = 1;
        loop {
            let opened = match self.walk(at.dir, &path, last)? {
                Walked::Native => Ok(Answer::Resume),
                Walked::Missing { .. } if !makes => Err(Errno(libc::ENOENT).into()),
                Walked::Missing { slash: true, .. } => Err(Errno(libc::EISDIR).into()),
                Walked::Missing { directory, name, .. } => self.create(at, directory, &name, flags, mode),
                Walked::Found(_) if exclusive => Err(Errno(libc::EEXIST).into()),
                Walked::Found(found) => self.open_found(at, found, flags, mode, last),
            };
            match opened {
                // Somebody else has made or removed it since.
                Err(Refusal::Error(Errno(libc::EEXIST | libc::ENOENT)))
                    if makes && !exclusive && looks < MOST_LOOKS =>
                {
                    looks += 1;
                }
                opened => return opened.map(Some),
            }
        }
    }

    pub(super) fn open_how(&self, at: At, how: Buffer) -> Result<Option<Answer>, Refusal> {
        // What the kernel would refuse, and rules about the way, are left to what all programs get.
        let (Ok(flags), Ok(mode), Ok(0)) = (
            self.task.memory.word(how.address),
            self.task.memory.word(how.address + 8),
            self.task.memory.word(how.address + 16),
        ) else {
            return Ok(None);
        };
        if how.size < 24 || flags >> 32 != 0 {
            return Ok(None);
        }
        self.open(at, flags as c_int, mode as u32)
    }

    fn create(&self, at: At, directory: Found, name: &[u8], flags: c_int, mode: u32) -> Outcome {
        match directory.spot {
            Spot::Ours(_) | Spot::Host { read_only: true, .. } => Err(Errno(libc::EROFS).into()),
            Spot::Host { real, .. } => {
                Ok(open_by_itself(at, &child_path(&real, name), flags, mode, LastLink::Follow, false))
            }
            Spot::Union(_) => {
                let bits = mode & 0o7777 & !self.task.umask();
                let path = child_path(&directory.path, name);
                Ok(descriptor(self.rooted.union.create(&path, open_flags(flags), bits)?, flags))
            }
        }
    }

    fn open_found(&self, at: At, found: Found, flags: c_int, mode: u32, last: LastLink) -> Outcome {
        let is_directory = found.is_directory();
        let unnamed = flags & libc::O_TMPFILE == libc::O_TMPFILE;
        let writes = verdict::writes(flags);
        let flags = flags & !(libc::O_CREAT | libc::O_EXCL);
        let entry = match found.spot {
            Spot::Ours(node) => {
                verdict::open(&node, flags | libc::O_CREAT, &self.supervisor.caller)?;
                return Err(Errno(libc::EROFS).into());
            }
            Spot::Host { read_only: true, stat, .. } if writes && is_writable_kind(&stat) => {
                return Err(Errno(if is_directory { libc::EISDIR } else { libc::EROFS }).into());
            }
            Spot::Host { real, .. } => return Ok(open_elsewhere(at, real_path(&real).to_owned(), flags, mode, last)),
            Spot::Union(entry) => entry,
        };
        if unnamed {
            let directory = self.rooted.union.fill(&found.path)?;
            let file = open_real(&directory, flags)?;
            let bits = mode & 0o777 & !self.task.umask() | 0o600;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(bits))?;
            return Ok(descriptor(file, flags));
        }
        if is_directory {
            return Err(Errno(libc::EISDIR).into());
        }
        if entry.is(libc::S_IFLNK) {
            return Err(Errno(libc::ELOOP).into());
        }
        let real = self.rooted.union.raise(&found.path)?;
        if entry.is(libc::S_IFREG) {
            return Ok(descriptor(open_real(&real, flags | libc::O_NOFOLLOW)?, flags));
        }
        use std::os::unix::ffi::OsStrExt as _;
        Ok(open_by_itself(at, real.as_os_str().as_bytes(), flags, 0, last, entry.is(libc::S_IFIFO)))
    }
}

/// Opens a real file or directory of the layer.
fn open_real(real: &Path, flags: c_int) -> Result<OwnedFd, Errno> {
    let flags = OFlags::from_bits_retain(flags as u32) | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, real, flags, Mode::RUSR | Mode::WUSR)?)
}

fn descriptor(file: OwnedFd, flags: c_int) -> Answer {
    Answer::Descriptor { file, close_on_exec: flags & libc::O_CLOEXEC != 0 }
}

/// Whether a read-only mount refuses to have this written to: not a device or a pipe.
fn is_writable_kind(stat: &libc::stat) -> bool {
    matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
}
