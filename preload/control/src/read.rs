//! The reading side.

use crate::page::{
    self, CATALOGS, CLAIMED, COMPUTED_LISTED, CatalogSlot, Flags, MAGIC, NONE, Page, SNAPSHOTS, SnapshotSlot, TABLE,
    TEXT, TOO_COMPLEX, TextRef, VERSION, WORLD_READABLE, mount_bit, table_start,
};
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use cvmfs_index::PathHasher;

/// A mapped control page. Whatever its bytes are, every method returns.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    page: &'a Page,
}

/// A mounted snapshot, by its number.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    control: Control<'a>,
    slot: &'a SnapshotSlot,
    number: u32,
}

/// An attached catalog, by its number.
#[derive(Clone, Copy)]
pub struct Catalog<'a> {
    control: Control<'a>,
    slot: &'a CatalogSlot,
    number: u32,
}

impl<'a> Control<'a> {
    /// Looks at a mapping of a control file; `None` if it is of another kind, version or length.
    ///
    /// # Safety
    /// `address` is page-aligned, and `length` bytes stay readable there for `'a`; nobody but a
    /// [`Writer`](crate::write) changes them.
    pub unsafe fn at(address: *const u8, length: usize) -> Option<Control<'a>> {
        if length != Page::LEN || address.is_null() {
            return None;
        }
        // SAFETY: the caller's promise; every bit pattern is a valid page.
        Control::of(unsafe { &*address.cast::<Page>() })
    }

    pub(crate) fn of(page: &'a Page) -> Option<Control<'a>> {
        let known = page.magic.load(Acquire) == MAGIC
            && page.version.load(Relaxed) == VERSION
            && page.length.load(Relaxed) == Page::LEN as u64;
        known.then_some(Control { page })
    }

    fn text(self, text: &TextRef) -> &'a [u8] {
        let (at, len) = (text.at.load(Relaxed) as usize, text.len.load(Relaxed) as usize);
        if at.checked_add(len).is_none_or(|end| end >= TEXT) {
            return &[];
        }
        // SAFETY: the range lies in the text, which the writer does not touch again once it has told where it is.
        unsafe { core::slice::from_raw_parts(self.page.text.as_ptr().cast::<u8>().add(at), len) }
    }

    /// The cookie that takes a system call through the filter.
    pub fn cookie(self) -> u64 {
        self.page.cookie.load(Relaxed)
    }

    /// The marks of the page.
    pub fn flags(self) -> Flags {
        Flags(self.page.flags.load(Relaxed))
    }

    /// The mount directory, such as `/cvmfs`.
    #[inline]
    pub fn mount_dir(self) -> &'a [u8] {
        self.text(&self.page.mount_dir)
    }

    /// The directory of the view; a directory for each snapshot lies in it.
    #[inline]
    pub fn view_prefix(self) -> &'a [u8] {
        self.text(&self.page.view_prefix)
    }

    /// Device number of the file system that the view lies on.
    #[inline]
    pub fn view_device(self) -> u64 {
        self.page.view_device.load(Relaxed)
    }

    /// The entry `LD_PRELOAD=...` for an emptied environment; empty if nothing is to be preloaded. A NUL follows.
    pub fn preload_entry(self) -> &'a [u8] {
        self.text(&self.page.preload)
    }

    /// The entry `CVMFS_RUN_CONTROL=...` for an emptied environment. A NUL follows.
    pub fn control_entry(self) -> &'a [u8] {
        self.text(&self.page.control)
    }

    /// The snapshots mounted so far, replaced ones included, oldest first.
    pub fn snapshots(self) -> impl DoubleEndedIterator<Item = Snapshot<'a>> {
        let count = self.page.snapshot_count.load(Acquire).min(SNAPSHOTS as u32);
        (0..count).filter_map(move |number| self.snapshot(number))
    }

    /// The snapshot with this number.
    #[inline]
    pub fn snapshot(self, number: u32) -> Option<Snapshot<'a>> {
        if number >= self.page.snapshot_count.load(Acquire) {
            return None;
        }
        let slot = self.page.snapshots.get(number as usize)?;
        Some(Snapshot { control: self, slot, number })
    }

    /// The snapshot in which lookups of repository `fqrn` by its name go on.
    #[inline]
    pub fn newest(self, fqrn: &[u8]) -> Option<Snapshot<'a>> {
        self.snapshots().rev().find(|snapshot| snapshot.fqrn() == fqrn && !snapshot.is_superseded())
    }

    /// The snapshot whose directory in the view is called `key`.
    pub fn by_view_key(self, key: &[u8]) -> Option<Snapshot<'a>> {
        self.snapshots().rev().find(|snapshot| snapshot.view_key() == key)
    }

    /// Number of catalogs attached so far.
    pub fn catalog_count(self) -> u32 {
        self.page.catalog_count.load(Acquire).min(CATALOGS as u32)
    }

    /// The catalog with this number.
    #[inline]
    pub fn catalog(self, number: u32) -> Option<Catalog<'a>> {
        if number >= self.page.catalog_count.load(Acquire) {
            return None;
        }
        let slot = self.page.catalogs.get(number as usize)?;
        Some(Catalog { control: self, slot, number })
    }
}

