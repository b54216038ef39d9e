//! Streams: the real functions on the real name.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::{Answer as _, Errno};
use crate::route::{self, C2, C3, Step};
use crate::{inside, open};
use libc::{AT_FDCWD, FILE, c_char, c_int};
use std::ffi::{CStr, CString};

pub(crate) unsafe fn fopen(
    real: C2<*const c_char, *const c_char, *mut FILE>,
    path: *const c_char,
    mode: *const c_char,
) -> *mut FILE {
    stream(path, mode, |_, path| real(path, mode))
}

pub(crate) unsafe fn freopen(
    real: C3<*const c_char, *const c_char, *mut FILE, *mut FILE>,
    path: *const c_char,
    mode: *const c_char,
    stream_: *mut FILE,
) -> *mut FILE {
    stream(path, mode, |_, path| real(path, mode, stream_))
}

unsafe fn stream(
    path: *const c_char,
    mode: *const c_char,
    native: impl Fn(c_int, *const c_char) -> *mut FILE,
) -> *mut FILE {
    let spelled = match route::virtual_or(AT_FDCWD, path, &native) {
        Ok(spelled) => spelled,
        Err(result) => return result,
    };
    let flags = flags(CStr::from_ptr(mode).to_bytes());
    let name: Result<CString, Errno> = inside::answer(|| match open::prepare(&spelled, flags)? {
        Step::Done(name) | Step::Outside(name) => Ok(name),
    });
    match name {
        Ok(name) => native(AT_FDCWD, name.as_ptr()),
        Err(error) => <*mut FILE>::fail(error),
    }
}

/// The flags of `open` for a mode of `fopen`.
fn flags(mode: &[u8]) -> c_int {
    let mode = mode.split(|&b| b == b',').next().unwrap_or_default();
    let base = match mode.first() {
        Some(b'w') => libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        Some(b'a') => libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
        _ => libc::O_RDONLY,
    };
    let both = if mode.contains(&b'+') { (base & !libc::O_ACCMODE) | libc::O_RDWR } else { base };
    if mode.contains(&b'x') { both | libc::O_EXCL } else { both }
}
