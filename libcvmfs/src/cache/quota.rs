//! Bytes in use, and what goes when there are too many.
//!
//! Without a daemon: `local/gauge` holds the sum, kept under a lock as far as there are locks, and set right by
//! every scan of the directory. Access times order the objects, a lock on an open object pins it.

use super::open::QUARANTINE;
use super::{Cache, CacheError, Capabilities, Key, Mode, Namespace};
use log::{info, warn};
use rustix::fs::{FileType, FlockOperation};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) const GAUGE: &str = "gauge";
/// Objects from this size on make room before their download begins.
const LARGE: u64 = 25 << 20;
/// A scan's result is believed this long, in seconds.
const SCAN_LASTS: u64 = 24 * 3600;
/// How long not to look again after a cleanup could not reach its aim.
const FUTILE: Duration = Duration::from_secs(60);

/// Files and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Number of files.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
}

/// What a cache holds and can do.
#[derive(Debug, Clone)]
pub struct Status {
    /// The cache directory.
    pub directory: PathBuf,
    /// How it is used.
    pub mode: Mode,
    /// The quota limit in bytes, if there is one.
    pub limit_bytes: Option<u64>,
    /// Everything together.
    pub used: Usage,
    /// By kind of file.
    pub by_namespace: BTreeMap<Namespace, Usage>,
    /// Files held by this or another process.
    pub pinned: Usage,
    /// Bytes free on the file system.
    pub free_bytes: u64,
    /// What the file system can do.
    pub capabilities: Capabilities,
}

/// What a cleanup did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// What was removed.
    pub removed: Usage,
    /// Bytes still in use.
    pub remaining_bytes: u64,
}

/// One cached file as found by a scan.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) size: u64,
    accessed: (i64, u64),
}

impl Cache {
    /// The most that what has this key may take.
    pub(super) fn largest(&self, key: &Key) -> u64 {
        match key {
            // Whoever does without putting it together reads a file of any size chunk by chunk.
            Key::Assembled(_) => u64::MAX,
            Key::Object(_) | Key::Index(_) => self.half(),
        }
    }

    /// What a cleanup leaves room for.
    fn half(&self) -> u64 {
        self.quota().map_or(u64::MAX, |limit| limit - limit / 2)
    }

    /// Before a download: refuses what can never fit, makes room for what is large.
    pub(super) fn prepare_for(&self, key: &Key, size: Option<u64>) -> Result<(), CacheError> {
        let Some(size) = size else { return Ok(()) };
        let limit = self.largest(key);
        if size > limit {
            return Err(CacheError::TooLarge { key: *key, size, limit });
        }
        if size > self.half() {
            warn!(
                "{}: a file of {size} bytes, more than half of the quota: the cache may be larger than its limit while it is used",
                self.top.objects.path().display()
            );
        }
        if size < LARGE {
            return Ok(());
        }
        self.make_room(size)?;
        let dir = self.writable(key.namespace())?;
        // Better now than after most of the download.
        match dir.space() {
            Ok((free, _)) if free < size => Err(CacheError::DiskFull { path: dir.path().join(key.relative()), free }),
            _ => Ok(()),
        }
    }

    /// Counts a file that is about to appear, and makes room for it.
    pub(super) fn count(&self, size: u64) -> Result<(), CacheError> {
        self.make_room(size)?;
        if self.quota().is_some() {
            self.adjust(size as i64);
        }
        Ok(())
    }

    fn make_room(&self, incoming: u64) -> Result<(), CacheError> {
        let Some(limit) = self.quota() else { return Ok(()) };
        let used = self.adjust(0);
        let (deficit, reserve) = self.space_deficit(incoming);
        let over_limit = used.saturating_add(incoming) > limit;
        // Where others have filled the disk, all that goes is theirs at once: what is used every moment stays.
        let spared = used.saturating_sub(deficit).max(reserve.min(used));
        if !over_limit && spared == used {
            return Ok(());
        }
        if self.futile_cleanup.lock().is_some_and(|last| last.elapsed() < FUTILE) {
            return Ok(());
        }
        let threshold = if over_limit { (limit / 2).min(limit.saturating_sub(incoming)) } else { used };
        let target = threshold.min(spared);
        let trimmed = self.trim(target)?;
        if trimmed.remaining_bytes > target {
            *self.futile_cleanup.lock() = Some(Instant::now());
            if trimmed.remaining_bytes.saturating_add(incoming) > limit {
                warn!(
                    "{}: {} bytes in use after cleanup, the limit is {limit}: the rest is pinned",
                    self.top.objects.path().display(),
                    trimmed.remaining_bytes
                );
            }
        }
        Ok(())
    }

