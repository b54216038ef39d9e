//! What a source says about one entry.

use libcvmfs::catalog::write::{Flags, Row};
use libcvmfs::catalog::xattr;
use libcvmfs::hash::PathHash;

/// Bytes that a directory has at least, and by which it grows: what the common file systems say.
const DIRECTORY_UNIT: u64 = 4096;

/// Everything but name and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with set-uid, set-gid and sticky.
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of modification, seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_ns: u32,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory, with its size where there is one.
    Directory(u64),
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A FIFO or socket, or a device with its number; the type bits of the mode.
    Special(u32, u64),
    /// A regular file of so many bytes.
    File(u64),
}

impl Attributes {
    /// Attributes of what a source does not describe: a directory that is needed, a marker.
    pub fn plain(permissions: u32, now: u64) -> Attributes {
        let mtime = i64::try_from(now).unwrap_or(i64::MAX);
        Attributes { permissions, uid: 0, gid: 0, mtime, mtime_ns: 0, xattrs: Vec::new() }
    }

    /// The row of an entry, without its place and content. What cannot be stored of the extended attributes is left out
    /// with a warning that names `path`.
    pub(crate) fn row(&self, kind: &Kind, path: &[u8], nanoseconds: bool) -> Row {
        let (type_bits, flags, size, target) = match kind {
            Kind::Directory(size) => {
                let size = size.div_ceil(DIRECTORY_UNIT).max(1) * DIRECTORY_UNIT;
                (0o040000, Flags::DIRECTORY, size, Vec::new())
            }
            Kind::Symlink(target) => (0o120000, Flags::FILE | Flags::LINK, target.len() as u64, target.clone()),
            Kind::Special(type_bits, number) => (*type_bits, Flags::FILE | Flags::SPECIAL, *number, Vec::new()),
            Kind::File(size) => (0o100000, Flags::FILE, *size, Vec::new()),
        };
        Row {
            path: PathHash([0; 16]),
            parent: PathHash([0; 16]),
            group: 0,
            links: 1,
            digest: None,
            size,
            mode: type_bits | self.permissions,
            mtime: self.mtime,
            // Absent and zero are the same, and catalogs of whole seconds are smaller.
            mtime_ns: Some(self.mtime_ns).filter(|&nanoseconds_of| nanoseconds && nanoseconds_of != 0),
            flags,
            name: Vec::new(),
            target,
            uid: self.uid,
            gid: self.gid,
            xattr: self.packed(path),
        }
    }

    fn packed(&self, path: &[u8]) -> Vec<u8> {
        let mut sorted: Vec<(&[u8], &[u8])> = self.xattrs.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        sorted.sort();
        sorted.retain(|(key, value)| match xattr::pack([(*key, *value)]) {
            Ok(_) => true,
            Err(error) => {
                log::warn!("{}: {} is left out: {error}", path.escape_ascii(), key.escape_ascii());
                false
            }
        });
        xattr::pack(sorted).unwrap_or_else(|error| {
            log::warn!("{}: published without extended attributes: {error}", path.escape_ascii());
            Vec::new()
        })
    }
}
