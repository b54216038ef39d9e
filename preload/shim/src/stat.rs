//! `stat` and its sisters, `access` and its.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::place::Place;
use crate::route::{self, Way};
use crate::sys::{self, Errno};
use crate::{present, start};
use cvmfs_hooks::c::{Stat, Statx};
use cvmfs_index::walk::LastLink;
use cvmfs_index::{Attributes, EntryKind};
use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, c_char, c_int, c_uint};

pub(crate) unsafe fn stat(path: *const c_char, buf: *mut Stat) -> c_int {
    sys::c_int_result(at(AT_FDCWD, path, buf, 0))
}

pub(crate) unsafe fn lstat(path: *const c_char, buf: *mut Stat) -> c_int {
    sys::c_int_result(at(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW))
}

pub(crate) unsafe fn fstatat(dir: c_int, path: *const c_char, buf: *mut Stat, flags: c_int) -> c_int {
    if flags & AT_EMPTY_PATH != 0 && is_empty(path) && dir >= 0 {
        return fstat(dir, buf);
    }
    sys::c_int_result(at(dir, path, buf, flags))
}

pub(crate) unsafe fn xstat(_version: c_int, path: *const c_char, buf: *mut Stat) -> c_int {
    stat(path, buf)
}

pub(crate) unsafe fn lxstat(_version: c_int, path: *const c_char, buf: *mut Stat) -> c_int {
    lstat(path, buf)
}

pub(crate) unsafe fn fxstat(_version: c_int, fd: c_int, buf: *mut Stat) -> c_int {
    fstat(fd, buf)
}

pub(crate) unsafe fn fxstatat(_version: c_int, dir: c_int, path: *const c_char, buf: *mut Stat, flags: c_int) -> c_int {
    fstatat(dir, path, buf, flags)
}

/// Null counts, as it does for new kernels.
pub(crate) unsafe fn is_empty(path: *const c_char) -> bool {
    path.is_null() || (!route::is_wild(path) && *path == 0)
}

/// What `fstatat` and `statx` take.
const KNOWN_FLAGS: c_int = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_SYNC_TYPE;

#[inline]
fn last(flags: c_int) -> LastLink {
    if flags & AT_SYMLINK_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow }
}

#[inline]
unsafe fn at(dir: c_int, path: *const c_char, buf: *mut Stat, flags: c_int) -> sys::Result {
    let arguments = [dir as usize, path as usize, buf as usize, flags as usize, 0];
    if flags & !KNOWN_FLAGS != 0 {
        return sys::plain(libc::SYS_newfstatat, arguments);
    }
    match route::path(dir, path, last(flags)) {
        Way::Found(place) => match tell(&place, buf) {
            Some(result) => result,
            None => sys::plain(libc::SYS_newfstatat, arguments),
        },
        Way::Fails(error) => Err(error),
        Way::Native => route::native(libc::SYS_newfstatat, arguments, dir, path),
        Way::Supervisor => sys::plain(libc::SYS_newfstatat, arguments),
    }
}

/// Tells what an entry looks like, where it is known. Attributes are large: they are not on the stack while a path is walked.
#[inline(never)]
unsafe fn tell(place: &Place, buf: *mut Stat) -> Option<sys::Result> {
    Some(fill(buf, &present::attributes(place)?))
}

#[inline]
unsafe fn fill(buf: *mut Stat, attributes: &Attributes) -> sys::Result {
    if route::is_wild(buf) {
        return Err(Errno(libc::EFAULT));
    }
    buf.write(cvmfs_hooks::fill::stat(attributes));
    Ok(0)
}

pub(crate) unsafe fn fstat(fd: c_int, buf: *mut Stat) -> c_int {
    sys::c_int_result(of_descriptor(fd, buf))
}

unsafe fn of_descriptor(fd: c_int, buf: *mut Stat) -> sys::Result {
    let arguments = [fd as usize, buf as usize, 0, 0, 0];
    let Some(control) = start::control() else { return sys::plain(libc::SYS_fstat, arguments) };
    sys::cookied(libc::SYS_fstat, arguments)?;
    match route::descriptor(control, fd, &*buf) {
        Way::Found(place) => match tell(&place, buf) {
            Some(result) => result,
            None => sys::plain(libc::SYS_fstat, arguments),
        },
        Way::Native => Ok(0),
        Way::Fails(_) | Way::Supervisor => sys::plain(libc::SYS_fstat, arguments),
    }
}

