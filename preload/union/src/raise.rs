//! Getting directories and files into the layer that is written to.

use crate::lookup::{Entry, Listed, STUB_TIME, Source};
use crate::ownership::{ATTRIBUTE, Ownership};
use crate::{Union, child_path, joined, split};
use cvmfs_view::placeholder::link_open_file;
use cvmfs_view::{Errno, Refusal};
use libcvmfs::patience;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Permission bits of a stub.
pub(crate) const NO_BITS: u32 = 0o000;

impl Union {
    /// Makes the directory at `path` one of the topmost layer, with a name for everything in it, and tells its real
    /// name. The names above it are spelled without links.
    ///
    /// # Errors
    /// If there is no such directory, or it cannot be made.
    pub fn fill(&self, path: &[u8]) -> Result<PathBuf, Refusal> {
        patience::wait()?;
        let _writing = self.writing.lock();
        self.fill_locked(path)
    }

    pub(crate) fn fill_locked(&self, path: &[u8]) -> Result<PathBuf, Refusal> {
        let mut entry = self.root()?;
        let mut here = b"/".to_vec();
        let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        loop {
            if !entry.is_directory() {
                return Err(Errno(libc::ENOTDIR).into());
            }
            if !entry.is_written() {
                self.fill_one(&entry, &here)?;
                entry = if here == b"/" { self.root()? } else { self.find(&here)? };
            }
            let Some(name) = names.next() else { return Ok(self.upper(&here)) };
            entry = self.child(&entry, &here, name)?.ok_or(Errno(libc::ENOENT))?;
            here = child_path(&here, name);
        }
    }

    /// Puts a directory with names for all that is in `entry` into the place of its stub, in one step.
    fn fill_one(&self, entry: &Entry, path: &[u8]) -> Result<(), Refusal> {
        let unfinished = self.unfinished()?;
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        let filled = self.fill_with(entry, path, &unfinished).and_then(|()| {
            let place = self.upper(path);
            let above = place.parent().filter(|_| path != b"/").map(|above| (above, fs::symlink_metadata(above)));
            fs::rename(&unfinished, &place)?;
            if let Some((above, Ok(found))) = above {
                // Nothing changed there for who looks at it from inside.
                let _ = set_times(above, found.atime(), found.atime_nsec(), found.mtime(), found.mtime_nsec());
            }
            Ok(())
        });
        if filled.is_err() {
            let _ = discard(&unfinished);
        }
        filled
    }

    fn fill_with(&self, entry: &Entry, path: &[u8], directory: &Path) -> Result<(), Refusal> {
        for Listed { name, kind } in self.list(entry, path)? {
            let stub = joined(directory, &name);
            match kind {
                libc::S_IFDIR => DirBuilder::new().mode(NO_BITS).create(&stub)?,
                libc::S_IFLNK => {
                    let child = self.child(entry, path, &name)?.ok_or(Errno(libc::ENOENT))?;
                    let target = self.read_link(&child, &child_path(path, &name))?;
                    symlink(OsStr::from_bytes(&target), &stub)?;
                    let times = Timestamps { last_access: STUB_TIME, last_modification: STUB_TIME };
                    rustix::fs::utimensat(CWD, &stub, &times, AtFlags::SYMLINK_NOFOLLOW)?;
                }
                libc::S_IFIFO => rustix::fs::mknodat(CWD, &stub, FileType::Fifo, Mode::empty(), 0)?,
                libc::S_IFSOCK => rustix::fs::mknodat(CWD, &stub, FileType::Socket, Mode::empty(), 0)?,
                _ => self.placeholder.name(|file| link_open_file(file, &stub), || self.new_placeholder())?,
            }
        }
        Ownership::told(entry.stat()).give(directory, true)?;
        keep_times(entry.stat(), directory)?;
        Ok(())
    }

    fn new_placeholder(&self) -> io::Result<File> {
        let name = self.unfinished().map_err(|Errno(errno)| io::Error::from_raw_os_error(errno))?;
        File::options().write(true).create_new(true).mode(NO_BITS).open(name)
    }

