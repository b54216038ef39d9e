//! Files and directories whose names were asked for before.
//!
//! The name behind a descriptor costs ten times what `fstat` does. A directory has one name. A file with at most two
//! links (the cache's and one in the view, or one alone) has at most one name in the view. Every change of their names
//! changes their `ctime`: so inode and `ctime` together tell what the name told. Files with more names are asked for
//! each time.

use crate::place::Place;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

const ENTRIES: usize = 256;
const NATIVE: u64 = u64::MAX;

/// The key is kept as its difference from the value, so that a pair of which one half was just replaced fits nothing.
struct Pair {
    mixed: AtomicU64,
    value: AtomicU64,
}

static KNOWN: [Pair; ENTRIES] = [const { Pair { mixed: AtomicU64::new(0), value: AtomicU64::new(0) } }; ENTRIES];

/// What is known of a file.
pub(crate) enum Known {
    /// It stands for this entry.
    Ours(Place),
    /// It does not lie in the view.
    Native,
}

/// What stands for a directory, or for a regular file with few names, and its place in the table.
pub(crate) struct Key {
    key: u64,
    pair: &'static Pair,
}

/// The key of what the kernel says `found` of.
#[inline]
pub(crate) fn key(found: &libc::stat) -> Option<Key> {
    match found.st_mode & libc::S_IFMT {
        libc::S_IFDIR => {}
        libc::S_IFREG if found.st_nlink <= 2 => {}
        _ => return None,
    }
    let mut key = 0x9e37_79b9_7f4a_7c15u64;
    for part in [found.st_dev, found.st_ino, found.st_ctime as u64, found.st_ctime_nsec as u64] {
        key = (key ^ part).wrapping_mul(0xd6e8_feb8_6659_fd93);
        key ^= key >> 32;
    }
    Some(Key { key, pair: KNOWN.get((key >> 40) as usize % ENTRIES)? })
}

/// What was found out before about the file with this key.
#[inline]
pub(crate) fn recall(key: &Key) -> Option<Known> {
    let Key { key, pair } = *key;
    let value = pair.value.load(Relaxed);
    if pair.mixed.load(Relaxed) ^ value != key {
        return None;
    }
    if value == NATIVE {
        return Some(Known::Native);
    }
    Some(Known::Ours(Place::new((value >> 32) as u32, value as u32)))
}

/// Remembers what the name of a file told: the entry that it stands for, or that it is native.
pub(crate) fn remember(key: &Key, place: Option<&Place>) {
    let Key { key, pair } = *key;
    let value = place.map_or(NATIVE, |place| u64::from(place.catalog) << 32 | u64::from(place.number));
    pair.mixed.store(key ^ value, Relaxed);
    pair.value.store(value, Relaxed);
}
