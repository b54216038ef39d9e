//! What `stat` tells of an entry.

use super::Presentation;
use cvmfs_index::Entry;

/// The file type of an entry.
pub use cvmfs_index::EntryKind as FileKind;

/// The type bits of a file mode.
pub const TYPE_MASK: u32 = 0o170_000;

/// The fields of `struct stat`. Access, change and modification time are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Attributes {
    /// The type of the entry.
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode).unwrap_or(FileKind::Regular)
    }

    /// Whether a process with this user and these groups has all of the `wanted` permission bits (4 read, 2 write, 1
    /// search or execute). Root has all of them, but executes only what somebody may execute.
    pub fn permits(&self, uid: u32, groups: &[u32], wanted: u32) -> bool {
        if uid == 0 {
            return wanted & 1 == 0 || self.kind() == FileKind::Directory || self.mode & 0o111 != 0;
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

/// Puts together what `stat` tells of a catalog entry. `salt` keeps inode numbers of trees apart that are mounted
/// more than once in one repository.
pub(super) fn of_entry(entry: &Entry<'_>, presentation: &Presentation, dev: u64, salt: u64) -> Attributes {
    let (uid, gid) = presentation.owners.of(entry.uid(), entry.gid());
    let kind = entry.kind();
    let mut mode = entry.mode();
    if presentation.world_readable {
        mode |= if kind == FileKind::Directory { 0o555 } else { 0o444 };
    }
    let size = match kind {
        FileKind::Symlink => presentation.variables.expanded_len(entry.symlink_target()) as u64,
        _ => entry.size(),
    };
    Attributes {
        dev,
        ino: entry.ino() ^ salt,
        mode,
        nlink: entry.nlink(),
        uid,
        gid,
        rdev: entry.rdev(),
        size,
        mtime: (entry.mtime(), entry.mtime_nanos()),
        blksize: 4096,
        blocks: 1 + size / 512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32) -> Attributes {
        let zero = Attributes {
            dev: 0,
            ino: 1,
            mode: 0,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            mtime: (0, 0),
            blksize: 0,
            blocks: 0,
        };
        Attributes { mode: 0o100_000 | mode, uid: 10, gid: 20, ..zero }
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
