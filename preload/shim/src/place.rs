//! From a path inside the tree to an entry, among the catalogs that are at hand.
//!
//! First one hash over the path's bytes and one probe; only where that says nothing (links, dots, repeated slashes) the
//! walk of `cvmfs-index`. Whatever either cannot settle by itself is the supervisor's.

use crate::{catalogs, present, room, start};
use core::num::NonZeroU64;
use cvmfs_control::{Catalog, Control, Snapshot};
use cvmfs_index::walk::{self, Failure, Kind, LastLink, NAME_MAX, Outcome, World};
use cvmfs_index::{Entry, EntryKind, PathHasher, format};

/// Only the supervisor knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unknown;

/// An entry in its place; a mount point is the entry of the catalog above. Small: a walk has several of them on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The number of its catalog.
    pub(crate) catalog: u32,
    pub(crate) number: u32,
    /// The hash of its path in its catalog, where it came by.
    hash: Option<NonZeroU64>,
}

/// What a path leads to.
pub(crate) enum Lead {
    /// To this entry.
    Place(Place),
    /// To an error of this number.
    Fails(i32),
}

impl Place {
    pub(crate) fn new(catalog: u32, number: u32) -> Place {
        Place { catalog, number, hash: None }
    }

    fn hashed(catalog: u32, number: u32, hash: PathHasher) -> Place {
        Place { catalog, number, hash: NonZeroU64::new(hash.value()) }
    }

    /// Its catalog.
    #[inline]
    pub(crate) fn catalog(&self) -> Option<Catalog<'static>> {
        start::control()?.catalog(self.catalog)
    }

    /// The root directory of a snapshot.
    pub(crate) fn root(snapshot: Snapshot<'static>) -> Option<Place> {
        if snapshot.is_too_complex() {
            return None;
        }
        Some(Place::new(snapshot.root()?.number(), format::ROOT))
    }

    #[inline]
    pub(crate) fn entry(&self) -> Option<Entry<'static>> {
        catalogs::index(self.catalog)?.entry(self.number)
    }

    /// The directory that holds it; `None` for the root of the repository.
    pub(crate) fn parent(&self) -> Option<Place> {
        let mut place = *self;
        if place.number == format::ROOT {
            place = place.above()?;
        }
        let number = place.entry()?.parent()?.number();
        let parent = Place::new(place.catalog, number);
        // The root of a nested catalog is shown as the entry that it is mounted on.
        Some(if number == format::ROOT { parent.above().unwrap_or(parent) } else { parent })
    }

    /// Whether it is the root directory of the repository.
    pub(crate) fn is_root(&self) -> bool {
        self.number == format::ROOT && self.catalog().is_some_and(|catalog| catalog.above().is_none())
    }

    fn above(&self) -> Option<Place> {
        let (catalog, number) = self.catalog()?.above()?;
        Some(Place::new(catalog.number(), number))
    }

    /// The directory in which the entries below this one lie: itself, or the root of the catalog mounted on it.
    pub(crate) fn inside(&self) -> Result<Place, Unknown> {
        let entry = self.entry().ok_or(Unknown)?;
        if entry.damage().is_some() {
            return Err(Unknown);
        }
        if !entry.is_mount_point() {
            return Ok(*self);
        }
        let catalog = self.catalog().and_then(|catalog| catalog.below(self.number)).ok_or(Unknown)?.number();
        let hash = catalogs::index(catalog).ok_or(Unknown)?.hasher();
        Ok(Place::hashed(catalog, format::ROOT, hash))
    }

    fn child(&self, name: &[u8]) -> Result<Option<Place>, Unknown> {
        let Place { catalog, number, hash } = self.inside()?;
        let directory = catalogs::index(catalog).and_then(|index| index.entry(number)).ok_or(Unknown)?;
        Ok(match hash {
            Some(hash) => directory
                .child_hashed(PathHasher::new(hash.get()), name)
                .map(|(entry, hash)| Place::hashed(catalog, entry.number(), hash)),
            None => directory.child(name).map(|entry| Place::new(catalog, entry.number())),
        })
    }

    /// Whether everybody may search this directory.
    fn is_open(&self) -> bool {
        let mode = self.entry().map_or(0, |entry| entry.mode());
        mode & 0o111 == 0o111 || self.catalog().and_then(Catalog::snapshot).is_some_and(Snapshot::is_world_readable)
    }

    /// Whether everybody may search all directories above.
    fn is_reachable(&self) -> bool {
        let mut place = *self;
        loop {
            // In the catalog itself without the way over [`Place::parent`], which looks the index up each time.
            let Some(mut entry) = place.entry() else { return false };
            while let Some(parent) = entry.parent() {
                if parent.mode() & 0o111 != 0o111 && !(Place { number: parent.number(), ..place }).is_open() {
                    return false;
                }
                entry = parent;
            }
            match (Place { number: format::ROOT, ..place }).above() {
                Some(above) => place = above,
                None => return true,
            }
            if !place.is_open() {
                return false;
            }
        }
    }

    /// Writes its path inside the repository to the end of `buffer` and tells where it starts: empty for the root, else
    /// starting with a slash.
    pub(crate) fn path<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let inside = self.entry()?.path(buffer)?.len();
        let mount = self.catalog()?.mount();
        let start = buffer.len().checked_sub(inside)?.checked_sub(mount.len())?;
        buffer.get_mut(start..)?.get_mut(..mount.len())?.copy_from_slice(mount);
        buffer.get(start..)
    }
}

