//! Deleting what is not marked.

use super::keep::Kept;
use super::{Report, SWEEPING, Settings};
use crate::repository::Repository;
use crate::storage::{Listed, Storage, StorageError, object_at};
use anyhow::Result;
use libcvmfs::object::{ObjectKind, ObjectName};

/// So many files are deleted at a time; then `watch` is told.
const BATCH: usize = 1000;

/// Goes twice through all objects: catalogs and letters first, so that no catalog is left whose objects went.
pub(super) fn sweep(
    repository: &Repository,
    kept: &Kept,
    published: u64,
    settings: &Settings,
    report: &mut Report,
    watch: &mut dyn FnMut(&Report),
) -> Result<()> {
    let storage = &*repository.storage;
    if !settings.dry_run {
        storage.put_pointer(SWEEPING, settings.now.to_string().as_bytes())?;
    }
    let mut broom = Broom { storage, published, settings, report, watch, doomed: Vec::new() };
    let is_content = |name: &ObjectName| matches!(name.kind, ObjectKind::File | ObjectKind::Partial);
    for content in [false, true] {
        let is_doomed = |file: &Listed| {
            object_at(&file.path).is_some_and(|n| is_content(&n) == content && !kept.marks.contains(&n))
        };
        each(storage, "data/", &mut |file| if is_doomed(file) { broom.doom(file) } else { Ok(()) })?;
        broom.delete()?;
    }
    each(storage, ALTERNATIVE, &mut |file| match alternative(&file.path) {
        Some(name) if !kept.marks.contains(&name) => broom.doom(file),
        _ => Ok(()),
    })?;
    broom.delete()?;
    if !settings.dry_run {
        storage.delete(SWEEPING)?;
    }
    Ok(())
}

/// Deletes files, many at a time: elsewhere each request takes its time.
struct Broom<'b> {
    storage: &'b dyn Storage,
    published: u64,
    settings: &'b Settings,
    report: &'b mut Report,
    watch: &'b mut dyn FnMut(&Report),
    doomed: Vec<Listed>,
}

impl Broom<'_> {
    /// Notes a file that is to go, unless somebody may be about to publish it.
    fn doom(&mut self, file: &Listed) -> Result<(), StorageError> {
        let Settings { now, grace, .. } = self.settings;
        if file.modified > self.published && file.modified > now.saturating_sub(*grace) {
            self.report.young_objects += 1;
            return Ok(());
        }
        self.doomed.push(file.clone());
        match self.doomed.len() {
            BATCH => self.delete(),
            _ => Ok(()),
        }
    }

    /// Deletes what was noted.
    fn delete(&mut self) -> Result<(), StorageError> {
        let doomed = std::mem::take(&mut self.doomed);
        let (number, bytes) = (doomed.len() as u64, doomed.iter().map(|file| file.size).sum::<u64>());
        if !self.settings.dry_run {
            self.storage.delete_all(&doomed.into_iter().map(|file| file.path).collect::<Vec<_>>())?;
        }
        self.report.removed_objects += number;
        self.report.removed_bytes += bytes;
        (self.watch)(self.report);
        Ok(())
    }
}

/// Begins the names of copies in the root directory.
const ALTERNATIVE: &str = ".cvmfsalt-";

/// The object of which this is the copy.
fn alternative(path: &str) -> Option<ObjectName> {
    let name = path.strip_prefix(ALTERNATIVE)?;
    let (directory, rest) = name.split_at_checked(2)?;
    object_at(&format!("data/{directory}/{rest}"))
}

/// Lists with a visitor that may fail: the first error counts.
fn each(
    storage: &dyn Storage,
    prefix: &str,
    visit: &mut dyn FnMut(&Listed) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut failed = Ok(());
    storage.list(prefix, &mut |file| {
        if failed.is_ok() {
            failed = visit(&file);
        }
    })?;
    failed
}
