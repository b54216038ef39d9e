//! The layout of the page.
//!
//! All numbers are in the machine's own byte order and lie at fixed places: writer and readers run on one machine, and
//! the version changes with the layout.

use core::cell::UnsafeCell;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU32, AtomicU64};

/// The first eight bytes.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"CVMFSCTL");
/// The version of the layout.
pub const VERSION: u32 = 2;
/// Most snapshots that a session can mount, replaced ones included.
pub const SNAPSHOTS: usize = 256;
/// Most catalogs that can be attached.
pub const CATALOGS: usize = 1 << 14;
/// Places of the table that leads from mount points to catalogs.
pub(crate) const TABLE: usize = 2 * CATALOGS;
/// Bytes of text.
pub(crate) const TEXT: usize = 8 << 20;
/// No catalog: of a root catalog's parent.
pub(crate) const NONE: u32 = u32::MAX;

/// Mode of a directory of the view in which every entry has its name, so that the kernel can list it.
pub const FILLED_MODE: u32 = 0o1700;
/// Permissions of a name in the view that stands for a file not fetched yet.
pub const PLACEHOLDER_MODE: u32 = 0;

/// Marks of the whole page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub(crate) u32);

impl Flags {
    /// Regular files in the view never have a write permission bit, so one that has is a native file.
    pub const VIEW_FILES_ARE_READ_ONLY: Flags = Flags(1);

    /// Whether all marks of `other` are set.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Where some bytes lie in the text; a NUL follows them, which the length does not count.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TextRef {
    pub(crate) at: AtomicU32,
    pub(crate) len: AtomicU32,
}

/// The snapshot is not to be answered for: its entries look in a way that only the supervisor knows.
pub(crate) const TOO_COMPLEX: u32 = 1;
/// Everything belongs to one user and group.
pub(crate) const CLAIMED: u32 = 2;
/// Everybody may read everything.
pub(crate) const WORLD_READABLE: u32 = 4;
/// Listings of attributes have computed ones, also below the root.
pub(crate) const COMPUTED_LISTED: u32 = 8;

/// One mounted snapshot.
#[repr(C)]
pub(crate) struct SnapshotSlot {
    pub(crate) fqrn: TextRef,
    pub(crate) view_key: TextRef,
    /// Names and values of variant links, see [`crate::read::Snapshot::variable`].
    pub(crate) variables: TextRef,
    pub(crate) device: AtomicU64,
    /// [`TOO_COMPLEX`], [`CLAIMED`], [`WORLD_READABLE`], [`COMPUTED_LISTED`].
    pub(crate) presentation: AtomicU32,
    pub(crate) uid: AtomicU32,
    pub(crate) gid: AtomicU32,
    /// Not 0 when a newer revision has taken its place.
    pub(crate) superseded: AtomicU32,
    /// Number of its root catalog plus one; 0 while that is not attached.
    pub(crate) root: AtomicU32,
    pub(crate) _unused: [AtomicU32; 7],
}

/// One attached catalog.
#[repr(C)]
pub(crate) struct CatalogSlot {
    pub(crate) snapshot: AtomicU32,
    /// The catalog above, [`NONE`] for a root catalog.
    pub(crate) parent: AtomicU32,
    /// The entry of the catalog above on which it is mounted.
    pub(crate) entry: AtomicU32,
    pub(crate) _unused: AtomicU32,
    pub(crate) salt: AtomicU64,
    /// Seed of the path hashes of its index.
    pub(crate) seed: AtomicU64,
    /// One bit for the path hash of each attached mount point in it.
    pub(crate) mounts: AtomicU64,
    /// Bytes of the index.
    pub(crate) length: AtomicU64,
    pub(crate) mount: TextRef,
    pub(crate) file: TextRef,
}

/// The whole page. It is made by [`crate::write::Writer`] and read through [`crate::read::Control`].
#[repr(C)]
pub struct Page {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) flags: AtomicU32,
    /// Bytes of the page.
    pub(crate) length: AtomicU64,
    pub(crate) cookie: AtomicU64,
    pub(crate) view_device: AtomicU64,
    pub(crate) mount_dir: TextRef,
    pub(crate) view_prefix: TextRef,
    /// `LD_PRELOAD=...` for programs that are started with an emptied environment.
    pub(crate) preload: TextRef,
    /// `CVMFS_RUN_CONTROL=...`, likewise.
    pub(crate) control: TextRef,
    pub(crate) snapshot_count: AtomicU32,
    pub(crate) catalog_count: AtomicU32,
    /// Bytes of text written so far: for writers, of which one may take over from another.
    pub(crate) text_len: AtomicU64,
    pub(crate) _unused: [AtomicU64; 19],
    pub(crate) snapshots: [SnapshotSlot; SNAPSHOTS],
    pub(crate) catalogs: [CatalogSlot; CATALOGS],
    /// Open addressing by catalog above and entry: numbers of catalogs plus one, 0 for nothing.
    pub(crate) table: [AtomicU32; TABLE],
    pub(crate) text: [UnsafeCell<u8>; TEXT],
}

const _: () = {
    assert!(offset_of!(Page, snapshots) == 240);
    assert!(size_of::<SnapshotSlot>() == 80);
    assert!(size_of::<CatalogSlot>() == 64);
    assert!(offset_of!(Page, catalogs) == 240 + SNAPSHOTS * 80);
};

// SAFETY: everything is atomic but the text, of which the writer only writes bytes that no reader has been told of.
unsafe impl Sync for Page {}

impl Page {
    /// Bytes of the file. Most of them are a hole for as long as nothing is mounted.
    pub const LEN: usize = size_of::<Page>();
}

/// Where the search for the catalog mounted on `entry` of catalog `parent` starts.
pub(crate) fn table_start(parent: u32, entry: u32) -> usize {
    let mixed = (u64::from(parent) << 32 | u64::from(entry)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % TABLE
}

/// The bit of [`CatalogSlot::mounts`] for a path's hash.
pub(crate) const fn mount_bit(hash: u64) -> u64 {
    1 << (hash & 63)
}
