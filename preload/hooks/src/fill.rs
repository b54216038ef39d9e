//! What the C structures say of an entry: one filling for all that answer to programs.
#![allow(unsafe_code, reason = "structures of the C library can only be made from zero bytes")]

use cvmfs_index::Attributes;
use libc::{stat as Stat, statx as Statx};

/// `struct stat` of an entry.
#[inline]
pub fn stat(attributes: &Attributes) -> Stat {
    // SAFETY: a structure of plain numbers.
    let mut stat: Stat = unsafe { core::mem::zeroed() };
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
#[inline]
pub fn statx(stat: &Stat) -> Statx {
    // SAFETY: a structure of plain numbers.
    let mut buf: Statx = unsafe { core::mem::zeroed() };
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
