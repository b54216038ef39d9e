//! The repository as the kernel walks it: by numbers, always in the newest revision but for what is open.

use crate::table::{Likeness, Opening, ROOT, Table, Thing};
use libcvmfs::Error;
use libcvmfs::hash::ContentHash;
use libcvmfs::namespace::{Attributes, FileKind, Listing, Namespace, Node};
use libcvmfs::repository::{Refreshed, Repository};
use libcvmfs::snapshot::Snapshot;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the kernel keeps what never changes.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest name of a file.
const NAME_MAX: usize = 255;

/// What is mounted.
pub(crate) struct Tree {
    namespace: Namespace,
    repository: Repository,
    table: Mutex<Table<Node>>,
    /// Bound on the time the kernel keeps anything (`CVMFS_KCACHE_TIMEOUT`).
    longest: Duration,
}

/// What the kernel is told of an entry.
pub(crate) struct Told {
    pub(crate) id: u64,
    pub(crate) attributes: Attributes,
}

impl Told {
    /// Whether the kernel's number is another one than `stat` should show.
    pub(crate) fn is_spare(&self) -> bool {
        self.id != self.attributes.ino
    }
}

impl Thing for Node {
    fn number(&self) -> u64 {
        self.attributes().ino
    }

    fn likeness_to(&self, known: &Node) -> Likeness {
        if self.kind() != known.kind() {
            return Likeness::Other;
        }
        let same_snapshot = match (self.snapshot(), known.snapshot()) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let same_path = self.inner_path() == known.inner_path();
        if same_path && (same_snapshot || self.kind() == FileKind::Directory) {
            return Likeness::Same;
        }
        // Names of one group of hard links have one number and one content.
        let (own, others) = (self.attributes(), known.attributes());
        let is_same = own == others
            && match self.kind() {
                FileKind::Regular => content_of(self) == content_of(known),
                FileKind::Symlink => self.read_link().ok() == known.read_link().ok(),
                FileKind::Directory => false,
                _ => true,
            };
        match self.kind() {
            _ if is_same => Likeness::Same,
            FileKind::Regular if !same_snapshot => Likeness::Successor,
            _ => Likeness::Other,
        }
    }
}

/// What tells one content of a file from another; the path is not part of it.
fn content_of(node: &Node) -> Option<impl PartialEq + use<>> {
    node.content().ok().map(|content| (content.parts, content.compression, content.size, content.external))
}

impl Tree {
    /// The tree of `repository`, whose entries the kernel keeps for at most `longest`.
    pub(crate) fn new(namespace: Namespace, repository: Repository, longest: Option<Duration>) -> Tree {
        let root = namespace.root_of(&repository.snapshot());
        Tree { namespace, repository, table: Mutex::new(Table::new(root)), longest: longest.unwrap_or(FOR_EVER) }
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// How long the kernel may keep what it is told now: until a newer revision is looked for.
    pub(crate) fn valid(&self) -> Duration {
        let left = self.repository.expires().map(|expires| expires.saturating_duration_since(Instant::now()));
        left.unwrap_or(FOR_EVER).min(self.longest)
    }

    /// What has this number; a directory as it is in the newest revision.
    pub(crate) fn node(&self, id: u64) -> Result<Node, Error> {
        let node = self.table.lock().get(id).cloned().ok_or(Error::NotFound)?;
        if node.kind() != FileKind::Directory {
            return Ok(node);
        }
        let newest = self.repository.snapshot();
        if node.snapshot().is_some_and(|snapshot| Arc::ptr_eq(snapshot, &newest)) {
            return Ok(node);
        }
        match self.descend(&newest, &node.inner_path())? {
            Some(now) => {
                self.table.lock().follow(id, now.clone());
                Ok(now)
            }
            // Gone, like a directory that is removed while somebody works in it; there it stays what it was.
            None => Ok(node),
        }
    }

    /// The directory at a path inside a revision, if there is one and no link leads there.
    fn descend(&self, snapshot: &Arc<Snapshot>, path: &[u8]) -> Result<Option<Node>, Error> {
        let mut node = self.namespace.root_of(snapshot);
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            match node.child(name)? {
                Some(child) if child.kind() == FileKind::Directory => node = child,
                _ => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// The entry called `name` in a directory; `None` if there is none.
    pub(crate) fn child(&self, directory: u64, name: &[u8]) -> Result<Option<Node>, Error> {
        if name.len() > NAME_MAX {
            return Err(Error::NameTooLong);
        }
        let directory = self.node(directory)?;
        if directory.kind() != FileKind::Directory {
            return Err(Error::NotDirectory);
        }
        directory.child(name)
    }

    /// Gives an entry its number, once for each time the kernel is told of it.
    pub(crate) fn tell(&self, node: Node) -> Told {
        let attributes = node.attributes();
        Told { id: self.table.lock().tell(node), attributes }
    }

    /// The kernel forgets a number that it was told so often.
    pub(crate) fn forget(&self, id: u64, times: u64) {
        self.table.lock().forget(id, times);
    }

    /// Begins to open a file; [`Tree::closed`] ends it.
    pub(crate) fn open(&self, id: u64) -> Result<Opening<Node>, Error> {
        self.table.lock().open(id).ok_or(Error::NotFound)
    }

    /// The kernel drops the pages of what had this number before.
    pub(crate) fn dropped_pages(&self, id: u64) {
        self.table.lock().dropped_pages(id);
    }

    pub(crate) fn closed(&self, id: u64) {
        self.table.lock().closed(id);
    }

    /// What a directory lists, and whether the kernel may have kept exactly that.
    pub(crate) fn list(&self, id: u64) -> Result<(Node, Listing), Error> {
        let node = self.node(id)?;
        let listing = node.list()?;
        Ok((node, listing))
    }

    /// Whether the kernel's own listing of this directory, if it has one, is of the same revision; it is from now on.
    pub(crate) fn keeps_listing(&self, id: u64, node: &Node) -> bool {
        let Some(snapshot) = node.snapshot() else { return false };
        self.table.lock().lists(id, state_of(&snapshot.identity().root_hash))
    }

    /// How many entries the kernel knows.
    pub(crate) fn known(&self) -> usize {
        self.table.lock().len()
    }

    /// The directories that the kernel knows.
    pub(crate) fn directories(&self) -> Vec<u64> {
        let table = self.table.lock();
        let directories = table.iter().filter(|(id, node)| *id == ROOT || node.kind() == FileKind::Directory);
        directories.map(|(id, _)| id).collect()
    }

    /// Looks for a newer revision now.
    pub(crate) fn refresh(&self) -> Result<Refreshed, Error> {
        self.repository.refresh()
    }
}

fn state_of(root_hash: &ContentHash) -> u64 {
    let mut hasher = DefaultHasher::new();
    root_hash.to_string().hash(&mut hasher);
    hasher.finish()
}

/// What is open, by the numbers that the kernel has for it.
pub(crate) struct Handles<T> {
    open: Mutex<(u64, HashMap<u64, Arc<T>>)>,
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles { open: Mutex::new((0, HashMap::new())) }
    }
}

impl<T> Handles<T> {
    pub(crate) fn add(&self, thing: T) -> u64 {
        let mut open = self.open.lock();
        open.0 += 1;
        let handle = open.0;
        open.1.insert(handle, Arc::new(thing));
        handle
    }

    pub(crate) fn get(&self, handle: u64) -> Option<Arc<T>> {
        self.open.lock().1.get(&handle).cloned()
    }

    pub(crate) fn remove(&self, handle: u64) -> Option<Arc<T>> {
        self.open.lock().1.remove(&handle)
    }
}
