//! The catalogs of the next revision while they change: a tree of scratch files, opened from the published ones when
//! something in them is touched.
//!
//! Nothing here grows with the number of entries: rows are in the files, and of those only a few are open at a time.

mod balance;
mod finish;
mod nest;
mod remove;

pub use balance::Weights;
pub use finish::{Finished, Stamp};

use crate::repository::Repository;
use anyhow::{Result, bail};
use libcvmfs::catalog::Counters;
use libcvmfs::catalog::write::{CatalogWriter, ChunkRow, Flags, LinkTable, PAGE_SIZE, Row};
use libcvmfs::hash::{Algorithm, ContentHash, PathHash};
use libcvmfs::object::{ObjectKind, ObjectName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tempfile::TempDir;

/// Catalogs whose files are open at the same time.
const OPEN_LIMIT: usize = 16;
/// Marks a directory as one with a catalog of its own.
pub const MARKER: &[u8] = b".cvmfscatalog";
/// The same, put there by the publisher itself.
pub const AUTOMATIC_MARKER: &[u8] = b".cvmfsautocatalog";

/// All catalogs of a revision in the making.
pub struct Draft<'r> {
    repository: &'r Repository,
    scratch: TempDir,
    algorithm: Algorithm,
    /// By mount point; the root catalog's is empty.
    catalogs: BTreeMap<Vec<u8>, Catalog>,
    clock: u64,
    files: u64,
}

/// One catalog that was touched.
struct Catalog {
    file: PathBuf,
    /// `None` while the file is closed.
    writer: Option<CatalogWriter>,
    last_used: u64,
    /// Mount points of the nested catalogs in it, touched or not.
    nested: BTreeSet<Vec<u8>>,
    /// What it replaces.
    published: Option<Published>,
    /// Counters of all catalogs below, as far as they are accounted for.
    below: Counters,
    /// The part of this catalog and those below in the counters of the one above.
    accounted: Counters,
    /// The last number given to a group of names, once one was asked for.
    last_group: Option<u32>,
    dirty: bool,
}

/// A catalog as it was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Published {
    hash: ContentHash,
    revision: u64,
}

impl<'r> Draft<'r> {
    /// Begins with the published revision whose root catalog this is, or with an empty root directory.
    pub fn new(repository: &'r Repository, root: Option<ContentHash>, algorithm: Algorithm) -> Result<Draft<'r>> {
        let scratch = repository.scratch()?;
        let mut draft = Draft { repository, scratch, algorithm, catalogs: BTreeMap::new(), clock: 0, files: 0 };
        let catalog = match root {
            Some(hash) => draft.load(b"", hash)?,
            None => draft.create(b"")?,
        };
        draft.catalogs.insert(Vec::new(), catalog);
        Ok(draft)
    }

    /// The algorithm that names the objects of this revision.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn new_file(&mut self) -> PathBuf {
        self.files += 1;
        self.scratch.path().join(format!("catalog{}", self.files))
    }

    fn load(&mut self, mountpoint: &[u8], hash: ContentHash) -> Result<Catalog> {
        let file = self.new_file();
        self.repository.fetch(&ObjectName::new(hash, ObjectKind::Catalog), &file)?;
        let writer = CatalogWriter::open(&file)?;
        let prefix = writer.root_prefix()?;
        if prefix != mountpoint {
            let (mountpoint, prefix) = (mountpoint.escape_ascii(), prefix.escape_ascii());
            bail!("catalog {hash} at '{mountpoint}' belongs at '{prefix}'");
        }
        let statistics = writer.statistics()?;
        let revision = writer.property("revision")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let nested = writer.links(LinkTable::Nested)?.into_iter().map(|link| link.path).collect();
        Ok(Catalog {
            file,
            writer: Some(writer),
            last_used: 0,
            nested,
            published: Some(Published { hash, revision }),
            below: statistics.subtree,
            accounted: statistics.total(),
            last_group: None,
            dirty: false,
        })
    }

