//! Garbage collection: what no kept revision needs is deleted.
//!
//! Everything that kept revisions need is marked first; then tags and reflog are published without what goes; only then files
//! are deleted, catalogs before the objects they name. Whoever is killed in between has lost nothing that is needed, and
//! the next run goes on: it looks at what lies in the storage, not at what was noted.

mod keep;
mod sweep;

use crate::commit;
use crate::repository::{MANIFEST, Repository};
use crate::status;
use anyhow::{Result, ensure};
use serde::Serialize;

/// There while files are deleted: a catalog does not prove any more that all it names is there, too.
pub const SWEEPING: &str = ".cvmfs_is_collecting";

/// What to keep.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Keep so many revisions, the newest and the one before included.
    pub keep: u64,
    /// Keep the revisions of so many last seconds.
    pub keep_seconds: Option<u64>,
    /// Leave files alone that came in after the newest revision and less than so many seconds ago: somebody may be about
    /// to publish them.
    pub grace: u64,
    /// Count only.
    pub dry_run: bool,
    /// Delete files only: tags, reflog and manifest are those of another server.
    pub mirror: bool,
    /// The clock, in seconds since 1970.
    pub now: u64,
}

/// What was kept and what went.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Revisions that were kept.
    pub kept_revisions: u64,
    /// Their catalogs.
    pub kept_catalogs: u64,
    /// All their objects.
    pub kept_objects: u64,
    /// Tags that went.
    pub removed_tags: Vec<String>,
    /// Objects that went.
    pub removed_objects: u64,
    /// Their stored bytes.
    pub removed_bytes: u64,
    /// Objects that nobody needs, but that are too young to go.
    pub young_objects: u64,
    /// Whether this is what would happen.
    pub dry_run: bool,
}

/// Deletes what no kept revision needs. `watch` is told after each catalog and from time to time afterwards.
pub fn collect(repository: &Repository, settings: &Settings, watch: &mut dyn FnMut(&Report)) -> Result<Report> {
    let _lock = repository.storage.lock(&crate::owner("gc"))?;
    let head = repository.head()?;
    ensure!(
        head.is_garbage_collectable(),
        "{} does not allow garbage collection: its manifest says so (G), see cvmfs-server mkfs --garbage-collectable",
        repository.fqrn
    );
    // Storage and publisher may have different clocks: files are compared with a file.
    let mut published = 0;
    repository.storage.list(MANIFEST, &mut |file| published = file.modified)?;
    let mut report = Report { dry_run: settings.dry_run, ..Report::default() };
    let mut kept = keep::choose(repository, &head, settings)?;
    report.removed_tags = std::mem::take(&mut kept.removed_tags);
    kept.mark(repository, &mut report, watch)?;
    if !settings.dry_run && !settings.mirror {
        let fields = commit::republish(repository, &head, kept.history.take(), &|name| kept.marks.contains(name))?;
        kept.mark_letters(&fields);
    }
    // What the manifest names must be durable before what it does not name goes.
    repository.storage.sync()?;
    sweep::sweep(repository, &kept, published, settings, &mut report, watch)?;
    if !settings.dry_run {
        status::note(&*repository.storage, &[("last_gc", &status::date(settings.now))])?;
    }
    Ok(report)
}
