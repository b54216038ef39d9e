//! Telling the shims what is mounted.

use crate::view::mappable;
use cvmfs_control::page::Flags;
use cvmfs_control::session;
use cvmfs_control::write::{
    CatalogId, ControlError, NewCatalog, NewSnapshot, Owner, Presentation, SnapshotId, Writer, remove_stale,
};
use cvmfs_view::View;
use libcvmfs::cache::Key;
use libcvmfs::client::Client;
use libcvmfs::namespace::{self, IdMap};
use libcvmfs::repository::Repository;
use libcvmfs::snapshot::{Snapshot, attachments};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What names of control pages start with.
pub(crate) const PAGE: &str = "control-";

/// The control page of a session, kept up to date.
pub(crate) struct Publisher {
    path: PathBuf,
    cookie: u64,
    /// The number of attachments when the page was last brought up to date.
    seen: AtomicU64,
    state: Mutex<State>,
}

struct State {
    writer: Writer,
    /// What is on the page, by root hash.
    told: HashMap<String, SnapshotId>,
    /// The root hash of each repository's newest snapshot.
    current: HashMap<String, String>,
    full: bool,
}

impl Publisher {
    /// Makes the page. `preload` is the value of `LD_PRELOAD` for programs that start with an empty environment.
    pub(crate) fn create(
        path: &Path,
        cookie: u64,
        mount_dir: &[u8],
        view: &View,
        preload: &[u8],
    ) -> anyhow::Result<Publisher> {
        use std::os::unix::ffi::OsStrExt as _;
        let session = cvmfs_control::write::Session {
            cookie,
            mount_dir,
            view_prefix: Path::new(std::ffi::OsStr::from_bytes(view.prefix())),
            view_device: view.device(),
            preload,
            // Objects of a cache that the official client has written may be written to by their owner.
            flags: Flags::default(),
        };
        // Pages of sessions that were killed.
        for entry in path.parent().map(std::fs::read_dir).into_iter().flatten().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(PAGE.as_bytes()) {
                remove_stale(&entry.path());
            }
        }
        let writer = Writer::create(path, &session)?;
        let state = State { writer, told: HashMap::new(), current: HashMap::new(), full: false };
        Ok(Publisher { path: path.to_owned(), cookie, seen: AtomicU64::new(0), state: Mutex::new(state) })
    }

    /// The value of the variable by which programs find the page.
    pub(crate) fn variable(&self) -> OsString {
        session::value(self.cookie, &self.path)
    }

    /// Takes the page's name away; who has it mapped keeps it.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// Brings the page up to date if anything was attached since the last time; then gives the snapshots on it.
    pub(super) fn refresh(&self, client: &Client) -> Vec<Arc<Snapshot>> {
        let now = attachments();
        if self.seen.load(Ordering::Relaxed) == now {
            return Vec::new();
        }
        // Somebody else is at it, or will see it the next time.
        let Some(mut state) = self.state.try_lock() else { return Vec::new() };
        self.seen.store(now, Ordering::Relaxed);
        if state.full {
            return Vec::new();
        }
        let mut snapshots = Vec::new();
        for repository in client.mounted() {
            let snapshot = repository.snapshot();
            if let Err(error) = state.tell(&repository, &snapshot) {
                log::warn!("programs are served without the shim's help where it does not know: {error}");
                state.full = true;
            }
            snapshots.push(snapshot);
        }
        snapshots
    }
}

impl State {
    fn tell(&mut self, repository: &Repository, snapshot: &Snapshot) -> Result<(), ControlError> {
        let Some(indexes) = mappable(repository) else { return Ok(()) };
        let key = snapshot.identity().root_hash.to_string();
        let before = self.current.insert(snapshot.fqrn().as_str().to_owned(), key.clone());
        let id = match self.told.get(&key) {
            Some(id) if before.as_ref() == Some(&key) => *id,
            // New, or an older one that is the newest again: told once more it takes its place back.
            _ => self.add(snapshot, &key)?,
        };
        self.told.insert(key.clone(), id);
        // Catalogs are listed from the top down, in an order that changes with every one that comes: what is known
        // keeps its number when it is told again.
        let mut catalogs: Vec<CatalogId> = Vec::new();
        for catalog in snapshot.attached() {
            let file = indexes.join(Key::Index(catalog.reference.hash).file_name());
            catalogs.push(self.writer.add_catalog(&NewCatalog {
                snapshot: id,
                above: catalog.above.and_then(|(above, entry)| Some((*catalogs.get(above)?, entry))),
                mount: &catalog.reference.mount,
                salt: catalog.salt,
                root_hash: catalog.root_hash,
                file: &file,
                length: catalog.index_len,
            })?);
        }
        if let Some(before) = before.filter(|before| *before != key)
            && let Some(told) = self.told.get(&before)
        {
            self.writer.supersede(*told);
        }
        Ok(())
    }

    fn add(&mut self, snapshot: &Snapshot, key: &str) -> Result<SnapshotId, ControlError> {
        let variables: Vec<(&[u8], &[u8])> = snapshot.presentation().variables.iter().collect();
        self.writer.add_snapshot(&NewSnapshot {
            fqrn: snapshot.fqrn().as_str().as_bytes(),
            view_key: key.as_bytes(),
            device: snapshot.dev(),
            presentation: presentation(snapshot.presentation(), &variables),
        })
    }
}

fn presentation<'a>(presentation: &namespace::Presentation, variables: &'a [(&'a [u8], &'a [u8])]) -> Presentation<'a> {
    let owners = &presentation.owners;
    let mapped = owners.users != IdMap::default() || owners.groups != IdMap::default();
    if mapped && owners.claimed_by.is_none() {
        return Presentation::TooComplex;
    }
    let owner = owners.claimed_by.map_or(Owner::AsCatalog, |(user, group)| Owner::Claimed(user, group));
    let lists_computed = presentation.magic_listing == namespace::MagicListing::Always;
    Presentation::Simple { owner, world_readable: presentation.world_readable, lists_computed, variables }
}
