//! The writing side: one [`Writer`] to a page, in the supervisor.

use crate::page::{
    CATALOGS, CLAIMED, COMPUTED_LISTED, Flags, MAGIC, NONE, Page, SNAPSHOTS, TABLE, TEXT, TOO_COMPLEX, TextRef,
    VERSION, WORLD_READABLE, mount_bit, table_start,
};
use crate::read::{Control, Snapshot};
use crate::session;
use cvmfs_index::PathHasher;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, Release};
use thiserror::Error;

/// Why the page could not be written. Programs go on without the shim's help, so no error here is fatal.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The file could not be made or mapped.
    #[error("making the control page: {0}")]
    File(#[from] io::Error),
    /// There is no room left.
    #[error("the control page is full ({0})")]
    Full(&'static str),
    /// The number is not one that was given out.
    #[error("no such snapshot or catalog")]
    Unknown,
}

/// What holds for the whole session.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// Takes a system call through the filter when it is in the sixth argument register.
    pub cookie: u64,
    /// The mount directory, such as `/cvmfs`.
    pub mount_dir: &'a [u8],
    /// The directory of the view: `<prefix>/<view key>/cvmfs/<fqrn>/...`.
    pub view_prefix: &'a Path,
    /// `st_dev` of the view's file system.
    pub view_device: u64,
    /// Value of `LD_PRELOAD` for programs started with an emptied environment; empty for none.
    pub preload: &'a [u8],
    /// Marks.
    pub flags: Flags,
}

/// Whom entries belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// To those the catalog names.
    AsCatalog,
    /// All to this user and group.
    Claimed(u32, u32),
}

/// How the entries of a snapshot look to programs.
#[derive(Debug, Clone, Copy)]
pub enum Presentation<'a> {
    /// By rules that readers of the page can apply.
    Simple {
        /// Whom entries belong to.
        owner: Owner,
        /// Everybody may read everything.
        world_readable: bool,
        /// Listings of extended attributes have computed ones, also below the root.
        lists_computed: bool,
        /// Names and values for variant symbolic links.
        variables: &'a [(&'a [u8], &'a [u8])],
    },
    /// By id maps, checked permissions, or whatever else only the supervisor knows.
    TooComplex,
}

/// A snapshot to be told of.
#[derive(Debug, Clone, Copy)]
pub struct NewSnapshot<'a> {
    /// The name of the repository.
    pub fqrn: &'a [u8],
    /// The name of its directory in the view: the root hash.
    pub view_key: &'a [u8],
    /// `st_dev` of its entries.
    pub device: u64,
    /// How its entries look.
    pub presentation: Presentation<'a>,
}

/// A catalog to be told of.
#[derive(Debug, Clone, Copy)]
pub struct NewCatalog<'a> {
    /// The snapshot it belongs to.
    pub snapshot: SnapshotId,
    /// The catalog above, and the number of its entry on which this one is mounted; `None` for the root catalog.
    pub above: Option<(CatalogId, u32)>,
    /// Where it is mounted: path inside the repository, empty for the root catalog.
    pub mount: &'a [u8],
    /// Makes inode numbers of this tree differ from those of the tree around it.
    pub salt: u64,
    /// The hash of the index's root, from [`Index::hasher`](cvmfs_index::Index::hasher).
    pub root_hash: PathHasher,
    /// Absolute path of the index: a file that nobody else can write, on a local file system.
    pub file: &'a Path,
    /// Bytes of the index.
    pub length: u64,
}

/// A snapshot of this page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotId(u32);

/// A catalog of this page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CatalogId(u32);

/// Writes a control page. There is one to a page at a time; readers may be anywhere. All state lies in the page: a process
/// forked from the writer's can go on where a writer that is gone has stopped.
pub struct Writer {
    page: NonNull<Page>,
    /// Locked for as long as anybody writes, forked processes included; see [`remove_stale`].
    _file: OwnedFd,
}

// SAFETY: the mapping belongs to this value; writing needs `&mut self`, and reading is atomic.
unsafe impl Send for Writer {}
// SAFETY: as above.
unsafe impl Sync for Writer {}