/// Follows the path `rest` inside a repository, empty or starting with a slash, if it is spelled plainly and has no links
/// before its last component.
#[inline]
pub(crate) fn look(snapshot: Snapshot<'static>, rest: &[u8]) -> Result<Lead, Unknown> {
    let mut catalog = Place::root(snapshot).and_then(|root| root.catalog()).ok_or(Unknown)?;
    let mut index = catalogs::index(catalog.number()).ok_or(Unknown)?;
    let mut hash = index.hasher();
    let mut holder = hash;
    let (mut start, mut holder_end, mut at) = (0, 0, 0);
    while at < rest.len() {
        let name = rest.get(at..).and_then(|rest| rest.strip_prefix(b"/")).ok_or(Unknown)?;
        let name = name.get(..name.iter().position(|&b| b == b'/').unwrap_or(name.len())).ok_or(Unknown)?;
        if matches!(name, b"" | b"." | b"..") || name.len() > NAME_MAX {
            return Err(Unknown);
        }
        (holder, holder_end) = (hash, at);
        hash = hash.child(name);
        at += 1 + name.len();
        if at < rest.len() && catalog.may_have_mount(hash) {
            let mount = rest.get(start..at).and_then(|path| index.find_hashed(hash, path));
            if let Some(below) = mount.filter(Entry::is_mount_point).and_then(|entry| catalog.below(entry.number())) {
                catalog = below;
                index = catalogs::index(catalog.number()).ok_or(Unknown)?;
                hash = index.hasher();
                start = at;
            }
        }
    }
    let found = rest.get(start..).and_then(|path| index.find_hashed(hash, path));
    if let Some(entry) = found {
        let place = Place::hashed(catalog.number(), entry.number(), hash);
        return if entry.damage().is_none() && place.is_reachable() { Ok(Lead::Place(place)) } else { Err(Unknown) };
    }
    // Its absence is certain if the directory is there, and here.
    let directory = rest.get(start..holder_end).and_then(|path| index.find_hashed(holder, path)).ok_or(Unknown)?;
    let place = Place::new(catalog.number(), directory.number());
    let certain = directory.is_directory() && !directory.is_mount_point() && directory.damage().is_none();
    if certain && place.is_open() && place.is_reachable() { Ok(Lead::Fails(libc::ENOENT)) } else { Err(Unknown) }
}

/// Where a walk is.
#[derive(Clone)]
enum Node {
    Top,
    At(Place),
}

struct Tree {
    control: Control<'static>,
}

impl World for Tree {
    type Node = Node;
    type Fault = Unknown;

    fn mount_dir(&self) -> &[u8] {
        self.control.mount_dir()
    }

    fn top(&self) -> Node {
        Node::Top
    }

    fn parent(&self, node: &Node) -> Result<Option<Node>, Unknown> {
        Ok(match node {
            Node::Top => None,
            Node::At(place) => Some(place.parent().map_or(Node::Top, Node::At)),
        })
    }

    fn child(&self, node: &Node, name: &[u8]) -> Result<Option<Node>, Unknown> {
        match node {
            Node::Top => {
                let place = self.control.newest(name).and_then(Place::root).ok_or(Unknown)?;
                Ok(Some(Node::At(place)))
            }
            Node::At(place) => Ok(place.child(name)?.map(Node::At)),
        }
    }

    fn kind(&self, node: &Node) -> Kind {
        match node {
            Node::Top => Kind::Directory,
            Node::At(place) => match place.entry().map(|entry| entry.kind()) {
                Some(EntryKind::Directory) => Kind::Directory,
                Some(EntryKind::Symlink) => Kind::Symlink,
                _ => Kind::Other,
            },
        }
    }

    fn target(&self, node: &Node, buffer: &mut [u8]) -> Result<usize, Unknown> {
        match node {
            Node::Top => Err(Unknown),
            Node::At(place) => present::target(place, buffer).ok_or(Unknown),
        }
    }

    fn may_search(&self, node: &Node) -> bool {
        match node {
            Node::Top => true,
            Node::At(place) => place.is_open(),
        }
    }
}

/// Walks `path`: an absolute one from the root, another one from `start`.
#[inline(never)]
pub(crate) fn walk(
    control: Control<'static>,
    start: Option<Place>,
    path: &[u8],
    last: LastLink,
) -> Result<Lead, Unknown> {
    // The walk asks for the search permission of what it goes through; what lies above its start was not gone through.
    if start.is_some_and(|start| !start.is_reachable()) {
        return Err(Unknown);
    }
    let start = start.map_or(Node::Top, Node::At);
    room::with(|scratch| lead(walk::walk(&Tree { control }, &start, path, last, scratch)))
}

/// What a walk has led to.
fn lead(walked: Result<Outcome<Node>, Failure<Unknown>>) -> Result<Lead, Unknown> {
    match walked {
        Ok(Outcome::Node(Node::At(place))) => match place.entry().map(|entry| entry.damage()) {
            Some(None) => Ok(Lead::Place(place)),
            _ => Err(Unknown),
        },
        Err(Failure::NotFound) => Ok(Lead::Fails(libc::ENOENT)),
        Err(Failure::NotDirectory) => Ok(Lead::Fails(libc::ENOTDIR)),
        Err(Failure::TooManyLinks) => Ok(Lead::Fails(libc::ELOOP)),
        // Too long for this buffer is not yet too long for the kernel; who may search is for the supervisor to judge.
        Err(Failure::NameTooLong | Failure::AccessDenied | Failure::Fault(Unknown))
        | Ok(Outcome::Node(Node::Top) | Outcome::Outside(_)) => Err(Unknown),
    }
}
