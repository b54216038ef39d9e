//! Names of files whose content is not there yet.

use rustix::fs::{AtFlags, CWD};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Names that one file gets before the next is made; file systems allow some 65000.
const LINKS: u64 = 30_000;

/// An empty file that many names share, so that a name costs neither a file nor its making.
#[derive(Debug)]
pub struct Placeholder(Mutex<Option<File>>);

impl Placeholder {
    /// Without a file; the first name makes one.
    pub const fn new() -> Placeholder {
        Placeholder(Mutex::new(None))
    }

    /// Gives it one more name by `link`, of a file that `make` makes when the last one has enough.
    ///
    /// # Errors
    /// Those of `make` and `link`. A `link` that ends in `EMLINK` or `ENOENT` is tried once more with another file.
    pub fn name(&self, link: impl Fn(&File) -> io::Result<()>, make: impl Fn() -> io::Result<File>) -> io::Result<()> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            let file = match &*current {
                Some(file) if file.metadata()?.nlink() < LINKS => file,
                _ => current.insert(make()?),
            };
            match link(file) {
                // Used up, or its last name is gone.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMLINK | libc::ENOENT)) => *current = None,
                linked => return linked,
            }
        }
        Err(io::Error::from_raw_os_error(libc::EMLINK))
    }
}

impl Default for Placeholder {
    fn default() -> Self {
        Placeholder::new()
    }
}

/// Gives an open file the name `name`.
///
/// # Errors
/// `ENOENT` if it has no name left, and those of `linkat`.
pub fn link_open_file(file: &File, name: &Path) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, from, CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}