    /// The last resort of a write that found the disk full; whether something was removed.
    pub(super) fn make_room_on_full_disk(&self) -> bool {
        if self.quota().is_none() {
            return false;
        }
        let used = self.adjust(0);
        self.trim(used / 2).is_ok_and(|t| t.removed.bytes > 0)
    }

    /// Bytes that are not free although they should be, and how many should be.
    fn space_deficit(&self, incoming: u64) -> (u64, u64) {
        let Ok((free, total)) = self.top.objects.space() else { return (0, 0) };
        let reserve = self.settings.free_reserve_bytes.min(total / 20);
        (incoming.saturating_add(reserve).saturating_sub(free), reserve)
    }

    /// Removes the least recently used files, those of volatile repositories first, until at most `target_bytes`
    /// are in use. Pinned files stay, and files that are open stay readable.
    pub fn trim(&self, target_bytes: u64) -> Result<Trimmed, CacheError> {
        self.writable(Namespace::Objects)?;
        let _lock = self.lock_among_processes("cleanup", || false);
        let before = self.adjust(0);
        let mut entries = self.scan()?;
        let mut used: u64 = entries.iter().map(|e| e.size).sum();
        let mut removed = Usage::default();
        self.empty_quarantine();
        if used > target_bytes {
            let digests = self.local().and_then(|local| self.digests.all(local).ok()).unwrap_or_default();
            let keep_longer = |e: &Entry| !digests.get(&e.key).is_some_and(|d| d.volatile);
            entries.sort_by_cached_key(|e| (keep_longer(e), e.accessed));
            for entry in entries {
                if used <= target_bytes {
                    break;
                }
                if self.remove_unpinned(&entry.key)? {
                    used -= entry.size;
                    removed.files += 1;
                    removed.bytes += entry.size;
                }
            }
            info!(
                "{}: removed {} files of {} bytes, {used} bytes left",
                self.top.objects.path().display(),
                removed.files,
                removed.bytes
            );
            self.forget_digests();
        }
        // Others went on counting meanwhile.
        self.set_gauge(|now| used.saturating_add(now.saturating_sub(before)));
        Ok(Trimmed { removed, remaining_bytes: used })
    }

    /// Removes one file, pinned or not; whether it was there.
    pub fn evict(&self, key: &Key) -> Result<bool, CacheError> {
        let dir = self.writable(key.namespace())?;
        let name = key.relative();
        let failed = |e| CacheError::from_io(&dir.path().join(&name), "removing", e);
        let Some(stat) = dir.stat(&name).map_err(failed)? else { return Ok(false) };
        let removed = dir.unlink(&name).map_err(failed)?;
        if removed {
            self.adjust(-stat.st_size);
            self.evicted(key);
        }
        Ok(removed)
    }

    /// Removes every object, index and assembled file that nobody has pinned.
    ///
    /// Letters and breadcrumbs stay: they are the memory that protects against being served an older repository.
    pub fn wipe(&self) -> Result<Trimmed, CacheError> {
        self.trim(0)
    }

    /// What the cache holds, by reading all its directories.
    pub fn status(&self) -> Result<Status, CacheError> {
        let mut by_namespace: BTreeMap<Namespace, Usage> =
            Namespace::ALL.into_iter().map(|n| (n, Usage::default())).collect();
        let (mut used, mut pinned) = (Usage::default(), Usage::default());
        for entry in self.scan()? {
            let count = |usage: &mut Usage| {
                usage.files += 1;
                usage.bytes += entry.size;
            };
            count(by_namespace.entry(entry.key.namespace()).or_default());
            count(&mut used);
            if self.is_pinned(&entry.key) {
                count(&mut pinned);
            }
        }
        Ok(Status {
            directory: self.top.objects.path().to_path_buf(),
            mode: self.mode,
            limit_bytes: self.quota(),
            used,
            by_namespace,
            pinned,
            free_bytes: self.top.objects.space().map_or(0, |(free, _)| free),
            capabilities: self.capabilities().clone(),
        })
    }

