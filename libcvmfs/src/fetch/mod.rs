//! Objects by name: from the cache if it has them, else over the transport, verified on the way in.

mod assemble;
mod index;

pub use index::is_intact_index;

use crate::Error;
use crate::cache::{self, Cache, CachedFile, FetchError, Key, Transaction};
use crate::hash::ContentHash;
use crate::object::decode::{Decoder, Expected, Output, SmallBody};
use crate::object::{Compression, ObjectKind, ObjectName, Receiver};
use crate::patience;
use crate::snapshot::{Chunk, Content, Parts};
use crate::transport::{Request, Transport};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The manifest's place below the repository base URL.
pub const MANIFEST_PATH: &str = "/.cvmfspublished";
/// The whitelist's place.
pub const WHITELIST_PATH: &str = "/.cvmfswhitelist";

/// Upper bounds on what is accepted from a server, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Manifest and whitelist.
    pub letter: usize,
    /// Plain size of a certificate or of meta information.
    pub small_object: u64,
    /// Plain size of a catalog or history database whose size nobody announces.
    pub metadata: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { letter: 64 << 10, small_object: 64 << 10, metadata: 4 << 30 }
    }
}

/// Counts what happened since the repository was mounted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Files opened.
    pub opened: AtomicU64,
    /// Objects found in the cache.
    pub hits: AtomicU64,
    /// Objects that had to be fetched.
    pub misses: AtomicU64,
    /// Operations that ended in an input/output error.
    pub errors: AtomicU64,
    /// Time of the last such error, in seconds since 1970.
    pub last_error: AtomicU64,
}

/// Fetches objects of one repository into a cache.
pub struct Fetcher {
    transport: Arc<Transport>,
    external: Option<Arc<Transport>>,
    cache: Arc<Cache>,
    limits: Limits,
    counters: Counters,
    alternative: Mutex<HashSet<ObjectName>>,
}

/// An object to fetch, with everything that is known of it.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    expected: Expected,
    path: &'a [u8],
    label: &'a str,
    range: Option<(u64, u64)>,
    external: bool,
}

impl Fetcher {
    /// Puts transport and cache together. `external` serves files that lie outside of the repository.
    pub fn new(transport: Arc<Transport>, external: Option<Arc<Transport>>, cache: Arc<Cache>) -> Fetcher {
        Fetcher {
            transport,
            external,
            cache,
            limits: Limits::default(),
            counters: Counters::default(),
            alternative: Mutex::default(),
        }
    }

    /// The transport for the repository's own objects.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The transport for external files.
    pub fn external_transport(&self) -> Option<&Transport> {
        self.external.as_deref()
    }

