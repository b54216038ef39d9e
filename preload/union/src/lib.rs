//! A writable layer over an operating system's tree, kept by system calls that every user may make.
//!
//! What the kernel's overlayfs does with a mount, this does with names. A [`Union`] is a stack of layers over a base,
//! which is a directory of the host or a directory of a repository. Only the topmost layer is written to.
//!
//! A directory gets into the layer when something in it changes for the first time, and then holds a name for
//! everything in it, so that the kernel's own listing is right and a name that is missing is a name that is gone. A name
//! that stands for what lies below is a *stub*: a file, or directory, without any permission bits, or a symbolic link
//! with a time of its own. Nothing else in a layer looks like that, for what a program makes is always ours to read
//! and write; the bits that it asked for are kept beside where they say less ([`ownership`]).
//!
//! | in the directory of a layer | what |
//! |---|---|
//! | `fs` | files and stubs; a stub itself as long as nothing was changed |
//! | `work` | what is not finished |
//! | `snapshot` | the root hash of the repository over which it was begun |
//! | `places` | the names that were made for something else to be seen there |
//! | `gone` | an empty file under each name that is gone and lies below, for who writes down what changed |
//!
//! | module | job |
//! |---|---|
//! | [`lookup`] | what a name stands for |
//! | [`ownership`] | owners and bits that an ordinary user cannot give |
//! | [`raise`] | getting directories and files into the layer |
//! | [`change`] | making, removing, renaming and linking names |
//! | [`gone`] | the records of names that are gone, and of places |

pub mod change;
pub mod gone;
pub mod lookup;
pub mod ownership;
pub mod raise;
#[cfg(test)]
mod tests;

pub use lookup::Entry;

use cvmfs_view::Errno;
use cvmfs_view::placeholder::Placeholder;
use libcvmfs::namespace::Node;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The most layers: places are the bits of a number, and the base is one of them.
pub const MOST_LAYERS: usize = 63;

const SNAPSHOT: &str = "snapshot";

/// What lies below all layers.
#[derive(Debug, Clone)]
pub enum Base {
    /// A directory of the host.
    Directory(PathBuf),
    /// A directory of a repository.
    Tree(Node),
    /// Nothing: what there is was written into the layers.
    Nothing,
}

/// Layers over a base.
#[derive(Debug)]
pub struct Union {
    layers: Vec<Layer>,
    base: Base,
    /// The device number that everything in it tells.
    device: u64,
    /// Whoever changes names has this.
    writing: Mutex<()>,
    serial: AtomicU32,
    /// Makes names of unfinished things ours alone.
    random: u64,
    /// The file that stubs of files are names of.
    placeholder: Placeholder,
    /// As long as this is open, nobody else takes what is not finished for what was left over.
    _unfinished: Option<File>,
}

/// The directory of a layer.
#[derive(Debug, Clone)]
pub struct Layer {
    directory: PathBuf,
}

impl Layer {
    /// The layer in this directory.
    pub fn at(directory: impl Into<PathBuf>) -> Layer {
        Layer { directory: directory.into() }
    }

    /// Makes the parts of an empty layer in its directory, which exists.
    pub fn make(&self) -> io::Result<()> {
        for part in [self.work(), self.gone()] {
            DirBuilder::new().mode(0o700).recursive(true).create(part)?;
        }
        if fs::symlink_metadata(self.files()).is_err() {
            DirBuilder::new().mode(raise::NO_BITS).create(self.files())?;
        }
        Ok(())
    }

    /// Whether nothing was ever changed in it.
    pub fn is_empty(&self) -> bool {
        fs::symlink_metadata(self.files())
            .is_ok_and(|found| lookup::has_no_bits(std::os::unix::fs::MetadataExt::mode(&found)))
    }

