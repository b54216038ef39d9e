use std::io;
use thiserror::Error;

/// Why a storage cannot do what it was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no room left.
    #[error("{path}: {}", if *quota { "the disk quota is used up" } else { "no space left" })]
    Full {
        /// The file being written.
        path: String,
        /// A quota, not the disk.
        quota: bool,
    },
    /// Anything else that went wrong with a file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else publishes.
    #[error("another publisher is at work on {place}: {owner}")]
    Locked {
        /// The storage.
        place: String,
        /// What the other one says about itself.
        owner: String,
    },
    /// A file that must be small is not.
    #[error("{path} has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The address is of no kind that is known.
    #[error("unknown kind of storage '{0}://': expected a directory")]
    UnknownScheme(String),
}

impl StorageError {
    /// The error of a system call on `path`.
    pub fn io(path: impl Into<String>, source: io::Error) -> StorageError {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull => StorageError::Full { path, quota: false },
            io::ErrorKind::QuotaExceeded => StorageError::Full { path, quota: true },
            _ => StorageError::Io { path, source },
        }
    }
}
