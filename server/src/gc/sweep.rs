//! Deleting what is not marked.

use super::keep::Kept;
use super::{Report, SWEEPING, Settings};
use crate::repository::Repository;
use crate::storage::{Listed, Storage, StorageError, object_at};
use anyhow::Result;
use libcvmfs::object::{ObjectKind, ObjectName};

/// `watch` is told after so many deletions.
const BETWEEN_LOOKS: u64 = 256;

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
    let is_young =
        |file: &Listed| file.modified > published && file.modified > settings.now.saturating_sub(settings.grace);
    let mut delete = |file: &Listed, report: &mut Report| -> Result<(), StorageError> {
        if is_young(file) {
            report.young_objects += 1;
            return Ok(());
        }
        if settings.dry_run || storage.delete(&file.path)? {
            report.removed_objects += 1;
            report.removed_bytes += file.size;
        }
        if report.removed_objects.is_multiple_of(BETWEEN_LOOKS) {
            watch(report);
        }
        Ok(())
    };
    if !settings.dry_run {
        storage.put_pointer(SWEEPING, settings.now.to_string().as_bytes())?;
    }
    let is_content = |name: &ObjectName| matches!(name.kind, ObjectKind::File | ObjectKind::Partial);
    for content in [false, true] {
        let doomed = |file: &Listed| {
            object_at(&file.path).is_some_and(|n| is_content(&n) == content && !kept.marks.contains(&n))
        };
        each(storage, "data/", &mut |file| if doomed(file) { delete(file, report) } else { Ok(()) })?;
    }
    each(storage, ALTERNATIVE, &mut |file| match alternative(&file.path) {
        Some(name) if !kept.marks.contains(&name) => delete(file, report),
        _ => Ok(()),
    })?;
    if !settings.dry_run {
        storage.delete(SWEEPING)?;
    }
    Ok(())
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
