//! One row of a published catalog, checked: what may be shown, what is shown but must not be used, what is left out.

use super::index::Repairs;
use crate::hash::{DIGEST_LEN, PathHash};
use cvmfs_index::format::{EntryRecord, flag};
use cvmfs_index::{Damage, EntryKind, xattr};
use rusqlite::Row as SqlRow;
use rusqlite::types::ValueRef;

/// Longest name in bytes.
const NAME_MAX: usize = 255;
/// Longest target of a symbolic link in bytes.
const TARGET_MAX: usize = 4095;
/// The owner shown instead of one that does not fit into 32 bits.
const NOBODY: u32 = 65534;
/// Flags that have a meaning in an index; the type is in the mode.
const KNOWN_FLAGS: u32 = flag::NESTED_MOUNT_POINT
    | flag::NESTED_ROOT
    | flag::CHUNKED
    | flag::EXTERNAL
    | 7 << flag::ALGORITHM_SHIFT
    | 7 << flag::COMPRESSION_SHIFT
    | flag::BIND_MOUNT_POINT
    | flag::HIDDEN
    | flag::DIRECT_IO
    | flag::BUNDLE_TRIGGER;

/// A checked row. The record lacks what only the whole tree tells: parent, places of strings, inode number, children.
pub(super) struct Row<'r> {
    pub(super) path: PathHash,
    pub(super) parent: PathHash,
    pub(super) name: &'r [u8],
    pub(super) target: &'r [u8],
    pub(super) xattr: &'r [u8],
    pub(super) record: EntryRecord,
}

/// Whether `name` can name an entry of a directory.
pub(super) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= NAME_MAX && !name.iter().any(|&b| b == b'/' || b == 0)
}

/// A number; NULL counts as 0, as for the official client.
fn integer(row: &SqlRow<'_>, column: usize) -> Result<i64, &'static str> {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => Ok(number),
        Ok(ValueRef::Null) => Ok(0),
        _ => Err("a number is stored as something else"),
    }
}

/// The bytes of a text or blob; NULL counts as empty.
fn bytes<'r>(row: &'r SqlRow<'_>, column: usize) -> Result<&'r [u8], &'static str> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => Ok(bytes),
        Ok(ValueRef::Null) => Ok(&[]),
        _ => Err("a text is stored as a number"),
    }
}

/// The path hash in two adjacent columns.
pub(super) fn path_hash(row: &SqlRow<'_>, column: usize) -> Result<PathHash, &'static str> {
    Ok(PathHash::from_columns(integer(row, column)?, integer(row, column + 1)?))
}

/// What a hash column holds.
pub(super) enum HashColumn {
    Digest([u8; DIGEST_LEN]),
    Absent,
    Malformed,
}

pub(super) fn hash_column(row: &SqlRow<'_>, column: usize) -> HashColumn {
    match bytes(row, column) {
        Ok([]) => HashColumn::Absent,
        Ok(bytes) => match <[u8; DIGEST_LEN]>::try_from(bytes) {
            Ok(digest) if digest == [0; DIGEST_LEN] => HashColumn::Absent,
            Ok(digest) => HashColumn::Digest(digest),
            Err(_) => HashColumn::Malformed,
        },
        Err(_) => HashColumn::Malformed,
    }
}

impl<'r> Row<'r> {
    /// Reads and checks the current row of the entry query; `Err` is the reason why it must be left out. `legacy`
    /// catalogs know no algorithm but SHA-1.
    pub(super) fn read(row: &'r SqlRow<'_>, legacy: bool, repairs: &mut Repairs) -> Result<Row<'r>, &'static str> {
        let path = path_hash(row, 0)?;
        let parent = path_hash(row, 2)?;
        let links = integer(row, 4)?;
        let size = integer(row, 6)?;
        let mode = u32::try_from(integer(row, 7)?).ok().filter(|&mode| mode <= 0o177_777);
        let mtime = integer(row, 8)?;
        let nanos = integer(row, 9)?;
        // Unknown bits are of a later version and mean nothing here.
        let mut flags = integer(row, 10)? as u32 & KNOWN_FLAGS;
        let name = bytes(row, 11)?;
        let target = bytes(row, 12)?;
        let mode = mode.ok_or("the mode is not a mode")?;
        let kind = EntryKind::from_mode(mode).ok_or("the mode names no file type")?;
        if name.len() > NAME_MAX {
            return Err("the name has more than 255 bytes");
        }

        let mut nlink = links as u32;
        if nlink == 0 {
            repairs.note("the link count was 0", name);
            nlink = 1;
        }
        let nanos = u32::try_from(nanos).ok().filter(|&nanos| nanos < 1_000_000_000).unwrap_or(0);
        let mut owner = |column| -> Result<u32, &'static str> {
            Ok(u32::try_from(integer(row, column)?).unwrap_or_else(|_| {
                repairs.note("an owner did not fit into 32 bits", name);
                NOBODY
            }))
        };
        let (uid, gid) = (owner(13)?, owner(14)?);
        let mut xattr = bytes(row, 15)?;
        if !xattr.is_empty() && xattr::unpack(xattr).is_none() {
            repairs.note("the extended attributes were malformed", name);
            xattr = &[];
        }

        if legacy {
            flags &= !(7 << flag::ALGORITHM_SHIFT);
        }
        if kind != EntryKind::Regular {
            flags &= !(flag::CHUNKED | flag::EXTERNAL | flag::DIRECT_IO | flag::BUNDLE_TRIGGER);
        }
        let mounts = flag::NESTED_MOUNT_POINT | flag::BIND_MOUNT_POINT;
        if kind != EntryKind::Directory && flags & (mounts | flag::NESTED_ROOT) != 0 {
            repairs.note("a mount point was no directory", name);
            flags &= !(mounts | flag::NESTED_ROOT);
        }

        let known_algorithm = flags >> flag::ALGORITHM_SHIFT & 7 <= 2;
        let hash = hash_column(row, 5);
        let mut damage = None;
        let mut target_kept: &[u8] = &[];
        match kind {
            EntryKind::Regular => {
                let chunked = flags & flag::CHUNKED != 0;
                damage = match hash {
                    _ if size < 0 => Some(Damage::BadSize),
                    HashColumn::Malformed => Some(Damage::BadHash),
                    HashColumn::Absent if !chunked => Some(Damage::MissingHash),
                    _ if !known_algorithm => Some(Damage::UnknownAlgorithm),
                    _ if flags >> flag::COMPRESSION_SHIFT & 7 > 1 => Some(Damage::UnknownCompression),
                    _ => None,
                };
            }
            EntryKind::Symlink => {
                if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
                    damage = Some(Damage::BadTarget);
                } else {
                    target_kept = target;
                }
            }
            EntryKind::Directory if flags & mounts == mounts => damage = Some(Damage::AmbiguousMountPoint),
            _ => {}
        }
        let digest = match hash {
            HashColumn::Digest(digest) if known_algorithm => digest,
            _ => [0; DIGEST_LEN],
        };
        let record = EntryRecord {
            name_at: 0,
            parent: 0,
            name_len: name.len() as u8,
            damage: damage.map_or(0, |damage| damage as u8),
            mode,
            flags,
            uid,
            gid,
            nlink,
            group: (links as u64 >> 32) as u32,
            first: 0,
            count: 0,
            xattr: 0,
            size: u64::try_from(size).unwrap_or(0),
            mtime,
            ino: 0,
            nanos,
            digest,
        };
        Ok(Row { path, parent, name, target: target_kept, xattr, record })
    }
}
