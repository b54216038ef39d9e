//! Making, removing, renaming and linking names.

use crate::lookup::Entry;
use crate::ownership::Ownership;
use crate::raise::is_free_to_move;
use crate::{Union, split};
use cvmfs_view::{Errno, Refusal};
use libcvmfs::patience;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What is made under a new name.
#[derive(Debug, Clone)]
pub enum Making<'t> {
    /// A directory with these bits.
    Directory(u32),
    /// A symbolic link with this target.
    Link(&'t [u8]),
    /// An empty file, a pipe or a socket (`S_IFREG`) with these bits.
    Node(u32, u32),
}

impl Union {
    /// Makes a name that is not there.
    ///
    /// # Errors
    /// `EEXIST` if it is, `EPERM` for devices.
    pub fn make(&self, path: &[u8], making: &Making<'_>) -> Result<(), Refusal> {
        let (directory, _) = split(path).ok_or(Errno(libc::EEXIST))?;
        patience::wait()?;
        let _writing = self.writing.lock();
        self.fill_locked(directory)?;
        let place = self.upper(path);
        match making {
            Making::Directory(bits) => {
                rustix::fs::mkdir(&place, Mode::RWXU)?;
                Ownership::of_root(*bits).give(&place, true)?;
            }
            Making::Link(target) => rustix::fs::symlink(OsStr::from_bytes(target), &place)?,
            Making::Node(kind, bits) => {
                let own = Mode::RUSR | Mode::WUSR;
                let kind = match *kind {
                    0 | libc::S_IFREG => FileType::RegularFile,
                    libc::S_IFIFO => FileType::Fifo,
                    libc::S_IFSOCK => FileType::Socket,
                    libc::S_IFCHR | libc::S_IFBLK => return Err(Errno(libc::EPERM).into()),
                    _ => return Err(Errno(libc::EINVAL).into()),
                };
                rustix::fs::mknodat(CWD, &place, kind, own, 0)?;
                Ownership::of_root(*bits).give(&place, false)?;
            }
        }
        Ok(())
    }

    /// Makes a file that is not there, with these bits, and opens it.
    ///
    /// # Errors
    /// `EEXIST` if it is.
    pub fn create(&self, path: &[u8], flags: OFlags, bits: u32) -> Result<OwnedFd, Refusal> {
        let (directory, _) = split(path).ok_or(Errno(libc::EISDIR))?;
        patience::wait()?;
        let _writing = self.writing.lock();
        self.fill_locked(directory)?;
        let place = self.upper(path);
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(CWD, &place, flags, Mode::RUSR | Mode::WUSR)?;
        Ownership::of_root(bits).give(&place, false)?;
        Ok(file)
    }

    /// Removes a name; with `directory`, that of an empty directory.
    ///
    /// # Errors
    /// Those of `unlink` and `rmdir`.
    pub fn remove(&self, path: &[u8], directory: bool) -> Result<(), Refusal> {
        let (above, name) = split(path).ok_or(Errno(libc::EBUSY))?;
        patience::wait()?;
        let _writing = self.writing.lock();
        self.fill_locked(above)?;
        let parent = self.find(above)?;
        let entry = self.child(&parent, above, name)?.ok_or(Errno(libc::ENOENT))?;
        match (entry.is_directory(), directory) {
            (true, false) => return Err(Errno(libc::EISDIR).into()),
            (false, true) => return Err(Errno(libc::ENOTDIR).into()),
            (true, true) if !self.list(&entry, path)?.is_empty() => return Err(Errno(libc::ENOTEMPTY).into()),
            _ => {}
        }
        // First the note: what is noted and still there is there.
        self.note_hidden(&parent, above, name, path)?;
        let place = self.upper(path);
        if directory { fs::remove_dir(place) } else { fs::remove_file(place) }?;
        Ok(())
    }

