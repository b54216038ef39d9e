use libcvmfs::catalog::xattr;
use libcvmfs::hash::ContentHash;
use libcvmfs::object::Compression;
use std::collections::BTreeMap;

/// One described object of the repository.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Permission bits.
    pub(super) permissions: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) mtime_ns: Option<u32>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Or-ed to the flags.
    pub(super) flags: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Directory,
    File(File),
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    /// Type bits of the mode, and the device number.
    Special(u32, u64),
    Bind(ContentHash, u64),
    /// A row without object.
    Phantom(ContentHash, u64),
}

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) chunk_size: Option<usize>,
    pub(super) external: bool,
    pub(super) compression: Option<Compression>,
}

/// Paths to nodes; the root is the empty path.
pub(super) type Tree = BTreeMap<Vec<u8>, Node>;

impl Node {
    pub(super) fn new(kind: Kind, mtime: i64) -> Node {
        let permissions = match kind {
            Kind::Directory | Kind::Bind(..) => 0o755,
            Kind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Node { kind, permissions, uid: 0, gid: 0, mtime, mtime_ns: None, xattrs: Vec::new(), flags: 0 }
    }

    /// The mode with its type bits.
    pub(super) fn mode(&self) -> u32 {
        let type_bits = match &self.kind {
            Kind::Directory | Kind::Bind(..) => 0o040000,
            Kind::File(_) | Kind::Phantom(..) | Kind::HardLink(_) => 0o100000,
            Kind::Symlink(_) => 0o120000,
            Kind::Special(type_bits, _) => *type_bits,
        };
        type_bits | self.permissions
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory | Kind::Bind(..))
    }

    /// The packed attributes, empty without any.
    pub(super) fn xattr_blob(&self) -> Vec<u8> {
        let all = self.xattrs.iter().map(|(name, value)| (&name[..], &value[..]));
        xattr::pack(all).expect("at most 255 attributes of at most 255 bytes")
    }
}

/// The path as it is kept: no trailing slash, `/` is empty.
pub(super) fn normal(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    assert!(end == 0 || path[0] == b'/', "'{}' is no absolute path", path.escape_ascii());
    path[..end].to_vec()
}

/// The path of the directory above; `None` for the root.
pub(super) fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|byte| *byte == b'/').map(|at| &path[..at])
}

/// The last component.
pub(super) fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[at + 1..])
}
