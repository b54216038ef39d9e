//! Threads that must not wait for a network or for another download.
//!
//! A program that answers many others from one thread asks everything once without waiting; what ends in
//! [`Error::WouldWait`] it hands to a thread that may.

use crate::Error;
use std::cell::Cell;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(true) };
}

/// Does something that ends in [`Error::WouldWait`] where it would have to ask a server or wait for somebody who does.
pub fn without_waiting<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            MAY_WAIT.set(self.0);
        }
    }
    let _restore = Restore(MAY_WAIT.replace(false));
    work()
}

/// Whether this thread may wait now.
pub(crate) fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// To be asked before anything that takes a server's time.
///
/// # Errors
/// [`Error::WouldWait`] if this thread must not wait.
pub fn wait() -> Result<(), Error> {
    if may_wait() { Ok(()) } else { Err(Error::WouldWait) }
}
