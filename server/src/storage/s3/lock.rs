//! The publisher's lock: an object that is renewed while its owner lives.
//!
//! It is made on the condition that there is none, and replaced on the condition that it is still the same, so the server
//! decides who has it. How old it is, is told by the server's clock alone. Whoever dies leaves it behind; when nobody
//! renewed it for the time of its lease, the next one takes it over. Its owner, for whom the same time has passed since the
//! last renewal that he knows of, stops writing before that.

use super::super::{Lock, Storage as _, StorageError};
use super::exchange::Payload;
use super::remote::{Condition, Found, Remote, Written};
use super::{S3Storage, clock};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The object; the name of the same thing in a directory.
const LOCK: &str = ".cvmfs_publisher";
/// Most bytes of it.
const LIMIT: u64 = 64 << 10;
/// The server tells times in whole seconds.
const GRAIN: Duration = Duration::from_secs(1);
/// Where conditions are not kept: time for somebody else to write the lock at the same moment.
const SETTLING: Duration = Duration::from_secs(2);
/// How often it is tried to get the lock from those who get in between.
const TRIES: u32 = 4;

/// What the object says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    /// For people.
    owner: String,
    /// A number that nobody else has.
    ticket: String,
    /// How often it was renewed: an object of the same content has the same tag.
    renewed: u64,
    /// Seconds for which it is good without being renewed.
    lease: u64,
}

