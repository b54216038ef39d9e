//! System calls, with the cookie and without, and `errno`.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libc::{c_int, c_long};

/// An error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

/// What a system call gives.
pub(crate) type Result = core::result::Result<usize, Errno>;

/// 0 until the control page is found; then calls "with the cookie" are ordinary ones.
static COOKIE: AtomicU64 = AtomicU64::new(0);

/// From now on calls pass through the filter.
pub(crate) fn set_cookie(cookie: u64) {
    COOKIE.store(cookie, Relaxed);
}

/// Issues a system call that the filter lets pass.
///
/// # Safety
/// As for the call. The kernel checks pointers; memory that it writes must be the caller's to give.
#[inline]
pub(crate) unsafe fn cookied(number: c_long, arguments: [usize; 5]) -> Result {
    // SAFETY: passed on.
    unsafe { call(number, arguments, COOKIE.load(Relaxed)) }
}

/// Issues a system call as any program does: the filter may hand it to the supervisor.
///
/// # Safety
/// As for the call.
#[cold]
pub(crate) unsafe fn plain(number: c_long, arguments: [usize; 5]) -> Result {
    // SAFETY: passed on.
    unsafe { call(number, arguments, 0) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call(number: c_long, a: [usize; 5], sixth: u64) -> Result {
    let result: isize;
    // SAFETY: the registers of the kernel's convention; the caller answers for the arguments. The cookie is wiped, so
    // that it does not lie about for calls of the program's own.
    unsafe {
        asm!("syscall", "xor r9d, r9d", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1],
            in("rdx") a[2], in("r10") a[3], in("r8") a[4], inlateout("r9") sixth => _, lateout("rcx") _,
            lateout("r11") _, options(nostack));
    }
    settle(result)
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn call(number: c_long, a: [usize; 5], sixth: u64) -> Result {
    let result: isize;
    // SAFETY: as above.
    unsafe {
        asm!("svc 0", "mov x5, xzr", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1],
            in("x2") a[2], in("x3") a[3], in("x4") a[4], inlateout("x5") sixth => _, options(nostack));
    }
    settle(result)
}

#[inline(always)]
fn settle(result: isize) -> Result {
    if (-4095..0).contains(&result) { Err(Errno(-result as c_int)) } else { Ok(result as usize) }
}

/// Closes a descriptor.
pub(crate) fn close(fd: c_int) -> Result {
    // SAFETY: no memory is involved.
    unsafe { cookied(libc::SYS_close, [fd as usize, 0, 0, 0, 0]) }
}

/// What the kernel knows of an open descriptor.
pub(crate) fn fstat(fd: c_int) -> core::result::Result<libc::stat, Errno> {
    let mut buf = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: one `struct stat`; all zero is a valid one.
    unsafe {
        cookied(libc::SYS_fstat, [fd as usize, buf.as_mut_ptr() as usize, 0, 0, 0])?;
        Ok(buf.assume_init())
    }
}

/// The name that the kernel tells for descriptor `fd`.
pub(crate) fn descriptor_name(fd: c_int, buf: &mut [u8]) -> core::result::Result<&[u8], Errno> {
    const PREFIX: &[u8] = b"/proc/self/fd/";
    let mut link = [0u8; PREFIX.len() + 12];
    let mut at = link.len() - 1;
    let mut rest = u32::try_from(fd).map_err(|_| Errno(libc::EBADF))?;
    loop {
        at -= 1;
        if let Some(digit) = link.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let start = at.saturating_sub(PREFIX.len());
    link.get_mut(start..at).ok_or(Errno(libc::EBADF))?.copy_from_slice(PREFIX);
    let link = link.get(start..).ok_or(Errno(libc::EBADF))?;
    let arguments = [libc::AT_FDCWD as usize, link.as_ptr() as usize, buf.as_mut_ptr() as usize, buf.len(), 0];
    // SAFETY: a C string and a buffer with its length.
    let len = unsafe { cookied(libc::SYS_readlinkat, arguments) }?;
    // One that fills the buffer may be cut off.
    if len >= buf.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    Ok(buf.get(..len).unwrap_or_default())
}

/// Gives the address of a symbol of another library, null if there is none. It may lack: nothing here insists on a
/// particular C library.
macro_rules! weak {
    ($symbol:literal) => {{
        let address: *const ();
        // SAFETY: reads one word of the table of addresses, which the dynamic linker has filled.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(concat!(".weak ", $symbol), concat!("mov {0}, qword ptr [rip + ", $symbol, "@GOTPCREL]"),
                out(reg) address, options(pure, readonly, nostack, preserves_flags));
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!(concat!(".weak ", $symbol), concat!("adrp {0}, :got:", $symbol),
                concat!("ldr {0}, [{0}, :got_lo12:", $symbol, "]"), out(reg) address,
                options(pure, readonly, nostack, preserves_flags));
        }
        address
    }};
}
pub(crate) use weak;

/// Sets this thread's `errno`.
#[cold]
pub(crate) fn set_errno(error: Errno) {
    let address = weak!("__errno_location");
    if address.is_null() {
        return;
    }
    // SAFETY: the function of this name has this type in every C library for Linux.
    let location: extern "C" fn() -> *mut c_int = unsafe { core::mem::transmute(address) };
    // SAFETY: every thread has a valid place.
    unsafe { *location() = error.0 };
}

/// The result of a C function that says -1 and sets `errno` when it fails.
#[inline(always)]
pub(crate) fn c_result(result: Result) -> isize {
    match result {
        Ok(value) => value as isize,
        Err(error) => {
            set_errno(error);
            -1
        }
    }
}

/// As [`c_result`], for functions that give an `int`.
#[inline(always)]
pub(crate) fn c_int_result(result: Result) -> c_int {
    c_result(result) as c_int
}

/// `mmap` from offset 0. It has a sixth argument of its own, so no cookie; the filter does not look at it.
///
/// # Safety
/// What is mapped at `address` is the caller's to replace, if `flags` say so.
pub(crate) unsafe fn mmap(address: usize, length: usize, protection: c_int, flags: c_int, fd: isize) -> Result {
    // SAFETY: passed on; the offset, the sixth argument, is 0.
    unsafe { call(libc::SYS_mmap, [address, length, protection as usize, flags as usize, fd as usize], 0) }
}
