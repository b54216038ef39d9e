//! An entry in its place in the tree.

use super::attributes::{self, Attributes, FileKind};
use super::list::{ListItem, Listing};
use super::presentation::Caller;
use super::{Namespace, Resolved, magic};
use crate::Error;
use crate::fqrn::Fqrn;
use crate::snapshot::{CatalogId, Content, Place, Snapshot};
use std::fs::File;
use std::sync::Arc;

/// An entry of the tree, or its top. A node keeps its snapshot alive: it goes on naming the same thing when a newer
/// revision is mounted.
#[derive(Clone)]
pub struct Node {
    namespace: Namespace,
    place: Option<(Arc<Snapshot>, Place)>,
}

/// Inode number of the tree's top, as of a mounted `autofs`.
const TOP_INO: u64 = 1;
/// Device number of the tree's top.
const TOP_DEV: u64 = 1 << 51;

/// Permission to read.
const READ: u32 = 4;
/// Permission to search a directory.
pub(super) const SEARCH: u32 = 1;

impl Node {
    pub(super) fn top(namespace: Namespace) -> Node {
        Node { namespace, place: None }
    }

    pub(super) fn entry(namespace: Namespace, snapshot: Arc<Snapshot>, place: Place) -> Node {
        Node { namespace, place: Some((snapshot, place)) }
    }

