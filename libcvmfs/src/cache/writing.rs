//! The end of writing: for who has to make the file system below the cache read-only while its files are still read.

use super::{Cache, CacheError};
use parking_lot::{RwLock, RwLockReadGuard};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether anything may be written still, and who is doing so.
#[derive(Default)]
pub(super) struct Writing {
    stopped: AtomicBool,
    /// Held shared by who writes. A fetch fetches chunks, so it may be held more than once.
    under_way: RwLock<()>,
}

impl Writing {
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// To be held as long as a file is open for writing.
    pub(super) fn begin(&self) -> RwLockReadGuard<'_, ()> {
        self.under_way.read_recursive()
    }
}

impl Cache {
    /// Writes nothing from now on: what is in the cache can be read as before, what is not is
    /// [`CacheError::ReadOnly`]. Waits for what is being written, but not longer than `patience`; when it returns `Ok`,
    /// nothing in the cache is open for writing.
    pub fn stop_writing(&self, patience: Duration) -> Result<(), CacheError> {
        self.writing.stopped.store(true, Ordering::SeqCst);
        match self.writing.under_way.try_write_for(patience) {
            Some(_) => Ok(()),
            None => {
                let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
                Err(CacheError::from_io(self.top.objects.path(), "ending all writing", source))
            }
        }
    }
}
