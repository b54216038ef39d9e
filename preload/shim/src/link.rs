//! `readlink` and its sisters.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

pub(crate) use crate::real::{canonicalize_file_name, realpath, realpath_checked};
use crate::route::{self, Way};
use crate::sys::{self, Errno};
use crate::{present, stat};
use cvmfs_index::EntryKind;
use cvmfs_index::walk::LastLink;
use libc::{AT_FDCWD, c_char, c_int, size_t, ssize_t};

pub(crate) unsafe fn readlink(path: *const c_char, buf: *mut c_char, size: size_t) -> ssize_t {
    sys::c_result(at(AT_FDCWD, path, buf, size))
}

pub(crate) unsafe fn readlinkat(dir: c_int, path: *const c_char, buf: *mut c_char, size: size_t) -> ssize_t {
    sys::c_result(at(dir, path, buf, size))
}

pub(crate) unsafe fn readlink_checked(path: *const c_char, buf: *mut c_char, size: size_t, room: size_t) -> ssize_t {
    sys::c_result(at(AT_FDCWD, path, buf, size.min(room)))
}

pub(crate) unsafe fn readlinkat_checked(
    dir: c_int,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
    room: size_t,
) -> ssize_t {
    sys::c_result(at(dir, path, buf, size.min(room)))
}

unsafe fn at(dir: c_int, path: *const c_char, buf: *mut c_char, size: size_t) -> sys::Result {
    let arguments = [dir as usize, path as usize, buf as usize, size, 0];
    // An empty path means the link that the descriptor itself was opened on; from a directory of the kernel's own links
    // a name can lead to us.
    let way = match dir {
        AT_FDCWD => route::path(dir, path, LastLink::Keep),
        _ if stat::is_empty(path) || *path as u8 != b'/' && is_of_kernel(dir) => Way::Supervisor,
        _ => route::path(dir, path, LastLink::Keep),
    };
    match way {
        Way::Found(place) => {
            let kind = place.entry().map(|entry| entry.kind());
            // The kernel refuses sizes below 1 and above what an `int` holds before it looks at the path.
            if !(1..=c_int::MAX as usize).contains(&size) || route::is_wild(buf) || kind.is_none() {
                return sys::plain(libc::SYS_readlinkat, arguments);
            }
            if kind != Some(EntryKind::Symlink) {
                return Err(Errno(libc::EINVAL));
            }
            // No target is longer, so the room behind it need not be the caller's.
            let room = size.min(cvmfs_index::walk::PATH_MAX);
            let buffer = core::slice::from_raw_parts_mut(buf.cast::<u8>(), room);
            match present::target(&place, buffer) {
                Some(len) if len <= cvmfs_index::walk::PATH_MAX => Ok(len.min(size)),
                _ => sys::plain(libc::SYS_readlinkat, arguments),
            }
        }
        Way::Fails(error) => Err(error),
        Way::Native => route::native(libc::SYS_readlinkat, arguments, dir, path),
        Way::Supervisor => sys::plain(libc::SYS_readlinkat, arguments),
    }
}

/// Whether a directory's descriptor may be one of `/proc`: its file system has no device of its own.
#[inline(never)]
fn is_of_kernel(dir: c_int) -> bool {
    sys::fstat(dir).is_ok_and(|found| libc::major(found.st_dev) == 0 && found.st_size == 0)
}
