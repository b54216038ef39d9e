//! The working directory: really one in the view, shown under its virtual name.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::place::Place;
use crate::room;
use crate::route::{self, Way};
use crate::start;
use crate::sys::{self, Errno, weak};
use crate::{open, present};
use cvmfs_index::EntryKind;
use cvmfs_index::walk::LastLink;
use libc::{AT_FDCWD, c_char, c_int, c_void, size_t};

/// Longest name of a working directory that the kernel tells, with its NUL.
const LONGEST: usize = libc::PATH_MAX as usize;

pub(crate) unsafe fn getcwd(buf: *mut c_char, size: size_t) -> *mut c_char {
    if !buf.is_null() {
        return settle(current(buf, size), buf);
    }
    // Memory of `malloc`, of the given size or as large as any name is.
    let malloc = weak!("malloc");
    let free = weak!("free");
    if malloc.is_null() || free.is_null() {
        return settle(Err(Errno(libc::ENOMEM)), buf);
    }
    // SAFETY: the functions of these names have these types in every C library.
    let malloc: extern "C" fn(size_t) -> *mut c_void = core::mem::transmute(malloc);
    // SAFETY: as above.
    let free: extern "C" fn(*mut c_void) = core::mem::transmute(free);
    let size = if size == 0 { LONGEST } else { size };
    let memory = malloc(size).cast::<c_char>();
    if memory.is_null() {
        return settle(Err(Errno(libc::ENOMEM)), memory);
    }
    let result = current(memory, size);
    if result.is_err() {
        free(memory.cast());
    }
    settle(result, memory)
}

pub(crate) unsafe fn getcwd_checked(buf: *mut c_char, size: size_t, room: size_t) -> *mut c_char {
    getcwd(buf, size.min(room))
}

fn settle(result: sys::Result, buf: *mut c_char) -> *mut c_char {
    match result {
        Ok(_) => buf,
        Err(error) => {
            sys::set_errno(error);
            core::ptr::null_mut()
        }
    }
}

unsafe fn current(buf: *mut c_char, size: size_t) -> sys::Result {
    if size == 0 {
        return Err(Errno(libc::EINVAL));
    }
    let arguments = [buf as usize, size, 0, 0, 0];
    let Some(control) = start::control() else { return sys::plain(libc::SYS_getcwd, arguments) };
    // The virtual name is shorter than the real one, and may fit where that does not.
    let len = match sys::cookied(libc::SYS_getcwd, arguments) {
        Err(Errno(libc::ERANGE)) => return sys::plain(libc::SYS_getcwd, arguments),
        result => result?,
    };
    // SAFETY: the kernel has just written this many bytes, the NUL included.
    let name = core::slice::from_raw_parts_mut(buf.cast::<u8>(), len);
    if !name.starts_with(control.view_prefix()) {
        return Ok(len);
    }
    let below = name.get(control.view_prefix().len()..).and_then(|rest| rest.strip_prefix(b"/"));
    let inside = below.and_then(|below| below.get(below.iter().position(|&b| b == b'/')?..));
    match inside {
        Some(inside) if inside.starts_with(control.mount_dir()) => {
            let (start, len) = (len - inside.len(), inside.len());
            name.copy_within(start.., 0);
            Ok(len)
        }
        _ => sys::plain(libc::SYS_getcwd, arguments),
    }
}

pub(crate) unsafe fn chdir(path: *const c_char) -> c_int {
    let arguments = [path as usize, 0, 0, 0, 0];
    let result = match route::path(AT_FDCWD, path, LastLink::Follow) {
        Way::Found(place) => match enter(&place) {
            Some(result) => result,
            None => sys::plain(libc::SYS_chdir, arguments),
        },
        Way::Fails(error) => Err(error),
        Way::Native => route::native(libc::SYS_chdir, arguments, AT_FDCWD, path),
        Way::Supervisor => sys::plain(libc::SYS_chdir, arguments),
    };
    sys::c_int_result(result)
}

/// Enters a directory of the view, if it is there already and everybody may.
fn enter(place: &Place) -> Option<sys::Result> {
    let attributes = present::attributes(place)?;
    if attributes.kind() != EntryKind::Directory {
        return Some(Err(Errno(libc::ENOTDIR)));
    }
    if attributes.mode & 0o111 != 0o111 {
        return None;
    }
    room::with(|buffer| {
        let name = open::view_name(place, buffer)?;
        // SAFETY: a C string.
        unsafe { sys::cookied(libc::SYS_chdir, [name.as_ptr() as usize, 0, 0, 0, 0]) }.ok().map(Ok)
    })
}
