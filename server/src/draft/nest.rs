//! Catalogs come and go: a directory gets one of its own, or gives it up.

use super::{Catalog, Draft, parent};
use anyhow::Result;
use libcvmfs::catalog::write::{Flags, Link, LinkTable, Row};
use libcvmfs::hash::PathHash;

impl Draft<'_> {
    /// Gives `directory` a catalog of its own, if it has none.
    pub fn nest(&mut self, directory: &[u8]) -> Result<()> {
        let above = self.owner(directory)?;
        if above == directory {
            return Ok(());
        }
        let Some(mut root) = self.writer(&above)?.row(PathHash::of(directory))? else { return Ok(()) };
        let new = self.create(directory)?;
        self.catalogs.insert(directory.to_vec(), new);
        self.move_rows(&above, directory, directory)?;
        root.flags = root.flags & !Flags::MOUNT_POINT | Flags::NESTED_ROOT;
        self.writer(directory)?.put(&root)?;
        root.flags = root.flags & !Flags::NESTED_ROOT | Flags::MOUNT_POINT;
        let link = Link { path: directory.to_vec(), hash: None, size: 0 };
        let writer = self.writer(&above)?;
        writer.put(&root)?;
        writer.put_link(LinkTable::Nested, &link)?;
        let catalog = self.catalog(&above)?;
        catalog.dirty = true;
        catalog.nested.insert(directory.to_vec());
        Ok(())
    }

    /// Takes the catalog of `directory` away: what is in it goes to the one above.
    pub(super) fn unnest(&mut self, directory: &[u8]) -> Result<()> {
        let above = self.owner(parent(directory))?;
        let root = self.writer(directory)?.row(PathHash::of(directory))?;
        self.move_rows(directory, &above, directory)?;
        let accounted = self.catalog(directory)?.accounted;
        self.catalogs.remove(directory);
        let writer = self.writer(&above)?;
        writer.remove_link(LinkTable::Nested, directory)?;
        if let Some(mut root) = root {
            root.flags &= !Flags::NESTED_ROOT;
            writer.put(&root)?;
        }
        let catalog = self.catalog(&above)?;
        catalog.dirty = true;
        catalog.nested.remove(directory);
        catalog.below = catalog.below.minus(&accounted);
        Ok(())
    }

    /// Drops the catalog at `mountpoint` with all that is in it, and the row of its mount point.
    pub(super) fn drop_catalog(&mut self, mountpoint: &[u8]) -> Result<()> {
        let above = self.owner(parent(mountpoint))?;
        // Only then is it known what it contributes.
        self.attach(&above, mountpoint)?;
        let accounted = self.catalog(mountpoint)?.accounted;
        let prefix = [mountpoint, b"/"].concat();
        self.catalogs.retain(|path, catalog| {
            let gone = path == mountpoint || path.starts_with(&prefix);
            if gone {
                let _ = std::fs::remove_file(&catalog.file);
            }
            !gone
        });
        let writer = self.writer(&above)?;
        writer.remove_link(LinkTable::Nested, mountpoint)?;
        writer.remove(PathHash::of(mountpoint))?;
        let catalog = self.catalog(&above)?;
        catalog.dirty = true;
        catalog.nested.remove(mountpoint);
        catalog.below = catalog.below.minus(&accounted);
        Ok(())
    }

    /// Moves everything below `directory` from one catalog to another, with what is mounted there.
    fn move_rows(&mut self, from: &[u8], to: &[u8], directory: &[u8]) -> Result<()> {
        let prefix = [directory, b"/"].concat();
        let mounted: Vec<Vec<u8>> =
            self.catalog(from)?.nested.iter().filter(|path| path.starts_with(&prefix)).cloned().collect();
        for mountpoint in mounted {
            // Only then is it known what it contributes.
            self.attach(from, &mountpoint)?;
            let link = self.writer(from)?.link(LinkTable::Nested, &mountpoint)?;
            self.writer(from)?.remove_link(LinkTable::Nested, &mountpoint)?;
            if let Some(link) = link {
                self.writer(to)?.put_link(LinkTable::Nested, &link)?;
            }
            let accounted = self.catalog(&mountpoint)?.accounted;
            let change = |catalog: &mut Catalog, add: bool| {
                catalog.below = if add { catalog.below.plus(&accounted) } else { catalog.below.minus(&accounted) };
            };
            let catalog = self.catalog(from)?;
            catalog.nested.remove(&mountpoint);
            change(catalog, false);
            let catalog = self.catalog(to)?;
            catalog.nested.insert(mountpoint);
            change(catalog, true);
        }
        for link in self.writer(from)?.links(LinkTable::Bind)? {
            if link.path.starts_with(&prefix) {
                self.writer(from)?.remove_link(LinkTable::Bind, &link.path)?;
                self.writer(to)?.put_link(LinkTable::Bind, &link)?;
            }
        }
        let mut directories = vec![PathHash::of(directory)];
        // Groups are numbered by catalog: those that move in get numbers behind the ones that are there.
        let shift = self.writer(to)?.next_group()? - 1;
        while let Some(above) = directories.pop() {
            for mut row in self.writer(from)?.children(above)? {
                let chunks = match row.flags & Flags::CHUNKED {
                    0 => Vec::new(),
                    _ => self.writer(from)?.chunks(row.path)?,
                };
                self.writer(from)?.remove(row.path)?;
                if is_inner(&row) {
                    directories.push(row.path);
                }
                if row.group != 0 {
                    row.group += shift;
                }
                let writer = self.writer(to)?;
                writer.put(&row)?;
                if !chunks.is_empty() {
                    writer.put_chunks(row.path, &chunks)?;
                }
            }
        }
        for catalog in [from, to] {
            let catalog = self.catalog(catalog)?;
            catalog.dirty = true;
            catalog.last_group = None;
        }
        Ok(())
    }
}

/// A directory whose children are in the same catalog.
pub(super) fn is_inner(row: &Row) -> bool {
    row.is_directory() && row.flags & (Flags::MOUNT_POINT | Flags::BIND) == 0
}
