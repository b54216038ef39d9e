//! What an entry looks like, by the rules that all readers share.

use crate::place::Place;
use cvmfs_index::format::OWNER_IS_CALLER;
use cvmfs_index::{Attributes, Entry, EntryKind, Look, variant};

/// What `stat` tells of an entry; `None` if only the supervisor can tell.
#[inline]
pub(crate) fn attributes(place: &Place) -> Option<Attributes> {
    let entry = place.entry()?;
    let catalog = place.catalog()?;
    let snapshot = catalog.snapshot()?;
    let owner = match snapshot.claimed_by() {
        Some(owner) => owner,
        None if entry.uid() == OWNER_IS_CALLER || entry.gid() == OWNER_IS_CALLER => return None,
        None => (entry.uid(), entry.gid()),
    };
    let target_len = if entry.kind() == EntryKind::Symlink { expand(place, &entry, |_| {})? } else { 0 };
    let look = Look {
        dev: snapshot.device(),
        salt: catalog.salt(),
        owner,
        world_readable: snapshot.is_world_readable(),
        target_len,
    };
    Some(Attributes::of(&entry, &look))
}

/// Writes the expanded target of a link to the front of `buffer` and tells its length, also when it is longer than that;
/// `None` if it is damaged.
pub(crate) fn target(place: &Place, buffer: &mut [u8]) -> Option<usize> {
    let entry = place.entry()?;
    if entry.damage().is_some() {
        return None;
    }
    let mut at = 0;
    expand(place, &entry, |piece| {
        let room = buffer.get_mut(at..).unwrap_or_default();
        let len = piece.len().min(room.len());
        if let (Some(room), Some(piece)) = (room.get_mut(..len), piece.get(..len)) {
            room.copy_from_slice(piece);
        }
        at += piece.len();
    })
}

fn expand(place: &Place, entry: &Entry<'static>, mut emit: impl FnMut(&[u8])) -> Option<usize> {
    let target = entry.symlink_target();
    let mut len = 0;
    if variant::has_references(target) {
        let snapshot = place.catalog()?.snapshot()?;
        variant::expand(
            target,
            |name| snapshot.variable(name),
            |piece| {
                len += piece.len();
                emit(piece);
            },
        );
    } else {
        len = target.len();
        emit(target);
    }
    Some(len)
}