    /// The root hash of the snapshot over which it was begun, if it is known.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn snapshot(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.directory.join(SNAPSHOT)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => Ok(Some(text?.trim().to_owned())),
        }
    }

    /// Notes the root hash of the snapshot over which it is begun.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_snapshot(&self, root_hash: &str) -> io::Result<()> {
        let unfinished = self.work().join(SNAPSHOT);
        fs::write(&unfinished, format!("{root_hash}\n"))?;
        fs::rename(unfinished, self.directory.join(SNAPSHOT))
    }

    /// Deletes what was never finished, if nobody else is using the layer. As long as what it gives is open, nobody else
    /// does so.
    fn tidy(&self) -> io::Result<Option<File>> {
        let unfinished = match File::open(self.work()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if flock(&unfinished, FlockOperation::NonBlockingLockExclusive).is_ok() {
            for entry in fs::read_dir(self.work())? {
                raise::discard(&entry?.path())?;
            }
        }
        // A file system without locks keeps what is left over.
        let _ = flock(&unfinished, FlockOperation::NonBlockingLockShared);
        Ok(Some(unfinished))
    }

    /// Its files.
    pub fn files(&self) -> PathBuf {
        self.directory.join("fs")
    }

    fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    pub(crate) fn gone(&self) -> PathBuf {
        self.directory.join("gone")
    }
}

impl Union {
    /// These layers, the topmost first, over this base. Directories are spelled without links.
    ///
    /// # Errors
    /// If there are too many or one cannot be looked at.
    pub fn new(layers: Vec<Layer>, base: Base) -> io::Result<Union> {
        if layers.is_empty() || layers.len() > MOST_LAYERS {
            let text = format!("{} layers, and there can be 1 to {MOST_LAYERS}", layers.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let device = match &base {
            Base::Directory(directory) => lookup::device_of(directory)?,
            Base::Tree(node) => node.attributes().dev,
            Base::Nothing => match layers.first() {
                Some(first) => lookup::device_of(&first.files())?,
                None => 0,
            },
        };
        let unfinished = layers.first().map(Layer::tidy).transpose()?.flatten();
        Ok(Union {
            layers,
            base,
            device,
            writing: Mutex::new(()),
            serial: AtomicU32::new(0),
            random: fastrand::u64(..),
            placeholder: Placeholder::new(),
            _unfinished: unfinished,
        })
    }

    /// The base.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The path inside that the real name `name` stands for, if it lies in a layer.
    pub fn inside_layers<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        self.layers.iter().find_map(|layer| below(layer.files().as_os_str().as_bytes(), name))
    }

    /// The path inside that the real name `name` stands for, if it lies in a base that is a directory.
    pub fn inside_base<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        match &self.base {
            Base::Directory(directory) => below(directory.as_os_str().as_bytes(), name),
            _ => None,
        }
    }

    /// Whether the real name `name` lies in the layer that is written to.
    pub fn is_written(&self, name: &[u8]) -> bool {
        self.layers.first().is_some_and(|layer| below(layer.files().as_os_str().as_bytes(), name).is_some())
    }

    /// The name that a path inside has, or would have, in the topmost layer.
    pub fn upper(&self, path: &[u8]) -> PathBuf {
        self.layers.first().map(|layer| joined(&layer.files(), path)).unwrap_or_default()
    }

    fn top(&self) -> Result<&Layer, Errno> {
        self.layers.first().ok_or(Errno(libc::EIO))
    }

    /// A new name for something unfinished.
    pub(crate) fn unfinished(&self) -> Result<PathBuf, Errno> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Ok(self.top()?.work().join(format!("new-{:016x}-{serial}", self.random)))
    }
}

/// What of a path comes after a directory at which or below which it lies, with a slash before it.
pub fn below<'n>(directory: &[u8], path: &'n [u8]) -> Option<&'n [u8]> {
    if directory == b"/" {
        return path.starts_with(b"/").then_some(path);
    }
    match path.strip_prefix(directory)? {
        b"" => Some(b"/"),
        rest => rest.starts_with(b"/").then_some(rest),
    }
}

/// A path inside, below a real directory.
pub(crate) fn joined(directory: &Path, path: &[u8]) -> PathBuf {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    if path.is_empty() { directory.to_owned() } else { directory.join(OsStr::from_bytes(path)) }
}

/// The directory of a path inside, and its last name; `None` for the root.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let name = path.get(slash + 1..).filter(|name| !name.is_empty())?;
    Some((if slash == 0 { b"/" } else { path.get(..slash)? }, name))
}

/// The path of a name in a directory.
pub fn child_path(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory == b"/" { [b"/", name].concat() } else { [directory, b"/", name].concat() }
}
