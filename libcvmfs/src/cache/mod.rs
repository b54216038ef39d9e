//! The content-addressed store on disk.
//!
//! A cache directory looks to the official client like one of its own, and what belongs only to this library lies
//! beside that in `local/`:
//!
//! ```text
//! <cache>/ab/cdef…[-rmd160|-shake128]   plain content, named by the hash of the stored object
//! <cache>/txn/                          objects on their way in
//! <cache>/quarantaine/                  objects whose size was wrong (official spelling)
//! <cache>/cvmfschecksum.<fqrn>          breadcrumb: the newest root catalog seen
//! <cache>/local/indexes/ab/…            flat catalog indexes, named like their catalog
//! <cache>/local/assembled/ab/…          chunked files put together
//! <cache>/local/letters/<fqrn>/…        manifest, whitelist, certificate as they arrived
//! <cache>/local/digests                 BLAKE3 of the plain bytes of everything that came in
//! <cache>/local/gauge                   bytes in use, as far as is known
//! <cache>/local/locks/                  one file per object being fetched
//! ```
//!
//! Rules every part keeps:
//!
//! * An object appears by `rename`, whole, or not at all. No lock is needed for that; locks only spare double
//!   downloads, so a file system without them (NFS, Lustre) costs bandwidth and never an error.
//! * Names below the cache are reached from its descriptor, never through a symbolic link.
//! * Eviction only unlinks: whoever has an object open keeps it.

mod capability;
mod digest_log;
mod directory;
mod error;
mod find;
mod fsck;
mod key;
mod letter;
mod map;
mod open;
mod quota;
mod settings;
mod single_flight;
mod transaction;
mod writing;

pub use capability::Capabilities;
pub use error::{CacheError, FetchError};
pub use find::{CachedFile, Found, Verdict};
pub use fsck::{Damage, Damaged, FsckOptions, FsckProgress, ReadData, Report};
pub use key::{Key, Namespace};
pub use letter::Breadcrumb;
pub use map::Mapping;
pub use open::is_managed_by_official_client;
pub use quota::{Status, Trimmed, Usage};
pub use settings::{Durability, Expected, Locks, Mode, Settings};
pub use transaction::Transaction;

use digest_log::DigestLog;
use directory::Dir;
use std::sync::atomic::AtomicU32;

type EvictionHook = Box<dyn Fn(&Key) + Send + Sync>;

/// An open cache: the directory written to and the read-only ones consulted behind it.
///
/// Any number of threads and processes may use the same directory at the same time.
pub struct Cache {
    settings: Settings,
    mode: Mode,
    top: Layer,
    lower: Vec<Layer>,
    digests: DigestLog,
    flights: single_flight::Flights,
    capabilities: once_cell::sync::OnceCell<Capabilities>,
    eviction_hook: once_cell::sync::OnceCell<EvictionHook>,
    futile_cleanup: parking_lot::Mutex<Option<std::time::Instant>>,
    opens: AtomicU32,
    temporaries: AtomicU32,
    writing: writing::Writing,
}

/// One directory with objects, and the `local` directory that goes with it.
struct Layer {
    objects: Dir,
    local: Option<Dir>,
    /// Closed to others, so that what lies there is what we wrote.
    own_objects: bool,
    own_local: bool,
}

impl Layer {
    fn dir(&self, namespace: Namespace) -> Option<&Dir> {
        match namespace {
            Namespace::Objects => Some(&self.objects),
            Namespace::Indexes | Namespace::Assembled => self.local.as_ref(),
        }
    }

    fn own(&self, namespace: Namespace) -> bool {
        match namespace {
            Namespace::Objects => self.own_objects,
            Namespace::Indexes | Namespace::Assembled => self.own_local,
        }
    }
}

impl Cache {
    /// The settings the cache was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How the cache is used; [`Mode::ReadOnly`] although [`Mode::Private`] was asked for if an official client
    /// manages the directory.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Registers what is to happen after an object was evicted (a view drops its link to it, say). The first
    /// registration counts; returns whether this was it.
    pub fn on_evict(&self, hook: impl Fn(&Key) + Send + Sync + 'static) -> bool {
        self.eviction_hook.set(Box::new(hook)).is_ok()
    }

    /// Where this user's own files beside the objects lie; `None` if there is no place to write.
    pub fn workspace(&self) -> Option<&std::path::Path> {
        self.local().filter(|_| self.top.own_local).map(Dir::path)
    }

    fn local(&self) -> Option<&Dir> {
        self.top.local.as_ref()
    }

    /// The directory in which files of this kind are written, if there is one.
    fn writable(&self, namespace: Namespace) -> Result<&Dir, CacheError> {
        let allowed = self.mode != Mode::ReadOnly || (namespace != Namespace::Objects && self.top.own_local);
        let writable = allowed && !self.writing.has_stopped();
        let dir = self.top.dir(namespace).filter(|_| writable);
        dir.ok_or_else(|| CacheError::ReadOnly { path: self.top.objects.path().into() })
    }

    fn quota(&self) -> Option<u64> {
        self.settings.quota_limit_bytes.filter(|_| self.mode == Mode::Private)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("directory", &self.top.objects.path()).field("mode", &self.mode).finish()
    }
}
