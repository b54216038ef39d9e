//! Error numbers, and how C functions say that they failed.

use libc::c_int;

/// An error number, such as `ENOENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<cvmfs_view::Errno> for Errno {
    fn from(error: cvmfs_view::Errno) -> Errno {
        Errno(error.0)
    }
}

impl From<std::ffi::NulError> for Errno {
    fn from(_: std::ffi::NulError) -> Errno {
        Errno(libc::EINVAL)
    }
}

/// This thread's `errno`.
pub(crate) fn get() -> c_int {
    // SAFETY: the C library gives every thread a valid place.
    unsafe { *libc::__errno_location() }
}

/// Sets this thread's `errno`.
pub(crate) fn set(value: c_int) {
    // SAFETY: the C library gives every thread a valid place.
    unsafe { *libc::__errno_location() = value }
}

/// The result type of a C function that reports failure by a special value and `errno`.
pub(crate) trait Answer: Copy {
    /// The special value.
    const FAILED: Self;

    /// Whether this is the special value.
    fn is_failure(self) -> bool;

    /// Sets `errno` and gives the special value.
    fn fail(error: Errno) -> Self {
        set(error.0);
        Self::FAILED
    }
}

macro_rules! answer_by_minus_one {
    ($($type:ty)*) => { $(
        impl Answer for $type {
            const FAILED: $type = -1;
            fn is_failure(self) -> bool {
                self == -1
            }
        }
    )* };
}

answer_by_minus_one!(i32 i64 isize);

impl<T> Answer for *mut T {
    const FAILED: *mut T = std::ptr::null_mut();
    fn is_failure(self) -> bool {
        self.is_null()
    }
}
