//! The calls that have been received and not yet answered, where the launcher sees them too: it answers them when the
//! supervisor dies, for nobody else could name them to the kernel.

use super::listener::Notification;
use std::cell::UnsafeCell;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Calls that are remembered at the same time; more are answered all the same.
const SLOTS: usize = 1024;

const FREE: u32 = 0;
const USED: u32 = 1;

#[repr(C)]
struct Slot {
    state: AtomicU32,
    notification: UnsafeCell<Notification>,
}

// SAFETY: slots are claimed atomically before they are written, and published afterwards.
unsafe impl Sync for Slot {}

/// A table in memory that is shared with processes forked later.
pub(super) struct InFlight(NonNull<[Slot; SLOTS]>);

// SAFETY: it stays mapped as long as the process lives, and its slots may be shared.
unsafe impl Send for InFlight {}
// SAFETY: as above.
unsafe impl Sync for InFlight {}

/// A call's place in the table; free again when this is dropped.
pub(super) struct Entry<'t>(Option<&'t Slot>);

impl InFlight {
    pub(super) fn new() -> io::Result<InFlight> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at any address; zero bytes are a valid table, of which all slots are free.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<[Slot; SLOTS]>(), protection, flags, -1, 0) };
        match NonNull::new(address.cast()) {
            Some(table) if address != libc::MAP_FAILED => Ok(InFlight(table)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn slots(&self) -> &[Slot; SLOTS] {
        // SAFETY: mapped in `new`, and never unmapped.
        unsafe { self.0.as_ref() }
    }

    /// Notes a call that was just received.
    pub(super) fn note(&self, notification: &Notification) -> Entry<'_> {
        const WRITING: u32 = 2;
        let claim =
            |slot: &&Slot| slot.state.compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let slot = self.slots().iter().find(claim);
        if let Some(slot) = slot {
            // SAFETY: claimed, so nobody else looks at it.
            unsafe { *slot.notification.get() = *notification };
            slot.state.store(USED, Ordering::Release);
        }
        Entry(slot)
    }

    /// The calls that a dead process has left, each given once.
    pub(super) fn left(&self) -> Vec<Notification> {
        let used = self
            .slots()
            .iter()
            .filter(|slot| slot.state.compare_exchange(USED, FREE, Ordering::Acquire, Ordering::Relaxed).is_ok());
        // SAFETY: whoever wrote it is dead, and it was published.
        used.map(|slot| unsafe { *slot.notification.get() }).collect()
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.state.store(FREE, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_is_left() {
        let table = InFlight::new().unwrap();
        let with = |tid| {
            let mut notification = Notification::default();
            notification.tid = tid;
            notification
        };
        let answered = table.note(&with(1));
        std::mem::forget(table.note(&with(2)));
        drop(answered);
        std::mem::forget(table.note(&with(3)));
        let mut left: Vec<u32> = table.left().iter().map(|notification| notification.tid).collect();
        left.sort_unstable();
        assert_eq!(left, [2, 3]);
        assert!(table.left().is_empty());
    }

    #[test]
    fn a_full_table_is_no_obstacle() {
        let table = InFlight::new().unwrap();
        let entries: Vec<Entry<'_>> = (0..SLOTS + 5).map(|_| table.note(&Notification::default())).collect();
        assert_eq!(entries.iter().filter(|entry| entry.0.is_none()).count(), 5);
    }
}
