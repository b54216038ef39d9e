//! What came in, by digest: the cache holds plain bytes under the hash of compressed ones, so that nothing can be
//! hashed against its name later.
//!
//! A log of records of fixed size, each with its own check sum, that any number of processes append to. A torn or
//! foreign stretch costs the records in it, never those behind it: reading looks for the next valid one.

use super::Key;
use super::directory::Dir;
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

pub(super) const DIGESTS: &str = "digests";
const RECORD: usize = 88;
const MAGIC: &[u8; 4] = b"cvD1";

/// What is recorded of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) size: u64,
    pub(super) blake3: [u8; 32],
    pub(super) volatile: bool,
}

/// Keeps a record from being dropped as that of an absent object.
pub(super) struct Appended {
    _locked: File,
}

#[derive(Default)]
pub(super) struct DigestLog(Mutex<Loaded>);

#[derive(Default)]
struct Loaded {
    identity: (u64, u64),
    read: u64,
    records: HashMap<[u8; 34], Record>,
}

impl DigestLog {
    /// Adds a record. Losing it would only leave the file unverified, so callers may go on after an error.
    ///
    /// Until the result is dropped the log is not rewritten: the record's object may not be in its place yet.
    pub(super) fn append(&self, dir: &Dir, key: &Key, record: &Record) -> io::Result<Appended> {
        loop {
            let mut file = dir.append(DIGESTS, 0o600)?;
            // Shared among writers, exclusive while the log is rewritten; without locks a rewrite may lose us.
            let _ = rustix::fs::flock(&file, FlockOperation::LockShared);
            if rustix::fs::fstat(&file)?.st_nlink == 0 {
                continue;
            }
            file.write_all(&encode(key, record))?;
            return Ok(Appended { _locked: file });
        }
    }

    /// The newest record of a key.
    pub(super) fn lookup(&self, dir: &Dir, key: &Key) -> io::Result<Option<Record>> {
        let mut loaded = self.0.lock();
        loaded.refresh(dir)?;
        Ok(loaded.records.get(&key.packed()).copied())
    }

    /// Every key's newest record.
    pub(super) fn all(&self, dir: &Dir) -> io::Result<HashMap<Key, Record>> {
        let mut loaded = self.0.lock();
        loaded.refresh(dir)?;
        Ok(loaded.records.iter().filter_map(|(packed, record)| Some((Key::unpack(packed)?, *record))).collect())
    }

