//! Small files that survive a restart.

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where a file is.
fn directory(file: &Path) -> &Path {
    file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Keeps other writers of this file away until the result is dropped.
pub fn lock(file: &Path) -> Result<impl Drop> {
    let directory = directory(file);
    let context = || directory.display().to_string();
    let lock = File::open(directory).with_context(context)?;
    flock(&lock, FlockOperation::LockExclusive).with_context(context)?;
    // Closing it lets go.
    Ok(OwnedFd::from(lock))
}

/// Writes `value` as JSON, in one step for readers and durably. Only the owner can read the file.
pub fn write(file: &Path, value: &impl Serialize) -> Result<()> {
    let context = || file.display().to_string();
    let directory = directory(file);
    // Made with mode 0600.
    let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(directory).with_context(context)?;
    new.write_all(&serde_json::to_vec_pretty(value)?).with_context(context)?;
    new.as_file().sync_all().with_context(context)?;
    new.persist(file).with_context(context)?;
    File::open(directory).and_then(|directory| directory.sync_all()).with_context(context)
}

/// Reads what was written; `None` if there is nothing.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| file.display().to_string())?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}
