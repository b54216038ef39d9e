//! A storage whose machine is switched off after some changes.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by several tests")]

use cvmfs_server::storage::{Body, Listed, LocalStorage, Lock, Put, Storage, StorageError};
use libcvmfs::object::ObjectName;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::NamedTempFile;

/// A storage that fails for ever after some changes, like one whose machine was switched off.
pub struct Failing {
    inner: LocalStorage,
    changes_left: AtomicUsize,
}

impl Failing {
    pub fn after(changes: usize, directory: &Path) -> Failing {
        Failing { inner: LocalStorage::open(directory).unwrap(), changes_left: AtomicUsize::new(changes) }
    }

    fn change(&self) -> Result<(), StorageError> {
        let left = self.changes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| StorageError::io("here", io::Error::other("switched off")))
    }
}

impl Storage for Failing {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn staging(&self) -> Result<NamedTempFile, StorageError> {
        self.inner.staging()
    }
    fn put_object(&self, name: &ObjectName, body: Body) -> Result<Put, StorageError> {
        self.change()?;
        self.inner.put_object(name, body)
    }
    fn put_pointer(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.change()?;
        self.inner.put_pointer(path, bytes)
    }
    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        self.change()?;
        self.inner.create(path, bytes)
    }
    fn get(&self, path: &str, out: &mut dyn Write) -> Result<bool, StorageError> {
        self.inner.get(path, out)
    }
    fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        self.inner.size(path)
    }
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Listed)) -> Result<(), StorageError> {
        self.inner.list(prefix, visit)
    }
    fn delete(&self, path: &str) -> Result<bool, StorageError> {
        self.change()?;
        self.inner.delete(path)
    }
    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
    fn url(&self) -> String {
        self.inner.url()
    }
    fn lock(&self, owner: &str) -> Result<Box<dyn Lock>, StorageError> {
        self.inner.lock(owner)
    }
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