    /// Every properly named regular file.
    pub(super) fn scan(&self) -> Result<Vec<Entry>, CacheError> {
        let mut entries = Vec::new();
        for namespace in Namespace::ALL {
            let Some(dir) = self.top.dir(namespace) else { continue };
            let failed = |e| CacheError::from_io(dir.path(), "listing", e);
            for prefix in 0..=255u8 {
                let prefix = format!("{prefix:02x}");
                let folder = format!("{}{prefix}", namespace.folder());
                for (name, kind) in dir.list(&folder).map_err(failed)? {
                    let regular = matches!(kind, FileType::RegularFile | FileType::Unknown);
                    let Some(name) = name.to_str().filter(|_| regular) else { continue };
                    let Some(key) = Key::parse(namespace, &prefix, name) else { continue };
                    let Ok(Some(stat)) = dir.stat(format!("{folder}/{name}")) else { continue };
                    let accessed = (stat.st_atime, stat.st_atime_nsec);
                    entries.push(Entry { key, size: stat.st_size as u64, accessed });
                }
            }
        }
        Ok(entries)
    }

    fn remove_unpinned(&self, key: &Key) -> Result<bool, CacheError> {
        let Some(dir) = self.top.dir(key.namespace()) else { return Ok(false) };
        let name = key.relative();
        // Held until the name is gone: who pins later sees that.
        let Some(_file) = self.open_unpinned(key) else { return Ok(false) };
        let removed = dir.unlink(&name).map_err(|e| CacheError::from_io(&dir.path().join(&name), "removing", e))?;
        if removed {
            self.evicted(key);
        }
        Ok(removed)
    }

    fn open_unpinned(&self, key: &Key) -> Option<File> {
        let file = self.top.dir(key.namespace())?.read(key.relative()).ok()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => None,
            // Where there are no locks there are no pins.
            _ => Some(file),
        }
    }

    fn is_pinned(&self, key: &Key) -> bool {
        let dir = self.top.dir(key.namespace());
        let Some(file) = dir.and_then(|dir| dir.read(key.relative()).ok()) else { return false };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
    }

    fn evicted(&self, key: &Key) {
        if let Some(hook) = self.eviction_hook.get() {
            hook(key);
        }
    }

    fn empty_quarantine(&self) {
        for (name, _) in self.top.objects.list(QUARANTINE).unwrap_or_default() {
            let _ = self.top.objects.unlink(std::path::Path::new(QUARANTINE).join(name));
        }
    }

    /// Drops the digests of what is gone.
    pub(super) fn forget_digests(&self) {
        let writable = self.top.own_local && !self.writing.has_stopped();
        let Some(local) = self.local().filter(|_| writable) else { return };
        let exists = |key: &Key| {
            let dir = self.top.dir(key.namespace());
            dir.is_some_and(|dir| dir.stat(key.relative()).is_ok_and(|s| s.is_some()))
        };
        if let Err(e) = self.digests.compact(local, &self.temporary_name(), exists) {
            warn!("{}: rewriting the digests: {e}", local.path().display());
        }
    }

    /// Adds to the gauge and returns it; a gauge that is missing, damaged or old is set by a scan first.
    fn adjust(&self, delta: i64) -> u64 {
        self.set_gauge(|now| now.saturating_add_signed(delta))
    }

    fn set_gauge(&self, change: impl FnOnce(u64) -> u64) -> u64 {
        let Some(local) = self.local().filter(|_| self.quota().is_some()) else { return 0 };
        let attempt = || -> io::Result<u64> {
            let file = local.update(GAUGE, 0o600)?;
            if self.locks_allowed() {
                let _ = rustix::fs::flock(&file, FlockOperation::LockExclusive);
            }
            let mut gauge = match Gauge::read(&file) {
                Some(gauge) => gauge,
                None => Gauge { used: self.scan().map_or(0, |s| s.iter().map(|e| e.size).sum()), scanned: now() },
            };
            gauge.used = change(gauge.used);
            file.write_all_at(&gauge.encode(), 0)?;
            Ok(gauge.used)
        };
        attempt().unwrap_or_else(|e| {
            warn!("{}: {e}", local.path().join(GAUGE).display());
            0
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gauge {
    used: u64,
    scanned: u64,
}

impl Gauge {
    fn encode(self) -> [u8; 24] {
        let mut out = [0u8; 24];
        out[..8].copy_from_slice(&self.used.to_le_bytes());
        out[8..16].copy_from_slice(&self.scanned.to_le_bytes());
        let check = blake3::hash(&out[..16]);
        out[16..].copy_from_slice(&check.as_bytes()[..8]);
        out
    }

    fn read(file: &File) -> Option<Gauge> {
        let mut bytes = [0u8; 24];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("24 bytes were read"));
        let gauge = Gauge { used: number(0), scanned: number(8) };
        let fresh = now().abs_diff(gauge.scanned) < SCAN_LASTS;
        (gauge.encode() == bytes && fresh).then_some(gauge)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
