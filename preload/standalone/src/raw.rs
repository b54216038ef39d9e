//! `syscall()`, for the calls that programs make by number.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::Answer as _;
use crate::{inside, sys};
#[cfg(target_arch = "x86_64")]
use libc::{AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use libc::{c_char, c_int, c_long};

type Real = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

#[expect(clippy::too_many_arguments, reason = "the most that a system call has, and its number")]
pub(crate) unsafe fn syscall(
    real: Real,
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if inside::is_inside() {
        return real(number, a, b, c, d, e, f);
    }
    let raw = |arguments: [usize; 6]| sys::call(number, arguments).map_or_else(c_long::fail, |value| value as c_long);
    let int = |value: c_long| value as c_int;
    let path = |value: c_long| value as *const c_char;
    match number {
        libc::SYS_openat => {
            let native = |dir: c_int, name: *const c_char| {
                raw([dir as usize, name as usize, c as usize, d as usize, 0, 0]) as c_int
            };
            crate::open::at(int(a), path(b), int(c), native).into()
        }
        libc::SYS_openat2 if !(c as *const u64).is_null() => {
            let native = |dir: c_int, name: *const c_char| {
                raw([dir as usize, name as usize, c as usize, d as usize, 0, 0]) as c_int
            };
            // The flags come first in the structure. What it says about the way is not looked at inside the tree.
            crate::open::at(int(a), path(b), *(c as *const u64) as c_int, native).into()
        }
        libc::SYS_newfstatat => crate::stat::fstatat(int(a), path(b), c as *mut _, int(d)).into(),
        libc::SYS_fstat => crate::stat::fstat(int(a), b as *mut _).into(),
        libc::SYS_statx => crate::stat::statx(int(a), path(b), int(c), d as u32, e as *mut _).into(),
        libc::SYS_faccessat => libc::faccessat(int(a), path(b), int(c), 0).into(),
        libc::SYS_faccessat2 => libc::faccessat(int(a), path(b), int(c), int(d)).into(),
        libc::SYS_readlinkat => libc::readlinkat(int(a), path(b), c as *mut c_char, d as usize) as c_long,
        libc::SYS_chdir => libc::chdir(path(a)).into(),
        libc::SYS_fchdir => libc::fchdir(int(a)).into(),
        libc::SYS_getcwd => {
            // The call tells the length with its NUL, the function a pointer.
            let buf = libc::getcwd(a as *mut c_char, b as usize);
            if buf.is_null() { -1 } else { libc::strlen(buf) as c_long + 1 }
        }
        libc::SYS_execve => libc::execve(path(a), b as *const _, c as *const _).into(),
        libc::SYS_mkdirat => libc::mkdirat(int(a), path(b), c as u32).into(),
        libc::SYS_unlinkat => libc::unlinkat(int(a), path(b), int(c)).into(),
        libc::SYS_mknodat => libc::mknodat(int(a), path(b), c as u32, d as u64).into(),
        libc::SYS_symlinkat => libc::symlinkat(path(a), int(b), path(c)).into(),
        libc::SYS_linkat => libc::linkat(int(a), path(b), int(c), path(d), int(e)).into(),
        libc::SYS_renameat2 => libc::renameat2(int(a), path(b), int(c), path(d), e as u32).into(),
        libc::SYS_fchownat => libc::fchownat(int(a), path(b), c as u32, d as u32, int(e)).into(),
        libc::SYS_fchown => libc::fchown(int(a), b as u32, c as u32).into(),
        // The call takes a null path for the descriptor itself, the function does not.
        libc::SYS_utimensat if path(b).is_null() => libc::futimens(int(a), c as *const _).into(),
        libc::SYS_utimensat => libc::utimensat(int(a), path(b), c as *const _, int(d)).into(),
        libc::SYS_truncate => libc::truncate(path(a), b).into(),
        libc::SYS_setxattr => libc::setxattr(path(a), path(b), c as *const _, d as usize, int(e)).into(),
        libc::SYS_fsetxattr => libc::fsetxattr(int(a), path(b), c as *const _, d as usize, int(e)).into(),
        libc::SYS_getxattr => libc::getxattr(path(a), path(b), c as *mut _, d as usize) as c_long,
        libc::SYS_lgetxattr => libc::lgetxattr(path(a), path(b), c as *mut _, d as usize) as c_long,
        libc::SYS_fgetxattr => libc::fgetxattr(int(a), path(b), c as *mut _, d as usize) as c_long,
        libc::SYS_statfs => libc::statfs(path(a), b as *mut _).into(),
        libc::SYS_fstatfs => libc::fstatfs(int(a), b as *mut _).into(),
        cvmfs_view::SYS_fchmodat2 if d as c_int & libc::AT_EMPTY_PATH != 0 => libc::fchmod(int(a), c as u32).into(),
        cvmfs_view::SYS_fchmodat2 => libc::fchmodat(int(a), path(b), c as u32, int(d)).into(),
        libc::SYS_fchmodat => libc::fchmodat(int(a), path(b), c as u32, 0).into(),
        libc::SYS_fchmod => libc::fchmod(int(a), b as u32).into(),
        _ => old_numbers(real, number, [a, b, c, d, e, f]),
    }
}

/// The calls without `at` that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
unsafe fn old_numbers(real: Real, number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> c_long {
    let int = |value: c_long| value as c_int;
    let path = |value: c_long| value as *const c_char;
    match number {
        libc::SYS_open => {
            let native = |dir: c_int, name: *const c_char| {
                let arguments = [dir as usize, name as usize, b as usize, c as usize, 0, 0];
                sys::call(libc::SYS_openat, arguments).map_or_else(c_int::fail, |fd| fd as c_int)
            };
            crate::open::at(AT_FDCWD, path(a), int(b), native).into()
        }
        libc::SYS_creat => libc::creat(path(a), b as u32).into(),
        libc::SYS_rename => libc::rename(path(a), path(b)).into(),
        libc::SYS_link => libc::link(path(a), path(b)).into(),
        libc::SYS_symlink => libc::symlink(path(a), path(b)).into(),
        libc::SYS_chmod => libc::chmod(path(a), b as u32).into(),
        libc::SYS_chown => libc::chown(path(a), b as u32, c as u32).into(),
        libc::SYS_lchown => libc::lchown(path(a), b as u32, c as u32).into(),
        libc::SYS_stat => crate::stat::fstatat(AT_FDCWD, path(a), b as *mut _, 0).into(),
        libc::SYS_lstat => crate::stat::fstatat(AT_FDCWD, path(a), b as *mut _, AT_SYMLINK_NOFOLLOW).into(),
        libc::SYS_access => libc::access(path(a), int(b)).into(),
        libc::SYS_readlink => libc::readlink(path(a), b as *mut c_char, c as usize) as c_long,
        libc::SYS_mkdir => libc::mkdir(path(a), b as u32).into(),
        libc::SYS_unlink => libc::unlink(path(a)).into(),
        libc::SYS_rmdir => libc::rmdir(path(a)).into(),
        _ => real(number, a, b, c, d, e, f),
    }
}

/// The calls without `at`, of which this architecture has none.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn old_numbers(real: Real, number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> c_long {
    real(number, a, b, c, d, e, f)
}
