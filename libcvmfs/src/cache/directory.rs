use super::Key;
use rustix::fs::{AtFlags, Dir as Entries, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// A directory held open: what is below it is reached from the descriptor, never through a symbolic link.
pub(super) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    beneath: bool,
}

/// A key's path, and where in it the part below the directory starts.
pub(super) struct Spelled {
    full: OsString,
    at: usize,
}

impl Spelled {
    pub(super) fn relative(&self) -> &OsStr {
        OsStr::from_bytes(&self.full.as_bytes()[self.at..])
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.full.into()
    }
}

impl Dir {
    /// Opens an existing directory; `path` itself may be a symbolic link.
    pub(super) fn open(path: &Path) -> io::Result<Dir> {
        let fd = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let beneath = rustix::fs::openat2(&fd, ".", flags, Mode::empty(), NO_ESCAPE).is_ok();
        let path = if path.is_absolute() { path.to_path_buf() } else { std::path::absolute(path)? };
        Ok(Dir { fd, path, beneath })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a directory below this one, creating it with exactly these permissions.
    pub(super) fn subdirectory(&self, name: &str, mode: u32) -> io::Result<Dir> {
        self.make(name, mode)?;
        let fd = self.open_at(OsStr::new(name), OFlags::DIRECTORY | OFlags::RDONLY, 0)?;
        Ok(Dir { fd, path: self.path.join(name), beneath: self.beneath })
    }

    /// Opens a directory below this one if it exists.
    pub(super) fn open_existing(&self, name: &str) -> Option<Dir> {
        let fd = self.open_at(OsStr::new(name), OFlags::DIRECTORY | OFlags::RDONLY, 0).ok()?;
        Some(Dir { fd, path: self.path.join(name), beneath: self.beneath })
    }

    /// Creates a directory, whatever the umask; an existing one is fine.
    pub(super) fn make(&self, name: &str, mode: u32) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) if mode & 0o077 != 0 => {
                rustix::fs::chmodat(&self.fd, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
                Ok(())
            }
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            // A read-only file system says so even for a directory that exists.
            Err(Errno::ROFS) if self.stat(name)?.is_some() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn spell(&self, key: &Key) -> Spelled {
        let base = self.path.as_os_str().as_bytes();
        let mut full = Vec::with_capacity(base.len() + 90);
        full.extend_from_slice(base);
        full.push(b'/');
        let at = full.len();
        key.append_relative(&mut full);
        Spelled { full: OsString::from_vec(full), at }
    }

    fn open_at(&self, name: &OsStr, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        if self.beneath {
            rustix::fs::openat2(&self.fd, name, flags, mode, NO_ESCAPE)
        } else {
            rustix::fs::openat(&self.fd, name, flags, mode)
        }
    }

    /// Opens for reading; not blocked by a FIFO that somebody put there.
    pub(super) fn read(&self, name: impl AsRef<OsStr>) -> Result<File, Errno> {
        self.open_at(name.as_ref(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0).map(File::from)
    }

    /// Creates a file that may not exist yet.
    pub(super) fn create_new(&self, name: &str, mode: u32) -> Result<File, Errno> {
        self.open_at(OsStr::new(name), OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode).map(File::from)
    }

    /// Opens for reading and writing, creating if need be.
    pub(super) fn update(&self, name: &str, mode: u32) -> Result<File, Errno> {
        self.open_at(OsStr::new(name), OFlags::RDWR | OFlags::CREATE, mode).map(File::from)
    }

    /// Opens for appending, creating if need be.
    pub(super) fn append(&self, name: &str, mode: u32) -> Result<File, Errno> {
        self.open_at(OsStr::new(name), OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE, mode).map(File::from)
    }

    pub(super) fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes a name; whether it was there.
    pub(super) fn unlink(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        self.remove(name.as_ref(), AtFlags::empty())
    }

    /// Removes an empty directory; whether it was there.
    pub(super) fn remove_directory(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        self.remove(name.as_ref(), AtFlags::REMOVEDIR)
    }

    fn remove(&self, name: &OsStr, flags: AtFlags) -> io::Result<bool> {
        let removed = self.in_folder(name, |folder, last| rustix::fs::unlinkat(folder, last, flags));
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<(), Errno> {
        self.in_folder(from.as_ref(), |from_folder, from| {
            self.in_folder(to.as_ref(), |to_folder, to| rustix::fs::renameat(from_folder, from, to_folder, to))
        })
    }

    /// Calls `act` with the folder of a name, opened without following links, and the last part of the name.
    fn in_folder<T>(
        &self,
        name: &OsStr,
        act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match name.as_bytes().iter().rposition(|b| *b == b'/') {
            None => act(self.fd(), name),
            Some(slash) => {
                let (folder, last) = (&name.as_bytes()[..slash], &name.as_bytes()[slash + 1..]);
                let folder = self.open_at(OsStr::from_bytes(folder), OFlags::DIRECTORY | OFlags::PATH, 0)?;
                act(folder.as_fd(), OsStr::from_bytes(last))
            }
        }
    }

    /// The names in a directory (`.` for this one) with their types; empty if it does not exist.
    pub(super) fn list(&self, name: &str) -> io::Result<Vec<(OsString, FileType)>> {
        let fd = match self.open_at(OsStr::new(name), OFlags::DIRECTORY | OFlags::RDONLY, 0) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        let mut names = Vec::new();
        for entry in Entries::new(fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            names.push((name.to_owned(), entry.file_type()));
        }
        Ok(names)
    }

    /// Bytes an ordinary user may still write here, and the size of the file system.
    pub(super) fn space(&self) -> io::Result<(u64, u64)> {
        let s = rustix::fs::fstatvfs(&self.fd)?;
        Ok((s.f_bavail.saturating_mul(s.f_frsize), s.f_blocks.saturating_mul(s.f_frsize)))
    }

    /// Writes a small file whole or not at all.
    pub(super) fn replace(&self, name: &str, temporary: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let result = (|| {
            let mut file = self.create_new(temporary, 0o600)?;
            io::Write::write_all(&mut file, bytes)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            file.sync_data()?;
            Ok(self.rename(temporary, name)?)
        })();
        if result.is_err() {
            let _ = self.unlink(temporary);
        }
        result
    }
}

const NO_ESCAPE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