    /// Gives something another name, as `renameat2` does.
    ///
    /// # Errors
    /// Those of `renameat2`; `EXDEV` for a directory that lies below, which whoever asks has to copy.
    pub fn rename(&self, from: &[u8], to: &[u8], flags: RenameFlags) -> Result<(), Refusal> {
        let (from_above, from_name) = split(from).ok_or(Errno(libc::EBUSY))?;
        let (to_above, to_name) = split(to).ok_or(Errno(libc::EBUSY))?;
        patience::wait()?;
        if flags.contains(RenameFlags::WHITEOUT) {
            return Err(Errno(libc::EINVAL).into());
        }
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        // Before the lock: contents may have to be fetched.
        for path in [Some(from), exchange.then_some(to)].into_iter().flatten() {
            if !self.find(path)?.is_directory() {
                self.raise(path)?;
            }
        }
        let _writing = self.writing.lock();
        self.fill_locked(from_above)?;
        self.fill_locked(to_above)?;
        let (from_parent, to_parent) = (self.find(from_above)?, self.find(to_above)?);
        let moved = self.child(&from_parent, from_above, from_name)?.ok_or(Errno(libc::ENOENT))?;
        let target = self.child(&to_parent, to_above, to_name)?;
        if from == to {
            return if flags.contains(RenameFlags::NOREPLACE) { Err(Errno(libc::EEXIST).into()) } else { Ok(()) };
        }
        if let (Some(target), false) = (&target, exchange) {
            if flags.contains(RenameFlags::NOREPLACE) {
                return Err(Errno(libc::EEXIST).into());
            }
            may_replace(&moved, target)?;
            if target.is_directory() && !self.list(target, to)?.is_empty() {
                return Err(Errno(libc::ENOTEMPTY).into());
            }
        }
        let both = [Some(&moved), target.as_ref().filter(|_| exchange)];
        if both.into_iter().flatten().any(|entry| !is_free_to_move(entry)) {
            return Err(Errno(libc::EXDEV).into());
        }
        self.note_hidden(&from_parent, from_above, from_name, from)?;
        if moved.is_directory() || exchange {
            self.note_hidden(&to_parent, to_above, to_name, to)?;
        }
        Ok(rustix::fs::renameat_with(CWD, self.upper(from), CWD, self.upper(to), flags)?)
    }

    /// Gives a file another name, too.
    ///
    /// # Errors
    /// Those of `link`.
    pub fn link(&self, from: &[u8], to: &[u8]) -> Result<(), Refusal> {
        let linked = self.find(from)?;
        if self.find(to).is_ok() {
            return Err(Errno(libc::EEXIST).into());
        }
        let (above, _) = split(to).ok_or(Errno(libc::EEXIST))?;
        if !self.find(above)?.is_directory() {
            return Err(Errno(libc::ENOTDIR).into());
        }
        if linked.is_directory() {
            return Err(Errno(libc::EPERM).into());
        }
        let real = self.raise(from)?;
        self.link_real(&real, AtFlags::empty(), to)
    }

    /// Gives the file at the real path `real` a name; with `SYMLINK_FOLLOW` it may be the kernel's link to an open one.
    ///
    /// # Errors
    /// Those of `link`.
    pub fn link_real(&self, real: &Path, flags: AtFlags, to: &[u8]) -> Result<(), Refusal> {
        let (above, _) = split(to).ok_or(Errno(libc::EEXIST))?;
        patience::wait()?;
        let _writing = self.writing.lock();
        self.fill_locked(above)?;
        Ok(rustix::fs::linkat(CWD, real, CWD, self.upper(to), flags)?)
    }

    /// Notes that a name is gone if it lies below.
    fn note_hidden(&self, parent: &Entry, above: &[u8], name: &[u8], path: &[u8]) -> Result<(), Refusal> {
        if self.child_below(parent, above, name)?.is_some() {
            self.note_gone(path)?;
        }
        Ok(())
    }
}

fn may_replace(moved: &Entry, target: &Entry) -> Result<(), Errno> {
    match (moved.is_directory(), target.is_directory()) {
        (true, false) => Err(Errno(libc::ENOTDIR)),
        (false, true) => Err(Errno(libc::EISDIR)),
        _ => Ok(()),
    }
}
