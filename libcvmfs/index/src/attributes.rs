//! What `stat` tells of an entry.

use crate::entry::{Entry, EntryKind};

/// The fields of `struct stat`. Access, change and modification time are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Device number: the same for all entries of a repository.
    pub dev: u64,
    /// Inode number, stable for a path over revisions; members of a hard-link group share it.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Number of hard links.
    pub nlink: u32,
    /// Owner, after maps and `CVMFS_CLAIM_OWNERSHIP`.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// Device number of a device node, 0 otherwise.
    pub rdev: u64,
    /// Bytes; for a symbolic link the length of its expanded target.
    pub size: u64,
    /// Seconds since the epoch and nanoseconds.
    pub mtime: (i64, u32),
    /// Preferred block size in bytes.
    pub blksize: u32,
    /// Blocks of 512 bytes.
    pub blocks: u64,
}

/// How an entry looks where it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Device number of the repository.
    pub dev: u64,
    /// Keeps inode numbers of trees apart that are mounted more than once in one repository.
    pub salt: u64,
    /// User and group that the entry is said to belong to.
    pub owner: (u32, u32),
    /// Everybody may read everything.
    pub world_readable: bool,
    /// Bytes of the expanded target, if the entry is a symbolic link.
    pub target_len: usize,
}

impl Attributes {
    /// What `stat` tells of a catalog entry.
    #[inline]
    pub fn of(entry: &Entry<'_>, look: &Look) -> Attributes {
        let kind = entry.kind();
        let mut mode = entry.mode();
        if look.world_readable {
            mode |= if kind == EntryKind::Directory { 0o555 } else { 0o444 };
        }
        let size = if kind == EntryKind::Symlink { look.target_len as u64 } else { entry.size() };
        Attributes {
            dev: look.dev,
            ino: ino(entry, look.salt),
            mode,
            nlink: entry.nlink(),
            uid: look.owner.0,
            gid: look.owner.1,
            rdev: entry.rdev(),
            size,
            mtime: (entry.mtime(), entry.mtime_nanos()),
            blksize: 4096,
            blocks: 1 + size / 512,
        }
    }

    /// The type of the entry.
    pub fn kind(&self) -> EntryKind {
        EntryKind::from_mode(self.mode).unwrap_or(EntryKind::Regular)
    }

    /// Whether a process with this user and these groups has all of the `wanted` permission bits (4 read, 2 write, 1
    /// search or execute). Root has all of them, but executes only what somebody may execute.
    pub fn permits(&self, uid: u32, groups: &[u32], wanted: u32) -> bool {
        if uid == 0 {
            return wanted & 1 == 0 || self.kind() == EntryKind::Directory || self.mode & 0o111 != 0;
        }
        let shift = if uid == self.uid {
            6
        } else if groups.contains(&self.gid) {
            3
        } else {
            0
        };
        (self.mode >> shift) & wanted == wanted
    }
}

/// The inode number that `stat` and listings tell.
#[inline]
pub fn ino(entry: &Entry<'_>, salt: u64) -> u64 {
    entry.ino() ^ salt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32) -> Attributes {
        Attributes { mode: 0o100_000 | mode, ino: 1, nlink: 1, uid: 10, gid: 20, ..Attributes::default() }
    }

    #[test]
    fn permission_comes_from_exactly_one_class() {
        assert!(file(0o400).permits(10, &[], 4));
        assert!(!file(0o077).permits(10, &[20], 4), "the owner is not helped by other classes");
        assert!(!file(0o707).permits(11, &[20], 4), "nor is the group");
        assert!(file(0o004).permits(11, &[21], 4));
        assert!(!file(0o644).permits(10, &[], 1));
    }

    #[test]
    fn root_reads_all_but_executes_only_executables() {
        assert!(file(0).permits(0, &[], 4 | 2));
        assert!(!file(0o644).permits(0, &[], 1));
        assert!(file(0o001).permits(0, &[], 1));
    }
}
