//! The namespace as the walk of `cvmfs-index` sees it.

use super::node::SEARCH;
use super::{FileKind, Namespace, Node};
use crate::Error;
use cvmfs_index::walk::{Kind, World};

pub(super) struct Walker<'n> {
    pub(super) namespace: &'n Namespace,
}

impl World for Walker<'_> {
    type Node = Node;
    type Fault = Error;

    fn mount_dir(&self) -> &[u8] {
        self.namespace.mount_dir()
    }

    fn top(&self) -> Node {
        self.namespace.top()
    }

    fn parent(&self, node: &Node) -> Result<Option<Node>, Error> {
        Ok(node.parent())
    }

    fn child(&self, node: &Node, name: &[u8]) -> Result<Option<Node>, Error> {
        node.child(name)
    }

    fn kind(&self, node: &Node) -> Kind {
        match node.kind() {
            FileKind::Directory => Kind::Directory,
            FileKind::Symlink => Kind::Symlink,
            _ => Kind::Other,
        }
    }

    fn may_search(&self, node: &Node) -> bool {
        node.permits(SEARCH)
    }

    fn target(&self, node: &Node, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut len = 0;
        node.expand_link(|piece| {
            if let Some(place) = buffer.get_mut(len..len + piece.len()) {
                place.copy_from_slice(piece);
            }
            len += piece.len();
        });
        Ok(len)
    }
}
