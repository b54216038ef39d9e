//! From sources to a new revision.

mod entry;
mod pipeline;
mod publication;

pub use entry::{Attributes, Kind};
pub use publication::{Publication, Settings, Summary, Watch};

use crate::commit::{self, Revision};
use crate::draft::{Draft, Finished, Stamp};
use crate::repository::Repository;
use crate::source::Source;
use anyhow::{Result, ensure};
use libcvmfs::history::Tag;
use libcvmfs::trust::ManifestFields;

/// What is to be published.
pub struct Order<'s> {
    /// Where entries come from; later ones lie on top of earlier ones.
    pub sources: Vec<Box<dyn Source + 's>>,
    /// The directory that they go into; empty for the root.
    pub into: Vec<u8>,
    /// What no source has goes from that directory.
    pub replace: bool,
    /// Paths that go before anything is added.
    pub delete: Vec<Vec<u8>>,
    /// Name and description of a tag for the new revision.
    pub tag: Option<(String, String)>,
    /// A new revision even if nothing changed.
    pub force: bool,
}

/// What was published.
#[derive(Debug)]
pub struct Outcome {
    /// The manifest; of the revision before if nothing changed.
    pub manifest: ManifestFields,
    /// Whether there is a new revision.
    pub changed: bool,
    /// The new root catalog.
    pub finished: Option<Finished>,
    /// What was done.
    pub summary: Summary,
}

/// Publishes a new revision. The caller holds the lock.
pub fn publish(
    repository: &Repository,
    order: &mut Order<'_>,
    mut settings: Settings,
    watch: &mut Watch<'_>,
) -> Result<Outcome> {
    let head = repository.head()?;
    settings.encoding.algorithm = head.root_catalog().hash.algorithm;
    // A clock that goes backwards must not make a revision older than the one before.
    settings.now = settings.now.max(head.timestamp().unwrap_or(0));
    let draft = Draft::new(repository, Some(head.root_catalog().hash), settings.encoding.algorithm)?;
    let mut publication = Publication::new(repository, draft, settings, watch)?;
    for path in &order.delete {
        ensure!(publication.remove(path)?, "{} is not there, so it cannot be deleted", path.escape_ascii());
    }
    if !order.into.is_empty() {
        publication.directory(&order.into)?;
    }
    for source in &mut order.sources {
        source.read(&order.into, &mut publication)?;
    }
    publication.settle_all()?;
    if order.replace {
        publication.sweep(&order.into)?;
    }
    let (draft, summary) = publication.finish()?;
    let mut fields = head.fields().clone();
    if !draft.is_dirty() && !order.force && order.tag.is_none() {
        return Ok(Outcome { manifest: fields, changed: false, finished: None, summary });
    }
    fields.revision += 1;
    let finished = draft.finish(&Stamp { now: settings.now, revision: fields.revision, ttl: fields.ttl })?;
    fields.root_catalog = finished.root;
    fields.catalog_size = Some(finished.size);
    fields.timestamp = Some(settings.now);
    let mut history = repository.history(&head)?;
    commit::move_trunk(&mut history, Some(&head), &fields);
    if let Some((name, description)) = &order.tag {
        history.put_tag(Tag {
            name: name.clone(),
            root: finished.root,
            revision: fields.revision,
            timestamp: i64::try_from(settings.now).unwrap_or(i64::MAX),
            description: description.clone(),
            size: Some(finished.size),
            branch: String::new(),
        });
    }
    let manifest = commit::publish(repository, Some(&head), Revision { fields, history })?;
    Ok(Outcome { manifest, changed: true, finished: Some(finished), summary })
}
