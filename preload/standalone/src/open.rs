//! `open` and its sisters.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::Errno;
use crate::namespace::{self, LastLink, Resolved};
use crate::route::{self, C2, C3, C4, Parent, Step};
use crate::{errno, inside, place, sys, view};
use cvmfs_view::verdict;
use libc::{AT_FDCWD, c_char, c_int, mode_t};
use libcvmfs::identity::of_process;
use std::ffi::CString;

pub(crate) unsafe fn open(
    real: C3<*const c_char, c_int, mode_t, c_int>,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    at(AT_FDCWD, path, flags, |_, path| real(path, flags, mode))
}

pub(crate) unsafe fn open_checked(real: C2<*const c_char, c_int, c_int>, path: *const c_char, flags: c_int) -> c_int {
    at(AT_FDCWD, path, flags, |_, path| real(path, flags))
}

pub(crate) unsafe fn openat(
    real: C4<c_int, *const c_char, c_int, mode_t, c_int>,
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    at(dir, path, flags, |dir, path| real(dir, path, flags, mode))
}

pub(crate) unsafe fn openat_checked(
    real: C3<c_int, *const c_char, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    flags: c_int,
) -> c_int {
    at(dir, path, flags, |dir, path| real(dir, path, flags))
}

pub(crate) unsafe fn creat(real: C2<*const c_char, mode_t, c_int>, path: *const c_char, mode: mode_t) -> c_int {
    at(AT_FDCWD, path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, |_, path| real(path, mode))
}

/// Opens what `path` names; `native` is the real function with the caller's flags.
pub(crate) unsafe fn at(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    native: impl Fn(c_int, *const c_char) -> c_int,
) -> c_int {
    let native = |dir: c_int, path: *const c_char| match refusal_to_reopen(path, flags) {
        Some(error) => errno::Answer::fail(error),
        None => native(dir, path),
    };
    let spelled = match route::virtual_or(dir, path, native) {
        Ok(spelled) => spelled,
        Err(result) => return result,
    };
    route::end(inside::answer(|| prepare(&spelled, flags).and_then(|step| finish(step, flags))), native)
}

fn finish(step: Step<CString>, flags: c_int) -> Result<Step<c_int>, Errno> {
    match step {
        Step::Outside(path) => Ok(Step::Outside(path)),
        Step::Done(name) => {
            // What is opened exists, is only read, and is the node itself.
            let flags = (flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC)) | libc::O_NOFOLLOW;
            let arguments = [AT_FDCWD as usize, name.as_ptr() as usize, flags as usize, 0, 0, 0];
            // SAFETY: a C string and plain flags.
            unsafe { sys::call(libc::SYS_openat, arguments) }.map(|fd| Step::Done(fd as c_int))
        }
    }
}

/// `/proc/self/fd/N` of a file of ours would be the one way to write to the cache. To read it the kernel knows the way.
unsafe fn refusal_to_reopen(path: *const c_char, flags: c_int) -> Option<Errno> {
    if !verdict::writes(flags) || flags & libc::O_NOFOLLOW != 0 || inside::is_inside() {
        return None;
    }
    let spelled = place::behind_link(path)?;
    let judged = inside::answer(|| match namespace::resolve(&spelled, LastLink::Keep)? {
        Resolved::Node(node) => Ok(verdict::open(&node, flags, &of_process())?),
        Resolved::Outside(_) => Err(Errno(libc::EROFS)),
    });
    // What was open before it was absent is still ours.
    Some(judged.err().filter(|error| error.0 != libc::ENOENT).unwrap_or(Errno(libc::EROFS)))
}

/// Judges the flags as the kernel does on a read-only file system, in its order, and finds the real name to open.
pub(crate) fn prepare(spelled: &[u8], flags: c_int) -> Result<Step<CString>, Errno> {
    let has = |flag: c_int| flags & flag == flag;
    let creates = verdict::creates(flags);
    if creates && has(libc::O_DIRECTORY) || has(libc::O_TMPFILE) && !verdict::writes(flags) {
        return Err(Errno(libc::EINVAL));
    }
    if creates && spelled.ends_with(b"/") {
        // Before the kernel looks at the name: a directory is not made by opening it.
        return match route::parent(spelled)? {
            Parent::Inside => Err(Errno(libc::EISDIR)),
            Parent::Outside(path) => Ok(Step::Outside(path)),
        };
    }
    let exclusive = creates && has(libc::O_EXCL);
    let last = if has(libc::O_NOFOLLOW) || exclusive { LastLink::Keep } else { LastLink::Follow };
    let node = match namespace::resolve(spelled, last) {
        Ok(Resolved::Node(node)) => node,
        Ok(Resolved::Outside(path)) => return Ok(Step::Outside(CString::new(path)?)),
        Err(Errno(libc::ENOENT)) if creates => {
            return match route::parent(spelled)? {
                Parent::Inside => Err(Errno(libc::EROFS)),
                Parent::Outside(path) => Ok(Step::Outside(path)),
            };
        }
        Err(error) => return Err(error),
    };
    verdict::open(&node, flags, &of_process())?;
    view::materialise(&node).map(Step::Done)
}
