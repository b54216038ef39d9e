//! Reading extended attributes.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::Errno;
use crate::namespace::{LastLink, Node};
use crate::route::{self, C3, C4};
use libc::{AT_FDCWD, c_char, c_int, c_void, size_t, ssize_t};
use std::ffi::CStr;

type Get = C4<*const c_char, *const c_char, *mut c_void, size_t, ssize_t>;
type List = C3<*const c_char, *mut c_char, size_t, ssize_t>;

pub(crate) unsafe fn getxattr(
    real: Get,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_void,
    size: size_t,
) -> ssize_t {
    let native = |_: c_int, path: *const c_char| real(path, name, value, size);
    route::path(AT_FDCWD, path, LastLink::Follow, native, |node| get(node, name, value, size))
}

pub(crate) unsafe fn lgetxattr(
    real: Get,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_void,
    size: size_t,
) -> ssize_t {
    let native = |_: c_int, path: *const c_char| real(path, name, value, size);
    route::path(AT_FDCWD, path, LastLink::Keep, native, |node| get(node, name, value, size))
}

pub(crate) unsafe fn fgetxattr(
    real: C4<c_int, *const c_char, *mut c_void, size_t, ssize_t>,
    fd: c_int,
    name: *const c_char,
    value: *mut c_void,
    size: size_t,
) -> ssize_t {
    route::contents(fd, || real(fd, name, value, size), |node| get(node, name, value, size))
}

pub(crate) unsafe fn listxattr(real: List, path: *const c_char, names: *mut c_char, size: size_t) -> ssize_t {
    let native = |_: c_int, path: *const c_char| real(path, names, size);
    route::path(AT_FDCWD, path, LastLink::Follow, native, |node| list(node, names, size))
}

pub(crate) unsafe fn llistxattr(real: List, path: *const c_char, names: *mut c_char, size: size_t) -> ssize_t {
    let native = |_: c_int, path: *const c_char| real(path, names, size);
    route::path(AT_FDCWD, path, LastLink::Keep, native, |node| list(node, names, size))
}

pub(crate) unsafe fn flistxattr(
    real: C3<c_int, *mut c_char, size_t, ssize_t>,
    fd: c_int,
    names: *mut c_char,
    size: size_t,
) -> ssize_t {
    route::contents(fd, || real(fd, names, size), |node| list(node, names, size))
}

unsafe fn get(node: &Node, name: *const c_char, value: *mut c_void, size: size_t) -> Result<ssize_t, Errno> {
    if name.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    give(&node.get_xattr(CStr::from_ptr(name).to_bytes())?, value, size)
}

unsafe fn list(node: &Node, names: *mut c_char, size: size_t) -> Result<ssize_t, Errno> {
    let mut all = Vec::new();
    for name in node.list_xattrs()? {
        all.extend_from_slice(&name);
        all.push(0);
    }
    give(&all, names.cast(), size)
}

/// Size 0 asks for the length only.
unsafe fn give(bytes: &[u8], to: *mut c_void, size: size_t) -> Result<ssize_t, Errno> {
    if size != 0 {
        if size < bytes.len() {
            return Err(Errno(libc::ERANGE));
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len());
    }
    Ok(bytes.len() as ssize_t)
}