    /// The tree it belongs to.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The revision it belongs to; `None` for the top.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.place.as_ref().map(|(snapshot, _)| snapshot)
    }

    /// The repository it belongs to; `None` for the top.
    pub fn fqrn(&self) -> Option<&Fqrn> {
        self.snapshot().map(|snapshot| snapshot.fqrn())
    }

    pub(super) fn place(&self) -> Option<&(Arc<Snapshot>, Place)> {
        self.place.as_ref()
    }

    /// The catalog that its entry lies in; `None` for the top.
    pub fn catalog(&self) -> Option<CatalogId> {
        self.place.as_ref().map(|(_, place)| place.catalog.id())
    }

    /// Its type.
    pub fn kind(&self) -> FileKind {
        self.place.as_ref().map_or(FileKind::Directory, |(_, place)| place.entry().kind())
    }

    /// What `stat` tells of it.
    pub fn attributes(&self) -> Attributes {
        match &self.place {
            Some((snapshot, place)) => {
                attributes::of_entry(&place.entry(), snapshot.presentation(), snapshot.dev(), place.catalog.salt())
            }
            None => Attributes {
                dev: TOP_DEV,
                ino: TOP_INO,
                mode: 0o040_755,
                nlink: 2 + u32::try_from(self.namespace.known().len()).unwrap_or(0),
                uid: 0,
                gid: 0,
                rdev: 0,
                size: 0,
                mtime: (0, 0),
                blksize: 4096,
                blocks: 0,
            },
        }
    }

    /// Whose access the permission bits decide; `None` where they decide nothing.
    fn checked(&self) -> Option<&Caller> {
        self.place.as_ref().and_then(|(snapshot, _)| snapshot.presentation().checked.as_ref())
    }

    /// Whether the caller has these permission bits (4 read, 2 write, 1 execute or search); see [`Node::permits_to`].
    pub fn permits(&self, wanted: u32) -> bool {
        self.checked().is_none_or(|caller| self.permits_to(caller.uid, &caller.groups, wanted))
    }

    /// Whether this user has these permission bits. Where permissions are not checked everybody is like root.
    pub fn permits_to(&self, uid: u32, groups: &[u32], wanted: u32) -> bool {
        let is_free = self.place.is_some() && self.checked().is_none();
        self.attributes().permits(if is_free { 0 } else { uid }, groups, wanted)
    }

    /// Whether the caller may search every directory above.
    pub(super) fn is_reachable(&self) -> bool {
        self.checked().is_none_or(|caller| caller.uid == 0)
            || std::iter::successors(self.parent(), Node::parent).all(|directory| directory.permits(SEARCH))
    }

    /// Its absolute path, starting with the mount directory.
    pub fn path(&self) -> Vec<u8> {
        let mut path = self.namespace.mount_dir().to_vec();
        if let Some((snapshot, place)) = &self.place {
            path.push(b'/');
            path.extend_from_slice(snapshot.fqrn().as_str().as_bytes());
            path.extend_from_slice(&place.path());
        }
        path
    }

    /// Its path inside the repository: empty for the repository's root (and the top), else starting with a slash.
    pub fn inner_path(&self) -> Vec<u8> {
        self.place.as_ref().map_or_else(Vec::new, |(_, place)| place.path())
    }

    /// The entry called `name` in this directory, also if it is hidden. Links are not followed, dots have no meaning.
    pub fn child(&self, name: &[u8]) -> Result<Option<Node>, Error> {
        match &self.place {
            None => self.namespace.mount(name),
            Some((snapshot, place)) => {
                let child = place.child(name, &**snapshot.source())?;
                Ok(child.map(|place| Node::entry(self.namespace.clone(), snapshot.clone(), place)))
            }
        }
    }

    /// The directory that holds it; `None` for the top.
    pub fn parent(&self) -> Option<Node> {
        let (snapshot, place) = self.place.as_ref()?;
        Some(match place.parent() {
            Some(parent) => Node::entry(self.namespace.clone(), snapshot.clone(), parent),
            None => Node::top(self.namespace.clone()),
        })
    }

    /// What the directory lists: hidden entries are left out.
    pub fn list(&self) -> Result<Listing, Error> {
        if self.kind() != FileKind::Directory {
            return Err(Error::NotDirectory);
        }
        if !self.permits(READ) {
            return Err(Error::AccessDenied);
        }
        let Some((snapshot, place)) = &self.place else {
            let known = self.namespace.known();
            let item = |fqrn: &Fqrn| ListItem {
                name: fqrn.as_str().as_bytes().into(),
                // The real number is that of the root entry, which is known once the repository is mounted.
                ino: TOP_INO,
                kind: FileKind::Directory,
            };
            return Ok(Listing::new(known.iter().map(item).collect()));
        };
        let inside = place.inside(&**snapshot.source())?;
        let salt = inside.catalog.salt();
        let children = inside.entry().children();
        let visible = children.iter().filter(|entry| !entry.is_hidden());
        let item = |entry: cvmfs_index::Entry<'_>| ListItem {
            name: entry.name().into(),
            ino: cvmfs_index::ino(&entry, salt),
            kind: entry.kind(),
        };
        Ok(Listing::new(visible.map(item).collect()))
    }

    /// The target of a symbolic link, variables expanded.
    pub fn read_link(&self) -> Result<Vec<u8>, Error> {
        if self.kind() != FileKind::Symlink {
            return Err(Error::NotSymlink);
        }
        let mut target = Vec::new();
        self.expand_link(|piece| target.extend_from_slice(piece));
        Ok(target)
    }

    /// The target of a symbolic link as it is stored.
    pub fn raw_link(&self) -> Result<Vec<u8>, Error> {
        match &self.place {
            Some((_, place)) if self.kind() == FileKind::Symlink => Ok(place.entry().symlink_target().to_vec()),
            _ => Err(Error::NotSymlink),
        }
    }

    pub(super) fn expand_link(&self, emit: impl FnMut(&[u8])) {
        if let Some((snapshot, place)) = &self.place {
            snapshot.presentation().variables.expand(place.entry().symlink_target(), emit);
        }
    }

    /// Where a symbolic link leads.
    pub fn follow(&self) -> Result<Resolved, Error> {
        let parent = self.parent().ok_or(Error::NotSymlink)?;
        self.namespace.resolve_at(&parent, &self.read_link()?, super::LastLink::Follow)
    }

    /// What a regular file consists of.
    pub fn content(&self) -> Result<Content, Error> {
        match (&self.place, self.kind()) {
            (Some((_, place)), FileKind::Regular) => {
                let path = place.path();
                Content::of_entry(&place.entry(), path)
                    .map_err(|damage| Error::Damaged { path: self.path(), reason: damage.reason().to_owned() })
            }
            (_, FileKind::Directory) => Err(Error::IsDirectory),
            _ => Err(Error::NotRegular),
        }
    }

    /// Opens a regular file: a read-only descriptor of its plain bytes, at offset 0.
    pub fn open(&self) -> Result<File, Error> {
        let content = self.content()?;
        if !self.permits(READ) {
            return Err(Error::AccessDenied);
        }
        let (snapshot, _) = self.place.as_ref().ok_or(Error::IsDirectory)?;
        snapshot.source().open(&content)
    }

    /// The extended attributes that are stored in the catalog.
    pub fn stored_xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some((_, place)) = &self.place else { return Vec::new() };
        place.entry().xattrs().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    /// The names that `listxattr` tells: the stored ones, and the computed ones where the configuration shows them.
    pub fn list_xattrs(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut names: Vec<Vec<u8>> = self.stored_xattrs().into_iter().map(|(name, _)| name).collect();
        names.extend(magic::listed(self)?);
        Ok(names)
    }

    /// The value of an extended attribute, computed ones before stored ones.
    pub fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Error> {
        if let Some(value) = magic::read(self, name)? {
            return Ok(value);
        }
        let stored = self.stored_xattrs().into_iter().find(|(stored, _)| stored == name);
        stored.map(|(_, value)| value).ok_or(Error::NoAttribute)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", String::from_utf8_lossy(&self.path()))
    }
}
