//! The last step of everything that changes a repository: history, reflog, manifest, in this order, so that a reader
//! sees the old revision or the new one.

use crate::repository::{MANIFEST, Repository};
use anyhow::Result;
use libcvmfs::hash::ContentHash;
use libcvmfs::history::{History, Tag};
use libcvmfs::object::{ObjectKind, ObjectName};
use libcvmfs::reflog::Reflog;
use libcvmfs::trust::{Certificate, ManifestFields, PrivateKey, VerifiedManifest};

/// The tag of the newest revision.
pub const TRUNK: &str = "trunk";
/// The tag of the revision before.
pub const TRUNK_PREVIOUS: &str = "trunk-previous";

/// A new revision that is complete but for its manifest.
pub struct Revision {
    /// The manifest's fields, those of the revision before or new ones: root catalog, its size, revision and time are set;
    /// certificate, history and reflog will be.
    pub fields: ManifestFields,
    /// The tags before.
    pub history: History,
}

/// Sets the tags that follow the newest revision, if it is one of the trunk.
pub fn move_trunk(history: &mut History, before: Option<&VerifiedManifest>, fields: &ManifestFields) {
    let tag = |name: &str, description: &str, root, size, revision, timestamp: Option<u64>| Tag {
        name: name.to_owned(),
        root,
        revision,
        timestamp: i64::try_from(timestamp.unwrap_or(0)).unwrap_or(i64::MAX),
        description: description.to_owned(),
        size,
        branch: String::new(),
    };
    let previous = history.tag(TRUNK).cloned();
    let previous = previous.map(|trunk| {
        tag(TRUNK_PREVIOUS, "", trunk.root, trunk.size, trunk.revision, u64::try_from(trunk.timestamp).ok())
    });
    let manifest = || {
        before.map(|m| {
            let root = m.root_catalog().hash;
            tag(TRUNK_PREVIOUS, "", root, m.catalog_size(), m.revision(), m.timestamp())
        })
    };
    if let Some(previous) = previous.or_else(manifest) {
        history.put_tag(Tag { description: "default undo target".to_owned(), ..previous });
    }
    let (root, size, revision) = (fields.root_catalog, fields.catalog_size, fields.revision);
    history.put_tag(tag(TRUNK, "current HEAD", root, size, revision, fields.timestamp));
}

/// Publishes a revision whose objects are all in the storage. The caller holds the lock.
pub fn publish(
    repository: &Repository,
    before: Option<&VerifiedManifest>,
    revision: Revision,
) -> Result<ManifestFields> {
    let Revision { mut fields, history } = revision;
    let algorithm = fields.root_catalog.algorithm;
    let signer = signer(repository)?;
    fields.name = Some(repository.fqrn.to_string());
    fields.certificate = Some(repository.put(ObjectKind::Certificate, signer.1.as_bytes(), algorithm)?.hash);
    put_history(repository, before, &mut fields, history)?;
    // Names must not be on disk before what they name.
    repository.storage.sync()?;
    conclude(repository, fields, repository.reflog()?, &signer.0)
}

/// Publishes the newest revision again with fewer tags, or with a reflog that `knows` fewer objects. Nothing happens if both
/// are as they were. The caller holds the lock.
pub fn republish(
    repository: &Repository,
    before: &VerifiedManifest,
    history: Option<History>,
    knows: &dyn Fn(&ObjectName) -> bool,
) -> Result<ManifestFields> {
    let mut fields = before.fields().clone();
    let mut reflog = repository.reflog()?;
    let forgotten: Vec<ObjectName> = reflog.objects().map(|(name, _)| name).filter(|name| !knows(name)).collect();
    // Somebody was killed between reflog and manifest.
    let is_announced = repository.reflog_hash(fields.root_catalog.algorithm)? == before.reflog();
    if history.is_none() && forgotten.is_empty() && is_announced {
        return Ok(fields);
    }
    let (key, certificate) = signer(repository)?;
    fields.certificate =
        Some(repository.put(ObjectKind::Certificate, certificate.as_bytes(), fields.root_catalog.algorithm)?.hash);
    if let Some(history) = history {
        put_history(repository, Some(before), &mut fields, history)?;
    }
    for name in &forgotten {
        reflog.remove(name);
    }
    repository.storage.sync()?;
    conclude(repository, fields, reflog, &key)
}

/// The key that signs manifests, and its certificate, which the whitelist must allow.
fn signer(repository: &Repository) -> Result<(PrivateKey, Certificate)> {
    let (key, certificate) = repository.keys.signer()?;
    let whitelist = repository.whitelist()?;
    anyhow::ensure!(
        whitelist.lists(certificate.identity()),
        "the whitelist does not allow the certificate {} to sign: cvmfs-server resign",
        repository.keys.certificate.display()
    );
    Ok((key, certificate))
}

fn put_history(
    repository: &Repository,
    before: Option<&VerifiedManifest>,
    fields: &mut ManifestFields,
    mut history: History,
) -> Result<()> {
    let scratch = repository.scratch()?;
    if let Some(previous) = before.and_then(VerifiedManifest::history) {
        history.set_previous_revision(previous.hash);
    }
    let file = scratch.path().join("history");
    history.write(&file, &repository.fqrn, libcvmfs::catalog::write::PAGE_SIZE)?;
    fields.history = Some(repository.put_file(ObjectKind::History, &file, fields.root_catalog.algorithm)?.hash);
    Ok(())
}

/// The reflog, then the manifest.
fn conclude(
    repository: &Repository,
    mut fields: ManifestFields,
    mut reflog: Reflog,
    key: &PrivateKey,
) -> Result<ManifestFields> {
    let now = fields.timestamp.unwrap_or_else(libcvmfs::trust::unix_now);
    let mut note = |hash: Option<ContentHash>, kind| {
        if let Some(hash) = hash {
            reflog.add(ObjectName::new(hash, kind), now);
        }
    };
    note(Some(fields.root_catalog), ObjectKind::Catalog);
    note(fields.certificate, ObjectKind::Certificate);
    note(fields.history, ObjectKind::History);
    note(fields.meta_info, ObjectKind::MetaInfo);
    fields.reflog = Some(repository.put_reflog(&reflog, fields.root_catalog.algorithm)?);
    repository.storage.put_pointer(MANIFEST, &fields.seal(key)?)?;
    Ok(fields)
}
