//! `realpath` and its sisters.
//!
//! The C library's own asks for every component of a path by a call that the filter stops: compilers do it a thousand
//! times. A path of ours has its real name in the index. Of a native one the kernel tells the name, once it is open as a
//! path. What neither settles is left to the C library, and so to the supervisor.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::place::Place;
use crate::room::{self, ROOM};
use crate::route::{self, Way};
use crate::start;
use crate::sys::{self, Errno, weak};
use core::mem::transmute;
use cvmfs_index::walk::LastLink;
use libc::{AT_FDCWD, c_char, c_int, c_void, size_t};

type RealPath = extern "C" fn(*const c_char, *mut c_char) -> *mut c_char;

pub(crate) unsafe fn realpath(path: *const c_char, buf: *mut c_char) -> *mut c_char {
    let known = match route::is_wild(path) || *path == 0 {
        true => None,
        false => {
            // Before there is more on the stack: it may be a long way.
            let way = route::path(AT_FDCWD, path, LastLink::Follow);
            room::with(|room| settled(way, path, room).map(|name| name.and_then(|name| hand_out(name, buf))))
        }
    };
    match known {
        Some(Ok(name)) => name,
        Some(Err(error)) => {
            sys::set_errno(error);
            core::ptr::null_mut()
        }
        None => by_library(path, buf),
    }
}

pub(crate) unsafe fn realpath_checked(path: *const c_char, buf: *mut c_char, size: size_t) -> *mut c_char {
    // With less room than any name may need, the C library ends the program.
    if size < libc::PATH_MAX as size_t {
        let symbol = library(c"__realpath_chk");
        if !symbol.is_null() {
            // SAFETY: the function of this name has this type.
            let real: extern "C" fn(*const c_char, *mut c_char, size_t) -> *mut c_char = transmute(symbol);
            return real(path, buf, size);
        }
    }
    realpath(path, buf)
}

pub(crate) unsafe fn canonicalize_file_name(path: *const c_char) -> *mut c_char {
    realpath(path, core::ptr::null_mut())
}

/// The real name of a path that goes this way, without a NUL, or why there is none; `None` if somebody else has to find out.
unsafe fn settled(way: Way, path: *const c_char, room: &mut [u8; ROOM]) -> Option<Result<&[u8], Errno>> {
    match way {
        Way::Found(place) => ours(&place, room).map(Ok),
        Way::Fails(error) => Some(Err(error)),
        Way::Native => native(path, room),
        Way::Supervisor => None,
    }
}

/// Writes the name of an entry to the end of the room.
fn ours<'r>(place: &Place, room: &'r mut [u8; ROOM]) -> Option<&'r [u8]> {
    let (control, snapshot) = (start::control()?, place.catalog()?.snapshot()?);
    let mut start = ROOM - place.path(room)?.len();
    for part in [snapshot.fqrn(), b"/", control.mount_dir()] {
        let from = start.checked_sub(part.len())?;
        room.get_mut(from..start)?.copy_from_slice(part);
        start = from;
    }
    room.get(start..)
}

/// What the kernel calls a native file or directory.
unsafe fn native(path: *const c_char, room: &mut [u8; ROOM]) -> Option<Result<&[u8], Errno>> {
    let control = start::control()?;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let arguments = [AT_FDCWD as usize, path as usize, flags as usize, 0, 0];
    let fd = match route::by_kernel(libc::SYS_openat, arguments, AT_FDCWD, path)? {
        Ok(fd) => fd as c_int,
        Err(error @ Errno(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) => return Some(Err(error)),
        Err(_) => return None,
    };
    let name = sys::descriptor_name(fd, room);
    let _ = sys::close(fd);
    // What was removed meanwhile, what lies outside of the root, and things without a name.
    let plain = |name: &&[u8]| name.starts_with(b"/") && !name.ends_with(b" (deleted)");
    name.ok().filter(plain).filter(|name| !name.starts_with(control.view_prefix())).map(Ok)
}

/// Gives the name to the caller: in its buffer, or in memory that it frees.
unsafe fn hand_out(name: &[u8], buf: *mut c_char) -> Result<*mut c_char, Errno> {
    let mut to = buf;
    if to.is_null() {
        let malloc = weak!("malloc");
        if malloc.is_null() {
            return Err(Errno(libc::ENOMEM));
        }
        // SAFETY: the function of this name has this type in every C library.
        let malloc: extern "C" fn(size_t) -> *mut c_void = transmute(malloc);
        to = malloc(name.len() + 1).cast();
        if to.is_null() {
            return Err(Errno(libc::ENOMEM));
        }
    }
    core::ptr::copy_nonoverlapping(name.as_ptr(), to.cast(), name.len());
    to.add(name.len()).write(0);
    Ok(to)
}

/// The C library's function of this name, null if there is none.
fn library(name: &core::ffi::CStr) -> *mut c_void {
    let dlsym = weak!("dlsym");
    if dlsym.is_null() {
        return core::ptr::null_mut();
    }
    // SAFETY: the function of this name has this type in every C library.
    let dlsym: extern "C" fn(*mut c_void, *const c_char) -> *mut c_void = unsafe { transmute(dlsym) };
    dlsym(libc::RTLD_NEXT, name.as_ptr())
}

unsafe fn by_library(path: *const c_char, buf: *mut c_char) -> *mut c_char {
    let symbol = library(c"realpath");
    if symbol.is_null() {
        sys::set_errno(Errno(libc::ENOSYS));
        return core::ptr::null_mut();
    }
    // SAFETY: the function of this name has this type in every C library.
    let real: RealPath = transmute(symbol);
    real(path, buf)
}
