//! From sources to a new revision.

mod dirtab;
mod entry;
mod pipeline;
mod publication;

pub use entry::{Attributes, Kind};
pub use publication::{Publication, Settings, Summary, Watch};

use crate::commit::{self, Revision};
use crate::draft::{Draft, Finished, Stamp, Weights};
use crate::repository::Repository;
use crate::source::Source;
use crate::tags;
use crate::transaction::Branch;
use anyhow::{Context as _, Result, ensure};
use libcvmfs::hash::ContentHash;
use libcvmfs::history::{History, Tag};
use libcvmfs::trust::{ManifestFields, VerifiedManifest};
use thiserror::Error;

/// What is wanted does not go with what is published.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Refused(pub String);

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
    /// The branch to publish to; `None` is the trunk. A revision of a branch needs a tag.
    pub branch: Option<Branch>,
    /// Catalogs that grow too large are divided.
    pub automatic_catalogs: Option<Weights>,
    /// Days for which the new revision keeps a tag of its own.
    pub automatic_tag: Option<u64>,
}

/// Where a new revision begins.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    /// Its root catalog.
    pub root: ContentHash,
    /// Its revision.
    pub revision: u64,
    /// When it was made, in seconds since 1970.
    pub timestamp: i64,
}

/// The newest revision of a branch, the tag it begins with, or the newest revision of all.
pub fn base(head: &VerifiedManifest, history: &History, branch: Option<&Branch>) -> Result<Base> {
    let tag = match branch {
        None => {
            let timestamp = head.timestamp().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
            return Ok(Base { root: head.root_catalog().hash, revision: head.revision(), timestamp });
        }
        Some(Branch { name, from: None }) => {
            history.head(name).with_context(|| format!("there is no branch '{name}': name a tag to begin with"))?
        }
        Some(Branch { from: Some(from), .. }) => {
            history.tag(from).with_context(|| format!("there is no tag '{from}'"))?
        }
    };
    Ok(Base { root: tag.root, revision: tag.revision, timestamp: tag.timestamp })
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
    let mut history = repository.history(&head)?;
    if let Some((name, _)) = &order.tag {
        tags::check_name(name)?;
        ensure!(history.tag(name).is_none(), Refused(format!("there is a tag '{name}' already")));
    }
    ensure!(order.branch.is_none() || order.tag.is_some(), "a revision of a branch needs a tag: --tag");
    let base = base(&head, &history, order.branch.as_ref())?;
    // What was modified since then may be something else though size and time are the same.
    settings.trust_times_before = settings.trust_times.then_some(base.timestamp);
    let draft = Draft::new(repository, Some(base.root), settings.encoding.algorithm)?;
    let mut publication = Publication::new(repository, draft, settings, watch)?;
    for path in &order.delete {
        let refused = || Refused(format!("{} is not there, so it cannot be deleted", path.escape_ascii()));
        ensure!(publication.remove(path)?, refused());
    }
    if !order.into.is_empty() {
        publication.way(&order.into)?;
    }
    for source in &mut order.sources {
        source.read(&order.into, &mut publication)?;
    }
    publication.apply_dirtab()?;
    if order.replace {
        publication.sweep(&order.into)?;
    }
    if let Some(weights) = &order.automatic_catalogs {
        publication.balance(weights)?;
    }
    let (draft, summary) = publication.finish()?;
    let mut fields = head.fields().clone();
    if !draft.is_dirty() && !order.force && order.tag.is_none() {
        return Ok(Outcome { manifest: fields, changed: false, finished: None, summary });
    }
    let (now, revision) = (settings.now, base.revision + 1);
    let branch = order.branch.as_ref().map(|branch| branch.name.as_str());
    let finished = draft.finish(&Stamp { now, revision, ttl: fields.ttl, branch })?;
    let before = fields.clone();
    fields.root_catalog = finished.root;
    fields.catalog_size = Some(finished.size);
    fields.revision = revision;
    fields.timestamp = Some(now);
    if let Some((name, description)) = &order.tag {
        history.put_tag(Tag {
            name: name.clone(),
            root: finished.root,
            revision,
            timestamp: i64::try_from(now).unwrap_or(i64::MAX),
            description: description.clone(),
            size: Some(finished.size),
            branch: branch.unwrap_or_default().to_owned(),
        });
    }
    match branch {
        // The trunk stays what clients see; they find the branch by its tags.
        Some(_) => fields = before,
        None => {
            commit::move_trunk(&mut history, Some(&head), &fields);
            if let Some(days) = order.automatic_tag {
                tags::add_automatic(&mut history, &fields, days);
            }
        }
    }
    let manifest = commit::publish(repository, Some(&head), Revision { fields, history })?;
    Ok(Outcome { manifest, changed: true, finished: Some(finished), summary })
}
