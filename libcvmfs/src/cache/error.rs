use super::Key;
use crate::error::{Origin, Retry};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the cache cannot do what it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The file system (or the user's disk quota) is full, or too full for what is to come.
    #[error("no space left for {path} ({free} bytes free)")]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// Bytes free on that file system.
        free: u64,
    },
    /// The object can never fit: half of the quota limit is the most a single one may take.
    #[error("{key} needs {size} bytes, more than the {limit} bytes one object may take of the cache quota")]
    TooLarge {
        /// The object.
        key: Key,
        /// Its size as far as known.
        size: u64,
        /// The most allowed.
        limit: u64,
    },
    /// An object came in with a size other than the catalog's.
    #[error("{key} has {received} bytes instead of {expected}")]
    WrongSize {
        /// The object.
        key: Key,
        /// Bytes according to the catalog.
        expected: u64,
        /// Bytes that came.
        received: u64,
    },
    /// The kernel forbids it.
    #[error("{action} {path}: permission denied")]
    PermissionDenied {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
    },
    /// The cache belongs to somebody who is not trusted.
    #[error("cache {path} belongs to user {owner}, who is not trusted")]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A private cache into which others may write.
    #[error("cache {path} can be written by other users (mode {mode:o})")]
    WritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something is missing from a cache that may not be written.
    #[error("{path} is read-only")]
    ReadOnly {
        /// The cache or the file.
        path: PathBuf,
    },
    /// The directory is no cache that can be used.
    #[error("{path} is not a usable cache: {reason}")]
    NotACache {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The name of a repository file contains what a file name may not.
    #[error("'{0}' cannot be stored as a file name")]
    BadLetterName(String),
    /// Anything else the kernel says.
    #[error("{action} {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl CacheError {
    /// Names the cause behind an error of the kernel.
    pub(super) fn from_io(path: &Path, action: &'static str, source: io::Error) -> CacheError {
        let path = path.to_path_buf();
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => CacheError::DiskFull { free: free_bytes(&path), path },
            Some(Errno::ACCESS | Errno::PERM) => CacheError::PermissionDenied { path, action },
            Some(Errno::ROFS) => CacheError::ReadOnly { path },
            _ => CacheError::Io { path, action, source },
        }
    }

    /// Always the cache.
    pub fn origin(&self) -> Origin {
        Origin::Cache
    }

    /// Whether it may pass by itself.
    pub fn retry(&self) -> Retry {
        match self {
            CacheError::Io { source, .. } => match source.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::INTR) => Retry::Later,
                _ => Retry::Never,
            },
            CacheError::WrongSize { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}

fn free_bytes(path: &Path) -> u64 {
    let existing = path.ancestors().find_map(|p| rustix::fs::statvfs(p).ok());
    existing.map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize))
}

/// Why an object could not be fetched into the cache.
#[derive(Debug, Error)]
pub enum FetchError<E> {
    /// The cache could not take it.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It could not be obtained.
    #[error("{0}")]
    Fill(E),
}
