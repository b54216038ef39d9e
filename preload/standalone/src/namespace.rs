//! Path to node: libcvmfs over the cache, and over the helper for what the cache lacks.

use crate::errno::Errno;
use crate::session;
use cvmfs_helper::{Reply, Request};
use cvmfs_index::walk::LINK_MAX;
use cvmfs_view::verdict;
use libc::c_int;
use libcvmfs::Error;
use libcvmfs::cache::{Key, Mapping};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::identity::of_process;
pub(crate) use libcvmfs::namespace::{FileKind, LastLink, Listing, Node, Resolved};
use libcvmfs::namespace::{Mounts, Namespace};
use libcvmfs::snapshot::{CatalogRef, Content, Parts, Snapshot, Source};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

impl From<Error> for Errno {
    fn from(error: Error) -> Errno {
        Errno(error.errno())
    }
}

fn tree() -> &'static Namespace {
    static TREE: OnceLock<Namespace> = OnceLock::new();
    TREE.get_or_init(|| Namespace::new(session::mount_dir(), Arc::new(Repositories::default())))
}

/// Follows an absolute virtual path.
pub(crate) fn resolve(path: &[u8], last: LastLink) -> Result<Resolved, Errno> {
    let mut found = tree().resolve(path, last)?;
    // What leads out may lead in again: `/cvmfs/../cvmfs`.
    for _ in 0..LINK_MAX {
        match &found {
            Resolved::Outside(outside) => match crate::place::spelled_absolute(outside) {
                Some(again) => found = tree().resolve(&again, last)?,
                None => break,
            },
            Resolved::Node(_) => break,
        }
    }
    if let Resolved::Node(node) = &found {
        verdict::reaches(node, of_process)?;
    }
    Ok(found)
}

/// Whether this process may do to `node` what the bits of `wanted` say (`R_OK`, `X_OK`).
pub(crate) fn check_access(node: &Node, wanted: c_int) -> Result<(), Errno> {
    Ok(verdict::permitted(node, &of_process(), wanted)?)
}

/// The repositories that this process has touched, each at the revision that it found then.
#[derive(Default)]
struct Repositories {
    mounted: RwLock<HashMap<String, Arc<Snapshot>>>,
}

impl Mounts for Repositories {
    fn mount(&self, name: &str) -> Result<Option<Arc<Snapshot>>, Error> {
        if let Some(snapshot) = self.mounted.read().get(name) {
            return Ok(Some(snapshot.clone()));
        }
        // What can be no repository's name need not be asked for: `/cvmfs/.git`, `/cvmfs/lib`.
        if Fqrn::new(name).is_err() {
            return Ok(None);
        }
        let mounted = match session::ask(&Request::Mount(name.to_owned()))? {
            Reply::Mounted(mounted) => mounted,
            _ => return Ok(None),
        };
        let source = HelperSource {
            fqrn: mounted.identity.fqrn.clone(),
            objects: mounted.objects,
            indexes: mounted.indexes,
            brought: Mutex::default(),
        };
        let snapshot = Snapshot::open(mounted.identity, Arc::new(source), Arc::new(mounted.presentation))?;
        let mut all = self.mounted.write();
        Ok(Some(all.entry(name.to_owned()).or_insert_with(|| Arc::new(snapshot)).clone()))
    }

    fn known(&self) -> Vec<Fqrn> {
        match session::ask(&Request::Known) {
            Ok(Reply::Known(known)) => known,
            _ => Vec::new(),
        }
    }
}

/// Looks into the cache, and asks the helper for what is not there. Keeps no descriptor: programs close them.
struct HelperSource {
    fqrn: Fqrn,
    objects: Vec<PathBuf>,
    indexes: Option<PathBuf>,
    /// Where the helper has put files together from chunks, by path in the repository.
    brought: Mutex<HashMap<Vec<u8>, PathBuf>>,
}

impl HelperSource {
    fn ask_for_file(&self, request: &Request) -> Result<PathBuf, Error> {
        match session::ask(request)? {
            Reply::File(path) => Ok(path),
            _ => Err(local(&std::io::Error::from_raw_os_error(libc::EIO))),
        }
    }
}

/// What the system says about a file of the cache.
fn local(error: &std::io::Error) -> Error {
    Error::Remote { message: error.to_string(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

/// Opens a file of the cache: never through a link, never waiting for a pipe.
fn open_plain(path: &Path, size: Option<u64>) -> std::io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if found.is_file() && size.is_none_or(|size| size == found.len()) {
        Ok(file)
    } else {
        Err(std::io::Error::from_raw_os_error(libc::ENOENT))
    }
}

impl Source for HelperSource {
    fn index(&self, catalog: &CatalogRef) -> Result<Mapping, Error> {
        let map = |path: &Path| Mapping::of_own_file(path);
        let there = self.indexes.as_ref().and_then(|dir| map(&dir.join(Key::Index(catalog.hash).file_name())).ok());
        if let Some(mapping) = there {
            return Ok(mapping);
        }
        let path = self.ask_for_file(&Request::Index(self.fqrn.clone(), catalog.clone()))?;
        map(&path).map_err(|error| local(&error))
    }

    fn open(&self, content: &Content) -> Result<File, Error> {
        let size = Some(content.size);
        if let Parts::Whole(hash) = &content.parts {
            let name = Key::Object(*hash).file_name();
            if let Some(file) = self.objects.iter().find_map(|dir| open_plain(&dir.join(&name), size).ok()) {
                return Ok(file);
            }
        }
        let before = self.brought.lock().get(&content.path).cloned();
        if let Some(file) = before.and_then(|path| open_plain(&path, size).ok()) {
            return Ok(file);
        }
        // What was brought can be evicted before it is opened: rare, and rarer twice.
        let mut last = None;
        for _ in 0..3 {
            let path = self.ask_for_file(&Request::Open(self.fqrn.clone(), content.clone()))?;
            match open_plain(&path, size) {
                Ok(file) => {
                    if !matches!(content.parts, Parts::Whole(_)) {
                        self.brought.lock().insert(content.path.clone(), path);
                    }
                    return Ok(file);
                }
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| std::io::Error::from_raw_os_error(libc::EIO));
        // Absence of a cache file says nothing about the path.
        Err(local(&if error.raw_os_error() == Some(libc::ENOENT) {
            std::io::Error::from_raw_os_error(libc::EIO)
        } else {
            error
        }))
    }

    fn status_attribute(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match session::ask(&Request::StatusAttribute(self.fqrn.clone(), name.to_owned()))? {
            Reply::Attribute(value) => Ok(value),
            _ => Ok(None),
        }
    }
}
