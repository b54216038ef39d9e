//! Names of revisions: added, removed, renamed; and the way back to one.

use crate::commit::{self, Revision, TRUNK, TRUNK_PREVIOUS};
use crate::draft::{Draft, Stamp};
use crate::repository::Repository;
use anyhow::{Context as _, Result, bail, ensure};
use libcvmfs::history::{History, Tag};
use libcvmfs::trust::{ManifestFields, VerifiedManifest, unix_now};

/// Begins the names of tags that are made by themselves.
pub const AUTOMATIC: &str = "generic-";
/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// Refuses what the official publisher refuses as a name.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    ensure!(
        !name.is_empty() && name.len() <= 255 && name.bytes().all(allowed),
        "'{}' is no name of a tag: letters, digits and - _ . / : are allowed",
        name.escape_debug()
    );
    ensure!(name != TRUNK && name != TRUNK_PREVIOUS, "the tag '{name}' is set by publishing only");
    Ok(())
}

/// Changes the tags and publishes that: revision and content stay.
pub fn change(
    repository: &Repository,
    change: impl FnOnce(&mut History, &VerifiedManifest) -> Result<()>,
) -> Result<ManifestFields> {
    let head = repository.head()?;
    let mut history = repository.history(&head)?;
    change(&mut history, &head)?;
    let fields = head.fields().clone();
    commit::publish(repository, Some(&head), Revision { fields, history })
}

/// Names a revision: that of the tag `of`, or the newest.
pub fn add(history: &mut History, head: &VerifiedManifest, name: &str, of: Option<&str>, text: &str) -> Result<()> {
    check_name(name)?;
    ensure!(history.tag(name).is_none(), "there is a tag '{name}' already");
    let like = match of {
        Some(of) => history.tag(of).with_context(|| format!("there is no tag '{of}'"))?.clone(),
        None => Tag {
            name: String::new(),
            root: head.root_catalog().hash,
            revision: head.revision(),
            timestamp: head.timestamp().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0),
            description: String::new(),
            size: head.catalog_size(),
            branch: String::new(),
        },
    };
    history.put_tag(Tag { name: name.to_owned(), description: text.to_owned(), ..like });
    Ok(())
}

/// Takes names away.
pub fn remove(history: &mut History, names: &[String]) -> Result<()> {
    for name in names {
        check_name(name)?;
        ensure!(history.remove_tag(name), "there is no tag '{name}'");
    }
    Ok(())
}

/// Gives a tag another name.
pub fn rename(history: &mut History, from: &str, to: &str) -> Result<()> {
    check_name(from)?;
    check_name(to)?;
    ensure!(history.tag(to).is_none(), "there is a tag '{to}' already");
    let Some(tag) = history.tag(from).cloned() else { bail!("there is no tag '{from}'") };
    history.remove_tag(from);
    history.put_tag(Tag { name: to.to_owned(), ..tag });
    Ok(())
}

/// Names the revision of `fields` by its time, and takes such names away that are older than `days`.
pub fn add_automatic(history: &mut History, fields: &ManifestFields, days: u64) {
    let now = fields.timestamp.unwrap_or(0);
    let oldest = i64::try_from(now.saturating_sub(days.saturating_mul(DAY))).unwrap_or(i64::MAX);
    let outdated = |tag: &&Tag| tag.name.starts_with(AUTOMATIC) && tag.timestamp < oldest;
    let names: Vec<String> = history.tags().iter().filter(outdated).map(|tag| tag.name.clone()).collect();
    for name in names {
        history.remove_tag(&name);
    }
    let seconds = i64::try_from(now).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    history.put_tag(Tag {
        name: format!("{AUTOMATIC}{}", time.strftime("%Y-%m-%dT%H:%M:%SZ")),
        root: fields.root_catalog,
        revision: fields.revision,
        timestamp: seconds,
        description: String::new(),
        size: fields.catalog_size,
        branch: String::new(),
    });
}

/// Publishes the content of a tag once more, as the newest revision.
pub fn rollback(repository: &Repository, tag: &str) -> Result<ManifestFields> {
    let head = repository.head()?;
    let mut history = repository.history(&head)?;
    let tag = history.tag(tag).with_context(|| format!("there is no tag '{tag}'"))?.clone();
    let now = unix_now().max(head.timestamp().unwrap_or(0));
    let mut fields = head.fields().clone();
    fields.revision += 1;
    let draft = Draft::new(repository, Some(tag.root), tag.root.algorithm)?;
    let finished = draft.finish(&Stamp { now, revision: fields.revision, ttl: fields.ttl, branch: None })?;
    fields.root_catalog = finished.root;
    fields.catalog_size = Some(finished.size);
    fields.timestamp = Some(now);
    commit::move_trunk(&mut history, Some(&head), &fields);
    commit::publish(repository, Some(&head), Revision { fields, history })
}
