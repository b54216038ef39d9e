//! Files and directories whose names were asked for before.
//!
//! The name behind a descriptor costs ten times what `fstat` does. A directory has one name. A file with at most two
//! links (the cache's and one in the view, or one alone) has at most one name in the view. Every change of their names
//! changes their `ctime`: so inode and `ctime` together tell what the name told. Files with more names are asked for
//! each time.

use crate::place::Place;
use crate::start;
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

/// The key of a directory, or of a regular file with few names, and its place in the table.
#[inline]
fn key(found: &libc::stat) -> Option<(u64, &'static Pair)> {
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
    Some((key, KNOWN.get((key >> 40) as usize % ENTRIES)?))
}

/// What was found out before about the file that `found` describes.
#[inline]
pub(crate) fn recall(found: &libc::stat) -> Option<Known> {
    let (key, pair) = key(found)?;
    let value = pair.value.load(Relaxed);
    if pair.mixed.load(Relaxed) ^ value != key {
        return None;
    }
    if value == NATIVE {
        return Some(Known::Native);
    }
    let catalog = start::control()?.catalog((value >> 32) as u32)?;
    Some(Known::Ours(Place::new(catalog, value as u32)))
}

/// Remembers what the name of a file told: the entry that it stands for, or that it is native.
pub(crate) fn remember(found: &libc::stat, place: Option<&Place>) {
    let Some((key, pair)) = key(found) else { return };
    let value = place.map_or(NATIVE, |place| u64::from(place.catalog.number()) << 32 | u64::from(place.number));
    pair.mixed.store(key ^ value, Relaxed);
    pair.value.store(value, Relaxed);
}
