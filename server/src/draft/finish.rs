//! From drafts to objects: catalogs are counted, sealed and put, from the leaves to the root.

use super::{AUTOMATIC_MARKER, Draft, MARKER, parent};
use anyhow::{Result, bail};
use libcvmfs::catalog::write::{Flags, Link, LinkTable};
use libcvmfs::catalog::{Counters, Statistics};
use libcvmfs::hash::{ContentHash, PathHash};
use libcvmfs::object::ObjectKind;

/// What a revision says about itself.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// When, in seconds since 1970.
    pub now: u64,
    /// The revision of the repository, which is that of the root catalog.
    pub revision: u64,
    /// Time to live of the root catalog in seconds.
    pub ttl: u64,
    /// The branch it is on, if not the trunk.
    pub branch: Option<&'a str>,
}

/// A revision whose catalogs are all in the storage.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// The root catalog.
    pub root: ContentHash,
    /// Its plain size in bytes.
    pub size: u64,
    /// Number of catalogs that were written.
    pub catalogs: u64,
    /// Counters of the whole tree.
    pub total: Counters,
}

impl Draft<'_> {
    /// Puts all catalogs that changed and returns the root catalog. The draft is used up.
    pub fn finish(mut self, stamp: &Stamp<'_>) -> Result<Finished> {
        self.merge_unmarked()?;
        let mut written = 0;
        let mut finished = None;
        for mountpoint in self.mountpoints_bottom_up() {
            let root = mountpoint.is_empty();
            if !self.catalog(&mountpoint)?.dirty && !root {
                self.catalogs.remove(&mountpoint);
                continue;
            }
            let (hash, size, total) = self.seal(&mountpoint, stamp)?;
            written += 1;
            if root {
                finished = Some(Finished { root: hash, size, catalogs: written, total });
            } else {
                self.link(&mountpoint, hash, size, &total)?;
            }
            if let Some(catalog) = self.catalogs.remove(&mountpoint) {
                // Disk space matters: a hundred thousand catalogs may change at once.
                let _ = std::fs::remove_file(&catalog.file);
            }
        }
        match finished {
            Some(finished) => Ok(finished),
            None => bail!("a revision without a root catalog"),
        }
    }

    /// Catalogs whose marker is gone are parts of those above again.
    fn merge_unmarked(&mut self) -> Result<()> {
        for mountpoint in self.mountpoints_bottom_up() {
            if mountpoint.is_empty() || !self.catalog(&mountpoint)?.dirty || super::is_reserved(&mountpoint) {
                continue;
            }
            let marker = |name: &[u8]| PathHash::of(&[&mountpoint, &b"/"[..], name].concat());
            let writer = self.writer(&mountpoint)?;
            if writer.row(marker(MARKER))?.is_none() && writer.row(marker(AUTOMATIC_MARKER))?.is_none() {
                self.unnest(&mountpoint)?;
            }
        }
        Ok(())
    }

    fn seal(&mut self, mountpoint: &[u8], stamp: &Stamp<'_>) -> Result<(ContentHash, u64, Counters)> {
        let catalog = self.catalog(mountpoint)?;
        let (below, published) = (catalog.below, catalog.published);
        let writer = self.writer(mountpoint)?;
        writer.count_links()?;
        writer.count_groups()?;
        let statistics = Statistics { own: writer.count()?, subtree: below };
        writer.set_statistics(&statistics)?;
        let revision = match published {
            _ if mountpoint.is_empty() => stamp.revision,
            published => published.map_or(1, |published| published.revision + 1),
        };
        if mountpoint.is_empty() {
            writer.set_property("TTL", stamp.ttl.to_string())?;
            if stamp.branch.is_some() || writer.property("branch")?.is_some() {
                writer.set_property("branch", stamp.branch.unwrap_or_default())?;
            }
        }
        writer.set_revision(stamp.now, revision, published.map(|published| published.hash))?;
        let root = writer.row(PathHash::of(mountpoint))?;
        let catalog = self.catalog(mountpoint)?;
        let file = catalog.file.clone();
        let Some(writer) = catalog.writer.take() else { bail!("a catalog without its file") };
        let size = writer.finish()?;
        let encoded = self.repository.put_file(ObjectKind::Catalog, &file, self.algorithm)?;
        if !mountpoint.is_empty()
            && let Some(mut root) = root
        {
            let above = self.owner(parent(mountpoint))?;
            root.flags = root.flags & !Flags::NESTED_ROOT | Flags::MOUNT_POINT;
            self.writer(&above)?.put(&root)?;
        }
        Ok((encoded.hash, size, statistics.total()))
    }

    /// Tells the catalog above what is mounted there now.
    fn link(&mut self, mountpoint: &[u8], hash: ContentHash, size: u64, total: &Counters) -> Result<()> {
        let above = self.owner(parent(mountpoint))?;
        let link = Link { path: mountpoint.to_vec(), hash: Some(hash), size };
        self.writer(&above)?.put_link(LinkTable::Nested, &link)?;
        let accounted = self.catalog(mountpoint)?.accounted;
        let catalog = self.catalog(&above)?;
        catalog.below = catalog.below.minus(&accounted).plus(total);
        catalog.dirty = true;
        Ok(())
    }
}