pub(crate) unsafe fn statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, buf: *mut Statx) -> c_int {
    sys::c_int_result(statx_at(dir, path, flags, mask, buf))
}

unsafe fn statx_at(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, buf: *mut Statx) -> sys::Result {
    let arguments = [dir as usize, path as usize, flags as usize, mask as usize, buf as usize];
    let plain = || sys::plain(libc::SYS_statx, arguments);
    // Bits that the kernel refuses.
    let both = flags & libc::AT_STATX_SYNC_TYPE == libc::AT_STATX_SYNC_TYPE;
    let reserved = mask & libc::STATX__RESERVED as c_uint != 0 || flags & !KNOWN_FLAGS != 0 || both;
    let way = if reserved {
        Way::Supervisor
    } else if flags & AT_EMPTY_PATH != 0 && is_empty(path) && dir >= 0 {
        route::open_descriptor(dir)
    } else {
        route::path(dir, path, last(flags))
    };
    match way {
        Way::Found(place) => match present::attributes(&place) {
            Some(_) if route::is_wild(buf) => Err(Errno(libc::EFAULT)),
            Some(attributes) => {
                buf.write(cvmfs_hooks::fill::statx(&cvmfs_hooks::fill::stat(&attributes)));
                Ok(0)
            }
            None => plain(),
        },
        Way::Fails(error) => Err(error),
        Way::Native => route::native(libc::SYS_statx, arguments, dir, path),
        Way::Supervisor => plain(),
    }
}

pub(crate) unsafe fn access(path: *const c_char, mode: c_int) -> c_int {
    let arguments = [AT_FDCWD as usize, path as usize, mode as usize, 0, 0];
    sys::c_int_result(permitted(libc::SYS_faccessat, arguments, AT_FDCWD, path, mode, 0))
}

pub(crate) unsafe fn faccessat(dir: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int {
    let number = if flags == 0 { libc::SYS_faccessat } else { libc::SYS_faccessat2 };
    let arguments = [dir as usize, path as usize, mode as usize, flags as usize, 0];
    sys::c_int_result(permitted(number, arguments, dir, path, mode, flags))
}

unsafe fn permitted(
    number: libc::c_long,
    arguments: [usize; 5],
    dir: c_int,
    path: *const c_char,
    mode: c_int,
    flags: c_int,
) -> sys::Result {
    let way = match flags & !(libc::AT_EACCESS | AT_SYMLINK_NOFOLLOW) {
        0 => route::path(dir, path, last(flags)),
        _ => Way::Supervisor,
    };
    match way {
        Way::Found(place) => match judge(&place, mode) {
            Some(result) => result,
            None => sys::plain(number, arguments),
        },
        Way::Fails(error) => Err(error),
        Way::Native => route::native(number, arguments, dir, path),
        Way::Supervisor => sys::plain(number, arguments),
    }
}

/// What holds for everybody; where it depends on who asks, `None`.
fn judge(place: &Place, mode: c_int) -> Option<sys::Result> {
    if mode & !(libc::R_OK | libc::W_OK | libc::X_OK) != 0 {
        return None;
    }
    let attributes = present::attributes(place)?;
    let kind = attributes.kind();
    if mode & libc::W_OK != 0 {
        let refused = matches!(kind, EntryKind::Regular | EntryKind::Directory | EntryKind::Symlink);
        return refused.then_some(Err(Errno(libc::EROFS)));
    }
    let wanted = mode as u32 * 0o111;
    if attributes.mode & wanted == wanted {
        return Some(Ok(0));
    }
    // What nobody may execute, not even root may.
    let no_program = mode == libc::X_OK && kind == EntryKind::Regular && attributes.mode & 0o111 == 0;
    no_program.then_some(Err(Errno(libc::EACCES)))
}
