//! One download per object: among the threads of a process by a table, among processes by a lock file.

use super::directory::Dir;
use super::open::LOCKS;
use super::{Cache, Key};
use log::debug;
use parking_lot::{Condvar, Mutex};
use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SHORTEST_NAP: Duration = Duration::from_micros(200);
const LONGEST_NAP: Duration = Duration::from_millis(20);

/// The keys being fetched by this process.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Arc<Flight>>>);

#[derive(Default)]
struct Flight {
    landed: Mutex<bool>,
    news: Condvar,
}

/// The right to fetch a key in this process; ends when dropped.
pub(super) struct Boarding<'a> {
    flights: &'a Flights,
    key: Key,
    flight: Arc<Flight>,
}

impl Flights {
    /// Waits until no other thread fetches `key`.
    pub(super) fn board(&self, key: &Key) -> Boarding<'_> {
        loop {
            let mut table = self.0.lock();
            let Some(flight) = table.get(key).cloned() else {
                let flight = Arc::<Flight>::default();
                table.insert(*key, flight.clone());
                return Boarding { flights: self, key: *key, flight };
            };
            drop(table);
            let mut landed = flight.landed.lock();
            while !*landed {
                flight.news.wait(&mut landed);
            }
        }
    }
}

impl Drop for Boarding<'_> {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
        *self.flight.landed.lock() = true;
        self.flight.news.notify_all();
    }
}

/// A lock file held, or the knowledge that there are no locks here.
pub(super) struct ProcessLock<'a> {
    held: Option<(&'a Dir, String, File)>,
}

impl ProcessLock<'_> {
    /// Tells waiting processes that there is progress.
    pub(super) fn progress(&self) {
        if let Some((_, _, file)) = &self.held {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let _ = rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now });
        }
    }
}

impl Drop for ProcessLock<'_> {
    fn drop(&mut self) {
        if let Some((dir, name, _file)) = &self.held {
            // While still holding it: whoever gets it next sees that the name is gone and makes a new one.
            let _ = dir.unlink(name);
        }
    }
}

impl Cache {
    /// Takes the lock of one key (or other `name`) among processes, waiting while another process makes progress.
    ///
    /// Every key has its own file: fetching an assembled file fetches its chunks, so keys must not share locks. The
    /// kernel releases the locks of processes that die. `done` ends the wait early when the object has come.
    pub(super) fn lock_among_processes(&self, name: &str, mut done: impl FnMut() -> bool) -> ProcessLock<'_> {
        let without = ProcessLock { held: None };
        let Some(dir) = self.local().filter(|_| self.locks_allowed()) else { return without };
        let name = format!("{LOCKS}/{name}");
        let mode = if self.top.own_local { 0o600 } else { 0o660 };
        let waiting = Instant::now();
        let mut seen = (None, Instant::now());
        'open: loop {
            let Ok(file) = dir.update(&name, mode) else { return without };
            loop {
                match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => match rustix::fs::fstat(&file) {
                        Ok(stat) if stat.st_nlink > 0 => return ProcessLock { held: Some((dir, name, file)) },
                        Ok(_) if done() => return without,
                        Ok(_) => continue 'open,
                        Err(_) => return without,
                    },
                    Err(Errno::WOULDBLOCK) => {}
                    Err(Errno::INTR) => continue,
                    Err(e) => {
                        debug!("{}: no locks here ({e})", dir.path().display());
                        return without;
                    }
                }
                let Ok(stat) = rustix::fs::fstat(&file) else { return without };
                let mark = Some((stat.st_mtime, stat.st_mtime_nsec));
                if mark != seen.0 {
                    seen = (mark, Instant::now());
                } else if seen.1.elapsed() > self.settings.patience {
                    debug!("{name}: holder shows no progress, going on without the lock");
                    return without;
                }
                // Polling, because a wait in the kernel has no time limit; late by an eighth at most.
                std::thread::sleep((waiting.elapsed() / 8).clamp(SHORTEST_NAP, LONGEST_NAP));
            }
        }
    }
}
