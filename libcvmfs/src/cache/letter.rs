use super::directory::Dir;
use super::{Cache, CacheError, Mode};
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use rustix::io::Errno;
use std::io::{self, Read as _};

const LARGEST_LETTER: u64 = 1 << 20;
const LARGEST_BREADCRUMB: u64 = 164;

/// The newest root catalog a client has seen, as the official client and the preloader leave it behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breadcrumb {
    /// The root catalog.
    pub catalog: ContentHash,
    /// When it was published, in seconds since 1970.
    pub timestamp: u64,
    /// Its revision; 0 if written by a client too old to know.
    pub revision: u64,
}

impl Breadcrumb {
    /// Reads `<hash>T<timestamp>[R<revision>]`.
    pub fn parse(text: &str) -> Option<Breadcrumb> {
        let (hash, rest) = text.trim_end().split_once('T')?;
        let (timestamp, revision) = rest.split_once('R').unwrap_or((rest, "0"));
        Some(Breadcrumb {
            catalog: ContentHash::parse(hash).ok()?,
            timestamp: timestamp.parse().ok()?,
            revision: revision.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Breadcrumb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}T{}R{}", self.catalog, self.timestamp, self.revision)
    }
}

impl Cache {
    /// Keeps a signed document of a repository (manifest, whitelist, certificate) as it arrived. Never evicted.
    pub fn store_letter(&self, fqrn: &Fqrn, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        check_name(name)?;
        let _writing = self.writing.begin();
        let writable = (self.mode != Mode::ReadOnly || self.top.own_local) && !self.writing.has_stopped();
        let read_only = || CacheError::ReadOnly { path: self.top.objects.path().into() };
        let dir = self.local().filter(|_| writable).ok_or_else(read_only)?;
        let (folder, mode) = (format!("letters/{fqrn}"), if self.top.own_local { 0o700 } else { 0o770 });
        let path = format!("{folder}/{name}");
        let stored =
            dir.make(&folder, mode).and_then(|()| dir.replace(&path, &self.temporary_name(), bytes, mode & 0o660));
        stored.map_err(|e| CacheError::from_io(&dir.path().join(&path), "writing", e))
    }

    /// The document kept under a name, here or in the caches behind. It is only as good as its signature.
    pub fn load_letter(&self, fqrn: &Fqrn, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        check_name(name)?;
        let path = format!("letters/{fqrn}/{name}");
        // A preloaded cache brings letters of its own, also where this process keeps its files elsewhere.
        let brought = self.top.objects.open_existing(super::open::LOCAL);
        let own = std::iter::once(&self.top).chain(&self.lower).filter_map(|layer| layer.local.as_ref());
        for dir in own.chain(&brought) {
            if let Some(bytes) = read_small(dir, &path, LARGEST_LETTER)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Leaves the breadcrumb `cvmfschecksum.<fqrn>`.
    pub fn store_breadcrumb(&self, fqrn: &Fqrn, breadcrumb: &Breadcrumb) -> Result<(), CacheError> {
        let _writing = self.writing.begin();
        let (dir, mode) = match self.local().filter(|_| !self.writing.has_stopped()) {
            Some(local) if self.mode != Mode::Private && self.top.own_local => (local, 0o600),
            _ => (self.writable(super::Namespace::Objects)?, if self.mode == Mode::Alien { 0o660 } else { 0o600 }),
        };
        let name = format!("cvmfschecksum.{fqrn}");
        let stored = dir.replace(&name, &self.temporary_name(), breadcrumb.to_string().as_bytes(), mode);
        stored.map_err(|e| CacheError::from_io(&dir.path().join(&name), "writing", e))
    }

    /// The newest breadcrumb of a repository in any of the directories; unreadable ones do not count.
    pub fn load_breadcrumb(&self, fqrn: &Fqrn) -> Result<Option<Breadcrumb>, CacheError> {
        let name = format!("cvmfschecksum.{fqrn}");
        let mut newest: Option<Breadcrumb> = None;
        for layer in std::iter::once(&self.top).chain(&self.lower) {
            for dir in std::iter::once(&layer.objects).chain(&layer.local) {
                let bytes = read_small(dir, &name, LARGEST_BREADCRUMB)?;
                let found = bytes.as_deref().and_then(|b| Breadcrumb::parse(std::str::from_utf8(b).ok()?));
                newest = newest.into_iter().chain(found).max_by_key(|b| (b.revision, b.timestamp));
            }
        }
        Ok(newest)
    }
}

/// A file of at most `limit` bytes; a longer one is cut there.
fn read_small(dir: &Dir, name: &str, limit: u64) -> Result<Option<Vec<u8>>, CacheError> {
    let failed = |e: io::Error| CacheError::from_io(&dir.path().join(name), "reading", e);
    let file = match dir.read(name) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(e) => return Err(failed(e.into())),
    };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn check_name(name: &str) -> Result<(), CacheError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(allowed) {
        return Err(CacheError::BadLetterName(name.escape_debug().take(200).collect()));
    }
    Ok(())
}
