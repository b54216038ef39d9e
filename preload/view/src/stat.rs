//! The kernel's structures.

use libc::{stat as Stat, statx as Statx};
use libcvmfs::namespace::Attributes;

/// `struct stat` of an entry.
pub fn stat(attributes: &Attributes) -> Stat {
    // SAFETY: a structure of plain numbers.
    let mut stat: Stat = unsafe { std::mem::zeroed() };
    stat.st_dev = attributes.dev;
    stat.st_ino = attributes.ino;
    stat.st_mode = attributes.mode;
    stat.st_nlink = attributes.nlink as _;
    stat.st_uid = attributes.uid;
    stat.st_gid = attributes.gid;
    stat.st_rdev = attributes.rdev;
    stat.st_size = attributes.size as _;
    stat.st_blksize = attributes.blksize as _;
    stat.st_blocks = attributes.blocks as _;
    let (seconds, nanoseconds) = attributes.mtime;
    (stat.st_mtime, stat.st_atime, stat.st_ctime) = (seconds, seconds, seconds);
    let nanoseconds = i64::from(nanoseconds);
    (stat.st_mtime_nsec, stat.st_atime_nsec, stat.st_ctime_nsec) = (nanoseconds, nanoseconds, nanoseconds);
    stat
}

/// `struct statx` from `struct stat`, of an entry or of a file of the host.
pub fn statx(stat: &Stat) -> Statx {
    // SAFETY: a structure of plain numbers.
    let mut buf: Statx = unsafe { std::mem::zeroed() };
    buf.stx_mask = libc::STATX_BASIC_STATS;
    buf.stx_blksize = stat.st_blksize as u32;
    buf.stx_nlink = stat.st_nlink as u32;
    buf.stx_uid = stat.st_uid;
    buf.stx_gid = stat.st_gid;
    buf.stx_mode = stat.st_mode as u16;
    buf.stx_ino = stat.st_ino;
    buf.stx_size = stat.st_size as u64;
    buf.stx_blocks = stat.st_blocks as u64;
    (buf.stx_dev_major, buf.stx_dev_minor) = (libc::major(stat.st_dev), libc::minor(stat.st_dev));
    (buf.stx_rdev_major, buf.stx_rdev_minor) = (libc::major(stat.st_rdev), libc::minor(stat.st_rdev));
    (buf.stx_mtime.tv_sec, buf.stx_mtime.tv_nsec) = (stat.st_mtime, stat.st_mtime_nsec as u32);
    (buf.stx_atime.tv_sec, buf.stx_atime.tv_nsec) = (stat.st_atime, stat.st_atime_nsec as u32);
    (buf.stx_ctime.tv_sec, buf.stx_ctime.tv_nsec) = (stat.st_ctime, stat.st_ctime_nsec as u32);
    buf
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