impl Note {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// The right to write, for some time.
pub(super) struct Lease {
    time: Duration,
    /// Until when it lasts, by [`clock`]; `None` when somebody else has it.
    until: Mutex<Option<Duration>>,
}

impl Lease {
    /// The time that is left of it. The error that it is over names `place`.
    pub(super) fn left(&self, place: &str) -> Result<Duration, StorageError> {
        let left = self.until.lock().map_or(Duration::ZERO, |until| until.saturating_sub(clock()));
        match left.is_zero() {
            true => Err(StorageError::LockLost { place: place.to_owned() }),
            false => Ok(left),
        }
    }
}

/// What holds the lock.
pub(super) struct S3Lock {
    remote: Arc<Remote>,
    lease: Arc<Lease>,
    stop: Option<Sender<()>>,
    renewer: Option<JoinHandle<()>>,
}

impl Lock for S3Lock {}

/// Takes the lock, or tells who has it.
pub(super) fn acquire(storage: &S3Storage, owner: &str) -> Result<S3Lock, StorageError> {
    let address = &storage.remote.address;
    let ticket = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let note = Note { owner: owner.to_owned(), ticket, renewed: 0, lease: address.lease.as_secs() };
    for _ in 0..TRIES {
        let begin = clock();
        let is_taken = match storage.remote.read(LOCK, LIMIT)? {
            Some(found) => take_over(storage, &note, &found)?,
            None => storage.create(LOCK, &note.bytes())?,
        };
        if !is_taken {
            continue;
        }
        if !address.is_conditional {
            std::thread::sleep(SETTLING);
        }
        let found = storage.remote.read(LOCK, LIMIT)?;
        if let Some(tag) = found.filter(|found| is_of(&note, found)).map(|found| found.tag) {
            return start(storage, note, tag, begin);
        }
    }
    Err(StorageError::Locked { place: storage.describe(), owner: "several are trying at once".to_owned() })
}

fn is_of(note: &Note, found: &Found) -> bool {
    serde_json::from_slice::<Note>(&found.bytes).is_ok_and(|found| found.ticket == note.ticket)
}

/// Replaces a lock whose owner died. The error tells of one who lives, as far as can be told.
fn take_over(storage: &S3Storage, note: &Note, found: &Found) -> Result<bool, StorageError> {
    let other = serde_json::from_slice::<Note>(&found.bytes).ok();
    let lease = other.as_ref().map_or(storage.remote.address.lease, |other| Duration::from_secs(other.lease)) + GRAIN;
    let age = found.age.unwrap_or_default();
    if age <= lease {
        let owner = other.map_or_else(|| String::from_utf8_lossy(&found.bytes).trim().to_owned(), |other| other.owner);
        let left = (lease - age).as_secs();
        let owner = format!("{owner}; if it was killed, its lock ends in {left} s (--wait)");
        return Err(StorageError::Locked { place: storage.describe(), owner });
    }
    log::info!("{}: taking over the lock of a publisher that died", storage.describe());
    let put = |condition: &Condition| storage.remote.put(LOCK, Payload::Bytes(&note.bytes()), condition);
    if !storage.remote.address.is_conditional {
        put(&Condition::Always)?;
        return Ok(true);
    }
    let condition = Condition::Tagged(found.tag.clone().ok_or_else(|| storage.unconditional())?);
    match put(&condition)? {
        (Written::Unsupported, _) => Err(storage.unconditional()),
        // Lost the race, or the answer to an earlier try: the one who asks looks whose it is now.
        (Written::Refused, tries) => Ok(tries > 1),
        // Now the tag is another one, and a server that keeps conditions says so.
        (Written::Done, _) => match put(&condition)?.0 {
            Written::Refused => Ok(true),
            Written::Done | Written::Unsupported => Err(storage.unconditional()),
        },
    }
}

fn start(storage: &S3Storage, note: Note, tag: Option<String>, begin: Duration) -> Result<S3Lock, StorageError> {
    let remote = Arc::clone(&storage.remote);
    let time = remote.address.lease;
    let lease = Arc::new(Lease { time, until: Mutex::new(Some(begin + time)) });
    let (stop, stopped) = channel();
    let renewal = Renewal { remote: Arc::clone(&remote), lease: Arc::clone(&lease), note, tag };
    let spawned = std::thread::Builder::new().name("lock".to_owned()).spawn(move || renewal.run(&stopped));
    let renewer = Some(spawned.map_err(|source| StorageError::io(storage.describe(), source))?);
    *remote.lease.lock() = Some(Arc::clone(&lease));
    Ok(S3Lock { remote, lease, stop: Some(stop), renewer })
}

/// Keeps a lock from growing old.
struct Renewal {
    remote: Arc<Remote>,
    lease: Arc<Lease>,
    note: Note,
    tag: Option<String>,
}

impl Renewal {
    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(self.lease.time / 3) == Err(RecvTimeoutError::Timeout) {
            let begin = clock();
            match self.renew() {
                Ok(true) => *self.lease.until.lock() = Some(begin + self.lease.time),
                Ok(false) => {
                    *self.lease.until.lock() = None;
                    log::error!("{}: somebody else has the lock now", self.remote.address.shown(LOCK));
                    return;
                }
                // There is still some time.
                Err(error) => log::warn!("renewing the lock: {error}"),
            }
        }
    }

    /// False if the lock is somebody else's.
    fn renew(&mut self) -> Result<bool, StorageError> {
        self.note.renewed += 1;
        let bytes = self.note.bytes();
        // The answer to an earlier renewal may have been lost: then the tag is not the one that is known.
        for _ in 0..2 {
            let condition = match &self.tag {
                Some(tag) if self.remote.address.is_conditional => Condition::Tagged(tag.clone()),
                _ if self.current()?.is_none() => return Ok(false),
                _ => Condition::Always,
            };
            let (written, _) = self.remote.put(LOCK, Payload::Bytes(&bytes), &condition)?;
            let Some(found) = self.current()? else { return Ok(false) };
            self.tag.clone_from(&found.tag);
            if written == Written::Done || found.bytes == bytes {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The lock, if it is ours.
    fn current(&self) -> Result<Option<Found>, StorageError> {
        Ok(self.remote.read(LOCK, LIMIT)?.filter(|found| is_of(&self.note, found)))
    }
}

impl Drop for S3Lock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(renewer) = self.renewer.take() {
            let _ = renewer.join();
        }
        // One that ran out may be somebody else's by now.
        if self.lease.left(LOCK).is_ok()
            && let Err(error) = self.remote.delete(LOCK)
        {
            log::warn!("the lock stays until it runs out: {error}");
        }
        *self.remote.lease.lock() = None;
    }
}