    /// Makes what is at `path` a file of the topmost layer, with its content, and tells its real name. A directory is
    /// filled.
    ///
    /// # Errors
    /// If it is not there, or its content cannot be had.
    pub fn raise(&self, path: &[u8]) -> Result<PathBuf, Refusal> {
        patience::wait()?;
        let entry = self.find(path)?;
        if entry.is_written() {
            return Ok(self.upper(path));
        }
        if entry.is_directory() {
            return self.fill(path);
        }
        // Before the lock: it may have to be fetched.
        let content = match self.source(&entry, path) {
            Source::Node(node) if entry.is(libc::S_IFREG) => Some(node.open()?),
            Source::File(real) if entry.is(libc::S_IFREG) => Some(File::open(real)?),
            _ => None,
        };
        let _writing = self.writing.lock();
        let (directory, _) = split(path).ok_or(Errno(libc::EBUSY))?;
        self.fill_locked(directory)?;
        if self.find(path)?.is_written() {
            return Ok(self.upper(path));
        }
        let unfinished = self.unfinished()?;
        let place = self.upper(path);
        let copied = self.copy(&entry, path, content, &unfinished).and_then(|()| {
            let above = place.parent().map(|above| (above, fs::symlink_metadata(above)));
            fs::rename(&unfinished, &place)?;
            if let Some((above, Ok(found))) = above {
                let _ = set_times(above, found.atime(), found.atime_nsec(), found.mtime(), found.mtime_nsec());
            }
            Ok(())
        });
        if copied.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        copied.map(|()| place)
    }

    fn copy(&self, entry: &Entry, path: &[u8], content: Option<File>, to: &Path) -> Result<(), Refusal> {
        match content {
            Some(mut content) => {
                let mut copy = File::options().write(true).create_new(true).mode(0o600).open(to)?;
                io::copy(&mut content, &mut copy)?;
                drop(copy);
                self.copy_attributes(entry, path, to)?;
                Ownership::told(entry.stat()).give(to, false)?;
            }
            None if entry.is(libc::S_IFLNK) => symlink(OsStr::from_bytes(&self.read_link(entry, path)?), to)?,
            None if entry.is(libc::S_IFIFO) => {
                rustix::fs::mknodat(CWD, to, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
                Ownership::told(entry.stat()).give(to, false)?;
            }
            None => return Err(Errno(libc::EPERM).into()),
        }
        Ok(keep_times(entry.stat(), to)?)
    }

    fn copy_attributes(&self, entry: &Entry, path: &[u8], to: &Path) -> Result<(), Refusal> {
        let pairs = match self.source(entry, path) {
            Source::Node(node) => node.stored_xattrs(),
            Source::File(real) => attributes(&real)?,
        };
        for (name, value) in pairs {
            if !name.starts_with(b"user.") || name == ATTRIBUTE.to_bytes() {
                continue;
            }
            match rustix::fs::setxattr(to, OsStr::from_bytes(&name), &value, XattrFlags::empty()) {
                Err(rustix::io::Errno::OPNOTSUPP) => break,
                set => set?,
            }
        }
        Ok(())
    }
}

/// Deletes something unfinished: a file, or a directory in which there are stubs only.
pub(crate) fn discard(unfinished: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(unfinished)?.is_dir() {
        return fs::remove_file(unfinished);
    }
    fs::set_permissions(unfinished, fs::Permissions::from_mode(0o700))?;
    for stub in fs::read_dir(unfinished)? {
        let stub = stub?;
        if stub.file_type()?.is_dir() { fs::remove_dir(stub.path()) } else { fs::remove_file(stub.path()) }?;
    }
    fs::remove_dir(unfinished)
}

/// Names and values of extended attributes.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// The extended attributes of a real file.
fn attributes(file: &Path) -> Result<Attributes, Errno> {
    const ROOM: usize = 1 << 16;
    let mut names = vec![0; ROOM];
    let length = match rustix::fs::llistxattr(file, &mut names) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut pairs = Vec::new();
    for name in names.get(..length).unwrap_or_default().split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; ROOM];
        if let Ok(length) = rustix::fs::lgetxattr(file, OsStr::from_bytes(name), &mut value) {
            value.truncate(length);
            pairs.push((name.to_vec(), value));
        }
    }
    Ok(pairs)
}

fn keep_times(stat: &libc::stat, file: &Path) -> Result<(), Errno> {
    set_times(file, stat.st_atime, stat.st_atime_nsec, stat.st_mtime, stat.st_mtime_nsec)
}

fn set_times(file: &Path, access: i64, access_nsec: i64, change: i64, change_nsec: i64) -> Result<(), Errno> {
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time(access, access_nsec), last_modification: time(change, change_nsec) };
    Ok(rustix::fs::utimensat(CWD, file, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether a name of the layer may be given to something else by the kernel alone.
pub(crate) fn is_free_to_move(entry: &Entry) -> bool {
    entry.is_written() && !(entry.is_directory() && entry.below != 0)
}
