//! The record of names that are gone.
//!
//! In a layer a name that is gone is not there. Who writes down what changed needs to know which names lie below and
//! were taken away, without asking whoever has what lies below.

use crate::{Layer, Union, joined};
use cvmfs_view::Errno;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

impl Union {
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
