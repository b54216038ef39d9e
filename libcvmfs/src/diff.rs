//! What changed between two snapshots of a repository. Catalogs that both share are not opened.

use crate::Error;
use crate::catalog::content_hash;
use crate::hash::ContentHash;
use crate::snapshot::{Content, Place, Snapshot};
use cvmfs_index::{Entry, EntryKind};
use std::cmp::Ordering;
use std::ops::ControlFlow;

/// How an entry changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is only in the newer snapshot.
    Added,
    /// It is only in the older snapshot.
    Removed,
    /// It is something else now, say a link instead of a file.
    OtherType,
    /// The named properties changed: `content`, `size`, `mode`, `owner`, `time`, `target`, `device`, `links`,
    /// `attributes`.
    Modified(Vec<&'static str>),
}

/// One entry that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Path inside the repository, empty for its root.
    pub path: &'a [u8],
    /// What happened to it.
    pub change: Change,
}

/// Tells `report` every entry that differs, directories before what is in them. What is added or removed as a whole
/// is told entry by entry. `report` can end the comparison.
pub fn diff(
    from: &Snapshot,
    to: &Snapshot,
    report: &mut dyn FnMut(Difference<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut comparison = Comparison { from, to, report, path: Vec::new() };
    let (old, new) = (from.root(), to.root());
    // Ended by whoever listens or by itself: both are fine.
    let (ControlFlow::Continue(()) | ControlFlow::Break(())) = comparison.entry(&old, &new)?;
    Ok(())
}

struct Comparison<'a> {
    from: &'a Snapshot,
    to: &'a Snapshot,
    report: &'a mut dyn FnMut(Difference<'_>) -> ControlFlow<()>,
    path: Vec<u8>,
}

/// `Break`: the comparison was ended.
type Step = Result<ControlFlow<()>, Error>;

macro_rules! step {
    ($step:expr) => {
        if $step?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    };
}

impl Comparison<'_> {
    fn tell(&mut self, change: Change) -> Step {
        Ok((self.report)(Difference { path: &self.path, change }))
    }

    fn entry(&mut self, old: &Place, new: &Place) -> Step {
        let (a, b) = (old.entry(), new.entry());
        if a.kind() != b.kind() {
            step!(self.tell(Change::OtherType));
            return match (a.kind(), b.kind()) {
                (EntryKind::Directory, _) => self.all(old, &Change::Removed, true),
                (_, EntryKind::Directory) => self.all(new, &Change::Added, true),
                _ => Ok(ControlFlow::Continue(())),
            };
        }
        let fields = changed_fields(&a, &b);
        if !fields.is_empty() {
            step!(self.tell(Change::Modified(fields)));
        }
        if a.kind() != EntryKind::Directory || same_catalog(old, new, &a, &b) {
            return Ok(ControlFlow::Continue(()));
        }
        self.children(old, new)
    }

    fn children(&mut self, old: &Place, new: &Place) -> Step {
        let old = old.inside(&**self.from.source())?;
        let new = new.inside(&**self.to.source())?;
        let (olds, news) = (children(&old), children(&new));
        let (mut a, mut b) = (olds.iter().peekable(), news.iter().peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => return Ok(ControlFlow::Continue(())),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((x, _)), Some((y, _))) => x.cmp(y),
            };
            let x = if order.is_le() { a.next() } else { None };
            let y = if order.is_ge() { b.next() } else { None };
            let length = self.path.len();
            if let Some((name, _)) = x.or(y) {
                self.path.push(b'/');
                self.path.extend_from_slice(name);
            }
            let done = match (x, y) {
                (Some((_, x)), Some((_, y))) => self.entry(x, y),
                (Some((_, x)), None) => self.all(x, &Change::Removed, false),
                (None, Some((_, y))) => self.all(y, &Change::Added, false),
                (None, None) => Ok(ControlFlow::Continue(())),
            };
            step!(done);
            self.path.truncate(length);
        }
    }

    /// Tells the same of an entry and everything below it; `below`: not of itself.
    fn all(&mut self, place: &Place, change: &Change, below: bool) -> Step {
        if !below {
            step!(self.tell(change.clone()));
        }
        if place.entry().kind() != EntryKind::Directory {
            return Ok(ControlFlow::Continue(()));
        }
        let snapshot = if *change == Change::Removed { self.from } else { self.to };
        for (name, child) in children(&place.inside(&**snapshot.source())?) {
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(&name);
            step!(self.all(&child, change, false));
            self.path.truncate(length);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Visible entries of a directory by name.
fn children(inside: &Place) -> Vec<(Vec<u8>, Place)> {
    let entry = inside.entry();
    let visible = entry.children().iter().filter(|child| !child.is_hidden());
    let mut children: Vec<_> = visible
        .map(|child| (child.name().to_vec(), Place { catalog: inside.catalog.clone(), entry: child.number() }))
        .collect();
    children.sort_by(|(a, _), (b, _)| a.cmp(b));
    children
}

/// Whether both directories are described by one and the same catalog.
fn same_catalog(old: &Place, new: &Place, a: &Entry<'_>, b: &Entry<'_>) -> bool {
    let described_by = |place: &Place, entry: &Entry<'_>| -> Option<ContentHash> {
        match entry.nested() {
            Some(nested) if entry.is_mount_point() => nested.catalog().map(content_hash),
            _ => Some(place.catalog.reference().hash),
        }
    };
    // The same catalog at two numbers is not the same directory.
    let same_place = a.is_mount_point() || a.number() == b.number();
    same_place && a.is_mount_point() == b.is_mount_point() && described_by(old, a) == described_by(new, b)
}

fn changed_fields(a: &Entry<'_>, b: &Entry<'_>) -> Vec<&'static str> {
    let parts = |entry: &Entry<'_>| Content::of_entry(entry, Vec::new()).ok().map(|content| content.parts);
    let regular = a.kind() == EntryKind::Regular;
    // How large a directory is says nothing.
    let size = a.kind() != EntryKind::Directory && a.size() != b.size();
    [
        ("content", regular && parts(a) != parts(b)),
        ("size", size),
        ("mode", a.mode() != b.mode()),
        ("owner", (a.uid(), a.gid()) != (b.uid(), b.gid())),
        ("time", (a.mtime(), a.mtime_nanos()) != (b.mtime(), b.mtime_nanos())),
        ("target", a.symlink_target() != b.symlink_target()),
        ("device", a.rdev() != b.rdev()),
        ("links", a.kind() != EntryKind::Directory && a.nlink() != b.nlink()),
        ("attributes", a.xattr_blob() != b.xattr_blob()),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}
