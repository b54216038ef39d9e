//! Making one name real.

use crate::placeholder::link_open_file;
use crate::{Errno, Refusal, name};
use libcvmfs::namespace::{FileKind, Node};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Permission bits of a name whose content has not been fetched: no object of a cache has none.
pub const PLACEHOLDER_MODE: u32 = 0;

/// The directory that holds one tree for each root hash.
#[derive(Debug)]
pub struct View {
    prefix: Vec<u8>,
    device: u64,
    serial: AtomicU32,
}

/// Where the content of a file is.
#[derive(Debug)]
pub enum NameOrObject {
    /// Under its real name.
    Name(PathBuf),
    /// Only in the cache, from which it cannot be linked.
    Object(File),
}

impl View {
    /// The view in `directory`, which exists and is spelled without links.
    pub fn at(directory: &Path) -> io::Result<View> {
        // Not through the C library, whose functions may be the ones that need this view.
        let device = rustix::fs::stat(directory)?.st_dev;
        Ok(View { prefix: directory.as_os_str().as_bytes().to_vec(), device, serial: AtomicU32::new(0) })
    }

    /// Its directory, without a slash at the end.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Its file system.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The real name of `node`, which need not exist yet.
    pub fn name(&self, node: &Node) -> PathBuf {
        let mut name = self.prefix.clone();
        name.extend_from_slice(&name::below_prefix(node));
        PathBuf::from(OsStr::from_bytes(&name))
    }

    /// Opens the content of a regular file by its real name, which is made where it is missing.
    pub fn open(&self, node: &Node, flags: OFlags) -> Result<OwnedFd, Refusal> {
        let name = self.name(node);
        if let Some(file) = open_real(&name, flags)? {
            return Ok(file);
        }
        if let Some(object) = self.link(node, &name)? {
            self.copy(object, &name)?;
        }
        // Cleaning can take it away at once: rare, and the second time is the last.
        match open_real(&name, flags)? {
            Some(file) => Ok(file),
            None => Ok(node.open()?.into()),
        }
    }

    /// Makes sure that `node` has its real name, with its content, and tells it.
    pub fn materialise(&self, node: &Node) -> Result<PathBuf, Refusal> {
        let name = self.name(node);
        match node.kind() {
            FileKind::Directory => private_directories(&name)?,
            FileKind::Regular => {
                if let Some(object) = self.link_missing(node, &name)? {
                    self.copy(object, &name)?;
                }
            }
            FileKind::Symlink => {
                let target = node.read_link()?;
                make(&name, |name| std::os::unix::fs::symlink(OsStr::from_bytes(&target), name))?;
            }
            FileKind::Fifo => {
                make(&name, |name| Ok(rustix::fs::mknodat(CWD, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?))?;
            }
            FileKind::Socket => return Err(Errno(libc::ENXIO).into()),
            FileKind::CharacterDevice | FileKind::BlockDevice => return Err(Errno(libc::EACCES).into()),
        }
        Ok(name)
    }

    /// As [`View::materialise`], for a file that is going to be run: objects that the official client wrote may not be
    /// executed, so of these the view has copies.
    pub fn materialise_program(&self, node: &Node) -> Result<PathBuf, Refusal> {
        let name = self.materialise(node)?;
        let found = std::fs::metadata(&name)?;
        if found.mode() & 0o100 != 0 || node.attributes().mode & 0o111 == 0 {
            return Ok(name);
        }
        self.write_program(&name, |copy| io::copy(&mut node.open().map_err(io::Error::other)?, copy).map(drop))?;
        Ok(name)
    }

    /// Puts an executable file at `name`, in one step.
    pub fn write_program(&self, name: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        if let Some(parent) = name.parent() {
            private_directories(parent)?;
        }
        let temporary = self.temporary();
        let mut copy = File::options().write(true).create_new(true).mode(0o500).open(&temporary)?;
        let written = write(&mut copy);
        // Closed before it gets its name: a file that is open for writing cannot be run.
        drop(copy);
        let placed = written.and_then(|()| std::fs::rename(&temporary, name));
        if placed.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        placed
    }

    /// An empty directory that nothing is ever made in, for watches.
    pub fn quiet_directory(&self) -> io::Result<PathBuf> {
        let name = Path::new(OsStr::from_bytes(&self.prefix)).join(".quiet");
        private_directories(&name)?;
        Ok(name)
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Path::new(OsStr::from_bytes(&self.prefix)).join(format!(".new-{}-{serial}", std::process::id()))
    }

    /// Makes sure that the regular file `node` has the name `name`; where it cannot be linked, its object is given
    /// back.
    fn link_missing(&self, node: &Node, name: &Path) -> Result<Option<File>, Refusal> {
        match open_real(name, OFlags::empty())? {
            Some(_) => Ok(None),
            None => self.link(node, name),
        }
    }

    /// Makes sure that a regular file has its real name, and tells it. Where it cannot be linked (a cache of somebody
    /// else, another file system, too many names) its object is given instead.
    pub fn name_or_object(&self, node: &Node) -> Result<NameOrObject, Refusal> {
        let name = self.name(node);
        Ok(match self.link_missing(node, &name)? {
            None => NameOrObject::Name(name),
            Some(object) => NameOrObject::Object(object),
        })
    }

    /// Gives the content of `node` the name `name`, in the place of a placeholder or an older copy; the object where it
    /// cannot be linked.
    fn link(&self, node: &Node, name: &Path) -> Result<Option<File>, Refusal> {
        let object = node.open()?;
        let missing = std::fs::symlink_metadata(name).is_err();
        let temporary = if missing { name.to_owned() } else { self.temporary() };
        match make(&temporary, |name| link_open_file(&object, name)) {
            Err(error) if is_unlinkable(&error) => return Ok(Some(object)),
            made => made?,
        }
        if !missing {
            let renamed = std::fs::rename(&temporary, name);
            // Still there if both are the same file by now: then renaming does nothing.
            let _ = std::fs::remove_file(&temporary);
            renamed?;
        }
        Ok(None)
    }

    /// What cannot be linked is copied.
    fn copy(&self, mut object: File, name: &Path) -> io::Result<()> {
        self.write_program(name, |copy| io::copy(&mut object, copy).map(drop))
    }
}

fn is_unlinkable(error: &io::Error) -> bool {
    use libc::{EACCES, EMLINK, ENOENT, EPERM, EXDEV};
    // ENOENT: a file without a name can get none.
    matches!(error.raw_os_error(), Some(EPERM | EXDEV | EMLINK | EACCES | ENOENT))
}

/// Opens a name of a file whose content is there; `None` if it is missing or a placeholder.
fn open_real(name: &Path, flags: OFlags) -> Result<Option<OwnedFd>, Refusal> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    match rustix::fs::openat(CWD, name, flags, Mode::empty()) {
        Ok(file) => {
            let found = rustix::fs::fstat(&file)?;
            let real = found.st_mode & 0o777 != PLACEHOLDER_MODE;
            Ok(real.then_some(file))
        }
        // A placeholder may not even be read.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory that is closed to others, and those above it.
pub(crate) fn private_directories(name: &Path) -> io::Result<()> {
    if name.is_dir() { Ok(()) } else { DirBuilder::new().recursive(true).mode(0o700).create(name) }
}

/// Makes `name` by `make`, unless it is there, and its directories if they are missing.
pub(crate) fn make(name: &Path, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let made = match make(name) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if let Some(parent) = name.parent() {
                private_directories(parent)?;
            }
            make(name)
        }
        made => made,
    };
    match made {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
