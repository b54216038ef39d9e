//! What jobs do, with the means that the commands use.

use super::inspect;
use super::lease::{Claim, Lease};
use super::problem::{Answer, Problem};
use crate::gc;
use crate::keys::KeyFiles;
use crate::publish::{self, Refused};
use crate::repository::{MANIFEST, Repository};
use crate::source::{Archive, Owners, Reading};
use crate::storage::{Lock, StorageError, patiently};
use crate::transaction;
use anyhow::{Result, bail};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::hash::Algorithm;
use libcvmfs::object::Compression;
use libcvmfs::object::chunk::ChunkSizes;
use libcvmfs::object::encode::Encoding;
use libcvmfs::trust::unix_now;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long a publisher beside this service may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// What messages call an archive that was sent. It also tells them from messages about this machine.
const ARCHIVE: &str = "the archive";

/// What a job is to do.
pub enum Order {
    /// Publish an archive that has come.
    Publish(Publish),
    /// Delete what no kept revision needs.
    Collect(Fqrn, gc::Settings),
}

/// What is to be published, and where.
pub struct Publish {
    /// The lease that allows it.
    pub claim: Claim,
    /// The bytes.
    pub archive: NamedTempFile,
    /// The directory it goes into, as catalogs have it.
    pub into: Vec<u8>,
    /// Whether what the archive lacks goes from there.
    pub replace: bool,
    /// Paths that go first, as catalogs have them.
    pub delete: Vec<Vec<u8>>,
    /// A name for the revision, and a description of it.
    pub tag: Option<(String, String)>,
}

impl Order {
    /// The lease with which something is published.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Order::Publish(publish) => Some(&publish.claim.lease),
            Order::Collect(..) => None,
        }
    }
}

/// Where repositories and keys are, and how things are done.
pub struct Workshop {
    /// A directory of repositories, each under its name.
    pub directory: PathBuf,
    /// The directory with their keys.
    pub keys: PathBuf,
    /// The private master key, if it is kept elsewhere.
    pub master_key: Option<PathBuf>,
    /// Who owns what is published.
    pub owners: Owners,
    /// Threads that compress.
    pub threads: usize,
    /// Most bytes of an archive once it is decompressed.
    pub largest_tree: u64,
}

impl Workshop {
    /// The place of a repository, whether or not there is one.
    pub fn place(&self, fqrn: &Fqrn) -> Result<Repository> {
        let keys = KeyFiles::new(fqrn, &self.keys, self.master_key.as_deref());
        let directory = std::path::absolute(self.directory.join(fqrn.as_str()))?;
        // Whatever is in its name: it is a directory.
        Repository::new(fqrn.clone(), &format!("file://{}", directory.display()), keys)
    }

    /// A repository that is there.
    pub fn repository(&self, fqrn: &Fqrn) -> Answer<Repository> {
        match self.directory.join(fqrn.as_str()).join(MANIFEST).is_file() {
            true => Ok(self.place(fqrn)?),
            false => Err(Problem::not_found("repository")),
        }
    }

    /// All names for which there is a repository, sorted.
    pub fn repositories(&self) -> Result<Vec<Fqrn>> {
        let entries = std::fs::read_dir(&self.directory)?.collect::<Result<Vec<_>, _>>()?;
        let names = entries.iter().filter(|entry| entry.path().join(MANIFEST).is_file());
        let mut names: Vec<Fqrn> = names.filter_map(|entry| Fqrn::new(entry.file_name().to_str()?).ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Keeps other publishers away, after at most `patience` of waiting for one; nobody may have a transaction open. The flag
    /// ends the waiting.
    pub fn lock(
        &self,
        repository: &Repository,
        what: &str,
        patience: Duration,
        off: &AtomicBool,
    ) -> Answer<Box<dyn Lock>> {
        let attempt = || match off.load(Ordering::Relaxed) {
            true => bail!(Problem::conflict("called-off", "the job was called off")),
            false => Ok(repository.storage.lock(&crate::owner(what))?),
        };
        let lock = patiently(patience, attempt).map_err(locked)?;
        match transaction::current(repository)? {
            Some(_) => Err(Problem::busy("a transaction is open on the repository")),
            None => Ok(lock),
        }
    }

    /// Does what is ordered.
    pub fn work(&self, order: &Order, off: &AtomicBool, watch: &mut dyn FnMut(Value)) -> Answer<Value> {
        match order {
            Order::Publish(order) => self.publish(order, off, watch),
            Order::Collect(fqrn, settings) => {
                let repository = self.repository(fqrn)?;
                let mut tell = |report: &gc::Report| watch(json!(report));
                let report = patiently(PATIENCE, || gc::collect(&repository, settings, &mut tell)).map_err(locked)?;
                Ok(json!(report))
            }
        }
    }

    fn publish(&self, order: &Publish, off: &AtomicBool, watch: &mut dyn FnMut(Value)) -> Answer<Value> {
        let open = || File::open(order.archive.path()).map_err(|error| Problem::internal(&error.into()));
        // Nobody has to wait while we look at what may be of no use.
        inspect::archive(Guarded { file: open()?, off }, self.largest_tree)?;
        let lease = &order.claim.lease;
        let repository = self.repository(&lease.repository)?;
        let what = format!("publish {} for {}", lease.path, lease.group);
        let _lock = self.lock(&repository, &what, PATIENCE, off)?;
        let reading = Reading { owners: self.owners.clone(), skip_unreadable: false, layers: false };
        let archive = Archive::new(ARCHIVE, Guarded { file: open()?, off }, reading);
        let mut work = publish::Order {
            sources: vec![Box::new(archive)],
            into: order.into.clone(),
            replace: order.replace,
            delete: order.delete.clone(),
            tag: order.tag.clone(),
            force: false,
            branch: None,
            automatic_catalogs: None,
            automatic_tag: None,
        };
        let settings = publish::Settings {
            encoding: Encoding::new(Algorithm::Sha1, Compression::Zlib),
            chunks: Some(ChunkSizes::default()),
            external: false,
            nanoseconds: true,
            threads: self.threads,
            // Builds that can be repeated give all files the same time.
            trust_times: false,
            trust_times_before: None,
            now: unix_now(),
        };
        let mut tell = |summary: &publish::Summary| watch(json!({"summary": summary}));
        let outcome = publish::publish(&repository, &mut work, settings, &mut tell).map_err(refused)?;
        Ok(json!({
            "revision": outcome.manifest.revision, "root_hash": outcome.manifest.root_catalog.to_string(),
            "changed": outcome.changed, "summary": outcome.summary,
        }))
    }
}

/// Somebody beside this service is at work; or it went wrong here.
fn locked(error: anyhow::Error) -> Problem {
    match error.downcast_ref() {
        Some(StorageError::Locked { .. }) => Problem::busy("another publisher is at work on the repository"),
        _ => error.into(),
    }
}

/// What is wrong with the archive, or with what is wanted, is told; what went wrong here is not.
fn refused(error: anyhow::Error) -> Problem {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return Problem::unprocessable("refused", refused.to_string());
    }
    match error.to_string().starts_with(ARCHIVE) && !error.chain().any(|cause| cause.is::<StorageError>()) {
        true => Problem::unprocessable("bad-archive", format!("{error:#}")),
        false => Problem::internal(&error),
    }
}

/// An archive that stops when its job is called off.
struct Guarded<'j> {
    file: File,
    off: &'j AtomicBool,
}

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.off.load(Ordering::Relaxed) {
            true => Err(io::Error::other("called off")),
            false => self.file.read(buffer),
        }
    }
}
