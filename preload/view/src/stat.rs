//! The kernel's structures.

use crate::Errno;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use cvmfs_hooks::fill::{stat, statx};

/// What the kernel tells of a real file; with `follow`, of what a link leads to.
///
/// # Errors
/// Those of `stat`.
pub fn of_path(path: &Path, follow: bool) -> Result<libc::stat, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno(libc::ENOENT))?;
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: a structure of plain numbers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and room for the answer.
    let done = unsafe { libc::fstatat(libc::AT_FDCWD, path.as_ptr(), &mut stat, flags) };
    if done == 0 { Ok(stat) } else { Err(std::io::Error::last_os_error().into()) }
}

/// The kernel's `struct statfs` on 64-bit systems; that of the C library hides the flags.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Statfs {
    kind: i64,
    block_size: i64,
    blocks: u64,
    free: u64,
    available: u64,
    files: u64,
    free_files: u64,
    id: u64,
    name_length: i64,
    fragment_size: i64,
    flags: i64,
    spare: [i64; 4],
}

impl Statfs {
    /// That of the file system with this device number: as of a FUSE mount which nobody can write to.
    pub fn of_device(device: u64) -> Statfs {
        /// `FUSE_SUPER_MAGIC`.
        const FUSE: i64 = 0x6573_5546;
        /// The kernel's `ST_VALID`: the flags are meant.
        const VALID: i64 = 0x20;
        Statfs {
            kind: FUSE,
            block_size: 4096,
            fragment_size: 4096,
            // Programs take a file system of no blocks for a pseudo one.
            blocks: 1 << 30,
            id: device,
            name_length: 255,
            flags: VALID | (libc::ST_RDONLY | libc::ST_NOSUID | libc::ST_NODEV) as i64,
            ..Statfs::default()
        }
    }
}
