//! One revision of a repository: which root catalog it is, and the tree of catalogs below it.
//!
//! A snapshot never changes. A newer revision is another snapshot; whoever holds an entry of the old one goes on
//! reading the old one.

mod source;
mod tree;

pub use source::{CatalogRef, Chunk, Content, Parts, Source};
pub(crate) use tree::Place;
pub use tree::{AttachedCatalog, CatalogId};

use crate::Error;
use crate::catalog::Statistics;
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use crate::namespace::Presentation;
use cvmfs_index::{PathHasher, format};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tree::Attached;

/// A number that changes whenever a catalog is attached to some snapshot of this process, and when a repository has
/// come to use another snapshot.
pub fn attachments() -> u64 {
    tree::attachments()
}

/// Says that a repository uses another snapshot from now on.
pub(crate) fn announce() {
    tree::announce();
}

/// Which revision a snapshot is, and how it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The repository.
    pub fqrn: Fqrn,
    /// Hash of the root catalog.
    pub root_hash: ContentHash,
    /// Bytes of the inflated root catalog, if announced.
    pub catalog_size: Option<u64>,
    /// Revision, 0 if not known (fixed root hash).
    pub revision: u64,
    /// Time of publication in seconds since 1970, if known.
    pub published: Option<u64>,
    /// How the revision was chosen.
    pub choice: Choice,
}

/// How a revision is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// The newest one, replaced when a newer one appears.
    Newest,
    /// A named tag (`CVMFS_REPOSITORY_TAG`).
    Tag(String),
    /// The last one before a date, in seconds since 1970 (`CVMFS_REPOSITORY_DATE`); the tag found.
    Date(i64, String),
    /// A root catalog hash (`CVMFS_ROOT_HASH`).
    RootHash,
}

impl Choice {
    /// The name of the tag, empty if the revision was not chosen by one.
    pub fn tag(&self) -> &str {
        match self {
            Choice::Tag(tag) | Choice::Date(_, tag) => tag,
            Choice::Newest | Choice::RootHash => "",
        }
    }
}

/// One revision of a repository.
pub struct Snapshot {
    identity: Identity,
    root: Arc<Attached>,
    source: Arc<dyn Source>,
    presentation: Arc<Presentation>,
    dev: u64,
}

impl Snapshot {
    /// Opens the revision `identity`, whose root catalog comes from `source`.
    pub fn open(
        identity: Identity,
        source: Arc<dyn Source>,
        presentation: Arc<Presentation>,
    ) -> Result<Snapshot, Error> {
        let root = CatalogRef { hash: identity.root_hash, size: identity.catalog_size, mount: Vec::new() };
        let root = Attached::root(&*source, root)?;
        // Real device numbers have no high bits, so nothing on the host looks like the same file system.
        let dev = (PathHasher::new(0).child(identity.fqrn.as_str().as_bytes()).value() >> 12) | 1 << 51;
        Ok(Snapshot { identity, root, source, presentation, dev })
    }

    /// Which revision this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The repository.
    pub fn fqrn(&self) -> &Fqrn {
        &self.identity.fqrn
    }

    /// Time to live of the root catalog in seconds.
    pub fn ttl(&self) -> u32 {
        self.root.index().ttl()
    }

    /// The membership a user must have to read; empty if anybody may.
    pub fn membership(&self) -> String {
        String::from_utf8_lossy(self.root.index().membership()).into_owned()
    }

    /// The published statistics of the whole repository.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.root.index())
    }

    /// Where indexes and contents come from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// How entries appear.
    pub fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// The device number of all entries.
    pub fn dev(&self) -> u64 {
        self.dev
    }

    /// The catalogs attached so far, each after the one above: paths attach them as they lead into them.
    pub fn attached(&self) -> Vec<AttachedCatalog> {
        self.root.list()
    }

    pub(crate) fn root(&self) -> Place {
        Place { catalog: self.root.clone(), entry: format::ROOT }
    }

    /// See [`tree::find_plain`].
    pub(crate) fn find_plain(&self, path: &[u8]) -> Option<Place> {
        tree::find_plain(&self.root, path)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("identity", &self.identity).finish_non_exhaustive()
    }
}
