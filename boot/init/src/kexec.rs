//! Another kernel in the place of the one that runs.

use anyhow::{Context as _, Result};
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd as _;

/// The kernel's `KEXEC_FILE_UNLOAD`.
const UNLOAD: libc::c_ulong = 1;

/// Loads a kernel; `reboot` with `Kexec` starts it. The kernel that runs checks its signature, if it wants one.
pub(crate) fn load(kernel: &File, initrd: &File, line: &CStr) -> Result<()> {
    let length = line.to_bytes_with_nul().len();
    // SAFETY: two descriptors, and a string of that length with its zero; the kernel copies it.
    let result = unsafe {
        libc::syscall(libc::SYS_kexec_file_load, kernel.as_raw_fd(), initrd.as_raw_fd(), length, line.as_ptr(), 0)
    };
    answer(result).context("kexec_file_load")
}

/// Takes it back.
pub(crate) fn unload() {
    // SAFETY: with this flag the call looks at nothing else.
    let _ = unsafe { libc::syscall(libc::SYS_kexec_file_load, -1, -1, 0, std::ptr::null::<u8>(), UNLOAD) };
}

fn answer(result: libc::c_long) -> std::io::Result<()> {
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
