//! Files that the kernel reads by itself: no read of them comes to us.
//!
//! The kernel has one way for each file at a time: while it is open through us it cannot be opened past us, nor the other
//! way round. So the first open decides, and all others follow until the last one is closed.

use fuser::BackingId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How files are opened.
#[derive(Default)]
pub(crate) struct Passthrough {
    /// Cleared where the kernel refuses it.
    works: AtomicBool,
    open: Mutex<HashMap<u64, Way>>,
}

struct Way {
    backing: Option<Arc<BackingId>>,
    opens: u64,
}

impl Passthrough {
    /// The kernel has promised it.
    pub(crate) fn allow(&self) {
        self.works.store(true, Ordering::Relaxed);
    }

    /// Notes an open of the file with this number. `register` hands the cache's file to the kernel.
    pub(crate) fn open(&self, id: u64, register: impl FnOnce() -> io::Result<BackingId>) -> Option<Arc<BackingId>> {
        let mut open = self.open.lock();
        let way = open.entry(id).or_insert_with(|| Way { backing: self.try_register(register), opens: 0 });
        way.opens += 1;
        way.backing.clone()
    }

    fn try_register(&self, register: impl FnOnce() -> io::Result<BackingId>) -> Option<Arc<BackingId>> {
        if !self.works.load(Ordering::Relaxed) {
            return None;
        }
        match register() {
            Ok(backing) => Some(Arc::new(backing)),
            Err(error) => {
                log::info!("files are read through this program: the kernel takes no cache file by itself ({error})");
                self.works.store(false, Ordering::Relaxed);
                None
            }
        }
    }

    /// Undoes one [`Passthrough::open`].
    pub(crate) fn close(&self, id: u64) {
        let mut open = self.open.lock();
        if let Some(way) = open.get_mut(&id) {
            way.opens = way.opens.saturating_sub(1);
            if way.opens == 0 {
                open.remove(&id);
            }
        }
    }
}
