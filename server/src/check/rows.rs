//! The rows of one catalog.

use super::Checker;
use crate::catalogs::Catalog;
use libcvmfs::catalog::{Entry, EntryKind, Index};
use std::collections::HashMap;

/// What all names of one file must agree on: links, mode, owner, size, content.
type Same = (u32, u32, (u32, u32), u64, Option<libcvmfs::catalog::Digest>);

impl Checker<'_> {
    pub(super) fn rows(&mut self, shown: &str, catalog: &Catalog, index: &Index<'_>) {
        let report = &catalog.report;
        let parts = [("is left out", &report.dropped), ("is damaged", &report.damaged), ("is wrong", &report.repaired)];
        for (what, findings) in parts {
            for finding in findings {
                let (count, reason, example) = (finding.count, finding.reason, &finding.example);
                self.note(shown, format!("{count} rows, the first '{example}': it {what}: {reason}"));
            }
        }
        let mut groups: HashMap<u32, (Same, u32, u32)> = HashMap::new();
        for entry in index.entries() {
            match entry.kind() {
                EntryKind::Directory => self.directory(shown, &entry),
                _ => self.name(shown, &entry, &mut groups),
            }
            if entry.kind() == EntryKind::Regular && entry.damage().is_none() {
                self.report.bytes = self.report.bytes.saturating_add(entry.size());
            }
        }
        for (same, names, first) in groups.into_values() {
            if names != same.0 {
                let name = index.entry(first).map(|entry| path(shown, &entry)).unwrap_or_default();
                self.note(name, format!("the file has {names} names, its link count is {}", same.0));
            }
        }
    }

    fn directory(&mut self, shown: &str, entry: &Entry<'_>) {
        if entry.is_mount_point() {
            return;
        }
        let subdirectories = entry.children().iter().filter(Entry::is_directory).count() as u32;
        if entry.nlink() != subdirectories + 2 {
            let links = entry.nlink();
            self.note(path(shown, entry), format!("link count {links} with {subdirectories} subdirectories"));
        }
    }

    fn name(&mut self, shown: &str, entry: &Entry<'_>, groups: &mut HashMap<u32, (Same, u32, u32)>) {
        let same = (entry.nlink(), entry.mode(), (entry.uid(), entry.gid()), entry.size(), entry.content());
        match entry.hardlink_group() {
            0 if entry.nlink() == 1 => {}
            0 => self.note(path(shown, entry), format!("link count {} without other names", entry.nlink())),
            group => {
                let (known, names, first) = groups.entry(group).or_insert((same, 0, entry.number()));
                *names += 1;
                let other = *first;
                if *known != same {
                    self.note(path(shown, entry), "two names of the same file disagree about it");
                } else if entry.index().entry(other).and_then(|other| other.parent()) != entry.parent() {
                    self.note(path(shown, entry), "two names of the same file are in different directories");
                }
            }
        }
    }
}

/// The path of an entry in the repository, for messages. `shown` is that of its catalog.
pub(super) fn path(shown: &str, entry: &Entry<'_>) -> String {
    let mut buffer = vec![0; 1 << 16];
    let below = entry.path(&mut buffer).unwrap_or_default().escape_ascii().to_string();
    format!("{}{below}", shown.trim_end_matches('/'))
}
