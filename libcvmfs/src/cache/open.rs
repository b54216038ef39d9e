use super::digest_log::DigestLog;
use super::directory::Dir;
use super::{Cache, CacheError, Layer, Mode, Settings};
use log::warn;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// The folder for everything the official layout does not know.
pub(super) const LOCAL: &str = "local";
pub(super) const TRANSACTIONS: &str = "txn";
pub(super) const QUARANTINE: &str = "quarantaine";
pub(super) const LOCKS: &str = "locks";
const QUOTA_DATABASE: &str = "cachedb";

const README: &str = "\
This folder belongs to the cache directory beside or above it. It is written by libcvmfs and may be deleted while no\n\
process uses the cache; what is in it is then made or fetched again.\n\
\n\
indexes/    flat catalog indexes, named like the catalogs they were made from\n\
assembled/  chunked files put together\n\
letters/    manifests, whitelists and certificates as they arrived, for offline use\n\
digests     BLAKE3 of the plain bytes of what came in, checked by fsck\n\
gauge       bytes in use\n\
locks/      one file per object being fetched\n\
txn/        files on their way in\n";

impl Cache {
    /// Opens a cache, creating what is missing unless it is read-only.
    ///
    /// Refused are the ancient layout of version 2.0, caches of users who are not trusted, and a private cache into
    /// which others can write.
    pub fn open(settings: &Settings) -> Result<Cache, CacheError> {
        let mut mode = settings.mode;
        let path = &settings.directory;
        if mode != Mode::ReadOnly {
            create_all(path, directory_mode(mode))?;
        }
        let objects = Dir::open(path).map_err(|e| CacheError::from_io(path, "opening cache", e))?;
        refuse_ancient(&objects)?;
        check_owner(&objects, mode, settings)?;
        if mode == Mode::Private && managed_by_official_client(&objects)? {
            warn!("{}: managed by the official client, used read-only", path.display());
            mode = Mode::ReadOnly;
        }
        if mode != Mode::ReadOnly {
            prepare_objects(&objects, mode)?;
        }
        let local = open_local(&objects, mode, settings)?;
        let own_objects = mode == Mode::Private;
        let own_local = own_objects || own_workspace(settings).is_some();
        let top = Layer { objects, local, own_objects, own_local };
        let mut lower = Vec::new();
        for path in &settings.lower {
            let objects = Dir::open(path).map_err(|e| CacheError::from_io(path, "opening cache", e))?;
            refuse_ancient(&objects)?;
            check_owner(&objects, Mode::ReadOnly, settings)?;
            let local = objects.open_existing(LOCAL);
            lower.push(Layer { objects, local, own_objects: false, own_local: false });
        }
        Ok(Cache {
            settings: settings.clone(),
            mode,
            top,
            lower,
            digests: DigestLog::default(),
            flights: Default::default(),
            capabilities: Default::default(),
            eviction_hook: Default::default(),
            futile_cleanup: Default::default(),
            opens: Default::default(),
            temporaries: Default::default(),
            writing: super::writing::Writing::default(),
        })
    }
}

/// Permissions of directories.
pub(super) fn directory_mode(mode: Mode) -> u32 {
    if mode == Mode::Alien { 0o770 } else { 0o700 }
}

fn create_all(path: &Path, mode: u32) -> Result<(), CacheError> {
    if path.is_dir() {
        return Ok(());
    }
    let created = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    created.map_err(|e| CacheError::from_io(path, "creating cache", e))
}

fn refuse_ancient(dir: &Dir) -> Result<(), CacheError> {
    match dir.stat("cvmfscatalog.cache") {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            Err(CacheError::NotACache { path: dir.path().into(), reason: "it has the layout of CernVM-FS 2.0" })
        }
        Err(e) => Err(CacheError::from_io(dir.path(), "examining cache", e)),
    }
}

