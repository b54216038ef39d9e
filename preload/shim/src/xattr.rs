//! Reading extended attributes: `ls -l` and `cp -a` ask every file for some that nearly none has.
//!
//! Stored and computed values are the supervisor's to give; here is known that there are none.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::place::Place;
use crate::route::{self, Way};
use crate::sys::{self, Errno};
use cvmfs_index::walk::LastLink;
use libc::{AT_FDCWD, c_char, c_int, c_long, c_void, size_t, ssize_t};

pub(crate) unsafe fn getxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: size_t) -> ssize_t {
    get(libc::SYS_getxattr, path, name, value, size, LastLink::Follow)
}

pub(crate) unsafe fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: size_t) -> ssize_t {
    get(libc::SYS_lgetxattr, path, name, value, size, LastLink::Keep)
}

pub(crate) unsafe fn fgetxattr(fd: c_int, name: *const c_char, value: *mut c_void, size: size_t) -> ssize_t {
    let arguments = [fd as usize, name as usize, value as usize, size, 0];
    sys::c_result(of_descriptor(libc::SYS_fgetxattr, arguments, fd, |place| absent(place, name)))
}

pub(crate) unsafe fn listxattr(path: *const c_char, list: *mut c_char, size: size_t) -> ssize_t {
    names(libc::SYS_listxattr, path, list, size, LastLink::Follow)
}

pub(crate) unsafe fn llistxattr(path: *const c_char, list: *mut c_char, size: size_t) -> ssize_t {
    names(libc::SYS_llistxattr, path, list, size, LastLink::Keep)
}

pub(crate) unsafe fn flistxattr(fd: c_int, list: *mut c_char, size: size_t) -> ssize_t {
    let arguments = [fd as usize, list as usize, size, 0, 0];
    sys::c_result(of_descriptor(libc::SYS_flistxattr, arguments, fd, none))
}

unsafe fn get(
    number: c_long,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_void,
    size: size_t,
    last: LastLink,
) -> ssize_t {
    let arguments = [path as usize, name as usize, value as usize, size, 0];
    sys::c_result(of_path(number, arguments, path, last, |place| absent(place, name)))
}

unsafe fn names(number: c_long, path: *const c_char, list: *mut c_char, size: size_t, last: LastLink) -> ssize_t {
    let arguments = [path as usize, list as usize, size, 0, 0];
    sys::c_result(of_path(number, arguments, path, last, none))
}

unsafe fn of_path(
    number: c_long,
    arguments: [usize; 5],
    path: *const c_char,
    last: LastLink,
    known: impl FnOnce(&Place) -> Option<sys::Result>,
) -> sys::Result {
    match route::path(AT_FDCWD, path, last) {
        Way::Found(place) => match known(&place) {
            Some(result) => result,
            None => sys::plain(number, arguments),
        },
        Way::Fails(error) => Err(error),
        Way::Native => route::native(number, arguments, AT_FDCWD, path),
        Way::Supervisor => sys::plain(number, arguments),
    }
}

unsafe fn of_descriptor(
    number: c_long,
    arguments: [usize; 5],
    fd: c_int,
    known: impl FnOnce(&Place) -> Option<sys::Result>,
) -> sys::Result {
    match route::open_descriptor(fd) {
        Way::Native => sys::cookied(number, arguments),
        // One that only names a file does not tell its attributes.
        Way::Found(place) if !is_path_only(fd) => match known(&place) {
            Some(result) => result,
            None => sys::plain(number, arguments),
        },
        _ => sys::plain(number, arguments),
    }
}

unsafe fn is_path_only(fd: c_int) -> bool {
    let flags = sys::cookied(libc::SYS_fcntl, [fd as usize, libc::F_GETFL as usize, 0, 0, 0]);
    flags.is_ok_and(|flags| flags as c_int & libc::O_PATH != 0)
}

/// That there is no attribute of this name, where that is certain.
unsafe fn absent(place: &Place, name: *const c_char) -> Option<sys::Result> {
    let entry = place.entry()?;
    if !entry.xattr_blob().is_empty() || entry.damage().is_some() || route::is_wild(name) {
        return None;
    }
    // Longer names than the kernel takes, empty ones, and those of no class are refused in other words.
    let mut len = 0;
    while *name.add(len) != 0 {
        len += 1;
        if len > 255 {
            return None;
        }
    }
    let name = core::slice::from_raw_parts(name.cast::<u8>(), len);
    let other = name.starts_with(b"security.") || name.starts_with(b"system.") || name.starts_with(b"trusted.");
    other.then_some(Err(Errno(libc::ENODATA)))
}

/// That there is nothing to list, where that is certain.
fn none(place: &Place) -> Option<sys::Result> {
    let entry = place.entry()?;
    let computed = place.is_root() || place.catalog()?.snapshot()?.lists_computed();
    (!computed && entry.xattr_blob().is_empty() && entry.damage().is_none()).then_some(Ok(0))
}
