//! What holds while our code runs in somebody else's program.
//!
//! * The hooked functions that our own code calls (through the standard library) are the real ones.
//! * `errno` is untouched unless the answer is an error.
//! * A panic becomes `EIO`.
//! * A `fork` by another thread waits until no thread is in here, so that the child finds no lock taken.

use crate::errno::{self, Answer, Errno};
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

thread_local! {
    // Without a destructor and without an allocation: good in any thread at any time.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Shared by the threads that are inside, exclusive to one that forks. The standard library's lock is a single word,
/// so a child can go on with it.
static FORKING: RwLock<()> = RwLock::new(());

/// Whether this thread runs our code already: then every hook goes on to the real function.
pub(crate) fn is_inside() -> bool {
    INSIDE.get()
}

struct Inside {
    _not_forking: RwLockReadGuard<'static, ()>,
    errno: libc::c_int,
}

impl Inside {
    fn enter() -> Inside {
        let errno = errno::get();
        INSIDE.set(true);
        Inside { _not_forking: FORKING.read().unwrap_or_else(PoisonError::into_inner), errno }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
        errno::set(self.errno);
    }
}

/// Runs `work` with the hooks going on to the real functions, also where the session is only being made.
pub(crate) fn unhooked<T>(work: impl FnOnce() -> T) -> T {
    let before = INSIDE.replace(true);
    let result = work();
    INSIDE.set(before);
    result
}

/// Runs `work` under the rules of this module. Must not be called from inside.
pub(crate) fn answer<T>(work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let _inside = Inside::enter();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Errno(libc::EIO)))
}

/// Runs a hook that redhook does not guard.
pub(crate) fn no_unwind<R: Answer>(hook: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|_| R::fail(Errno(libc::EIO)))
}

/// The forking thread's hold on [`FORKING`], between the handlers before and after the fork.
struct Held(UnsafeCell<Option<RwLockWriteGuard<'static, ()>>>);
// SAFETY: only the thread that holds the exclusive lock touches the cell.
unsafe impl Sync for Held {}
static HELD: Held = Held(UnsafeCell::new(None));

extern "C" fn before_fork() {
    // A fork from inside is that of the standard library starting the helper: nothing of ours runs in that child.
    if !is_inside() {
        let guard = FORKING.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: this thread has the exclusive lock.
        unsafe { *HELD.0.get() = Some(guard) };
    }
}

extern "C" fn after_fork() {
    if !is_inside() {
        // SAFETY: this thread, or its copy in the child, has had the exclusive lock since `before_fork`.
        drop(unsafe { (*HELD.0.get()).take() });
    }
}

extern "C" fn after_fork_in_child() {
    after_fork();
    crate::session::note_process();
}

/// Registers the fork handlers; once, when the library is loaded.
pub(crate) fn watch_forks() {
    // SAFETY: the handlers are functions of this library, which is never unloaded.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(after_fork_in_child)) };
}
