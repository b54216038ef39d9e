//! The error numbers that programs see: the only place where an error becomes one.

use crate::Error;
use crate::cache::CacheError;

impl Error {
    /// The number that a system call failing for this reason returns.
    ///
    /// A repository, catalog or object that cannot be had now is `EIO`, never `ENOENT`: absence is a fact of a
    /// verified catalog. (That there is no such repository is said by [`crate::client`], not by an error.)
    pub fn errno(&self) -> i32 {
        match self {
            Error::NotFound => libc::ENOENT,
            Error::NotDirectory => libc::ENOTDIR,
            Error::IsDirectory => libc::EISDIR,
            Error::NotSymlink => libc::EINVAL,
            Error::NotRegular => libc::ENXIO,
            Error::TooManyLinks => libc::ELOOP,
            Error::NameTooLong => libc::ENAMETOOLONG,
            Error::AccessDenied | Error::Restricted { .. } => libc::EACCES,
            Error::ReadOnly => libc::EROFS,
            Error::NoAttribute => libc::ENODATA,
            Error::WouldWait => libc::EAGAIN,
            Error::Cache(CacheError::DiskFull { .. } | CacheError::TooLarge { .. }) => libc::ENOSPC,
            Error::StillFailing(error) => error.errno(),
            Error::Remote { errno, .. } => *errno,
            _ => libc::EIO,
        }
    }
}
