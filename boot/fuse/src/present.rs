//! Attributes in the words of the kernel.

use fuser::{FileAttr, FileType, INodeNo};
use libcvmfs::namespace::{Attributes, FileKind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The type of an entry.
pub(crate) fn kind(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharacterDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// What `stat` tells, under the number `id`.
pub(crate) fn attributes(of: &Attributes, id: u64) -> FileAttr {
    let time = time(of.mtime);
    FileAttr {
        ino: INodeNo(id),
        size: of.size,
        blocks: of.blocks,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: UNIX_EPOCH,
        kind: kind(of.kind()),
        perm: (of.mode & 0o7777) as u16,
        nlink: of.nlink,
        uid: of.uid,
        gid: of.gid,
        // The kernel's own form of a device number has 32 bits and agrees with these for all that a tree can hold.
        rdev: of.rdev as u32,
        blksize: of.blksize,
        flags: 0,
    }
}

/// An entry that is absent, for the kernel to remember.
pub(crate) fn absent() -> FileAttr {
    attributes(&Attributes::default(), 0)
}

fn time((seconds, nanoseconds): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    start.and_then(|start| start.checked_add(Duration::new(0, nanoseconds))).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_keep_their_fraction() {
        let before = UNIX_EPOCH.duration_since(time((-2, 750_000_000))).unwrap();
        assert_eq!(before, Duration::new(1, 250_000_000));
        // No time is too far away.
        for seconds in [i64::MIN, i64::MAX] {
            time((seconds, 999_999_999));
        }
    }
}
