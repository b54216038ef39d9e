//! A repository in a bucket of an object storage that speaks S3.
//!
//! | file | job |
//! |---|---|
//! | `address`, `profile` | which bucket, with which keys |
//! | `exchange`, `refusal` | one request, tried again where that may help; what errors mean |
//! | `remote` | the requests: put, get, list, delete |
//! | `parts` | large objects in parts |
//! | `lock` | keeps two publishers apart |

mod address;
mod exchange;
mod lock;
mod parts;
mod profile;
mod refusal;
mod remote;

use super::{Body, Listed, Lock, Put, Storage, StorageError, object_path};
use exchange::Payload;
use libcvmfs::object::ObjectName;
use remote::{Condition, Remote, Written};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::NamedTempFile;

/// Requests under way at a time: each waits for the network most of its time.
const PARALLEL: usize = 16;

/// A bucket, or a part of one.
pub struct S3Storage {
    remote: Arc<Remote>,
    /// Whether the server was seen to keep the conditions of writes.
    keeps_conditions: AtomicBool,
}

impl S3Storage {
    /// The place `s3://BUCKET/PREFIX?...`; nothing is asked of the server yet. What the address does not say is taken from
    /// the environment and from the files in `~/.aws`.
    pub fn open(address: &str) -> Result<S3Storage, StorageError> {
        S3Storage::open_with(address, &|name| std::env::var(name).ok())
    }

    /// The same with other variables than those of the environment.
    pub fn open_with(address: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<S3Storage, StorageError> {
        let address = address::Address::parse(address, &|name| variable(name).filter(|value| !value.is_empty()))?;
        Ok(S3Storage { remote: Arc::new(Remote::new(address)), keeps_conditions: AtomicBool::new(false) })
    }

    fn put(&self, path: &str, bytes: &[u8], condition: &Condition) -> Result<(Written, u32), StorageError> {
        self.remote.put(path, Payload::Bytes(bytes), condition)
    }

    /// Creates where the server keeps conditions. It is made sure of that: a server that does not know them ignores them.
    fn create_on_condition(&self, path: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        let is_known = self.keeps_conditions.load(Ordering::Relaxed);
        if !is_known && self.size(path)?.is_some() {
            return Ok(false);
        }
        let (written, tries) = self.put(path, bytes, &Condition::Absent)?;
        match written {
            Written::Unsupported => Err(self.unconditional()),
            Written::Refused => {
                self.keeps_conditions.store(true, Ordering::Relaxed);
                // The answer to an earlier try may have been lost.
                Ok(tries > 1 && super::read_small(self, path, bytes.len())?.as_deref() == Some(bytes))
            }
            Written::Done if is_known => Ok(true),
            Written::Done => match self.put(path, bytes, &Condition::Absent)?.0 {
                Written::Refused => {
                    self.keeps_conditions.store(true, Ordering::Relaxed);
                    Ok(true)
                }
                Written::Done | Written::Unsupported => {
                    self.remote.delete(path)?;
                    Err(self.unconditional())
                }
            },
        }
    }

    fn unconditional(&self) -> StorageError {
        StorageError::Unconditional { place: self.describe() }
    }
}

impl Storage for S3Storage {
    fn describe(&self) -> String {
        self.remote.address.shown("").trim_end_matches('/').to_owned()
    }

    fn staging(&self) -> Result<NamedTempFile, StorageError> {
        let made = tempfile::Builder::new().prefix("cvmfs-server-").tempfile();
        made.map_err(|source| StorageError::io(std::env::temp_dir().display().to_string(), source))
    }

    fn put_object(&self, name: &ObjectName, body: Body) -> Result<Put, StorageError> {
        let path = object_path(name);
        let size = body.size().map_err(|source| StorageError::io(path.clone(), source))?;
        // Nothing is ever cut short here, but things may have been copied here by other means.
        if self.size(&path)? == Some(size) {
            return Ok(Put::Known);
        }
        match &body {
            Body::Bytes(bytes) => self.remote.put_whole(&path, Payload::Bytes(bytes))?,
            Body::File(file) if size > self.remote.address.part => {
                self.remote.put_parts(&path, file.as_file(), size)?
            }
            Body::File(file) => {
                self.remote.put_whole(&path, Payload::Part { file: file.as_file(), offset: 0, size })?;
            }
        }
        Ok(Put::New)
    }

    fn put_pointer(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.remote.put_whole(path, Payload::Bytes(bytes))
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        if self.remote.address.is_conditional {
            return self.create_on_condition(path, bytes);
        }
        if self.size(path)?.is_some() {
            return Ok(false);
        }
        self.put_pointer(path, bytes)?;
        Ok(true)
    }

    fn get(&self, path: &str, out: &mut dyn Write) -> Result<bool, StorageError> {
        self.remote.get(path, out)
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        self.remote.size(path)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Listed)) -> Result<(), StorageError> {
        self.remote.list(prefix, visit)
    }

    fn delete(&self, path: &str) -> Result<bool, StorageError> {
        let is_there = self.size(path)?.is_some();
        if is_there {
            self.remote.delete(path)?;
        }
        Ok(is_there)
    }

    fn delete_all(&self, paths: &[String]) -> Result<(), StorageError> {
        self.remote.delete_all(paths)
    }

    fn sync(&self) -> Result<(), StorageError> {
        // What was answered is durable.
        Ok(())
    }

    fn lock(&self, owner: &str) -> Result<Box<dyn Lock>, StorageError> {
        Ok(Box::new(lock::acquire(self, owner)?))
    }

    fn url(&self) -> String {
        self.remote.url()
    }

    fn parallel(&self) -> usize {
        PARALLEL
    }
}

/// Time since the machine was started, also while it was asleep.
fn clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
