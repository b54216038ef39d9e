//! What kind of file system this is.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::Errno;
use crate::namespace::{LastLink, Node};
use crate::route::{self, C2};
use cvmfs_hooks::c::{Statfs, Statvfs};
use libc::{AT_FDCWD, c_char, c_int, c_long};

/// `FUSE_SUPER_MAGIC`: programs that know CernVM-FS know it as a FUSE file system.
const TYPE: i64 = 0x6573_5546;
const BLOCK: u64 = 4096;
/// Programs that compute a share of the blocks must not divide by zero.
const BLOCKS: u64 = 1 << 20;

pub(crate) unsafe fn statfs(
    real: C2<*const c_char, *mut Statfs, c_int>,
    path: *const c_char,
    buf: *mut Statfs,
) -> c_int {
    let native = |_: c_int, path: *const c_char| real(path, buf);
    route::path(AT_FDCWD, path, LastLink::Follow, native, |node| fill(node, buf))
}

pub(crate) unsafe fn fstatfs(real: C2<c_int, *mut Statfs, c_int>, fd: c_int, buf: *mut Statfs) -> c_int {
    route::descriptor(fd, || real(fd, buf), |node| fill(node, buf))
}

pub(crate) unsafe fn statvfs(
    real: C2<*const c_char, *mut Statvfs, c_int>,
    path: *const c_char,
    buf: *mut Statvfs,
) -> c_int {
    let native = |_: c_int, path: *const c_char| real(path, buf);
    route::path(AT_FDCWD, path, LastLink::Follow, native, |node| fill_v(node, buf))
}

pub(crate) unsafe fn fstatvfs(real: C2<c_int, *mut Statvfs, c_int>, fd: c_int, buf: *mut Statvfs) -> c_int {
    route::descriptor(fd, || real(fd, buf), |node| fill_v(node, buf))
}

unsafe fn fill(node: &Node, buf: *mut Statfs) -> Result<c_int, Errno> {
    // The same structure, of which the `libc` crate knows the flags only by this name.
    let mut result: libc::statfs64 = std::mem::zeroed();
    result.f_type = TYPE as _;
    result.f_bsize = BLOCK as _;
    result.f_frsize = BLOCK as _;
    result.f_blocks = BLOCKS;
    result.f_namelen = 255;
    // The kernel's own bit says that the flags are there.
    const VALID: u64 = 0x20;
    result.f_flags = (libc::ST_RDONLY | libc::ST_NOSUID | libc::ST_NODEV | VALID) as _;
    result.f_fsid = std::mem::transmute::<u64, libc::fsid_t>(node.attributes().dev);
    *buf.cast() = result;
    Ok(0)
}

unsafe fn fill_v(node: &Node, buf: *mut Statvfs) -> Result<c_int, Errno> {
    let mut result: Statvfs = std::mem::zeroed();
    result.f_bsize = BLOCK;
    result.f_frsize = BLOCK;
    result.f_blocks = BLOCKS;
    result.f_fsid = node.attributes().dev;
    result.f_flag = libc::ST_RDONLY | libc::ST_NOSUID | libc::ST_NODEV;
    result.f_namemax = 255;
    *buf = result;
    Ok(0)
}

pub(crate) unsafe fn pathconf(real: C2<*const c_char, c_int, c_long>, path: *const c_char, name: c_int) -> c_long {
    let native = |_: c_int, path: *const c_char| real(path, name);
    route::path(AT_FDCWD, path, LastLink::Follow, native, |_| {
        Ok(match name {
            libc::_PC_LINK_MAX => 1,
            libc::_PC_NAME_MAX => 255,
            libc::_PC_PATH_MAX => 4096,
            libc::_PC_PIPE_BUF => 4096,
            libc::_PC_CHOWN_RESTRICTED | libc::_PC_NO_TRUNC => 1,
            libc::_PC_2_SYMLINKS => 1,
            _ => -1,
        })
    })
}
