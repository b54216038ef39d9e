//! An entry of a mounted repository.

use super::{Entry, Facts, Kind, Time};
use anyhow::Result;
use libcvmfs::Error;
use libcvmfs::namespace::{Node, Resolved};

/// A node of the tree of repositories.
#[derive(Debug, Clone)]
pub struct MountedEntry(Place);

#[derive(Debug, Clone)]
enum Place {
    Node(Node),
    /// A repository that is listed, and mounted when something is to be known about it.
    Listed {
        top: Node,
        name: Vec<u8>,
    },
}

impl MountedEntry {
    /// Wraps a node.
    pub fn new(node: Node) -> MountedEntry {
        MountedEntry(Place::Node(node))
    }

    /// The node.
    ///
    /// # Errors
    /// Those of mounting, for a repository that was only listed so far.
    pub fn node(&self) -> Result<Node, Error> {
        match &self.0 {
            Place::Node(node) => Ok(node.clone()),
            Place::Listed { top, name } => top.child(name)?.ok_or(Error::NotFound),
        }
    }
}

impl Entry for MountedEntry {
    fn facts(&self) -> Result<Facts> {
        let attributes = self.node()?.attributes();
        let mtime = Time { seconds: attributes.mtime.0, nanoseconds: attributes.mtime.1 };
        Ok(Facts {
            dev: attributes.dev,
            ino: attributes.ino,
            mode: attributes.mode,
            nlink: attributes.nlink.into(),
            uid: attributes.uid,
            gid: attributes.gid,
            rdev: attributes.rdev,
            size: attributes.size,
            blocks: attributes.blocks,
            blksize: attributes.blksize.into(),
            atime: mtime,
            mtime,
            ctime: mtime,
            birth: None,
        })
    }

    fn kind(&self) -> Kind {
        let Place::Node(node) = &self.0 else { return Kind::Directory };
        node.kind()
    }

    fn list(&self) -> Result<Vec<(Vec<u8>, Self)>> {
        let node = self.node()?;
        let listing = node.list()?;
        let mut entries = Vec::with_capacity(listing.len());
        for item in &listing {
            let name = item.name.to_vec();
            let place = match node.fqrn() {
                Some(_) => Place::Node(node.child(&name)?.ok_or(Error::NotFound)?),
                None => Place::Listed { top: node.clone(), name: name.clone() },
            };
            entries.push((name, MountedEntry(place)));
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    fn parent(&self) -> Result<Self> {
        let node = self.node()?;
        Ok(MountedEntry::new(node.parent().unwrap_or(node)))
    }

    fn target(&self) -> Result<Vec<u8>> {
        Ok(self.node()?.read_link()?)
    }

    fn followed(&self) -> Result<Option<Self>> {
        if self.kind() != Kind::Symlink {
            return Ok(Some(self.clone()));
        }
        match self.node()?.follow() {
            Ok(Resolved::Node(node)) => Ok(Some(MountedEntry::new(node))),
            Ok(Resolved::Outside(_)) | Err(Error::NotFound | Error::NotDirectory | Error::TooManyLinks) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn has_acl(&self) -> bool {
        let is_acl = |name: &[u8]| name.starts_with(b"system.posix_acl_");
        self.node().is_ok_and(|node| node.stored_xattrs().iter().any(|(name, _)| is_acl(name)))
    }
}
