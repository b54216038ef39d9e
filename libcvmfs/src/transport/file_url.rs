//! Hosts that are directories: `file:///srv/cvmfs/repository`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Why a file could not be served.
#[derive(Debug)]
pub(super) enum FileError {
    /// There is no such file.
    Missing,
    /// It is there and cannot be read.
    Unreadable(String),
    /// It is longer than allowed.
    TooBig(u64),
}

/// Opens a file of the repository and returns it with the number of bytes to read.
pub(super) fn open(base: &str, path: &[u8], range: Option<(u64, u64)>, max: u64) -> Result<(File, u64), FileError> {
    let mut full = base.as_bytes().to_vec();
    full.extend_from_slice(path);
    let full = PathBuf::from(OsString::from_vec(full));
    let unreadable = |reason: String| FileError::Unreadable(format!("{}: {reason}", full.display()));
    let climbs = full.components().any(|part| matches!(part, std::path::Component::ParentDir));
    if climbs || path.contains(&0) {
        return Err(unreadable("the path leaves the repository".to_owned()));
    }
    let mut file = File::open(&full).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => FileError::Missing,
        _ => unreadable(error.to_string()),
    })?;
    let meta = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    if !meta.is_file() {
        return Err(unreadable("not a regular file".to_owned()));
    }
    let wanted = match range {
        None => meta.len(),
        Some((first, last)) => {
            file.seek(SeekFrom::Start(first)).map_err(|error| unreadable(error.to_string()))?;
            (last - first + 1).min(meta.len().saturating_sub(first))
        }
    };
    if wanted > max {
        return Err(FileError::TooBig(wanted));
    }
    Ok((file, wanted))
}

/// Reads the next piece; empty at the end.
pub(super) fn read<'b>(file: &mut File, buffer: &'b mut [u8], left: u64) -> std::io::Result<&'b [u8]> {
    let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    loop {
        match file.read(&mut buffer[..room]) {
            Ok(got) => return Ok(&buffer[..got]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
