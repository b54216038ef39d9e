//! System calls without the C library: they neither touch `errno` nor meet a hook.

use crate::errno::Errno;
use libc::{c_int, c_long};
use std::ffi::CStr;

/// Issues system call `number`.
///
/// # Safety
/// As for the call.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call(number: c_long, a: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the registers are those of the kernel's calling convention; the caller answers for the arguments.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    settle(result)
}

/// Issues system call `number`.
///
/// # Safety
/// As for the call.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call(number: c_long, a: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the registers are those of the kernel's calling convention; the caller answers for the arguments.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    settle(result)
}

fn settle(result: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) { Err(Errno(-result as c_int)) } else { Ok(result as usize) }
}

/// `newfstatat`.
///
/// # Safety
/// `path` is a C string and `buf` has room for a `struct stat`, or the kernel says `EFAULT`.
pub(crate) unsafe fn fstatat(
    dir: c_int,
    path: *const libc::c_char,
    buf: *mut libc::stat,
    flags: c_int,
) -> Result<usize, Errno> {
    // SAFETY: passed on.
    unsafe { call(libc::SYS_newfstatat, [dir as usize, path as usize, buf as usize, flags as usize, 0, 0]) }
}

/// `fstat`.
pub(crate) fn fstat(fd: c_int) -> Result<libc::stat, Errno> {
    let mut buf = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the buffer is one `struct stat`; all-zero bytes are a valid one.
    unsafe {
        call(libc::SYS_fstat, [fd as usize, buf.as_mut_ptr() as usize, 0, 0, 0, 0])?;
        Ok(buf.assume_init())
    }
}

/// Whether a descriptor only names something.
pub(crate) fn is_path_only(fd: c_int) -> bool {
    // SAFETY: no memory is involved.
    let flags = unsafe { call(libc::SYS_fcntl, [fd as usize, libc::F_GETFL as usize, 0, 0, 0, 0]) };
    flags.is_ok_and(|flags| flags as c_int & libc::O_PATH != 0)
}

/// `stat` of a native path, following a last link or not.
pub(crate) fn stat(path: &CStr, flags: c_int) -> Result<libc::stat, Errno> {
    let mut buf = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the buffer is one `struct stat`; all-zero bytes are a valid one.
    unsafe {
        fstatat(libc::AT_FDCWD, path.as_ptr(), buf.as_mut_ptr(), flags)?;
        Ok(buf.assume_init())
    }
}

/// `readlinkat` of a native path into `buf`.
pub(crate) fn readlink<'b>(path: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let arguments = [libc::AT_FDCWD as usize, path.as_ptr() as usize, buf.as_mut_ptr() as usize, buf.len(), 0, 0];
    // SAFETY: a C string and a buffer with its length.
    let len = unsafe { call(libc::SYS_readlinkat, arguments) }?;
    Ok(buf.get(..len).unwrap_or_default())
}

/// `getcwd` into `buf`, without the final NUL.
pub(crate) fn getcwd(buf: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: a buffer with its length.
    let len = unsafe { call(libc::SYS_getcwd, [buf.as_mut_ptr() as usize, buf.len(), 0, 0, 0, 0]) }?;
    Ok(buf.get(..len.saturating_sub(1)).unwrap_or_default())
}

/// The number of this process, also right in a `vfork` child.
pub(crate) fn getpid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { call(libc::SYS_getpid, [0; 6]) }.unwrap_or(0) as u32
}
