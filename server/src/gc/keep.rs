//! Which revisions are kept, and which objects they need.

use super::{Report, Settings};
use crate::catalogs::{Catalog, Marks, Mounted, mounted, nested, objects};
use crate::repository::Repository;
use crate::tags::AUTOMATIC;
use anyhow::{Context as _, Result, ensure};
use libcvmfs::catalog::{Damage, Entry};
use libcvmfs::hash::ContentHash;
use libcvmfs::history::History;
use libcvmfs::object::{ObjectKind, ObjectName};
use libcvmfs::trust::{ManifestFields, VerifiedManifest};
use std::collections::BTreeMap;

/// Revisions that are never deleted: the newest, and the one before, which clients may still use.
const ALWAYS: u64 = 2;

/// What stays.
pub(super) struct Kept {
    /// Root catalogs, and why each is needed.
    roots: BTreeMap<ContentHash, String>,
    /// The tags that stay, if some go.
    pub(super) history: Option<History>,
    pub(super) removed_tags: Vec<String>,
    pub(super) marks: Marks,
}

/// Chooses the revisions that stay.
pub(super) fn choose(repository: &Repository, head: &VerifiedManifest, settings: &Settings) -> Result<Kept> {
    let mut history = repository.history(head)?;
    let keep = settings.keep.max(ALWAYS);
    let youngest_to_go = settings.keep_seconds.map(|seconds| settings.now.saturating_sub(seconds));
    let is_young = |time: i64| youngest_to_go.is_some_and(|limit| u64::try_from(time).unwrap_or(0) >= limit);
    let is_new = |revision: u64| revision.saturating_add(keep) > head.revision();

    let removed_tags: Vec<String> = match settings.mirror {
        // What was published elsewhere stays as it was published.
        true => Vec::new(),
        false => {
            let automatic = history.tags().iter().filter(|tag| tag.name.starts_with(AUTOMATIC));
            let outdated = automatic.filter(|tag| !is_new(tag.revision) && !is_young(tag.timestamp));
            outdated.map(|tag| tag.name.clone()).collect()
        }
    };
    for name in &removed_tags {
        history.remove_tag(name);
    }
    let mut roots: BTreeMap<ContentHash, String> =
        history.tags().iter().map(|tag| (tag.root, format!("tag '{}'", tag.name))).collect();
    roots.insert(head.root_catalog().hash, "the newest revision".to_owned());

    // Back from the newest revision along the predecessors. Earlier garbage collections have ended this chain somewhere.
    let scratch = repository.scratch()?;
    let file = scratch.path().join("catalog");
    let mut hash = head.root_catalog().hash;
    for steps in 0.. {
        if steps > 0
            && repository.storage.size(&crate::storage::object_path(&Mounted::root(hash, None).name()))?.is_none()
        {
            break;
        }
        let catalog = read(repository, &Mounted::root(hash, None), &file)?;
        if steps >= keep && !is_young(catalog.modified) {
            break;
        }
        roots.entry(hash).or_insert_with(|| "a revision that is kept".to_owned());
        match catalog.previous {
            Some(previous) => hash = previous,
            None => break,
        }
    }
    let mut kept =
        Kept { roots, history: (!removed_tags.is_empty()).then_some(history), removed_tags, marks: Marks::default() };
    kept.mark_letters(head.fields());
    Ok(kept)
}

fn read(repository: &Repository, place: &Mounted, file: &std::path::Path) -> Result<Catalog> {
    repository.fetch(&place.name(), file)?;
    let catalog = Catalog::read(file, &place.hash);
    std::fs::remove_file(file)?;
    catalog
}

impl Kept {
    /// Marks what a manifest names.
    pub(super) fn mark_letters(&mut self, fields: &ManifestFields) {
        let named = [
            (Some(fields.root_catalog), ObjectKind::Catalog),
            (fields.certificate, ObjectKind::Certificate),
            (fields.history, ObjectKind::History),
            (fields.meta_info, ObjectKind::MetaInfo),
        ];
        for (hash, kind) in named {
            if let Some(hash) = hash {
                self.marks.add(&ObjectName::new(hash, kind));
            }
        }
    }

    /// Marks all that the kept revisions need. Where a catalog cannot be read nobody knows what is needed: that is an error.
    pub(super) fn mark(
        &mut self,
        repository: &Repository,
        report: &mut Report,
        watch: &mut dyn FnMut(&Report),
    ) -> Result<()> {
        let scratch = repository.scratch()?;
        let file = scratch.path().join("catalog");
        let mut met = Marks::default();
        for (root, why) in &self.roots {
            report.kept_revisions += 1;
            let mut waiting = vec![Mounted::root(*root, None)];
            while let Some(place) = waiting.pop() {
                if !met.add(&place.name()) {
                    continue;
                }
                let hash = place.hash;
                let context = || format!("{why} needs catalog {hash} of {}; nothing was deleted", place.shown());
                let catalog = read(repository, &place, &file).with_context(context)?;
                // A row that is left out or not understood may need an object all the same.
                ensure!(catalog.report.dropped.is_empty(), "{}: {}", context(), catalog.report);
                let index = catalog.index()?;
                let hidden = |entry: &Entry<'_>| {
                    let damage = [Damage::BadChunks, Damage::UnknownAlgorithm, Damage::UnknownCompression];
                    entry.damage().is_some_and(|found| damage.contains(&found))
                };
                ensure!(!index.entries().any(|entry| hidden(&entry)), "{}: {}", context(), catalog.report);
                self.marks.add(&place.name());
                for (_, expected) in objects(&index) {
                    self.marks.add(&expected.name);
                }
                waiting.extend(nested(&index).filter_map(|link| mounted(&link)));
                report.kept_catalogs += 1;
                report.kept_objects = self.marks.len() as u64;
                watch(report);
            }
        }
        Ok(())
    }
}
