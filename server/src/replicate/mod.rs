//! A mirror (Stratum 1): everything that a repository's newest revision and its tags need, verified and put in an order in
//! which readers never meet a name before what it names.
//!
//! Objects come first, of each catalog after those of the catalogs below it; so a catalog that is there proves that all it needs
//! is there, and a mirror that was interrupted goes on where it was. Then history, certificate, meta information and
//! reflog; then the whitelist, and last the manifest.

mod follow;
mod objects;
mod partial;
mod source;

pub use follow::Follower;
pub use partial::Selection;
pub use source::Source;

use crate::catalogs::{Marks, Mounted};
use crate::gc::SWEEPING;
use crate::repository::{MANIFEST, REFLOG, Repository, WHITELIST};
use crate::status;
use crate::storage::{Body, object_path, read_small};
use anyhow::{Context as _, Result, bail, ensure};
use libcvmfs::history::History;
use libcvmfs::object::ObjectName;
use libcvmfs::trust::{LETTER_LIMIT, ManifestFields, VerifiedManifest};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// When the last replication ended.
const LAST_SNAPSHOT: &str = ".cvmfs_last_snapshot";
/// There while a replication runs.
const SNAPSHOTTING: &str = ".cvmfs_is_snapshotting";

/// How to replicate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Objects that are fetched at the same time.
    pub threads: usize,
    /// The part of the tree that is wanted; `None` is all of it.
    pub selection: Option<Selection>,
    /// Look at every object, also below catalogs that are there already.
    pub thorough: bool,
    /// The clock, in seconds since 1970.
    pub now: u64,
}

/// What was done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The revision that the mirror has now.
    pub revision: u64,
    /// Whether it is newer than what was there.
    pub changed: bool,
    /// Root catalogs of the newest revision and of tags.
    pub roots: u64,
    /// Catalogs that were fetched.
    pub catalogs: u64,
    /// Objects of all kinds that were fetched.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Tags whose revisions the source does not have any more.
    pub missing_tags: Vec<String>,
}

/// Brings a mirror up to the source's newest revision. An error leaves readers with the revision that was there before.
pub fn replicate(
    mirror: &Repository,
    source: &Source,
    settings: &Settings,
    watch: &mut (dyn FnMut(&Report) + Send),
) -> Result<Report> {
    let storage = &*mirror.storage;
    let _lock = storage.lock(&crate::owner("replicate"))?;
    let before = read_small(storage, MANIFEST, LETTER_LIMIT)?;
    let known = before.as_deref().map(ManifestFields::parse).transpose().context("the mirror's manifest")?;
    let head = source.manifest(&mirror.keys.public()?)?;
    if let Some(known) = &known {
        check_newer(known, &head)?;
    }
    storage.put_pointer(SNAPSHOTTING, format!("{}\n", status::date(settings.now)).as_bytes())?;
    let done = transfer(mirror, source, settings, &head, watch);
    // Whatever happened: nobody is at work any more.
    let cleared = storage.delete(SNAPSHOTTING);
    let mut report = done?;
    cleared?;
    report.changed = before.as_deref() != Some(&head.evidence().manifest[..]);
    Ok(report)
}

/// A mirror never goes back.
fn check_newer(known: &ManifestFields, head: &VerifiedManifest) -> Result<()> {
    let (old, new) = (known.revision, head.revision());
    ensure!(
        new >= old,
        "the source has revision {new}, the mirror has revision {old} already: a mirror never goes back"
    );
    let same = known.root_catalog == head.root_catalog().hash;
    ensure!(
        new > old || same,
        "the source has another revision {new} than the mirror: one of them is not what was published"
    );
    Ok(())
}

