//! The catalogs of a snapshot, attached as paths lead into them.

use super::source::{CatalogRef, Source};
use crate::Error;
use crate::cache::Mapping;
use crate::catalog::{check_mounted, check_root, content_hash, digest};
use cvmfs_index::{Entry, Index, NestedKind, PathHasher, format};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Catalogs attached in this process so far, in all snapshots.
static ATTACHMENTS: AtomicU64 = AtomicU64::new(0);

/// See [`super::attachments`].
pub(super) fn attachments() -> u64 {
    ATTACHMENTS.load(Ordering::Acquire)
}

/// See [`super::announce`].
pub(super) fn announce() {
    ATTACHMENTS.fetch_add(1, Ordering::Release);
}

/// Independent root catalogs that may be mounted inside each other: snapshots of snapshots lead nowhere.
const MAX_BIND_DEPTH: u32 = 8;

/// One catalog in its place in the tree. Looking things up takes no lock.
pub(crate) struct Attached {
    mapping: Mapping,
    reference: CatalogRef,
    /// The catalog above and the number of its entry on which this one is mounted.
    above: Option<(Weak<Attached>, u32)>,
    /// Makes inode numbers of independently rooted catalogs differ from those of the tree around them.
    salt: u64,
    bind_depth: u32,
    /// Path hashes (seeded by this catalog) of what is mounted in it, sorted, with the numbers of the nested catalogs.
    mount_hashes: Box<[(u64, u32)]>,
    /// One bit for each of these hashes: most components of a path need no more than a look at it.
    mount_filter: u64,
    /// The catalogs mounted in this one, by number.
    below: Box<[OnceLock<Arc<Attached>>]>,
}

/// Tells attached catalogs apart for as long as their snapshot is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CatalogId(usize);

/// A catalog that paths have led into so far.
#[derive(Debug, Clone)]
pub struct AttachedCatalog {
    /// Which place in the tree this is; see [`Node::catalog`](crate::namespace::Node::catalog).
    pub id: CatalogId,
    /// Which catalog it is, and where it is mounted.
    pub reference: CatalogRef,
    /// The catalog above, by its position in the list, and the number of its entry on which this one is mounted.
    pub above: Option<(usize, u32)>,
    /// Makes inode numbers of this tree differ from those of the tree around it.
    pub salt: u64,
    /// The hash of its index's root.
    pub root_hash: PathHasher,
    /// Bytes of its index.
    pub index_len: u64,
}

/// An entry in its place: mount points are the entry of the catalog above.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) catalog: Arc<Attached>,
    pub(crate) entry: u32,
}

fn filter_bit(hash: u64) -> u64 {
    1 << (hash & 63)
}

impl Attached {
    /// Maps the root catalog.
    pub(super) fn root(source: &dyn Source, reference: CatalogRef) -> Result<Arc<Attached>, Error> {
        let mapping = source.index(&reference)?;
        let attached = Attached::new(mapping, reference, None, 0, 0)?;
        check_root(&attached.index())?;
        ATTACHMENTS.fetch_add(1, Ordering::Release);
        Ok(Arc::new(attached))
    }

    fn new(
        mapping: Mapping,
        reference: CatalogRef,
        above: Option<(Weak<Attached>, u32)>,
        salt: u64,
        bind_depth: u32,
    ) -> Result<Attached, Error> {
        let unusable = |reason: String| Error::CatalogIndex { catalog: reference.hash, reason };
        let index = Index::open(&mapping, &digest(&reference.hash)).map_err(|error| unusable(error.to_string()))?;
        let mut mount_hashes: Vec<(u64, u32)> = (0..index.nested_count())
            .filter_map(|number| {
                let inside = index.nested(number)?.path().strip_prefix(index.root_prefix())?.strip_prefix(b"/")?;
                let hash = inside.split(|&b| b == b'/').fold(index.hasher(), PathHasher::child);
                Some((hash.value(), number))
            })
            .collect();
        mount_hashes.sort_unstable();
        let mount_filter = mount_hashes.iter().fold(0, |filter, (hash, _)| filter | filter_bit(*hash));
        let below = (0..index.nested_count()).map(|_| OnceLock::new()).collect();
        let mount_hashes = mount_hashes.into();
        Ok(Attached { mapping, reference, above, salt, bind_depth, mount_hashes, mount_filter, below })
    }

