use super::digest_log::{Appended, Record};
use super::directory::Dir;
use super::find::Found;
use super::open::{TRANSACTIONS, directory_mode};
use super::single_flight::ProcessLock;
use super::{Cache, CacheError, CachedFile, Durability, Expected, FetchError, Key, Namespace};
use log::debug;
use rustix::fs::{FlockOperation, Mode as Permissions};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const HEARTBEAT: Duration = Duration::from_secs(1);

impl Cache {
    /// Finds a file or lets `fill` obtain its plain bytes; among all threads and processes one does so at a time.
    ///
    /// The file appears whole when `fill` has returned `Ok`, and not at all otherwise. If another one fetched it
    /// meanwhile, `fill` is not called. `fill` may fetch further keys of this cache, as long as no circle arises.
    pub fn fetch<E>(
        &self,
        key: &Key,
        expected: Expected,
        fill: impl FnOnce(&mut Transaction<'_>) -> Result<(), E>,
    ) -> Result<CachedFile, FetchError<E>> {
        if let Some(found) = self.find_pinned(key, &expected)? {
            return Ok(found);
        }
        let _writing = self.writing.begin();
        let dir = self.writable(key.namespace())?;
        let _boarding = self.flights.board(key);
        // The thread that was faster has left it here.
        if let Some(found) = self.find_pinned(key, &expected)? {
            return Ok(found);
        }
        let lock = self.lock_among_processes(&key.flat_name(), || matches!(dir.stat(key.relative()), Ok(Some(_))));
        if let Some(found) = self.find_pinned(key, &expected)? {
            return Ok(found);
        }
        self.prepare_for(key, expected.size)?;
        let mut transaction = Transaction::begin(self, dir, key, &lock)?;
        match fill(&mut transaction) {
            Ok(()) => Ok(transaction.commit(&expected)?),
            // What the cache could not store is the cache's error, however `fill` words it.
            Err(e) => Err(transaction.failure.take().map_or(FetchError::Fill(e), FetchError::Cache)),
        }
    }

    fn find_pinned(&self, key: &Key, expected: &Expected) -> Result<Option<CachedFile>, CacheError> {
        let found = self.find(key, expected.size)?;
        if let Some(file) = found.as_ref().filter(|_| expected.pin) {
            file.pin();
            // Evicted between being opened and being pinned.
            if rustix::fs::fstat(&file.file).is_ok_and(|s| s.st_nlink == 0) {
                return Ok(None);
            }
        }
        Ok(found)
    }

    /// A name in `txn/` that nobody else uses.
    pub(super) fn temporary_name(&self) -> String {
        let count = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        // Pids repeat among hosts and containers that share a directory, the nanosecond as well hardly does.
        format!("{TRANSACTIONS}/fetch.{}.{:x}.{count}", std::process::id(), clock.as_nanos())
    }
}

/// A file on its way into the cache. Dropped without commit, nothing of it remains.
pub struct Transaction<'a> {
    cache: &'a Cache,
    dir: &'a Dir,
    key: Key,
    lock: &'a ProcessLock<'a>,
    name: String,
    file: File,
    hasher: blake3::Hasher,
    written: u64,
    failure: Option<CacheError>,
    last_beat: Instant,
}