fn transfer(
    mirror: &Repository,
    source: &Source,
    settings: &Settings,
    head: &VerifiedManifest,
    watch: &mut (dyn FnMut(&Report) + Send),
) -> Result<Report> {
    let storage = &*mirror.storage;
    let mut report = Report { revision: head.revision(), ..Report::default() };
    if let Some(selection) = &settings.selection {
        // Before anything is missing: who finds this does not take catalogs as a proof.
        storage.put_pointer(partial::MARKER, selection.text().as_bytes())?;
    }
    let is_proof = !settings.thorough && storage.size(partial::MARKER)?.is_none() && storage.size(SWEEPING)?.is_none();
    let roots = {
        let history = history(mirror, source, head, &mut report)?;
        roots(head, &history)
    };
    let mut walk = objects::Walk {
        mirror,
        source,
        selection: settings.selection.as_ref(),
        threads: settings.threads,
        is_proof,
        met: Marks::default(),
        places: HashMap::new(),
        report: &mut report,
        watch,
    };
    let newest = head.root_catalog().hash;
    let mut missing = Vec::new();
    for (root, (size, tags)) in roots {
        if !walk.root(Mounted::root(root, size), root != newest)? {
            missing.extend(tags);
        }
        walk.report.roots += 1;
    }
    report.missing_tags = missing;
    letters(mirror, source, head, &mut report)?;
    if settings.selection.is_none() && storage.size(partial::MARKER)?.is_some() {
        storage.delete(partial::MARKER)?;
    }
    let date = status::date(settings.now);
    storage.put_pointer(LAST_SNAPSHOT, format!("{date}\n").as_bytes())?;
    status::note(storage, &[("last_snapshot", &date)])?;
    Ok(report)
}

/// Root catalogs with their sizes and the tags that name them.
type Roots = BTreeMap<libcvmfs::hash::ContentHash, (Option<u64>, Vec<String>)>;

fn roots(head: &VerifiedManifest, history: &History) -> Roots {
    let mut roots: Roots = BTreeMap::from([(head.root_catalog().hash, (head.catalog_size(), Vec::new()))]);
    for tag in history.tags() {
        roots.entry(tag.root).or_insert((tag.size, Vec::new())).1.push(tag.name.clone());
    }
    roots
}

fn history(mirror: &Repository, source: &Source, head: &VerifiedManifest, report: &mut Report) -> Result<History> {
    match head.history() {
        Some(name) => {
            put(mirror, source, &name, report)?;
            mirror.history(head)
        }
        None => Ok(History::empty()),
    }
}

/// Fetches an object unless it is there.
fn put(mirror: &Repository, source: &Source, name: &ObjectName, report: &mut Report) -> Result<()> {
    if mirror.storage.size(&object_path(name))?.is_some() {
        return Ok(());
    }
    let (staged, bytes) = source.stage(name, &*mirror.storage)?;
    mirror.storage.put_object(name, Body::File(staged))?;
    report.objects += 1;
    report.bytes += bytes;
    Ok(())
}

/// Everything above the catalogs, with the whitelist and the manifest last.
fn letters(mirror: &Repository, source: &Source, head: &VerifiedManifest, report: &mut Report) -> Result<()> {
    let storage = &*mirror.storage;
    for name in [Some(head.certificate_object()), head.meta_info()].into_iter().flatten() {
        put(mirror, source, &name, report)?;
    }
    if head.has_alternative_paths() {
        for name in [head.root_catalog(), head.certificate_object()] {
            let mut bytes = Vec::new();
            ensure!(storage.get(&object_path(&name), &mut bytes)?, "object {name} went while it was copied");
            storage.put_pointer(name.alternative_path().trim_start_matches('/'), &bytes)?;
        }
    }
    let reflog = match head.reflog() {
        Some(hash) => Some(source.reflog(&hash)?),
        None => None,
    };
    storage.sync()?;
    if let Some(reflog) = reflog {
        storage.put_pointer(REFLOG, &reflog)?;
    }
    let evidence = head.evidence();
    storage.put_pointer(WHITELIST, &evidence.whitelist)?;
    storage.put_pointer(MANIFEST, &evidence.manifest)?;
    match mirror.head() {
        Ok(now) if now.revision() == head.revision() => Ok(()),
        Ok(now) => bail!("the mirror has revision {} instead of {}", now.revision(), head.revision()),
        Err(error) => Err(error.context("the mirror's new manifest")),
    }
}
