//! Descriptors that were put into a program whose call was interrupted before it could be told their number.
//!
//! That happens only where the kernel cannot keep a call from being interrupted once we have received it (before Linux
//! 5.19). Nobody in the program knows of them, so the thread's next descriptor takes their place.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number in the program, and what is open under it.
pub(super) struct Leftover {
    pub(super) number: u32,
    pub(super) file: OwnedFd,
}

/// By the thread whose call it was.
#[derive(Default)]
pub(super) struct Leftovers {
    threads: Mutex<HashMap<u32, Vec<Leftover>>>,
    /// How many there are, for who only wants to know that.
    count: AtomicUsize,
}

impl Leftovers {
    /// Nobody was told what the thread has.
    pub(super) fn note(&self, tid: u32, leftover: Leftover) {
        self.threads.lock().entry(tid).or_default().push(leftover);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// What this thread still has and does not know of.
    pub(super) fn take(&self, tid: u32) -> Option<Leftover> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut threads = self.threads.lock();
        let left = threads.get_mut(&tid)?;
        // It may have closed whatever was open, and have opened something of its own there.
        let found = std::iter::from_fn(|| {
            let leftover = left.pop()?;
            self.count.fetch_sub(1, Ordering::Relaxed);
            Some(leftover)
        })
        .find(|leftover| is_same_file(tid, leftover.number, leftover.file.as_fd()));
        if left.is_empty() {
            threads.remove(&tid);
        }
        found
    }
}

/// Whether a descriptor of the thread stands for the same open file as one of ours.
fn is_same_file(tid: u32, number: u32, file: BorrowedFd<'_>) -> bool {
    /// `KCMP_FILE`.
    const FILE: libc::c_long = 0;
    // SAFETY: numbers only.
    let different = unsafe { libc::syscall(libc::SYS_kcmp, std::process::id(), tid, FILE, file.as_raw_fd(), number) };
    different == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn only_what_is_still_there_is_taken() {
        let leftovers = Leftovers::default();
        let me = std::process::id();
        let given = File::open("/dev/null").unwrap();
        let left = |number| Leftover { number, file: given.try_clone().unwrap().into() };
        let taken = |tid| leftovers.take(tid).map(|left| left.number);
        let put = given.try_clone().unwrap();
        let number = put.as_raw_fd() as u32;
        leftovers.note(me, left(number));
        assert_eq!(taken(me + 1), None, "another thread's");
        assert_eq!(taken(me), Some(number));
        assert_eq!(taken(me), None, "once");
        // The same file, opened by itself, is another open file.
        let own = File::open("/dev/null").unwrap();
        leftovers.note(me, left(own.as_raw_fd() as u32));
        assert_eq!(taken(me), None);
        leftovers.note(me, left(u32::MAX));
        assert_eq!(taken(me), None, "closed");
    }
}
