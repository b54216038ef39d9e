//! Links and canonical names.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::Errno;
use crate::namespace::{FileKind, LastLink, Node};
use crate::route::{self, C1, C2, C3, C4, C5};
use crate::{inside, namespace, sys, view};
use cvmfs_index::walk::PATH_MAX;
use libc::{AT_FDCWD, c_char, c_int, c_void, size_t, ssize_t};
use std::ffi::CStr;

pub(crate) unsafe fn readlink(
    real: C3<*const c_char, *mut c_char, size_t, ssize_t>,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
) -> ssize_t {
    at(AT_FDCWD, path, buf, size, |_, path| real(path, buf, size))
}

pub(crate) unsafe fn readlinkat(
    real: C4<c_int, *const c_char, *mut c_char, size_t, ssize_t>,
    dir: c_int,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
) -> ssize_t {
    at(dir, path, buf, size, |dir, path| real(dir, path, buf, size))
}

pub(crate) unsafe fn readlink_checked(
    real: C4<*const c_char, *mut c_char, size_t, size_t, ssize_t>,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
    room: size_t,
) -> ssize_t {
    at(AT_FDCWD, path, buf, size.min(room), |_, path| real(path, buf, size, room))
}

pub(crate) unsafe fn readlinkat_checked(
    real: C5<c_int, *const c_char, *mut c_char, size_t, size_t, ssize_t>,
    dir: c_int,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
    room: size_t,
) -> ssize_t {
    at(dir, path, buf, size.min(room), |dir, path| real(dir, path, buf, size, room))
}

unsafe fn at(
    dir: c_int,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
    native: impl Fn(c_int, *const c_char) -> ssize_t,
) -> ssize_t {
    let native = |dir: c_int, path: *const c_char| match behind_proc(dir, path) {
        Some(path) => give_bytes(&path, buf, size),
        None => native(dir, path),
    };
    // An empty path means the link that the descriptor itself was opened on.
    let flags = libc::AT_SYMLINK_NOFOLLOW | if dir == AT_FDCWD { 0 } else { libc::AT_EMPTY_PATH };
    route::path_or_descriptor(dir, path, flags, native, |node| Ok(give_bytes(&node.read_link()?, buf, size)))
}

/// Writes as much of `bytes` as there is room for, without a NUL.
unsafe fn give_bytes(bytes: &[u8], buf: *mut c_char, size: size_t) -> ssize_t {
    let len = bytes.len().min(size);
    std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.cast(), len);
    len as ssize_t
}

/// The virtual path behind a link of the kernel's such as `/proc/self/exe`, if what it names is ours.
unsafe fn behind_proc(dir: c_int, path: *const c_char) -> Option<Vec<u8>> {
    if path.is_null() || inside::is_inside() {
        return None;
    }
    // By its own name, or as seen from a directory in there.
    let link = CStr::from_ptr(path);
    let absolute = link.to_bytes().starts_with(b"/");
    if !link.to_bytes().starts_with(b"/proc/") && (dir == AT_FDCWD || absolute) {
        return None;
    }
    let mut buf = [0; PATH_MAX + 1];
    let arguments = [dir as usize, path as usize, buf.as_mut_ptr() as usize, buf.len(), 0, 0];
    let len = sys::call(libc::SYS_readlinkat, arguments).ok()?;
    let name = buf.get(..len)?;
    if absolute { view::behind(link, name) } else { view::strip(name).map(<[u8]>::to_vec) }
}

pub(crate) unsafe fn realpath(
    real: C2<*const c_char, *mut c_char, *mut c_char>,
    path: *const c_char,
    resolved: *mut c_char,
) -> *mut c_char {
    canonical(path, resolved, libc::PATH_MAX as usize, |_, path| real(path, resolved))
}

pub(crate) unsafe fn realpath_checked(
    real: C3<*const c_char, *mut c_char, size_t, *mut c_char>,
    path: *const c_char,
    resolved: *mut c_char,
    room: size_t,
) -> *mut c_char {
    canonical(path, resolved, room, |_, path| real(path, resolved, room))
}

pub(crate) unsafe fn canonicalize_file_name(real: C1<*const c_char, *mut c_char>, path: *const c_char) -> *mut c_char {
    canonical(path, std::ptr::null_mut(), libc::PATH_MAX as usize, |_, path| real(path))
}

unsafe fn canonical(
    path: *const c_char,
    resolved: *mut c_char,
    room: usize,
    native: impl Fn(c_int, *const c_char) -> *mut c_char,
) -> *mut c_char {
    // The real one also finds its way into the view, by the working directory.
    let native = |dir: c_int, path: *const c_char| {
        let result = native(dir, path);
        if !result.is_null() && !inside::is_inside() {
            let name = CStr::from_ptr(result).to_bytes();
            if let Some(virtual_path) = view::strip(name) {
                let (start, len) = (virtual_path.as_ptr(), virtual_path.len());
                std::ptr::copy(start, result.cast(), len);
                *result.add(len) = 0;
            }
        }
        result
    };
    route::path(AT_FDCWD, path, LastLink::Follow, native, |node| give(&node.path(), resolved, room))
}

/// Writes `bytes` and a NUL to `to`, or to memory of `malloc` if that is null.
pub(crate) unsafe fn give(bytes: &[u8], to: *mut c_char, room: usize) -> Result<*mut c_char, Errno> {
    let to = if to.is_null() {
        libc::malloc(bytes.len() + 1).cast::<c_char>()
    } else if room <= bytes.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    } else {
        to
    };
    if to.is_null() {
        return Err(Errno(libc::ENOMEM));
    }
    std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len());
    *to.add(bytes.len()) = 0;
    Ok(to)
}

pub(crate) unsafe fn name_to_handle_at(
    real: C5<c_int, *const c_char, *mut c_void, *mut c_int, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    handle: *mut c_void,
    mount_id: *mut c_int,
    flags: c_int,
) -> c_int {
    let native = |dir: c_int, path: *const c_char| real(dir, path, handle, mount_id, flags);
    let last = if flags & libc::AT_SYMLINK_FOLLOW != 0 { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let flags = flags & libc::AT_EMPTY_PATH | last;
    route::path_or_descriptor(dir, path, flags, native, |_| Err(Errno(libc::EOPNOTSUPP)))
}

/// The path of a directory node, checked as for a working directory.
pub(crate) fn directory_to_enter(node: &Node) -> Result<(), Errno> {
    if node.kind() != FileKind::Directory {
        return Err(Errno(libc::ENOTDIR));
    }
    namespace::check_access(node, libc::X_OK)
}
