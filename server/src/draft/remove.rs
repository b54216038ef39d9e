use super::{AUTOMATIC_MARKER, Draft, MARKER, parent};
use anyhow::Result;
use libcvmfs::catalog::write::{Flags, LinkTable, PathSet};
use libcvmfs::hash::PathHash;

impl Draft<'_> {
    /// Removes a path and everything below it; false if there was nothing.
    pub fn remove(&mut self, path: &[u8]) -> Result<bool> {
        if path.is_empty() {
            return self.clear(b"");
        }
        let above = self.owner(parent(path))?;
        if self.catalog(&above)?.nested.contains(path) {
            self.drop_catalog(path)?;
            return Ok(true);
        }
        let hash = PathHash::of(path);
        let Some(row) = self.writer(&above)?.row(hash)? else { return Ok(false) };
        if row.flags & Flags::BIND != 0 {
            self.writer(&above)?.remove_link(LinkTable::Bind, path)?;
        } else if row.is_directory() {
            self.clear(path)?;
        }
        self.writer(&above)?.remove(hash)?;
        self.catalog(&above)?.dirty = true;
        Ok(true)
    }

    /// Removes everything in a directory; false if there was nothing.
    pub fn clear(&mut self, directory: &[u8]) -> Result<bool> {
        let children = self.children(directory)?;
        for child in &children {
            self.remove(&[directory, b"/", &child.name].concat())?;
        }
        Ok(!children.is_empty())
    }

    /// Removes what is below `directory` and not in `seen`. Markers that the publisher made itself stay, and so does
    /// `/.cvmfs`, which is its own. Returns the number of entries removed, each directory with all it held counted once.
    pub fn sweep(&mut self, directory: &[u8], seen: &PathSet) -> Result<u64> {
        let children = self.children(directory)?;
        let automatic = children.iter().any(|child| child.name == AUTOMATIC_MARKER);
        let mut removed = 0;
        for child in children {
            let path = [directory, b"/", &child.name].concat();
            let own = automatic && (child.name == AUTOMATIC_MARKER || child.name == MARKER);
            if own || super::is_reserved(&path) {
                continue;
            }
            if !seen.contains(child.path)? {
                removed += u64::from(self.remove(&path)?);
            } else if child.is_directory() && child.flags & Flags::BIND == 0 {
                removed += self.sweep(&path, seen)?;
            }
        }
        Ok(removed)
    }
}