    fn create(&mut self, mountpoint: &[u8]) -> Result<Catalog> {
        let file = self.new_file();
        let writer = CatalogWriter::create(&file, PAGE_SIZE)?;
        if !mountpoint.is_empty() {
            writer.set_property("root_prefix", mountpoint)?;
        }
        Ok(Catalog {
            file,
            writer: Some(writer),
            last_used: 0,
            nested: BTreeSet::new(),
            published: None,
            below: Counters::default(),
            accounted: Counters::default(),
            last_group: None,
            dirty: true,
        })
    }

    /// The mount point of the catalog that has the row of `path`: its own if a catalog is mounted there.
    fn owner(&mut self, path: &[u8]) -> Result<Vec<u8>> {
        let mut mountpoint: Vec<u8> = Vec::new();
        for end in prefix_ends(path) {
            let Some(prefix) = path.get(..end) else { break };
            let is_mount_point = self.catalogs.get(&mountpoint).is_some_and(|catalog| catalog.nested.contains(prefix));
            if is_mount_point {
                self.attach(&mountpoint, prefix)?;
                mountpoint = prefix.to_vec();
            }
        }
        Ok(mountpoint)
    }

    /// Opens the nested catalog at `mountpoint`, if that was not done before.
    fn attach(&mut self, above: &[u8], mountpoint: &[u8]) -> Result<()> {
        if self.catalogs.contains_key(mountpoint) {
            return Ok(());
        }
        let link = self.writer(above)?.link(LinkTable::Nested, mountpoint)?;
        let Some(hash) = link.and_then(|link| link.hash) else {
            bail!("the catalog at '{}' has no hash", mountpoint.escape_ascii())
        };
        let catalog = self.load(mountpoint, hash)?;
        self.catalogs.insert(mountpoint.to_vec(), catalog);
        Ok(())
    }

    fn catalog(&mut self, mountpoint: &[u8]) -> Result<&mut Catalog> {
        match self.catalogs.get_mut(mountpoint) {
            Some(catalog) => Ok(catalog),
            None => bail!("no catalog is mounted at '{}'", mountpoint.escape_ascii()),
        }
    }

    /// The open file of a catalog.
    fn writer(&mut self, mountpoint: &[u8]) -> Result<&CatalogWriter> {
        self.clock += 1;
        let clock = self.clock;
        if self.catalog(mountpoint)?.writer.is_none() {
            self.close_one()?;
        }
        let catalog = self.catalog(mountpoint)?;
        catalog.last_used = clock;
        let writer = match catalog.writer.take() {
            Some(writer) => writer,
            None => CatalogWriter::reopen(&catalog.file)?,
        };
        Ok(catalog.writer.insert(writer))
    }

    /// Closes the file that was not used for longest, if many are open.
    fn close_one(&mut self) -> Result<()> {
        let open = self.catalogs.values_mut().filter(|catalog| catalog.writer.is_some());
        let mut open: Vec<&mut Catalog> = open.collect();
        if open.len() < OPEN_LIMIT {
            return Ok(());
        }
        if let Some(oldest) = open.iter_mut().min_by_key(|catalog| catalog.last_used)
            && let Some(writer) = oldest.writer.take()
        {
            writer.close()?;
        }
        Ok(())
    }

    /// The row of a path. That of a mount point comes from the catalog mounted there.
    pub fn row(&mut self, path: &[u8]) -> Result<Option<Row>> {
        let owner = self.owner(path)?;
        Ok(self.writer(&owner)?.row(PathHash::of(path))?)
    }

    /// The chunks of a file.
    pub fn chunks(&mut self, path: &[u8]) -> Result<Vec<ChunkRow>> {
        let owner = self.owner(path)?;
        Ok(self.writer(&owner)?.chunks(PathHash::of(path))?)
    }

