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
    #[error("unknown kind of storage '{0}://': expected a directory or s3://BUCKET/PREFIX")]
    UnknownScheme(String),
    /// The address makes no sense.
    #[error("{address}: {problem}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody says with which key to ask.
    #[error(
        "{place}: no key for it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a profile in ~/.aws/credentials"
    )]
    NoCredentials {
        /// The place.
        place: String,
    },
    /// There is no such profile.
    #[error("neither ~/.aws/credentials nor ~/.aws/config has a profile '{name}'")]
    NoProfile {
        /// Its name.
        name: String,
    },
    /// A server refused, or did not answer; what can be done about it is said where it is known.
    #[error("{place}: {problem}")]
    Remote {
        /// Bucket and key.
        place: String,
        /// What happened.
        problem: String,
    },
    /// The server cannot decide between two who write the same.
    #[error(
        "{place}: the server ignores conditions of writes (If-None-Match, If-Match), so nothing keeps two publishers apart; \
         if there is only one, say so: conditional=no"
    )]
    Unconditional {
        /// The storage.
        place: String,
    },
    /// Somebody else may be publishing by now.
    #[error(
        "{place}: not written: the publisher's lock was lost, because the server could not be reached for too long"
    )]
    LockLost {
        /// What should have been written.
        place: String,
    },
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
