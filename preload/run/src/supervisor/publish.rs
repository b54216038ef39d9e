//! Telling the shims what is mounted.

use crate::view::mappable;
use cvmfs_control::page::Flags;
use cvmfs_control::session;
use cvmfs_control::write::{CatalogId, NewCatalog, NewSnapshot, Owner, Presentation, SnapshotId, Writer};
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
use std::sync::atomic::{AtomicU64, Ordering};

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
    told: HashMap<String, Told>,
    /// The root hash of each repository's newest snapshot.
    current: HashMap<String, String>,
    full: bool,
}

struct Told {
    snapshot: SnapshotId,
    catalogs: Vec<CatalogId>,
}

impl Publisher {
    /// Makes the page. `preload` is the value of `LD_PRELOAD` for programs that start with an empty environment.
    pub(crate) fn create(
        path: &Path,
        cookie: u64,
        mount_dir: &[u8],
        view: &View,
        preload: &[u8],
        read_only: bool,
    ) -> anyhow::Result<Publisher> {
        use std::os::unix::ffi::OsStrExt as _;
        let session = cvmfs_control::write::Session {
            cookie,
            mount_dir,
            view_prefix: Path::new(std::ffi::OsStr::from_bytes(view.prefix())),
            view_device: view.device(),
            preload,
            flags: if read_only { Flags::VIEW_FILES_ARE_READ_ONLY } else { Flags::default() },
        };
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

    /// Brings the page up to date if anything was attached since the last time.
    pub(super) fn refresh(&self, client: &Client) {
        let now = attachments();
        if self.seen.load(Ordering::Relaxed) == now {
            return;
        }
        // Somebody else is at it, or will see it the next time.
        let Some(mut state) = self.state.try_lock() else { return };
        self.seen.store(now, Ordering::Relaxed);
        if state.full {
            return;
        }
        for repository in client.mounted() {
            if let Err(error) = state.tell(&repository) {
                log::warn!("programs are served without the shim's help where it does not know: {error}");
                state.full = true;
            }
        }
    }
}

impl State {
    fn tell(&mut self, repository: &Repository) -> Result<(), cvmfs_control::write::ControlError> {
        let Some(indexes) = mappable(repository) else { return Ok(()) };
        let snapshot = repository.snapshot();
        let key = snapshot.identity().root_hash.to_string();
        if !self.told.contains_key(&key) {
            let id = self.add(&snapshot, &key)?;
            self.told.insert(key.clone(), Told { snapshot: id, catalogs: Vec::new() });
        }
        let Some(told) = self.told.get_mut(&key) else { return Ok(()) };
        for catalog in snapshot.attached().iter().skip(told.catalogs.len()) {
            let file = indexes.join(Key::Index(catalog.reference.hash).file_name());
            let above = catalog.above.and_then(|(above, entry)| Some((*told.catalogs.get(above)?, entry)));
            told.catalogs.push(self.writer.add_catalog(&NewCatalog {
                snapshot: told.snapshot,
                above,
                mount: &catalog.reference.mount,
                salt: catalog.salt,
                root_hash: catalog.root_hash,
                file: &file,
                length: catalog.index_len,
            })?);
        }
        let before = self.current.insert(snapshot.fqrn().as_str().to_owned(), key.clone());
        if let Some(before) = before.filter(|before| *before != key)
            && let Some(told) = self.told.get(&before)
        {
            self.writer.supersede(told.snapshot);
        }
        Ok(())
    }

    fn add(&mut self, snapshot: &Snapshot, key: &str) -> Result<SnapshotId, cvmfs_control::write::ControlError> {
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
    if presentation.checked.is_some() || mapped && owners.claimed_by.is_none() {
        return Presentation::TooComplex;
    }
    let owner = owners.claimed_by.map_or(Owner::AsCatalog, |(user, group)| Owner::Claimed(user, group));
    Presentation::Simple { owner, world_readable: presentation.world_readable, variables }
}
