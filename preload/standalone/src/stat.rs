//! `stat` and its sisters, `access` and its.
//!
//! The native part of `stat` is a system call: what the C library has for it depends on its version.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::{Answer as _, Errno};
use crate::namespace::Node;
use crate::route::{self, C2, C4};
use crate::sys;
use cvmfs_hooks::c::{Stat, Statx};
use cvmfs_view::verdict;
use libc::{AT_FDCWD, AT_SYMLINK_NOFOLLOW, c_char, c_int, c_uint};
use libcvmfs::identity::of_process;

pub(crate) unsafe fn stat(path: *const c_char, buf: *mut Stat) -> c_int {
    fstatat(AT_FDCWD, path, buf, 0)
}

pub(crate) unsafe fn lstat(path: *const c_char, buf: *mut Stat) -> c_int {
    fstatat(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW)
}

pub(crate) unsafe fn fstat(fd: c_int, buf: *mut Stat) -> c_int {
    let native = || settle(sys::call(libc::SYS_fstat, [fd as usize, buf as usize, 0, 0, 0, 0]));
    route::descriptor(fd, native, |node| fill(node, buf))
}

pub(crate) unsafe fn fstatat(dir: c_int, path: *const c_char, buf: *mut Stat, flags: c_int) -> c_int {
    let native = |dir: c_int, path: *const c_char| settle(sys::fstatat(dir, path, buf, flags));
    route::path_or_descriptor(dir, path, flags, native, |node| fill(node, buf))
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

pub(crate) unsafe fn statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, buf: *mut Statx) -> c_int {
    let native = |dir: c_int, path: *const c_char| {
        let arguments = [dir as usize, path as usize, flags as usize, mask as usize, buf as usize, 0];
        settle(sys::call(libc::SYS_statx, arguments))
    };
    route::path_or_descriptor(dir, path, flags, native, |node| {
        if buf.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        *buf = cvmfs_view::stat::statx(&of_node(node));
        Ok(0)
    })
}

fn settle(result: Result<usize, Errno>) -> c_int {
    match result {
        Ok(value) => value as c_int,
        Err(error) => c_int::fail(error),
    }
}

unsafe fn fill(node: &Node, buf: *mut Stat) -> Result<c_int, Errno> {
    if buf.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    *buf = of_node(node);
    Ok(0)
}

/// `struct stat` of a node.
pub(crate) fn of_node(node: &Node) -> Stat {
    cvmfs_view::stat::stat(&node.attributes())
}

pub(crate) unsafe fn access(real: C2<*const c_char, c_int, c_int>, path: *const c_char, mode: c_int) -> c_int {
    let native = |_: c_int, path: *const c_char| real(path, mode);
    route::path_or_descriptor(AT_FDCWD, path, 0, native, |node| permitted(node, mode))
}

pub(crate) unsafe fn euidaccess(real: C2<*const c_char, c_int, c_int>, path: *const c_char, mode: c_int) -> c_int {
    access(real, path, mode)
}

pub(crate) unsafe fn faccessat(
    real: C4<c_int, *const c_char, c_int, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    mode: c_int,
    flags: c_int,
) -> c_int {
    let native = |dir: c_int, path: *const c_char| real(dir, path, mode, flags);
    route::path_or_descriptor(dir, path, flags, native, |node| permitted(node, mode))
}

fn permitted(node: &Node, mode: c_int) -> Result<c_int, Errno> {
    verdict::access(node, mode, &of_process())?;
    Ok(0)
}
