//! Where a repository lies: objects by name that never change, and a few small pointers that do.
//!
//! Paths are relative to the repository's base URL and begin without a slash: `data/ab/cdef...`, `.cvmfspublished`.

pub mod conformance;
mod error;
mod local;
mod s3;

pub use error::StorageError;
pub use local::LocalStorage;
pub use s3::S3Storage;

use libcvmfs::object::{ObjectKind, ObjectName};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// The stored bytes of an object on their way into a storage.
pub enum Body {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file made by [`Storage::staging`]; it is gone afterwards.
    File(NamedTempFile),
}

impl Body {
    /// Its bytes.
    fn size(&self) -> io::Result<u64> {
        match self {
            Body::Bytes(bytes) => Ok(bytes.len() as u64),
            Body::File(file) => Ok(file.as_file().metadata()?.len()),
        }
    }
}

/// What became of an object that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was not there before.
    New,
    /// It was there already and was left alone.
    Known,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it came in, seconds since 1970.
    pub modified: u64,
}

/// A place for one repository. Shared by threads.
///
/// What is put is seen whole or not at all. [`conformance::check`] tells whether an implementation keeps its word.
pub trait Storage: Send + Sync {
    /// Says where it is, for messages.
    fn describe(&self) -> String;

    /// A new temporary file from which [`Storage::put_object`] takes large bodies cheaply.
    fn staging(&self) -> Result<NamedTempFile, StorageError>;

    /// Puts an object unless it is there.
    fn put_object(&self, name: &ObjectName, body: Body) -> Result<Put, StorageError>;

    /// Puts a small file, in one step for readers in the place of what was there. It is durable, and so is everything
    /// that was put before [`Storage::sync`].
    fn put_pointer(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Puts a small file if there is none at this path: false if there is one. Of several callers one succeeds.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool, StorageError>;

    /// Writes the content of a file to `out`; false if there is none.
    fn get(&self, path: &str, out: &mut dyn Write) -> Result<bool, StorageError>;

    /// The size of a file in bytes; `None` if there is none.
    fn size(&self, path: &str) -> Result<Option<u64>, StorageError>;

    /// Tells `visit` every file whose path begins with `prefix`, in no order. Temporary files are not told.
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Listed)) -> Result<(), StorageError>;

    /// Deletes a file; false if there was none.
    fn delete(&self, path: &str) -> Result<bool, StorageError>;

    /// Deletes files, there or not; an error may leave some of them.
    fn delete_all(&self, paths: &[String]) -> Result<(), StorageError> {
        paths.iter().try_for_each(|path| self.delete(path).map(drop))
    }

    /// Waits until everything that was put would survive a crash of the machine.
    fn sync(&self) -> Result<(), StorageError>;

    /// Keeps other publishers away until the guard is dropped, or some time after this process died. `owner` is what they
    /// are told.
    fn lock(&self, owner: &str) -> Result<Box<dyn Lock>, StorageError>;

    /// The URL at which clients find the repository, if they may read it.
    fn url(&self) -> String;

    /// How many threads put objects best.
    fn parallel(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// Held by the one publisher.
pub trait Lock: Send {}

/// Time between two looks whether another publisher is done.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Does something that needs the lock; tries again for so long if another publisher is at work.
pub fn patiently<T>(patience: Duration, mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let last_try = Instant::now() + patience;
    loop {
        match attempt() {
            Err(error) if is_locked(&error) && Instant::now() < last_try => std::thread::sleep(BETWEEN_TRIES),
            outcome => return outcome,
        }
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StorageError::Locked { .. }))
}

/// Reads a small file into memory; `None` if there is none. At most `limit` bytes are accepted.
pub fn read_small(storage: &dyn Storage, path: &str, limit: usize) -> Result<Option<Vec<u8>>, StorageError> {
    if let Some(size) = storage.size(path)?
        && size > limit as u64
    {
        return Err(StorageError::TooLarge { path: path.to_owned(), size, limit });
    }
    let mut bytes = Vec::new();
    Ok(storage.get(path, &mut bytes)?.then_some(bytes))
}

/// The path of an object.
pub fn object_path(name: &ObjectName) -> String {
    name.path().trim_start_matches('/').to_owned()
}

/// The object that lies at a path; `None` if no object of a kind that is known does.
pub fn object_at(path: &str) -> Option<ObjectName> {
    let (directory, name) = path.strip_prefix("data/")?.split_once('/')?;
    let (hash, kind) = match name.as_bytes().last()? {
        b'P' => (&name[..name.len() - 1], ObjectKind::Partial),
        b'C' => (&name[..name.len() - 1], ObjectKind::Catalog),
        b'H' => (&name[..name.len() - 1], ObjectKind::History),
        b'X' => (&name[..name.len() - 1], ObjectKind::Certificate),
        b'M' => (&name[..name.len() - 1], ObjectKind::MetaInfo),
        _ => (name, ObjectKind::File),
    };
    let object = ObjectName::new(format!("{directory}{hash}").parse().ok()?, kind);
    (object_path(&object) == path).then_some(object)
}

/// Opens the storage that a command line names: a directory, which is made if absent, or `s3://BUCKET/PREFIX`.
pub fn open(place: &str) -> Result<Arc<dyn Storage>, StorageError> {
    match place.split_once("://") {
        Some(("file", path)) => Ok(Arc::new(LocalStorage::open(Path::new(path))?)),
        Some(("s3", _)) => Ok(Arc::new(S3Storage::open(place)?)),
        Some((scheme, _)) => Err(StorageError::UnknownScheme(scheme.to_owned())),
        None => Ok(Arc::new(LocalStorage::open(Path::new(place))?)),
    }
}