impl<'a> Transaction<'a> {
    fn begin(
        cache: &'a Cache,
        dir: &'a Dir,
        key: &Key,
        lock: &'a ProcessLock<'a>,
    ) -> Result<Transaction<'a>, CacheError> {
        let failed = |name: &str, e: Errno| CacheError::from_io(&dir.path().join(name), "creating", e.into());
        let mut made_directory = false;
        let (name, file) = loop {
            let name = cache.temporary_name();
            match dir.create_new(&name, 0o600) {
                Ok(file) => break (name, file),
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) if !made_directory => {
                    made_directory = true;
                    let made = dir.make(TRANSACTIONS, directory_mode(cache.mode));
                    made.map_err(|e| CacheError::from_io(&dir.path().join(TRANSACTIONS), "creating", e))?;
                }
                Err(e) => return Err(failed(&name, e)),
            }
        };
        // As long as the lock is held the file is in use; a dead process's temporaries are not.
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Transaction {
            cache,
            dir,
            key: *key,
            lock,
            name,
            file,
            hasher: blake3::Hasher::new(),
            written: 0,
            failure: None,
            last_beat: Instant::now(),
        })
    }

    /// Forgets everything written: the next byte is the first one again.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher.reset();
        self.written = 0;
        self.failure = None;
        Ok(())
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn refuse(&mut self, error: CacheError, as_io: io::Error) -> io::Error {
        self.failure.get_or_insert(error);
        as_io
    }

    fn commit(mut self, expected: &Expected) -> Result<CachedFile, CacheError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if let Some(size) = expected.size.filter(|s| *s != self.written) {
            return Err(CacheError::WrongSize { key: self.key, expected: size, received: self.written });
        }
        let temporary = self.dir.path().join(&self.name);
        let failed = |action, e: io::Error| CacheError::from_io(&temporary, action, e);
        let sync = match self.cache.settings.durability {
            Durability::None => false,
            Durability::Unsized => expected.size.is_none() && self.key.namespace() != Namespace::Assembled,
            Durability::All => true,
        };
        if sync {
            self.file.sync_data().map_err(|e| failed("syncing", e))?;
        }
        let mode = Permissions::from_raw_mode(self.cache.file_mode(&self.key));
        rustix::fs::fchmod(&self.file, mode).map_err(|e| failed("changing permissions of", e.into()))?;
        let file = self.dir.read(&self.name).map_err(|e| failed("opening", e.into()))?;
        // Before the rename: no object without a digest, and no byte in use that is not counted. Counting may remove
        // files and their digests, so it comes before the digests are locked.
        self.cache.count(self.written)?;
        let _recorded = self.record_digest(expected.volatile);
        // Nobody may hold the file open for writing when it is executed. The lock goes too, for the pin.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        let found =
            CachedFile { file, path: self.dir.spell(&self.key).into_path(), size: self.written, found: Found::Fetched };
        if expected.pin {
            found.pin();
        }
        self.close_writer().map_err(|e| failed("closing", e))?;
        self.move_into_place().map_err(|e| CacheError::from_io(&found.path, "moving into place", e))?;
        Ok(found)
    }

    fn record_digest(&self, volatile: bool) -> Option<Appended> {
        let local = self.cache.local().filter(|_| self.cache.top.own_local)?;
        let record = Record { size: self.written, blake3: *self.hasher.finalize().as_bytes(), volatile };
        let appended = self.cache.digests.append(local, &self.key, &record);
        appended.inspect_err(|e| debug!("{}: digest not recorded: {e}", self.key)).ok()
    }

    /// Exchanges the writable descriptor for a read-only one.
    fn close_writer(&mut self) -> io::Result<()> {
        self.file = self.dir.read(&self.name)?;
        Ok(())
    }

    fn move_into_place(&mut self) -> io::Result<()> {
        let target = self.key.relative();
        let first = self.dir.rename(&self.name, &target);
        let second = match first {
            Err(Errno::NOENT) => {
                let folder = target.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.dir.make(folder, directory_mode(self.cache.mode))?;
                self.dir.rename(&self.name, &target)
            }
            Err(Errno::ISDIR) => {
                // A directory where an object belongs; find has already complained.
                self.dir.remove_directory(&target)?;
                self.dir.rename(&self.name, &target)
            }
            other => other,
        };
        second?;
        self.name.clear();
        Ok(())
    }
}

impl Write for Transaction<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limit = self.cache.largest(&self.key);
        if self.written + bytes.len() as u64 > limit {
            let size = self.written + bytes.len() as u64;
            return Err(self.refuse(CacheError::TooLarge { key: self.key, size, limit }, Errno::NOSPC.into()));
        }
        let n = loop {
            match self.file.write(bytes) {
                Ok(n) => break n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
                // What somebody has open takes room until it is closed, so that the first half may give nothing.
                Err(e) if is_full(&e) && self.cache.make_room_on_full_disk() => {}
                Err(e) => return Err(self.write_failed(e)),
            }
        };
        self.hasher.update(&bytes[..n]);
        self.written += n as u64;
        if self.last_beat.elapsed() > HEARTBEAT {
            self.lock.progress();
            self.last_beat = Instant::now();
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transaction<'_> {
    fn write_failed(&mut self, e: io::Error) -> io::Error {
        let copy = e.raw_os_error().map_or_else(|| io::Error::from(e.kind()), io::Error::from_raw_os_error);
        let error = CacheError::from_io(&self.dir.path().join(&self.name), "writing", copy);
        self.refuse(error, e)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = self.dir.unlink(&self.name);
        }
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOSPC | Errno::DQUOT))
}
