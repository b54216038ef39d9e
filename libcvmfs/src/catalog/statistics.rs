//! The statistics counters of a catalog.

use cvmfs_index::format::{COUNTER_COUNT, COUNTERS};
use cvmfs_index::{EntryKind, Index, NestedKind};
use std::collections::HashMap;

/// One set of counters, in the order of [`Counters::iter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters([i64; COUNTERS.len()]);

impl Counters {
    /// From all values, in the order of [`Counters::iter`].
    pub(super) fn new(values: [i64; COUNTERS.len()]) -> Counters {
        Counters(values)
    }

    /// Counts what is in a catalog, as its publisher should have done: the counters of the catalog alone.
    pub fn counted(index: &Index<'_>) -> Counters {
        let mut counts: HashMap<&str, i64> = HashMap::new();
        let mut add = |name, value: i64| {
            let count = counts.entry(name).or_insert(0);
            *count = count.saturating_add(value);
        };
        add("nested", index.all_nested().filter(|nested| nested.kind() == NestedKind::Nested).count() as i64);
        for entry in index.entries() {
            let size = i64::try_from(entry.size()).unwrap_or(i64::MAX);
            match entry.kind() {
                EntryKind::Regular => {
                    add("regular", 1);
                    add("file_size", size);
                    if entry.is_chunked() {
                        add("chunked", 1);
                        add("chunks", i64::from(entry.chunks().len()));
                        add("chunked_size", size);
                    }
                    if entry.is_external() {
                        add("external", 1);
                        add("external_file_size", size);
                    }
                }
                EntryKind::Symlink => add("symlink", 1),
                EntryKind::Directory => add("dir", 1),
                _ => add("special", 1),
            }
            if !entry.xattr_blob().is_empty() {
                add("xattr", 1);
            }
        }
        Counters(COUNTERS.map(|name| counts.get(name).copied().unwrap_or(0)))
    }

    /// Both summed.
    pub fn plus(mut self, other: &Counters) -> Counters {
        for (value, more) in self.0.iter_mut().zip(other.0) {
            *value = value.saturating_add(more);
        }
        self
    }

    /// The other's part taken away.
    pub fn minus(mut self, other: &Counters) -> Counters {
        for (value, less) in self.0.iter_mut().zip(other.0) {
            *value = value.saturating_sub(less);
        }
        self
    }

    /// The counter called `name` (without `self_` or `subtree_`); `None` if there is no such counter.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// All counters with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> + use<> {
        COUNTERS.into_iter().zip(self.0)
    }

    /// Number of entries: regular files, symbolic links, special files and directories.
    pub fn entries(&self) -> i64 {
        ["regular", "symlink", "special", "dir"].iter().filter_map(|name| self.get(name)).fold(0, i64::saturating_add)
    }
}

/// What a catalog says about itself and about everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Counters of the catalog alone.
    pub own: Counters,
    /// Counters of all catalogs below it.
    pub subtree: Counters,
}

impl Statistics {
    /// The counters kept in an index.
    pub fn of(index: &Index<'_>) -> Statistics {
        let (own, subtree) = index.counters();
        Statistics { own: Counters(own), subtree: Counters(subtree) }
    }

    /// From the rows of the `statistics` table; older schemas lack some counters, which count as 0.
    pub(super) fn from_rows(rows: &HashMap<String, i64>) -> Statistics {
        let set =
            |prefix: &str| Counters(COUNTERS.map(|name| rows.get(&format!("{prefix}{name}")).copied().unwrap_or(0)));
        Statistics { own: set("self_"), subtree: set("subtree_") }
    }

    /// Own and subtree counters summed: the whole tree from here on.
    pub fn total(&self) -> Counters {
        self.own.plus(&self.subtree)
    }

    pub(super) fn to_array(self) -> [i64; COUNTER_COUNT] {
        let mut all = [0; COUNTER_COUNT];
        for (place, value) in all.iter_mut().zip(self.own.0.into_iter().chain(self.subtree.0)) {
            *place = value;
        }
        all
    }
}
