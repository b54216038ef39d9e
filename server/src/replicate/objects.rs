//! Objects and catalogs, from the leaves of the tree to the root.

use super::Report;
use super::partial::Selection;
use super::source::{Source, is_missing, unpack};
use crate::catalogs::{Catalog, Marks, Mounted, is_plausible, mounted, nested, objects};
use crate::repository::Repository;
use crate::storage::{Body, object_path};
use anyhow::{Context as _, Result, ensure};
use libcvmfs::catalog::Index;
use libcvmfs::hash::ContentHash;
use libcvmfs::object::decode::Expected;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::{NamedTempFile, TempDir};

/// The walk over all revisions.
pub(super) struct Walk<'a> {
    pub(super) mirror: &'a Repository,
    pub(super) source: &'a Source,
    pub(super) selection: Option<&'a Selection>,
    pub(super) threads: usize,
    /// Whether a catalog that is there proves that all it needs is there, too.
    pub(super) is_proof: bool,
    pub(super) met: Marks,
    /// Catalogs, and where they were met.
    pub(super) places: HashMap<ContentHash, Vec<u8>>,
    pub(super) report: &'a mut Report,
    pub(super) watch: &'a mut (dyn FnMut(&Report) + Send),
}

enum Step {
    Enter(Mounted),
    /// All below is there: now the catalog may be.
    Leave(Mounted, Option<NamedTempFile>),
}

impl Walk<'_> {
    /// Fetches all that a root catalog needs. False if it `may_be_gone` and is.
    pub(super) fn root(&mut self, root: Mounted, may_be_gone: bool) -> Result<bool> {
        let scratch = self.mirror.scratch()?;
        let mut steps = vec![Step::Enter(root)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(place) => match self.enter(place, &scratch, &mut steps) {
                    Err(error) if may_be_gone && steps.is_empty() && is_missing(&error) => return Ok(false),
                    entered => entered?,
                },
                Step::Leave(place, staged) => {
                    if let Some(staged) = staged {
                        self.mirror.storage.put_object(&place.name(), Body::File(staged))?;
                    }
                    (self.watch)(self.report);
                }
            }
        }
        Ok(true)
    }

    fn enter(&mut self, place: Mounted, scratch: &TempDir, steps: &mut Vec<Step>) -> Result<()> {
        let name = place.name();
        if let Some(path) = self.places.get(&place.hash) {
            return right_place(&place, path);
        }
        self.places.insert(place.hash, place.path.clone());
        if self.selection.is_some_and(|selection| !selection.meets(&place.path)) {
            return Ok(());
        }
        let is_there = self.mirror.storage.size(&object_path(&name))?.is_some();
        if is_there && self.is_proof {
            return Ok(());
        }
        let file = scratch.path().join("catalog");
        let staged = match is_there {
            true => {
                self.mirror.fetch(&name, &file)?;
                None
            }
            false => {
                let (mut staged, bytes) = self.source.stage(&name, &*self.mirror.storage)?;
                unpack(&name, &mut staged, &file)?;
                self.report.catalogs += 1;
                self.report.objects += 1;
                self.report.bytes += bytes;
                Some(staged)
            }
        };
        let catalog = Catalog::read(&file, &place.hash).with_context(|| format!("catalog of {}", place.shown()));
        std::fs::remove_file(&file)?;
        let catalog = catalog?;
        let index = catalog.index()?;
        right_place(&place, index.root_prefix())?;
        if !catalog.report.is_clean() {
            log::warn!("catalog {} of {}: {}", place.hash, place.shown(), catalog.report);
        }
        self.data(&index)?;
        steps.push(Step::Leave(place, staged));
        steps.extend(nested(&index).filter_map(|link| mounted(&link)).map(Step::Enter));
        Ok(())
    }

    /// Fetches what the files of a catalog consist of, several at a time.
    fn data(&mut self, index: &Index<'_>) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let mut wanted: Vec<Expected> = Vec::new();
        for (entry, expected) in objects(index) {
            let is_selected = self.selection.is_none_or(|selection| {
                let entry = index.entry(entry);
                let path = entry.as_ref().and_then(|entry| entry.path(&mut buffer)).unwrap_or_default();
                selection.selects(&[index.root_prefix(), path].concat())
            });
            if is_selected && self.met.add(&expected.name) {
                wanted.push(expected);
            }
        }
        let next = AtomicUsize::new(0);
        let state = Mutex::new((&mut *self.report, &mut *self.watch, None));
        let (mirror, source) = (self.mirror, self.source);
        let work = || {
            while let Some(expected) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let fetched = object(mirror, source, expected);
                let mut state = state.lock();
                let (report, watch, failed) = &mut *state;
                match fetched {
                    Ok(None) => {}
                    Ok(Some(bytes)) => {
                        report.objects += 1;
                        report.bytes += bytes;
                        watch(report);
                    }
                    Err(error) => {
                        // The others finish what they are at.
                        next.store(wanted.len(), Ordering::Relaxed);
                        failed.get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(wanted.len()) {
                scope.spawn(work);
            }
            work();
        });
        match state.into_inner().2 {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// No catalog may be passed off as another one.
fn right_place(place: &Mounted, prefix: &[u8]) -> Result<()> {
    let (shown, prefix_shown) = (place.shown(), prefix.escape_ascii());
    ensure!(prefix == place.path, "the catalog at {shown} belongs at '{prefix_shown}': the source is damaged");
    Ok(())
}

/// Fetches an object unless it is there; tells its stored bytes.
fn object(mirror: &Repository, source: &Source, expected: &Expected) -> Result<Option<u64>> {
    let size = mirror.storage.size(&object_path(&expected.name))?;
    if size.is_some_and(|size| is_plausible(expected, size)) {
        return Ok(None);
    }
    let (staged, bytes) = source.stage(&expected.name, &*mirror.storage)?;
    mirror.storage.put_object(&expected.name, Body::File(staged))?;
    Ok(Some(bytes))
}