    pub(crate) fn index(&self) -> Index<'_> {
        Index::of_checked(&self.mapping)
    }

    pub(crate) fn id(self: &Arc<Self>) -> CatalogId {
        CatalogId(Arc::as_ptr(self) as usize)
    }

    /// This catalog and what is attached below it: each after the one above.
    pub(super) fn list(self: &Arc<Self>) -> Vec<AttachedCatalog> {
        let mut all = Vec::new();
        let mut waiting = vec![(self.clone(), None)];
        while let Some((catalog, above)) = waiting.pop() {
            let position = all.len();
            let index = catalog.index();
            let index_len = index.image_len() as u64;
            let (reference, salt) = (catalog.reference.clone(), catalog.salt);
            let id = catalog.id();
            all.push(AttachedCatalog { id, reference, above, salt, root_hash: index.hasher(), index_len });
            waiting.extend(catalog.below.iter().filter_map(OnceLock::get).filter_map(|below| {
                let (_, entry) = below.above.as_ref()?;
                Some((below.clone(), Some((position, *entry))))
            }));
        }
        all
    }

    /// Which catalog this is and where it is mounted.
    pub(crate) fn reference(&self) -> &CatalogRef {
        &self.reference
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// The catalog mounted on `entry`, attaching it if need be; `None` if `entry` is no mount point.
    fn mounted_on(self: &Arc<Self>, entry: &Entry<'_>, source: &dyn Source) -> Result<Option<Arc<Attached>>, Error> {
        if !entry.is_mount_point() {
            return Ok(None);
        }
        let damaged = |reason: &str| Error::Damaged { path: self.path_of(entry), reason: reason.to_owned() };
        if let Some(damage) = entry.damage() {
            return Err(damaged(damage.reason()));
        }
        let nested = entry.nested().ok_or_else(|| damaged("the mount point has no nested catalog"))?;
        let number = entry.nested_number().and_then(|number| usize::try_from(number).ok());
        let slot = number.and_then(|number| self.below.get(number));
        let slot = slot.ok_or_else(|| damaged("the mount point has no nested catalog"))?;
        if let Some(attached) = slot.get() {
            return Ok(Some(attached.clone()));
        }
        let hash = nested.catalog().map(content_hash).ok_or_else(|| damaged("its nested catalog has no hash"))?;
        let reference = CatalogRef { hash, size: nested.size(), mount: self.path_of(entry) };
        let mapping = source.index(&reference)?;
        let above = Some((Arc::downgrade(self), entry.number()));
        let (salt, bind_depth) = match nested.kind() {
            NestedKind::Nested => (self.salt, self.bind_depth),
            NestedKind::Bind if self.bind_depth >= MAX_BIND_DEPTH => {
                return Err(damaged("snapshots are mounted inside each other too deeply"));
            }
            NestedKind::Bind => (self.salt ^ PathHasher::new(1).child(&reference.mount).value(), self.bind_depth + 1),
        };
        let attached = Attached::new(mapping, reference, above, salt, bind_depth)?;
        check_mounted(&nested, &attached.index())?;
        let attached = slot.get_or_init(|| Arc::new(attached)).clone();
        ATTACHMENTS.fetch_add(1, Ordering::Release);
        Ok(Some(attached))
    }

    /// Path of one of this catalog's entries inside the repository: empty for the root, else starting with a slash.
    pub(crate) fn path_of(&self, entry: &Entry<'_>) -> Vec<u8> {
        let mut names = Vec::new();
        let mut entry = *entry;
        while let Some(parent) = entry.parent() {
            names.push(entry.name());
            entry = parent;
        }
        let mut path = self.reference.mount.clone();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }
}

impl Place {
    pub(crate) fn entry(&self) -> Entry<'_> {
        self.catalog.index().entry(self.entry).expect("places are made from entries of their catalog")
    }

    /// The directory in which the entries below this one lie: itself, or the root of the catalog mounted on it.
    pub(crate) fn inside(&self, source: &dyn Source) -> Result<Place, Error> {
        Ok(match self.catalog.mounted_on(&self.entry(), source)? {
            Some(catalog) => Place { catalog, entry: format::ROOT },
            None => self.clone(),
        })
    }

    /// The entry called `name`, hidden ones included.
    pub(crate) fn child(&self, name: &[u8], source: &dyn Source) -> Result<Option<Place>, Error> {
        let Place { catalog, entry } = self.inside(source)?;
        let found = catalog.index().entry(entry).and_then(|directory| directory.child(name)).map(|e| e.number());
        Ok(found.map(|entry| Place { catalog, entry }))
    }

    /// The directory that holds this entry; `None` for the root of the repository.
    pub(crate) fn parent(&self) -> Option<Place> {
        let parent = self.entry().parent()?.number();
        if parent != format::ROOT {
            return Some(Place { catalog: self.catalog.clone(), entry: parent });
        }
        match &self.catalog.above {
            Some((above, entry)) => Some(Place { catalog: above.upgrade()?, entry: *entry }),
            None => Some(Place { catalog: self.catalog.clone(), entry: format::ROOT }),
        }
    }

    /// Path inside the repository: empty for the root, else starting with a slash.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.catalog.path_of(&self.entry())
    }
}

/// Finds a path that is spelled plainly (each component preceded by one slash, no dots, no slash at the end) and has
/// no links before its last component, among the catalogs attached so far. `None` says nothing about the path.
pub(super) fn find_plain(root: &Arc<Attached>, path: &[u8]) -> Option<Place> {
    let mut catalog = root;
    let mut index = catalog.index();
    let mut hash = index.hasher();
    let (mut start, mut at) = (0, 0);
    while at < path.len() {
        let name = path.get(at..)?.strip_prefix(b"/")?;
        let name = name.get(..name.iter().position(|&b| b == b'/').unwrap_or(name.len()))?;
        if matches!(name, b"" | b"." | b"..") {
            return None;
        }
        hash = hash.child(name);
        at += 1 + name.len();
        if at < path.len() && catalog.mount_filter & filter_bit(hash.value()) != 0 {
            let found = catalog.mount_hashes.binary_search_by_key(&hash.value(), |(hash, _)| *hash);
            if let Ok(found) = found
                && let Some(&(_, number)) = catalog.mount_hashes.get(found)
            {
                let below = catalog.below.get(number as usize)?.get()?;
                if below.reference.mount != path.get(..at)? {
                    return None;
                }
                catalog = below;
                index = catalog.index();
                hash = index.hasher();
                start = at;
            }
        }
    }
    let entry = index.find_hashed(hash, path.get(start..)?)?.number();
    Some(Place { catalog: catalog.clone(), entry })
}
