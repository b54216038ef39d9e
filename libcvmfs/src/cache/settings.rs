use std::path::PathBuf;
use std::time::Duration;

/// What to open and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cache directory; created if absent, except in [`Mode::ReadOnly`].
    pub directory: PathBuf,
    /// Where `local/` lies if not in the cache directory: needed where that is read-only or shared.
    pub workspace: Option<PathBuf>,
    /// Whose directory it is.
    pub mode: Mode,
    /// Upper limit of the bytes kept (`CVMFS_QUOTA_LIMIT`); `None`: nothing is ever removed. Only a private cache
    /// has one. Reaching it, the least recently used objects go until half of it is in use.
    pub quota_limit_bytes: Option<u64>,
    /// Bytes of the file system a cache with a quota leaves to others, at most a twentieth of it. As many it keeps itself, whatever
    /// others take.
    pub free_reserve_bytes: u64,
    /// Preloaded or foreign caches, consulted in this order for what the directory lacks, never written.
    pub lower: Vec<PathBuf>,
    /// Users besides root and ourselves whose caches are believed.
    pub trusted_owners: Vec<u32>,
    /// What is forced to disk before an object appears under its name.
    pub durability: Durability,
    /// Whether locks may be used to spare double downloads.
    pub locks: Locks,
    /// How long a fetch by another process may show no progress before it is done twice.
    pub patience: Duration,
    /// Check the content of every n-th file opened (up to 1 MiB) against its recorded digest.
    pub sample_every: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            directory: PathBuf::from("/var/lib/cvmfs"),
            workspace: None,
            mode: Mode::Private,
            quota_limit_bytes: Some(4000 << 20),
            free_reserve_bytes: 256 << 20,
            lower: Vec::new(),
            trusted_owners: Vec::new(),
            durability: Durability::Unsized,
            locks: Locks::On,
            patience: Duration::from_secs(60),
            sample_every: None,
        }
    }
}

/// Whose directory the cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Ours alone: closed to other users, with quota.
    Private,
    /// Shared with other users and hosts (`CVMFS_ALIEN_CACHE`): group-writable, without quota. Whoever can write
    /// to it can plant content, so sharing it is a decision to trust.
    Alien,
    /// Written by somebody else, possibly on a read-only file system.
    ReadOnly,
}

/// What is forced to disk before an object appears under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: after a power failure objects may be short, which the size check and `fsck` find.
    None,
    /// What has no expected size that would betray a short file: catalogs and indexes.
    Unsized,
    /// Everything.
    All,
}

/// Whether locks may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// Use them where the file system has them.
    On,
    /// Behave as on a file system without locks.
    Off,
}

/// What is known of an object before it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// Plain bytes, from the catalog. Anything else is damage.
    pub size: Option<u64>,
    /// Of a volatile repository: evicted before everything else.
    pub volatile: bool,
    /// Not to be evicted while the returned file is open.
    pub pin: bool,
}

impl Expected {
    /// Of this many plain bytes, otherwise ordinary.
    pub fn size(bytes: u64) -> Expected {
        Expected { size: Some(bytes), ..Expected::default() }
    }
}
