use super::directory::{Dir, Spelled};
use super::open::QUARANTINE;
use super::{Cache, CacheError, Key, Layer, Locks, Mode};
use log::warn;
use rustix::fs::{FileType, FlockOperation, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

/// Files up to this size are checked on the spot when sampling.
const LARGEST_SAMPLE: u64 = 1 << 20;
/// Access times are kept this coarse, so that a hit seldom writes.
const ACCESS_TIME_GRAIN: i64 = 3600;

/// A cached file, open for reading.
#[derive(Debug)]
pub struct CachedFile {
    /// Opened read-only, closed on exec. Stays readable when the object is evicted.
    pub file: File,
    /// Where it was opened.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// Where it came from.
    pub found: Found,
}

/// Where a cached file came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was in a directory that only we write: mode 0555, may be hard-linked and executed.
    Own,
    /// It was in a shared or foreign directory.
    Foreign,
    /// It was fetched by this call.
    Fetched,
}

/// How a file's content compares with the digest recorded when it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the same.
    Intact,
    /// No digest was recorded: it came from somebody else, or before a crash.
    Unverified,
    /// It is not what came in.
    Damaged,
}

impl CachedFile {
    /// Keeps the object from being evicted as long as [`CachedFile::file`] is open. On file systems without locks
    /// the object can still be evicted, which costs another fetch and nothing else. Returns whether it is pinned.
    pub fn pin(&self) -> bool {
        rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockShared).is_ok()
    }
}

impl Cache {
    /// Looks for a file, in the cache itself and then in the caches behind it.
    ///
    /// What is there but cannot be right (no regular file, another size than `expected_size`, a failed sample) is
    /// put aside and counts as absent.
    pub fn find(&self, key: &Key, expected_size: Option<u64>) -> Result<Option<CachedFile>, CacheError> {
        for (depth, layer) in std::iter::once(&self.top).chain(&self.lower).enumerate() {
            let Some(dir) = layer.dir(key.namespace()) else { continue };
            let spelled = dir.spell(key);
            match dir.read(spelled.relative()) {
                Ok(file) => {
                    if let Some(found) = self.examine(depth == 0, layer, dir, key, spelled, file, expected_size)? {
                        return Ok(Some(found));
                    }
                }
                Err(Errno::NOENT) => {}
                Err(Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::XDEV) => {
                    self.put_aside(depth == 0, dir, key, spelled.relative().as_ref(), "not a regular file")
                }
                Err(e) if depth == 0 => {
                    return Err(CacheError::from_io(&spelled.into_path(), "opening", e.into()));
                }
                Err(e) => warn!("{}: {e}", spelled.into_path().display()),
            }
        }
        Ok(None)
    }

    #[expect(clippy::too_many_arguments, reason = "one step of find, split for reading")]
    fn examine(
        &self,
        top: bool,
        layer: &Layer,
        dir: &Dir,
        key: &Key,
        spelled: Spelled,
        file: File,
        expected: Option<u64>,
    ) -> Result<Option<CachedFile>, CacheError> {
        let stat = match rustix::fs::fstat(&file) {
            Ok(stat) => stat,
            Err(e) => return Err(CacheError::from_io(&spelled.into_path(), "examining", e.into())),
        };
        let own = layer.own(key.namespace());
        let size = stat.st_size as u64;
        let damage = if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            Some("not a regular file")
        } else if own && stat.st_mode & 0o022 != 0 {
            Some("writable by others")
        } else if expected.is_some_and(|e| e != size) {
            Some("wrong size")
        } else if self.fails_sample(key, &file, size) {
            Some("content differs from what came in")
        } else {
            None
        };
        if let Some(damage) = damage {
            self.put_aside(top, dir, key, spelled.relative().as_ref(), damage);
            return Ok(None);
        }
        if own && top && self.quota().is_some() {
            touch(&file, &stat);
        }
        let found = if own { Found::Own } else { Found::Foreign };
        Ok(Some(CachedFile { file, path: spelled.into_path(), size, found }))
    }

    /// Moves damage out of the way; in a cache that is not ours to write it stays, and is passed over.
    fn put_aside(&self, top: bool, dir: &Dir, key: &Key, name: &Path, damage: &str) {
        warn!("{}: {damage}, put aside", dir.path().join(name).display());
        if !top || self.writable(key.namespace()).is_err() {
            return;
        }
        if let Some(folder) = name.parent()
            && dir.stat(folder).is_ok_and(|s| s.is_some_and(|s| !is_directory(&s)))
        {
            let _ = dir.unlink(folder);
            return;
        }
        let moved = self.top.objects.stat(QUARANTINE).is_ok_and(|s| s.is_some())
            && std::ptr::eq(dir, &self.top.objects)
            && dir.rename(name, format!("{QUARANTINE}/{}", key.flat_name())).is_ok();
        if !moved && dir.unlink(name).is_err() {
            // A directory in place of an object, and no quarantine on the same file system.
            let _ = dir.remove_directory(name);
        }
    }

    fn fails_sample(&self, key: &Key, file: &File, size: u64) -> bool {
        let Some(every) = self.settings.sample_every.filter(|n| *n > 0) else { return false };
        if size > LARGEST_SAMPLE || !self.opens.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) {
            return false;
        }
        matches!(self.compare(key, file, size), Ok(Verdict::Damaged))
    }

    /// Reads a cached file and compares it with its recorded digest; `None` if it is not there.
    pub fn verify(&self, key: &Key) -> Result<Option<Verdict>, CacheError> {
        let Some(found) = self.find(key, None)? else { return Ok(None) };
        let verdict = self.compare(key, &found.file, found.size);
        verdict.map(Some).map_err(|e| CacheError::from_io(&found.path, "reading", e))
    }

    fn compare(&self, key: &Key, file: &File, size: u64) -> io::Result<Verdict> {
        let Some(local) = self.local() else { return Ok(Verdict::Unverified) };
        let Some(record) = self.digests.lookup(local, key)? else { return Ok(Verdict::Unverified) };
        let intact = record.size == size && digest_of(file)? == record.blake3;
        Ok(if intact { Verdict::Intact } else { Verdict::Damaged })
    }

    pub(super) fn locks_allowed(&self) -> bool {
        self.settings.locks == Locks::On
    }

    pub(super) fn file_mode(&self, key: &Key) -> u32 {
        match (self.mode, key) {
            (Mode::Alien, Key::Object(_)) => 0o660,
            // Programs are executed from their place in the cache.
            (_, Key::Object(_) | Key::Assembled(_)) => 0o555,
            (_, Key::Index(_)) => 0o444,
        }
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// BLAKE3 of a file from its beginning, without moving the file's offset.
pub(super) fn digest_of(file: &File) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut reader = AtOffset { file, at: 0 };
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            n => hasher.update(&buffer[..n]),
        };
    }
}

/// Reads a file without sharing its offset.
pub(super) struct AtOffset<'a> {
    pub(super) file: &'a File,
    pub(super) at: u64,
}

impl io::Read for AtOffset<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Refreshes the access time ourselves: mounts may not.
fn touch(file: &File, stat: &Stat) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    if now - stat.st_atime > ACCESS_TIME_GRAIN {
        let time = |nsec| Timespec { tv_sec: 0, tv_nsec: nsec };
        let times = Timestamps { last_access: time(UTIME_NOW), last_modification: time(UTIME_OMIT) };
        let _ = rustix::fs::futimens(file, &times);
    }
}
