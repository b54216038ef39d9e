//! The tree of catalogs: each at its place, of its size, with sums that are right.

use super::{Checker, Report, Seen};
use crate::catalogs::{Catalog, Mounted, mounted, nested};
use anyhow::Result;
use libcvmfs::catalog::{Counters, Index};
use libcvmfs::hash::ContentHash;
use std::collections::{HashMap, HashSet};
use tempfile::TempDir;

/// A catalog whose turn comes, and what the one above says about its root directory.
pub(super) struct Waiting {
    pub(super) mounted: Mounted,
    pub(super) above: Option<Directory>,
}

/// What two rows of the same directory must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    links: u32,
    xattr: Vec<u8>,
}

impl Directory {
    fn of(entry: &libcvmfs::catalog::Entry<'_>) -> Directory {
        Directory {
            mode: entry.mode(),
            owner: (entry.uid(), entry.gid()),
            mtime: (entry.mtime(), entry.mtime_nanos()),
            links: entry.nlink(),
            xattr: entry.xattr_blob().to_vec(),
        }
    }
}

/// Counters that schemas before 2.5 revision 5 lack.
const LATER_COUNTERS: [&str; 4] = ["special", "xattr", "external", "external_file_size"];

impl Checker<'_> {
    /// Looks at one root catalog and all that hangs below it.
    pub(super) fn tree(&mut self, root: Mounted, watch: &mut dyn FnMut(&Report)) -> Result<()> {
        let scratch = self.repository.scratch()?;
        let hash = root.hash;
        self.waiting.push(Waiting { mounted: root, above: None });
        while let Some(waiting) = self.waiting.pop() {
            match self.seen.get(&waiting.mounted.hash).map(|seen| seen.path == waiting.mounted.path) {
                Some(true) => {}
                Some(false) => self.note(waiting.mounted.shown(), "the catalog mounted here belongs elsewhere"),
                None => {
                    self.catalog(&waiting, &scratch)?;
                    watch(&self.report);
                }
            }
        }
        self.sums(&hash);
        Ok(())
    }

    fn catalog(&mut self, waiting: &Waiting, scratch: &TempDir) -> Result<()> {
        let Waiting { mounted: place, above } = waiting;
        let shown = place.shown();
        let file = scratch.path().join("catalog");
        let read = self.repository.fetch(&place.name(), &file).and_then(|()| Catalog::read(&file, &place.hash));
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        let Some(catalog) = self.attempt(&shown, read) else { return Ok(()) };
        let index = catalog.index();
        let Some(index) = self.attempt(&shown, index) else { return Ok(()) };
        self.report.catalogs += 1;
        self.report.entries += u64::from(index.entry_count());
        if let Some(size) = place.size
            && size != catalog.size
        {
            self.note(&shown, format!("the catalog has {} bytes, announced were {size}", catalog.size));
        }
        if index.root_prefix() != place.path {
            let prefix = index.root_prefix().escape_ascii().to_string();
            self.note(&shown, format!("catalog {} belongs at '{prefix}'", place.hash));
            return Ok(());
        }
        self.root_directory(&shown, &index, above.as_ref());
        self.rows(&shown, &catalog, &index);
        self.data(&shown, &index);
        self.descend(place, &shown, &catalog, &index)
    }

    fn root_directory(&mut self, shown: &str, index: &Index<'_>, above: Option<&Directory>) {
        let Some(root) = index.root() else { return };
        let Some(above) = above else { return };
        if !root.is_nested_root() {
            self.note(shown, "the root of the nested catalog is not marked as one");
        }
        let below = Directory::of(&root);
        if below != *above {
            self.note(shown, format!("the directory is {below:?} in its catalog, but {above:?} in the one above"));
        }
    }

    fn descend(&mut self, place: &Mounted, shown: &str, catalog: &Catalog, index: &Index<'_>) -> Result<()> {
        let mut children = Vec::new();
        for link in nested(index) {
            let at = link.path().escape_ascii().to_string();
            match link.mount_point().filter(|entry| entry.is_nested_mount_point()) {
                None => self.note(&at, "a nested catalog is mounted where no mount point is"),
                Some(entry) => match mounted(&link) {
                    None => self.note(&at, "the nested catalog has no hash"),
                    Some(child) => {
                        children.push((child.hash, at));
                        self.waiting.push(Waiting { mounted: child, above: Some(Directory::of(&entry)) });
                    }
                },
            }
        }
        let statistics = catalog.statistics()?;
        let counts_all = catalog.schema_revision >= 5;
        let counted = Counters::counted(index);
        self.compare(shown, "", &statistics.own, &counted, counts_all);
        let seen = Seen {
            own: statistics.own,
            below: statistics.subtree,
            nested: children,
            path: place.path.clone(),
            place: shown.to_owned(),
            counts_all,
        };
        self.seen.insert(place.hash, seen);
        Ok(())
    }

    fn compare(&mut self, shown: &str, which: &str, said: &Counters, true_ones: &Counters, counts_all: bool) {
        let wrong = said
            .iter()
            .zip(true_ones.iter())
            .filter(|((name, said), (_, counted))| said != counted && (counts_all || !LATER_COUNTERS.contains(name)));
        let wrong: Vec<_> =
            wrong.map(|((name, said), (_, counted))| format!("{name} {said} instead of {counted}")).collect();
        if !wrong.is_empty() {
            self.note(shown, format!("wrong counters{which}: {}", wrong.join(", ")));
        }
    }

    /// What a catalog says about those below must be what they say themselves.
    fn sums(&mut self, root: &ContentHash) {
        let mut totals: HashMap<ContentHash, Counters> = HashMap::new();
        let mut order = Vec::new();
        let mut open = vec![*root];
        let mut met = HashSet::new();
        while let Some(hash) = open.pop() {
            if !met.insert(hash) {
                continue;
            }
            order.push(hash);
            open.extend(self.seen.get(&hash).into_iter().flat_map(|seen| seen.nested.iter().map(|(hash, _)| *hash)));
        }
        let mut wrong = Vec::new();
        // Backwards: those below before those above.
        for hash in order.into_iter().rev() {
            let Some(seen) = self.seen.get(&hash) else { continue };
            let below = seen.nested.iter().filter_map(|(child, _)| totals.get(child));
            let below = below.fold(Counters::default(), |sum, child| sum.plus(child));
            // Without a catalog that is missing, and noted, sums say nothing.
            if below != seen.below && seen.nested.iter().all(|(child, _)| totals.contains_key(child)) {
                wrong.push((seen.place.clone(), seen.below, below, seen.counts_all));
            }
            totals.insert(hash, seen.own.plus(&seen.below));
        }
        for (place, said, below, counts_all) in wrong {
            self.compare(&place, " of all below", &said, &below, counts_all);
        }
    }
}