fn check_owner(dir: &Dir, mode: Mode, settings: &Settings) -> Result<(), CacheError> {
    let failed = |e: io::Error| CacheError::from_io(dir.path(), "examining cache", e);
    let stat = rustix::fs::fstat(dir.fd()).map_err(|e| failed(e.into()))?;
    let ourselves = rustix::process::geteuid().as_raw();
    let trusted = stat.st_uid == 0 || settings.trusted_owners.contains(&stat.st_uid);
    let accepted = match mode {
        Mode::Private => stat.st_uid == ourselves,
        // Setting up an alien cache for a group is in itself the decision to trust its owner.
        Mode::Alien => true,
        Mode::ReadOnly => stat.st_uid == ourselves || trusted,
    };
    if !accepted {
        return Err(CacheError::ForeignOwner { path: dir.path().into(), owner: stat.st_uid });
    }
    let writable_by_others = stat.st_mode & 0o022 != 0;
    match mode {
        Mode::Private if writable_by_others => {
            // A directory just made under a lax umask is closed; one with content may hold what others put there.
            if !dir.list(".").map_err(failed)?.is_empty() {
                let mode = stat.st_mode & 0o7777;
                return Err(CacheError::WritableByOthers { path: dir.path().into(), mode });
            }
            rustix::fs::fchmod(dir.fd(), rustix::fs::Mode::RWXU).map_err(|e| failed(e.into()))
        }
        Mode::ReadOnly if writable_by_others => {
            warn!("{}: other users can write to this cache; its content is trusted all the same", dir.path().display());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A quota database means that an official client counts what lies here; it would not know of our files.
/// Whether an official client counts what lies in `directory`: then it is only read.
pub fn is_managed_by_official_client(directory: &Path) -> bool {
    directory.join(QUOTA_DATABASE).exists()
}

fn managed_by_official_client(dir: &Dir) -> Result<bool, CacheError> {
    let found = dir.stat(QUOTA_DATABASE).map_err(|e| CacheError::from_io(dir.path(), "examining cache", e))?;
    Ok(found.is_some())
}

fn prepare_objects(dir: &Dir, mode: Mode) -> Result<(), CacheError> {
    for name in [TRANSACTIONS, QUARANTINE] {
        match dir.make(name, directory_mode(mode)) {
            Ok(()) => {}
            // Hits still work; a miss will say why it fails.
            Err(e) if mode == Mode::Alien => warn!("{}: creating {name}: {e}", dir.path().display()),
            Err(e) => return Err(CacheError::from_io(&dir.path().join(name), "creating", e)),
        }
    }
    Ok(())
}

fn own_workspace(settings: &Settings) -> Option<&Path> {
    settings.workspace.as_deref().filter(|w| *w != settings.directory)
}

fn open_local(objects: &Dir, mode: Mode, settings: &Settings) -> Result<Option<Dir>, CacheError> {
    let own_workspace = own_workspace(settings);
    let base = match own_workspace {
        Some(path) => {
            create_all(path, 0o700)?;
            let dir = Dir::open(path).map_err(|e| CacheError::from_io(path, "opening workspace", e))?;
            check_owner(&dir, Mode::Private, settings)?;
            Some(dir)
        }
        None if mode == Mode::ReadOnly => return Ok(objects.open_existing(LOCAL)),
        None => None,
    };
    let base = base.as_ref().unwrap_or(objects);
    let permissions = if own_workspace.is_some() { 0o700 } else { directory_mode(mode) };
    let prepared = (|| {
        let local = base.subdirectory(LOCAL, permissions)?;
        for name in ["indexes", "assembled", "letters", LOCKS, TRANSACTIONS] {
            local.make(name, permissions)?;
        }
        if local.stat("README")?.is_none() {
            match local.create_new("README", 0o644) {
                Ok(mut file) => io::Write::write_all(&mut file, README.as_bytes())?,
                Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(local)
    })();
    match prepared {
        Ok(local) => Ok(Some(local)),
        Err(e) if mode == Mode::Alien => {
            warn!("{}: no place for own files: {e}", base.path().display());
            Ok(None)
        }
        Err(e) => Err(CacheError::from_io(&base.path().join(LOCAL), "creating", e)),
    }
}
