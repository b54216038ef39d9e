//! The records of names that are gone, and of those that were made for something else to be seen there.
//!
//! In a layer a name that is gone is not there. Who writes down what changed needs to know which names lie below and
//! were taken away, without asking whoever has what lies below.

use crate::change::Making;
use crate::ownership::Ownership;
use crate::{Layer, Union, joined, split};
use cvmfs_view::{Errno, Refusal};
use libcvmfs::patience;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The file with the names of places, each with a null byte behind it.
const PLACES: &str = "places";

impl Union {
    /// Makes a name at which something else will be seen: nothing that a program has written.
    ///
    /// # Errors
    /// As [`Union::make`].
    pub fn make_place(&self, path: &[u8], making: &Making<'_>) -> Result<(), Refusal> {
        self.make(path, making)?;
        self.note_place(path)
    }

    /// Puts an empty directory of the layer in the place of a directory that lies below, of which nothing is seen then.
    /// What is there and no such directory stays as it is.
    ///
    /// # Errors
    /// As [`Union::find`], or why it cannot be made.
    pub fn cover(&self, path: &[u8]) -> Result<(), Refusal> {
        let (above, _) = split(path).ok_or(Errno(libc::EBUSY))?;
        patience::wait()?;
        let _writing = self.writing.lock();
        self.fill_locked(above)?;
        let entry = self.find(path)?;
        if entry.is_written() || !entry.is_directory() {
            return Ok(());
        }
        let unfinished = self.unfinished()?;
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        Ownership::told(entry.stat()).give(&unfinished, true)?;
        fs::rename(&unfinished, self.upper(path))?;
        self.note_place(path)
    }

    fn note_place(&self, path: &[u8]) -> Result<(), Refusal> {
        let mut places = File::options().create(true).append(true).open(self.top()?.directory.join(PLACES))?;
        Ok(places.write_all(&[path.strip_prefix(b"/").unwrap_or(path), b"\0"].concat())?)
    }

    /// Notes that what lies below at `path` is seen no more. It stays so if the name is made again.
    pub(crate) fn note_gone(&self, path: &[u8]) -> Result<(), Errno> {
        let note = joined(&self.top()?.gone(), path);
        let made = || {
            if let Some(parent) = note.parent() {
                fs::create_dir_all(parent)?;
            }
            if note.is_dir() {
                fs::remove_dir_all(&note)?;
            }
            File::create(&note).map(drop)
        };
        match made() {
            // A directory above is gone altogether: that says it.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::EEXIST)) => Ok(()),
            made => Ok(made?),
        }
    }
}

impl Layer {
    /// The paths of places that were made for something else, without a slash before them.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn places(&self) -> io::Result<Vec<PathBuf>> {
        let text = match fs::read(self.directory.join(PLACES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let names = text.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
    }

    /// The paths that were taken away in this layer, without a slash before them.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn gone_paths(&self) -> io::Result<Vec<PathBuf>> {
        let root = self.gone();
        let mut paths = Vec::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                } else {
                    paths.extend(entry.path().strip_prefix(&root).ok().map(Path::to_owned));
                }
            }
        }
        paths.sort();
        Ok(paths)
    }
}
