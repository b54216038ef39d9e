//! From path to entry: the tree of `/cvmfs` with all its repositories, by POSIX rules.
//!
//! A [`Namespace`] works over two traits, [`Mounts`] and [`Source`](crate::snapshot::Source), so that the same rules serve a
//! program that downloads for itself and one that asks another process to.

mod attributes;
mod list;
mod magic;
mod node;
mod owner;
mod presentation;
mod variables;
mod world;

pub use attributes::{Attributes, FileKind, TYPE_MASK};
pub use cvmfs_index::walk::LastLink;
pub use list::{ListItem, Listing};
pub use node::Node;
pub use owner::{IdMap, IdMapError, Owners};
pub use presentation::{Caller, MagicListing, Presentation};
pub use variables::Variables;

use crate::Error;
use crate::fqrn::Fqrn;
use crate::snapshot::Snapshot;
use cvmfs_index::walk::{self, Failure, Outcome, PATH_MAX};
use std::sync::Arc;
use world::Walker;

/// Where repositories come from.
pub trait Mounts: Send + Sync {
    /// The snapshot of the repository `name` to use from now on, mounting it if need be; `None` if there is no such
    /// repository, also if `name` cannot be the name of one.
    fn mount(&self, name: &str) -> Result<Option<Arc<Snapshot>>, Error>;

    /// The repositories that a listing of the mount directory shows.
    fn known(&self) -> Vec<Fqrn>;
}

/// The tree below the mount directory. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Namespace {
    mount_dir: Arc<[u8]>,
    mounts: Arc<dyn Mounts>,
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub enum Resolved {
    /// To an entry of the tree.
    Node(Node),
    /// Out of the tree: an absolute path for the rest of the system, which may lead back in through its own links.
    Outside(Vec<u8>),
}

impl Resolved {
    /// The node; a path that leads elsewhere is not found in this tree.
    pub fn node(self) -> Result<Node, Error> {
        match self {
            Resolved::Node(node) => Ok(node),
            Resolved::Outside(path) => Err(Error::Outside(path)),
        }
    }
}

impl Namespace {
    /// A tree at `mount_dir` (an absolute path without dots or trailing slash, such as `/cvmfs`).
    pub fn new(mount_dir: &[u8], mounts: Arc<dyn Mounts>) -> Namespace {
        Namespace { mount_dir: mount_dir.into(), mounts }
    }

    /// The absolute path of the tree's top.
    pub fn mount_dir(&self) -> &[u8] {
        &self.mount_dir
    }

    /// The top itself.
    pub fn top(&self) -> Node {
        Node::top(self.clone())
    }

    /// The repositories that a listing of the top shows.
    pub fn known(&self) -> Vec<Fqrn> {
        self.mounts.known()
    }

    /// Whether `path` is spelled as one below the mount directory, and then what follows it.
    pub fn strip<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        walk::strip_mount_dir(&self.mount_dir, path)
    }

    /// Follows an absolute path.
    pub fn resolve(&self, path: &[u8], last: LastLink) -> Result<Resolved, Error> {
        if let Some(node) = self.resolve_plain(path, last)? {
            return Ok(Resolved::Node(node));
        }
        self.resolve_at(&self.top(), path, last)
    }

    /// The root directory of a snapshot, also of one that is not the newest any more.
    pub fn root_of(&self, snapshot: &Arc<Snapshot>) -> Node {
        Node::entry(self.clone(), snapshot.clone(), snapshot.root())
    }

    /// Follows a path from `start`; an absolute one from the root.
    pub fn resolve_at(&self, start: &Node, path: &[u8], last: LastLink) -> Result<Resolved, Error> {
        let mut scratch = [0u8; 2 * PATH_MAX];
        match walk::walk(&Walker { namespace: self }, start, path, last, &mut scratch) {
            Ok(Outcome::Node(node)) => Ok(Resolved::Node(node)),
            Ok(Outcome::Outside(len)) => Ok(Resolved::Outside(scratch[..len].to_vec())),
            Err(Failure::NotFound) => Err(Error::NotFound),
            Err(Failure::NotDirectory) => Err(Error::NotDirectory),
            Err(Failure::TooManyLinks) => Err(Error::TooManyLinks),
            Err(Failure::NameTooLong) => Err(Error::NameTooLong),
            Err(Failure::AccessDenied) => Err(Error::AccessDenied),
            Err(Failure::Fault(error)) => Err(error),
        }
    }

    /// The short way of a path that is spelled plainly and has no links on it: one hash over its bytes, one probe.
    /// `None` says nothing about the path; the walk must decide.
    fn resolve_plain(&self, path: &[u8], last: LastLink) -> Result<Option<Node>, Error> {
        let Some(inside) = path.strip_prefix(&*self.mount_dir).and_then(|p| p.strip_prefix(b"/")) else {
            return Ok(None);
        };
        let len = inside.iter().position(|&b| b == b'/').unwrap_or(inside.len());
        let (name, inside) = inside.split_at(len);
        let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
        let Some(snapshot) = self.mounts.mount(name)? else { return Ok(None) };
        let Some(place) = snapshot.find_plain(inside) else { return Ok(None) };
        let node = Node::entry(self.clone(), snapshot, place);
        if !node.is_reachable() {
            return Err(Error::AccessDenied);
        }
        let followed = last == LastLink::Follow && node.kind() == FileKind::Symlink;
        Ok((!followed).then_some(node))
    }

    fn mount(&self, name: &[u8]) -> Result<Option<Node>, Error> {
        let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
        let snapshot = self.mounts.mount(name)?;
        Ok(snapshot.map(|snapshot| {
            let root = snapshot.root();
            Node::entry(self.clone(), snapshot, root)
        }))
    }
}
