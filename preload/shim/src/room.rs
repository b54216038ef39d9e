//! Room for names, which would be much on a small stack: that of a signal handler, or of a thread of somebody who counts.
//!
//! It is lent from a few places that are always there. Where all are taken (some can be lost for good, when a program
//! jumps out of a signal handler or a child of `vfork` is killed), the stack has to do.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are lent.
pub(crate) const ROOM: usize = 640;
const PLACES: usize = 64;
/// Places that are tried before the stack is used.
const TRIES: usize = 4;

/// Aligned so that threads do not wait for each other's caches.
#[repr(align(64))]
struct Lent {
    taken: AtomicBool,
    bytes: UnsafeCell<[u8; ROOM]>,
}

// SAFETY: who has turned `taken` from false to true is the only one to use the bytes.
unsafe impl Sync for Lent {}

static ALL: [Lent; PLACES] =
    [const { Lent { taken: AtomicBool::new(false), bytes: UnsafeCell::new([0; ROOM]) } }; PLACES];

/// Gives `job` room to work in. What is in it is of no meaning.
#[inline]
pub(crate) fn with<R>(job: impl FnOnce(&mut [u8; ROOM]) -> R) -> R {
    // Threads have their stacks at some distance from each other.
    let stack = (&raw const job).addr() >> 12;
    let start = stack.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    for at in start..start + TRIES {
        if let Some(place) = ALL.get(at % PLACES)
            && place.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            // SAFETY: just taken, so it is ours alone until it is given back.
            let result = job(unsafe { &mut *place.bytes.get() });
            place.taken.store(false, Ordering::Release);
            return result;
        }
    }
    on_stack(job)
}

#[cold]
#[inline(never)]
fn on_stack<R>(job: impl FnOnce(&mut [u8; ROOM]) -> R) -> R {
    job(&mut [0; ROOM])
}