    /// Asks these name servers from now on, or those of the machine if there are none.
    pub fn set_name_servers(&self, servers: &[SocketAddr]) {
        for transport in std::iter::once(&self.transport).chain(&self.external) {
            transport.set_name_servers(servers);
        }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Looks for this object in the repository's root directory first, where bootstrap objects may have a copy.
    pub fn prefer_alternative_path(&self, name: ObjectName) {
        self.alternative.lock().insert(name);
    }

    /// A document that changes, always from a server: the host that sent it, and its bytes.
    pub fn letter(&self, path: &str) -> Result<(String, Vec<u8>), Error> {
        let mut body = SmallBody::new(path, self.limits.letter);
        let request = Request::new(path, self.limits.letter as u64).with_label(path);
        let fetched = self.transport.fetch(&request, &mut body)?;
        Ok((fetched.host, body.into_bytes()))
    }

    /// A certificate or meta information, plain.
    pub fn small_object(&self, name: ObjectName, has_alternative: bool) -> Result<Vec<u8>, Error> {
        if has_alternative {
            self.prefer_alternative_path(name);
        }
        let file = self.bounded(name, self.limits.small_object)?;
        read_whole(&file)
    }

    /// A catalog or history database, plain: its path in the cache.
    pub fn metadata(&self, name: ObjectName) -> Result<CachedFile, Error> {
        self.bounded(name, self.limits.metadata)
    }

    /// The published catalog, exactly as large as announced.
    pub fn catalog(&self, hash: ContentHash, size: Option<u64>) -> Result<CachedFile, Error> {
        let name = ObjectName::new(hash, ObjectKind::Catalog);
        match size {
            Some(size) => self.object(Expected::sized(name, Compression::Zlib, size), "catalog"),
            None => self.metadata(name),
        }
    }

    fn bounded(&self, name: ObjectName, limit: u64) -> Result<CachedFile, Error> {
        self.object(Expected::bounded(name, Compression::Zlib, limit), "")
    }

    /// Any object of the repository.
    pub fn object(&self, expected: Expected, label: &str) -> Result<CachedFile, Error> {
        let name = expected.name;
        let path = name.path();
        let wanted = Wanted { expected, path: path.as_bytes(), label, range: None, external: false };
        if self.alternative.lock().contains(&name) {
            let path = name.alternative_path();
            match self.cached(&Wanted { path: path.as_bytes(), ..wanted }, false) {
                Err(Error::Transport(error)) if error.is_not_found() => {}
                outcome => return outcome,
            }
        }
        self.cached(&wanted, false)
    }

    /// A descriptor of a regular file's plain bytes.
    pub fn open(&self, content: &Content) -> Result<File, Error> {
        self.counters.opened.fetch_add(1, Ordering::Relaxed);
        let file = self.file(content).inspect_err(|error| {
            if matches!(error, Error::WouldWait) {
                return;
            }
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
            self.counters.last_error.store(crate::trust::unix_now(), Ordering::Relaxed);
            log::warn!("{}: {error}", String::from_utf8_lossy(&content.path));
        })?;
        Ok(file.file)
    }

    /// A regular file in the cache, put together if it is stored in chunks.
    pub fn file(&self, content: &Content) -> Result<CachedFile, Error> {
        let label = String::from_utf8_lossy(&content.path);
        match &content.parts {
            Parts::Whole(hash) => {
                let name = ObjectName::new(*hash, ObjectKind::File);
                let expected = Expected::sized(name, content.compression, content.size);
                let path = name.path();
                let path = if content.external { &content.path } else { path.as_bytes() };
                let wanted = Wanted { expected, path, label: &label, range: None, external: content.external };
                self.cached(&wanted, content.volatile)
            }
            Parts::Chunks(chunks) => self.assembled(content, chunks, &label),
        }
    }

    /// Whether a regular file is in the cache, whole.
    pub fn has(&self, content: &Content) -> Result<bool, Error> {
        Ok(self.cache.find(&Fetcher::key(content), Some(content.size))?.is_some())
    }

    /// What a regular file is called in the cache.
    pub fn key(content: &Content) -> Key {
        match &content.parts {
            Parts::Whole(hash) => Key::Object(*hash),
            Parts::Chunks(chunks) => assemble::key(content, chunks),
        }
    }

    /// The chunks of a file; none if it is stored in one piece.
    pub fn chunks(content: &Content) -> &[Chunk] {
        match &content.parts {
            Parts::Whole(_) => &[],
            Parts::Chunks(chunks) => chunks,
        }
    }

    /// One chunk of a file as an object of its own, as official clients keep it.
    pub fn chunk_object(&self, content: &Content, chunk: &Chunk) -> Result<CachedFile, Error> {
        let label = String::from_utf8_lossy(&content.path);
        let name = ObjectName::new(chunk.hash, ObjectKind::Partial);
        let expected = Expected::sized(name, content.compression, chunk.size);
        let path = name.path();
        let wanted = Wanted { expected, path: path.as_bytes(), label: &label, range: None, external: false };
        self.cached(&wanted, content.volatile)
    }

    fn cached(&self, wanted: &Wanted<'_>, volatile: bool) -> Result<CachedFile, Error> {
        let expected = cache::Expected { size: wanted.expected.plain_size, volatile, pin: false };
        let key = Key::Object(wanted.expected.name.hash);
        // The common case by itself: a hit needs neither locks nor bookkeeping.
        if let Some(found) = self.cache.find(&key, expected.size)? {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(found);
        }
        patience::wait()?;
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        let filled = self.cache.fetch(&key, expected, |transaction| self.download_into(wanted, transaction));
        filled.map_err(fetch_error)
    }

    fn download_into(&self, wanted: &Wanted<'_>, transaction: &mut Transaction<'_>) -> Result<(), Error> {
        std::thread::scope(|scope| {
            let mut decoder = Decoder::threaded(scope, wanted.expected, transaction);
            self.download(wanted, &mut decoder)
        })
    }

    fn download(&self, wanted: &Wanted<'_>, receiver: &mut dyn Receiver) -> Result<(), Error> {
        let transport = match (&self.external, wanted.external) {
            (Some(external), true) => external,
            (None, true) => {
                return Err(Error::Setting {
                    parameter: "CVMFS_EXTERNAL_URL",
                    reason: format!("not set, and {} is an external file", wanted.label),
                });
            }
            (_, false) => &self.transport,
        };
        let request = Request {
            range: wanted.range,
            ..Request::new(wanted.path, wanted.expected.stored_limit)
                .with_hash(&wanted.expected.name.hash)
                .with_label(wanted.label)
        };
        transport.fetch(&request, receiver)?;
        Ok(())
    }
}

fn fetch_error(error: FetchError<Error>) -> Error {
    match error {
        FetchError::Cache(error) => Error::Cache(error),
        FetchError::Fill(error) => error,
    }
}

/// Bytes that could not be written although the cache itself has nothing to say about it.
fn not_stored(name: &str, source: std::io::Error) -> Error {
    Error::Cache(cache::CacheError::Io { path: name.into(), action: "storing", source })
}

fn read_whole(found: &CachedFile) -> Result<Vec<u8>, Error> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; usize::try_from(found.size).unwrap_or(0)];
    found.file.read_exact_at(&mut bytes, 0).map_err(|source| {
        Error::Cache(cache::CacheError::Io { path: found.path.clone(), action: "reading", source })
    })?;
    Ok(bytes)
}

impl Output for Transaction<'_> {
    fn reset(&mut self) -> std::io::Result<()> {
        self.restart()
    }
}