    /// Rewrites the log without the keys that `keep` denies, if that makes it notably shorter and nobody is between
    /// recording an object and putting it in its place.
    pub(super) fn compact(&self, dir: &Dir, temporary: &str, keep: impl Fn(&Key) -> bool) -> io::Result<()> {
        let file = dir.update(DIGESTS, 0o600)?;
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        if locked == Err(Errno::WOULDBLOCK) || rustix::fs::fstat(&file)?.st_nlink == 0 {
            return Ok(());
        }
        let mut loaded = self.0.lock();
        loaded.refresh(dir)?;
        loaded.records.retain(|packed, _| Key::unpack(packed).is_some_and(|key| keep(&key)));
        if loaded.read < 2 * (loaded.records.len() * RECORD) as u64 + (64 << 10) {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(loaded.records.len() * RECORD);
        for (packed, record) in &loaded.records {
            bytes.extend_from_slice(&encode_packed(packed, record));
        }
        dir.replace(DIGESTS, temporary, &bytes, 0o600)
    }
}

impl Loaded {
    fn refresh(&mut self, dir: &Dir) -> io::Result<()> {
        let mut file: File = match dir.read(DIGESTS) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                *self = Loaded::default();
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        let identity = (stat.st_dev, stat.st_ino);
        if identity != self.identity || (stat.st_size as u64) < self.read {
            *self = Loaded { identity, ..Loaded::default() };
        }
        if stat.st_size as u64 == self.read {
            return Ok(());
        }
        file.seek(io::SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut at = 0;
        while let Some(window) = bytes.get(at..at + RECORD) {
            match decode(window) {
                Some((packed, record)) => {
                    self.records.insert(packed, record);
                    at += RECORD;
                }
                None => at += 1,
            }
        }
        // An unfinished record at the end is looked at again when it has grown.
        self.read += at as u64;
        Ok(())
    }
}

fn encode(key: &Key, record: &Record) -> [u8; RECORD] {
    encode_packed(&key.packed(), record)
}

fn encode_packed(packed: &[u8; 34], record: &Record) -> [u8; RECORD] {
    let mut out = [0u8; RECORD];
    out[..4].copy_from_slice(MAGIC);
    out[4..38].copy_from_slice(packed);
    out[38] = u8::from(record.volatile);
    out[40..48].copy_from_slice(&record.size.to_le_bytes());
    out[48..80].copy_from_slice(&record.blake3);
    let check = blake3::hash(&out[..80]);
    out[80..].copy_from_slice(&check.as_bytes()[..8]);
    out
}

fn decode(bytes: &[u8]) -> Option<([u8; 34], Record)> {
    if !bytes.starts_with(MAGIC) || blake3::hash(&bytes[..80]).as_bytes()[..8] != bytes[80..RECORD] {
        return None;
    }
    let record = Record {
        size: u64::from_le_bytes(*bytes[40..].first_chunk()?),
        blake3: *bytes[48..].first_chunk()?,
        volatile: bytes[38] == 1,
    };
    Some((*bytes[4..].first_chunk()?, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Algorithm, Hasher};

    fn key(n: u32) -> Key {
        Key::Object(Hasher::hash(Algorithm::Sha1, &n.to_le_bytes()))
    }

    fn record(n: u32) -> Record {
        Record { size: u64::from(n), blake3: *blake3::hash(&n.to_le_bytes()).as_bytes(), volatile: n.is_multiple_of(2) }
    }

    #[test]
    fn torn_records_cost_only_themselves() {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::open(home.path()).unwrap();
        let log = DigestLog::default();
        for n in 0..3 {
            log.append(&dir, &key(n), &record(n)).unwrap();
        }
        dir.append(DIGESTS, 0o600).unwrap().write_all(&encode(&key(3), &record(3))[..50]).unwrap();
        assert_eq!(log.lookup(&dir, &key(2)).unwrap(), Some(record(2)));
        for n in 4..6 {
            log.append(&dir, &key(n), &record(n)).unwrap();
        }
        for log in [log, DigestLog::default()] {
            let all = log.all(&dir).unwrap();
            assert_eq!(all.len(), 5);
            assert_eq!(log.lookup(&dir, &key(5)).unwrap(), Some(record(5)));
            assert_eq!(log.lookup(&dir, &key(3)).unwrap(), None);
        }
    }

    #[test]
    fn a_flipped_bit_invalidates_a_record() {
        let good = encode(&key(1), &record(1));
        assert!(decode(&good).is_some());
        for at in 0..80 {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(decode(&bad).is_none(), "byte {at}");
        }
    }

    #[test]
    fn rewriting_keeps_the_newest_of_what_is_wanted() {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::open(home.path()).unwrap();
        let (log, other) = (DigestLog::default(), DigestLog::default());
        for round in 0..400 {
            for n in 0..4 {
                log.append(&dir, &key(n), &record(n + 10 * (round / 399))).unwrap();
            }
        }
        assert_eq!(other.all(&dir).unwrap().len(), 4);
        log.compact(&dir, "temporary", |k| *k != key(0)).unwrap();
        assert_eq!(dir.stat(DIGESTS).unwrap().unwrap().st_size as usize, 3 * RECORD);
        assert_eq!(other.lookup(&dir, &key(0)).unwrap(), None);
        assert_eq!(other.lookup(&dir, &key(1)).unwrap(), Some(record(11)));
    }

    #[test]
    fn a_record_is_kept_until_its_object_can_be_in_place() {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::open(home.path()).unwrap();
        let (log, other) = (DigestLog::default(), DigestLog::default());
        for n in 0..2000 {
            log.append(&dir, &key(n), &record(n)).unwrap();
        }
        let appended = log.append(&dir, &key(1), &record(1)).unwrap();
        other.compact(&dir, "temporary", |_| false).unwrap();
        assert_eq!(other.lookup(&dir, &key(1)).unwrap(), Some(record(1)));
        drop(appended);
        other.compact(&dir, "temporary", |_| false).unwrap();
        assert_eq!(log.lookup(&dir, &key(1)).unwrap(), None);
    }
}
