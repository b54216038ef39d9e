//! A new repository: keys, whitelist, an empty first revision.

use crate::commit::{self, Revision};
use crate::draft::{Draft, Stamp};
use crate::publish::{Attributes, Kind};
use crate::repository::{MASTER_REPLICA, Repository, STATUS, WHITELIST};
use anyhow::{Result, bail, ensure};
use libcvmfs::hash::Algorithm;
use libcvmfs::history::History;
use libcvmfs::object::ObjectKind;
use libcvmfs::trust::{ManifestFields, new_whitelist, unix_now};

/// What a new repository is like.
#[derive(Debug, Clone)]
pub struct NewRepository {
    /// What names its objects.
    pub algorithm: Algorithm,
    /// Seconds until clients look for a new revision.
    pub ttl: u64,
    /// Whether old revisions may be deleted.
    pub garbage_collectable: bool,
    /// Days for which the whitelist is signed.
    pub whitelist_days: u64,
    /// JSON text that tells people about it.
    pub meta_info: Option<String>,
    /// Who owns the root directory.
    pub owner: (u32, u32),
}

/// Makes a repository where there is none.
pub fn mkfs(repository: &Repository, new: &NewRepository) -> Result<ManifestFields> {
    let storage = &repository.storage;
    let _lock = storage.lock(&crate::owner("mkfs"))?;
    if storage.size(crate::repository::MANIFEST)?.is_some() {
        bail!("there is a repository in {} already", storage.describe());
    }
    let now = unix_now();
    repository.keys.make(&repository.fqrn, now)?;
    resign(repository, new.algorithm, new.whitelist_days)?;

    let mut draft = Draft::new(repository, None, new.algorithm)?;
    let mut root = Attributes::plain(0o755, now);
    (root.uid, root.gid) = new.owner;
    draft.put(b"", root.row(&Kind::Directory(0), b"", false), &[])?;
    let finished = draft.finish(&Stamp { now, revision: 1, ttl: new.ttl, branch: None })?;

    let mut fields = ManifestFields::new(finished.root, new.ttl);
    fields.catalog_size = Some(finished.size);
    fields.revision = 1;
    fields.garbage_collectable = new.garbage_collectable;
    fields.timestamp = Some(now);
    if let Some(text) = &new.meta_info {
        ensure!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "the meta information is no JSON text");
        fields.meta_info = Some(repository.put(ObjectKind::MetaInfo, text.as_bytes(), new.algorithm)?.hash);
    }
    let mut history = History::empty();
    commit::move_trunk(&mut history, None, &fields);
    storage.put_pointer(MASTER_REPLICA, b"This repository may be copied by Stratum 1 servers\n")?;
    storage.put_pointer(STATUS, b"{}\n")?;
    commit::publish(repository, None, Revision { fields, history })
}

/// Signs a new whitelist for the certificate in the key directory, with the master key; returns until when it is valid, in
/// seconds since 1970.
pub fn resign(repository: &Repository, algorithm: Algorithm, days: u64) -> Result<u64> {
    ensure!(days > 0, "a whitelist of no days allows nothing");
    let now = unix_now();
    let (_, certificate) = repository.keys.signer()?;
    let master = repository.keys.master()?;
    let text = new_whitelist(&repository.fqrn, &[*certificate.identity()], now, days);
    repository.storage.put_pointer(WHITELIST, &master.sign_whitelist(text.as_bytes(), algorithm)?)?;
    Ok(repository.whitelist()?.expires())
}