impl<'a> Snapshot<'a> {
    /// Its number.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The name of the repository.
    #[inline]
    pub fn fqrn(self) -> &'a [u8] {
        self.control.text(&self.slot.fqrn)
    }

    /// The name of its directory in the view.
    #[inline]
    pub fn view_key(self) -> &'a [u8] {
        self.control.text(&self.slot.view_key)
    }

    /// Device number of its entries.
    #[inline]
    pub fn device(self) -> u64 {
        self.slot.device.load(Relaxed)
    }

    /// Whether a newer revision has taken its place.
    #[inline]
    pub fn is_superseded(self) -> bool {
        self.slot.superseded.load(Acquire) != 0
    }

    /// Whether only the supervisor can tell how its entries look.
    #[inline]
    pub fn is_too_complex(self) -> bool {
        self.slot.presentation.load(Relaxed) & TOO_COMPLEX != 0
    }

    /// User and group that everything belongs to; `None` if the catalog tells.
    #[inline]
    pub fn claimed_by(self) -> Option<(u32, u32)> {
        let claimed = self.slot.presentation.load(Relaxed) & CLAIMED != 0;
        claimed.then(|| (self.slot.uid.load(Relaxed), self.slot.gid.load(Relaxed)))
    }

    /// Whether everybody may read everything.
    #[inline]
    pub fn is_world_readable(self) -> bool {
        self.slot.presentation.load(Relaxed) & WORLD_READABLE != 0
    }

    /// Whether listings of extended attributes have computed ones, also below the root.
    #[inline]
    pub fn lists_computed(self) -> bool {
        self.slot.presentation.load(Relaxed) & COMPUTED_LISTED != 0
    }

    /// The value of a variable for variant symbolic links.
    pub fn variable(self, name: &[u8]) -> Option<&'a [u8]> {
        let mut rest = self.control.text(&self.slot.variables);
        while !rest.is_empty() {
            let (key, value, after) = take_pair(rest)?;
            if key == name {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    /// Its root catalog, once attached.
    #[inline]
    pub fn root(self) -> Option<Catalog<'a>> {
        self.control.catalog(self.slot.root.load(Acquire).checked_sub(1)?)
    }
}

/// Splits `length of name, length of value` (two bytes each), name and value off packed variables.
fn take_pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (lengths, rest) = bytes.split_first_chunk::<4>()?;
    let [name, value] = [[lengths[0], lengths[1]], [lengths[2], lengths[3]]].map(u16::from_ne_bytes);
    let (name, rest) = rest.split_at_checked(name.into())?;
    let (value, rest) = rest.split_at_checked(value.into())?;
    Some((name, value, rest))
}

impl<'a> Catalog<'a> {
    /// Its number.
    #[inline]
    pub fn number(self) -> u32 {
        self.number
    }

    /// The snapshot it belongs to.
    #[inline]
    pub fn snapshot(self) -> Option<Snapshot<'a>> {
        self.control.snapshot(self.slot.snapshot.load(Relaxed))
    }

    /// Makes inode numbers of this tree differ from those of the tree around it.
    #[inline]
    pub fn salt(self) -> u64 {
        self.slot.salt.load(Relaxed)
    }

    /// Where it is mounted: path inside the repository, empty for a root catalog.
    #[inline]
    pub fn mount(self) -> &'a [u8] {
        self.control.text(&self.slot.mount)
    }

    /// Absolute path of its index. A NUL follows.
    pub fn file(self) -> &'a [u8] {
        self.control.text(&self.slot.file)
    }

    /// Bytes of its index.
    pub fn length(self) -> u64 {
        self.slot.length.load(Relaxed)
    }

    #[cfg(feature = "std")]
    pub(crate) fn seed(self) -> u64 {
        self.slot.seed.load(Relaxed)
    }

    /// The catalog above and the number of its entry on which this one is mounted; `None` for a root catalog.
    #[inline]
    pub fn above(self) -> Option<(Catalog<'a>, u32)> {
        let parent = self.slot.parent.load(Relaxed);
        if parent == NONE {
            return None;
        }
        Some((self.control.catalog(parent)?, self.slot.entry.load(Relaxed)))
    }

    /// Whether a catalog may be attached to the entry of this one whose path has this hash. Most have none.
    #[inline]
    pub fn may_have_mount(self, hash: PathHasher) -> bool {
        self.slot.mounts.load(Acquire) & mount_bit(hash.value()) != 0
    }

    /// The catalog mounted on `entry` of this one, if it is attached.
    #[inline]
    pub fn below(self, entry: u32) -> Option<Catalog<'a>> {
        let mut place = table_start(self.number, entry);
        for _ in 0..TABLE {
            let number = self.control.page.table.get(place)?.load(Acquire).checked_sub(1)?;
            let found = self.control.catalog(number)?;
            if found.slot.parent.load(Relaxed) == self.number && found.slot.entry.load(Relaxed) == entry {
                return Some(found);
            }
            place = (place + 1) % TABLE;
        }
        None
    }
}

impl page::Page {
    /// The reading side of this page.
    #[cfg(feature = "std")]
    pub(crate) fn control(&self) -> Option<Control<'_>> {
        Control::of(self)
    }
}