impl Writer {
    /// Makes the file `path`, which must not exist, readable by this user alone.
    pub fn create(path: &Path, session: &Session<'_>) -> Result<Writer, ControlError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
        rustix::fs::flock(&file, FlockOperation::LockShared).map_err(io::Error::from)?;
        rustix::fs::ftruncate(&file, Page::LEN as u64).map_err(io::Error::from)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), Page::LEN, protection, MapFlags::SHARED, &file, 0) };
        let address = address.map_err(io::Error::from)?;
        let page = NonNull::new(address.cast()).ok_or(ControlError::Full("no memory"))?;
        let mut writer = Writer { page, _file: file };
        writer.settle(path, session)?;
        Ok(writer)
    }

    fn settle(&mut self, path: &Path, session: &Session<'_>) -> Result<(), ControlError> {
        let mount_dir = self.add_text(session.mount_dir)?;
        let view_prefix = self.add_text(session.view_prefix.as_os_str().as_bytes())?;
        let preload = match session.preload {
            [] => (0, 0),
            list => self.add_text(&[b"LD_PRELOAD=", list].concat())?,
        };
        let control = session::value(session.cookie, path);
        let control = self.add_text(&[session::VARIABLE, b"=", control.as_bytes()].concat())?;
        let page = self.page();
        page.mount_dir.set(mount_dir);
        page.view_prefix.set(view_prefix);
        page.preload.set(preload);
        page.control.set(control);
        page.cookie.store(session.cookie, Relaxed);
        page.view_device.store(session.view_device, Relaxed);
        page.flags.store(session.flags.0, Relaxed);
        page.length.store(Page::LEN as u64, Relaxed);
        page.version.store(VERSION, Relaxed);
        // Until now it was no control page.
        page.magic.store(MAGIC, Release);
        Ok(())
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped in `create` with this length until drop; every bit pattern is a valid page.
        unsafe { self.page.as_ref() }
    }

    /// The reading side of the page; `None` only if something has written over it.
    pub fn control(&self) -> Option<Control<'_>> {
        self.page().control()
    }

    fn add_text(&mut self, bytes: &[u8]) -> Result<(u32, u32), ControlError> {
        let full = ControlError::Full("text");
        let at = usize::try_from(self.page().text_len.load(Relaxed)).map_err(|_| ControlError::Full("text"))?;
        let end = at + bytes.len();
        if end >= TEXT {
            return Err(full);
        }
        let len = u32::try_from(bytes.len()).map_err(|_| ControlError::Full("text"))?;
        // SAFETY: the range lies in the text, and no reader has been told of it. The NUL is there already.
        unsafe {
            let place = self.page().text.as_ptr().cast::<u8>().cast_mut().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
        self.page().text_len.store(end as u64 + 1, Relaxed);
        Ok((u32::try_from(at).map_err(|_| full)?, len))
    }

    /// Tells of a mounted snapshot. It is found by its fqrn once its root catalog is attached, before any older one
    /// that is not superseded yet. Telling again of one that is known gives its number, and makes it current again.
    pub fn add_snapshot(&mut self, new: &NewSnapshot<'_>) -> Result<SnapshotId, ControlError> {
        let known = self.control().and_then(|control| control.by_view_key(new.view_key));
        if let Some(known) = known.filter(|known| known.fqrn() == new.fqrn).map(Snapshot::number) {
            self.mark(SnapshotId(known), 0);
            return Ok(SnapshotId(known));
        }
        let number = self.page().snapshot_count.load(Relaxed);
        if number as usize >= SNAPSHOTS {
            return Err(ControlError::Full("snapshots"));
        }
        let fqrn = self.add_text(new.fqrn)?;
        let view_key = self.add_text(new.view_key)?;
        let (mut bits, mut ids, mut variables) = (TOO_COMPLEX, (0, 0), (0, 0));
        if let Presentation::Simple { owner, world_readable, lists_computed, variables: pairs } = new.presentation
            && let Some(packed) = pack(pairs)
        {
            bits = if world_readable { WORLD_READABLE } else { 0 } | if lists_computed { COMPUTED_LISTED } else { 0 };
            if let Owner::Claimed(uid, gid) = owner {
                bits |= CLAIMED;
                ids = (uid, gid);
            }
            variables = self.add_text(&packed)?;
        }
        let page = self.page();
        let slot = page.snapshots.get(number as usize).ok_or(ControlError::Full("snapshots"))?;
        slot.fqrn.set(fqrn);
        slot.view_key.set(view_key);
        slot.variables.set(variables);
        slot.device.store(new.device, Relaxed);
        slot.presentation.store(bits, Relaxed);
        slot.uid.store(ids.0, Relaxed);
        slot.gid.store(ids.1, Relaxed);
        page.snapshot_count.store(number + 1, Release);
        Ok(SnapshotId(number))
    }

    /// Tells of an attached catalog. Telling again of one that is known gives its number.
    pub fn add_catalog(&mut self, new: &NewCatalog<'_>) -> Result<CatalogId, ControlError> {
        if let Some(known) = self.find(new)? {
            return Ok(known);
        }
        let number = self.page().catalog_count.load(Relaxed);
        if number as usize >= CATALOGS {
            return Err(ControlError::Full("catalogs"));
        }
        let mount = self.add_text(new.mount)?;
        let file = self.add_text(new.file.as_os_str().as_bytes())?;
        let page = self.page();
        let slot = page.catalogs.get(number as usize).ok_or(ControlError::Full("catalogs"))?;
        let (parent, entry) = new.above.map_or((NONE, 0), |(parent, entry)| (parent.0, entry));
        slot.snapshot.store(new.snapshot.0, Relaxed);
        slot.parent.store(parent, Relaxed);
        slot.entry.store(entry, Relaxed);
        slot.salt.store(new.salt, Relaxed);
        slot.seed.store(new.root_hash.value(), Relaxed);
        slot.length.store(new.length, Relaxed);
        slot.mount.set(mount);
        slot.file.set(file);
        page.catalog_count.store(number + 1, Release);
        match new.above {
            None => {
                let snapshot = page.snapshots.get(new.snapshot.0 as usize).ok_or(ControlError::Unknown)?;
                snapshot.root.store(number + 1, Release);
            }
            Some((parent, entry)) => self.enter(parent, entry, number, new.mount)?,
        }
        Ok(CatalogId(number))
    }

    fn find(&self, new: &NewCatalog<'_>) -> Result<Option<CatalogId>, ControlError> {
        let control = self.control().ok_or(ControlError::Unknown)?;
        let snapshot = control.snapshot(new.snapshot.0).ok_or(ControlError::Unknown)?;
        let known = match new.above {
            None => snapshot.root(),
            Some((parent, entry)) => control.catalog(parent.0).ok_or(ControlError::Unknown)?.below(entry),
        };
        Ok(known.map(|catalog| CatalogId(catalog.number())))
    }

    /// Makes catalog `number` findable by its mount point.
    fn enter(&self, parent: CatalogId, entry: u32, number: u32, mount: &[u8]) -> Result<(), ControlError> {
        let page = self.page();
        let mut place = table_start(parent.0, entry);
        // There are twice as many places as catalogs, so this ends.
        while let Some(cell) = page.table.get(place) {
            if cell.load(Relaxed) == 0 {
                cell.store(number + 1, Release);
                break;
            }
            place = (place + 1) % TABLE;
        }
        let above = self.control().and_then(|control| control.catalog(parent.0)).ok_or(ControlError::Unknown)?;
        let inside = mount.strip_prefix(above.mount()).and_then(|path| path.strip_prefix(b"/"));
        if let Some(inside) = inside {
            let hash = inside.split(|&b| b == b'/').fold(PathHasher::new(above.seed()), PathHasher::child);
            let slot = page.catalogs.get(parent.0 as usize).ok_or(ControlError::Unknown)?;
            slot.mounts.fetch_or(mount_bit(hash.value()), Release);
        }
        Ok(())
    }

    /// A newer revision has taken the snapshot's place: only names in the view and open directories still lead to it.
    pub fn supersede(&mut self, snapshot: SnapshotId) {
        self.mark(snapshot, 1);
    }

    fn mark(&self, snapshot: SnapshotId, superseded: u32) {
        if let Some(slot) = self.page().snapshots.get(snapshot.0 as usize) {
            slot.superseded.store(superseded, Release);
        }
    }
}

/// Removes the control file `path` if its writers are gone without having done so.
pub fn remove_stale(path: &Path) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        // A page just made is locked before it has its length: then it is empty, and young.
        let made = rustix::fs::fstat(&file).is_ok_and(|found| found.st_size > 0);
        if made {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `create`; what `control` lends cannot outlive `self`.
        let _ = unsafe { rustix::mm::munmap(self.page.as_ptr().cast(), Page::LEN) };
    }
}

impl TextRef {
    fn set(&self, (at, len): (u32, u32)) {
        self.at.store(at, Relaxed);
        self.len.store(len, Relaxed);
    }
}

/// Longest packed variables: looking one up compares names one after another.
const MAX_VARIABLES: usize = 1 << 16;

fn pack(pairs: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    for (name, value) in pairs {
        packed.extend(u16::try_from(name.len()).ok()?.to_ne_bytes());
        packed.extend(u16::try_from(value.len()).ok()?.to_ne_bytes());
        packed.extend_from_slice(name);
        packed.extend_from_slice(value);
    }
    (packed.len() <= MAX_VARIABLES).then_some(packed)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
