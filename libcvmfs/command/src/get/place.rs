//! A directory of the destination, held by its descriptor: names in it are never reached through a link.

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// A directory that is copied into.
pub(super) struct Place(OwnedFd);

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Place {
    /// The directory `path` as the user named it.
    pub(super) fn named(path: &Path) -> Result<Place> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let fd = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Place(fd.with_context(|| path.display().to_string())?))
    }

    /// The directory `name` in here, made if absent, in the place of anything else that was there.
    pub(super) fn directory(&self, name: &[u8]) -> Result<Place> {
        match rustix::fs::mkdirat(&self.0, name, Mode::RWXU) {
            Err(Errno::EXIST) if !self.is(name, FileType::Directory)? => {
                self.remove(name)?;
                rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?;
            }
            Err(Errno::EXIST) => (),
            outcome => outcome?,
        }
        let fd = rustix::fs::openat(&self.0, name, DIRECTORY, Mode::empty());
        // A directory without permissions, left by an interrupted copy.
        let fd = match fd {
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(&self.0, name, Mode::RWXU, AtFlags::empty())?;
                rustix::fs::openat(&self.0, name, DIRECTORY, Mode::empty())
            }
            fd => fd,
        }?;
        rustix::fs::fchmod(&fd, Mode::RWXU)?;
        Ok(Place(fd))
    }

    /// What is called `name` here, links not followed.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is(&self, name: &[u8], kind: FileType) -> Result<bool> {
        Ok(self.stat(name)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind))
    }

    /// A new file that nobody else has, to be renamed.
    pub(super) fn create(&self, name: &[u8]) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => {
                self.remove(name)?;
                Ok(rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?.into())
            }
            file => Ok(file?.into()),
        }
    }

    /// Puts a finished file in its place.
    pub(super) fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        match rustix::fs::renameat(&self.0, from, &self.0, to) {
            // A directory is in the way; an empty one gives way.
            Err(Errno::ISDIR) => {
                rustix::fs::unlinkat(&self.0, to, AtFlags::REMOVEDIR)?;
                Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Removes a file, a link, or an empty directory.
    pub(super) fn remove(&self, name: &[u8]) -> Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?),
            Err(Errno::NOENT) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// A symbolic link.
    pub(super) fn symlink(&self, target: &[u8], name: &[u8]) -> Result<()> {
        self.remove(name)?;
        Ok(rustix::fs::symlinkat(target, &self.0, name)?)
    }

    /// A device, pipe or socket.
    pub(super) fn special(&self, name: &[u8], mode: RawMode, rdev: u64) -> Result<()> {
        self.remove(name)?;
        let kind = FileType::from_raw_mode(mode);
        Ok(rustix::fs::mknodat(&self.0, name, kind, Mode::from_raw_mode(mode & 0o7777), rdev)?)
    }

    /// Another name for a file that was copied to `place` before.
    pub(super) fn link(&self, place: &Place, existing: &[u8], name: &[u8]) -> Result<()> {
        self.remove(name)?;
        Ok(rustix::fs::linkat(&place.0, existing, &self.0, name, AtFlags::empty())?)
    }

    /// A second handle on the same directory.
    pub(super) fn again(&self) -> Result<Place> {
        Ok(Place(self.0.try_clone()?))
    }

    /// Gives the entry its owner; what only root may do is not tried by others.
    pub(super) fn chown(&self, name: &[u8], uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(rustix::fs::chownat(&self.0, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives the entry its time.
    pub(super) fn set_time(&self, name: &[u8], mtime: (i64, u32)) -> Result<()> {
        Ok(rustix::fs::utimensat(&self.0, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Finishes the directory itself.
    pub(super) fn finish(&self, mode: RawMode, mtime: (i64, u32)) -> Result<()> {
        rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode & 0o7777))?;
        Ok(rustix::fs::futimens(&self.0, &timestamps(mtime))?)
    }

    /// The directory for calls on itself.
    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Both times of a file: nothing is known of the last access but the modification.
pub(super) fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// The directory and the name in it that a path names.
pub(super) fn split(path: &Path) -> Result<(Place, Vec<u8>)> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = path.file_name().with_context(|| format!("{} has no last name", path.display()))?;
    Ok((Place::named(path.parent().unwrap_or(Path::new(".")))?, name.as_bytes().to_vec()))
}