    /// What is in a directory, in no order.
    pub fn children(&mut self, directory: &[u8]) -> Result<Vec<Row>> {
        let owner = self.owner(directory)?;
        Ok(self.writer(&owner)?.children(PathHash::of(directory))?)
    }

    /// Adds a row or replaces that of the same path, of which everything that does not fit goes. `row` tells no place:
    /// path, parent, name, mount point flags and numbers of links are set here. True if anything changed.
    pub fn put(&mut self, path: &[u8], mut row: Row, chunks: &[ChunkRow]) -> Result<bool> {
        let known = self.row(path)?;
        let known = match known {
            Some(known) if known.is_directory() != row.is_directory() => {
                self.remove(path)?;
                None
            }
            known => known,
        };
        let owner = self.owner(path)?;
        place(&mut row, path);
        let mounts = Flags::MOUNT_POINT | Flags::NESTED_ROOT | Flags::BIND;
        row.flags = row.flags & !mounts | known.as_ref().map_or(0, |known| known.flags & mounts);
        if row.is_directory() {
            // Counted when all is done.
            row.links = known.as_ref().map_or(2, |known| known.links);
        }
        let writer = self.writer(&owner)?;
        let same_chunks = |known: &Row| -> Result<bool> {
            let chunked = (row.flags | known.flags) & Flags::CHUNKED != 0;
            Ok(!chunked || writer.chunks(row.path)? == chunks)
        };
        if let Some(known) = &known {
            // A group has a number of names, which is counted when all is done.
            let links = if row.group != 0 && row.group == known.group { known.links } else { row.links };
            if (Row { links, ..row.clone() }) == *known && same_chunks(known)? {
                return Ok(false);
            }
        }
        writer.put(&row)?;
        let chunked = row.flags & Flags::CHUNKED != 0;
        if chunked || known.is_some_and(|known| known.flags & Flags::CHUNKED != 0) {
            writer.put_chunks(row.path, chunks)?;
        }
        self.catalog(&owner)?.dirty = true;
        if row.name == MARKER && !row.is_directory() {
            self.nest(parent(path))?;
        }
        Ok(true)
    }

    /// A number for a group of names in `directory` that no other group has.
    pub fn next_group(&mut self, directory: &[u8]) -> Result<u32> {
        let owner = self.owner(directory)?;
        let next = match self.catalog(&owner)?.last_group {
            Some(last) => last + 1,
            None => self.writer(&owner)?.next_group()?,
        };
        self.catalog(&owner)?.last_group = Some(next);
        Ok(next)
    }

    /// Whether anything differs from what is published.
    pub fn is_dirty(&self) -> bool {
        self.catalogs.values().any(|catalog| catalog.dirty)
    }

    /// The mount points of all catalogs that were touched, from the leaves to the root.
    fn mountpoints_bottom_up(&self) -> Vec<Vec<u8>> {
        // A path sorts before everything below it.
        self.catalogs.keys().rev().cloned().collect()
    }
}

/// Sets the columns that say where a row is.
fn place(row: &mut Row, path: &[u8]) {
    row.path = PathHash::of(path);
    row.parent = if path.is_empty() { PathHash([0; 16]) } else { PathHash::of(parent(path)) };
    row.name = name(path).to_vec();
}

/// The path of the directory above; that of the root is the root.
pub fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').and_then(|at| path.get(..at)).unwrap_or_default()
}

/// The last component.
pub fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').and_then(|at| path.get(at + 1..)).unwrap_or_default()
}

/// Where the paths of all directories above end, and the path itself.
fn prefix_ends(path: &[u8]) -> impl Iterator<Item = usize> + use<'_> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain((!path.is_empty()).then_some(path.len()))
}

/// Whether a path is the publisher's own: `/.cvmfs` shows named snapshots.
pub fn is_reserved(path: &[u8]) -> bool {
    path == b"/.cvmfs" || path.starts_with(b"/.cvmfs/")
}
