use super::{TrustError, VerifiedManifest, atomic};
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use std::path::{Path, PathBuf};

/// What the official client leaves beside its cache about the newest root catalog in it: `cvmfschecksum.<fqrn>`.
///
/// It is not signed. A breadcrumb says what to look for in a cache somebody else filled; it is no reason to believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breadcrumb {
    /// The root catalog.
    pub root_catalog: ContentHash,
    /// Time of publication, seconds since 1970.
    pub timestamp: u64,
    /// The revision, 0 if not stated.
    pub revision: u64,
}

/// Bytes the official client reads.
const LIMIT: u64 = 164;

impl Breadcrumb {
    /// What to leave behind for a manifest.
    pub fn of(manifest: &VerifiedManifest) -> Breadcrumb {
        Breadcrumb {
            root_catalog: manifest.root_catalog().hash,
            timestamp: manifest.timestamp().unwrap_or(0),
            revision: manifest.revision(),
        }
    }

    /// Reads `<hash>T<seconds>` with or without `R<revision>`; `None` if it is something else.
    pub fn parse(bytes: &[u8]) -> Option<Breadcrumb> {
        let text = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\0']);
        let (hash, rest) = text.split_once('T')?;
        let (timestamp, revision) = rest.split_once('R').unwrap_or((rest, "0"));
        Some(Breadcrumb {
            root_catalog: ContentHash::parse(hash).ok()?,
            timestamp: timestamp.parse().ok()?,
            revision: revision.parse().ok()?,
        })
    }

    /// Reads the breadcrumb of a repository in `dir`.
    pub fn load(dir: &Path, fqrn: &Fqrn) -> Result<Option<Breadcrumb>, TrustError> {
        let path = Breadcrumb::path(dir, fqrn);
        let Some(bytes) = atomic::read(&path, LIMIT)? else { return Ok(None) };
        match Breadcrumb::parse(&bytes) {
            Some(breadcrumb) => Ok(Some(breadcrumb)),
            None => Err(TrustError::MemoryDamaged { path, reason: "it is not '<hash>T<time>R<revision>'".to_owned() }),
        }
    }

    /// Leaves the breadcrumb in `dir` with the given file mode (0o600, or 0o660 in a shared cache).
    pub fn save(&self, dir: &Path, fqrn: &Fqrn, mode: u32) -> Result<(), TrustError> {
        atomic::replace(&Breadcrumb::path(dir, fqrn), self.to_string().as_bytes(), mode)
    }

    fn path(dir: &Path, fqrn: &Fqrn) -> PathBuf {
        dir.join(format!("cvmfschecksum.{fqrn}"))
    }
}

impl std::fmt::Display for Breadcrumb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}T{}R{}", self.root_catalog, self.timestamp, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breadcrumbs_of_all_ages_are_read() {
        let new = "c39d29452241b9e1688065b86833c2489b5df41c-rmd160T1795262357R3";
        let breadcrumb = Breadcrumb::parse(new.as_bytes()).unwrap();
        assert_eq!((breadcrumb.timestamp, breadcrumb.revision), (1_795_262_357, 3));
        assert_eq!(breadcrumb.to_string(), new);
        let old = Breadcrumb::parse(b"2a695360ba25033e8899486a62c9dc7316650b56T12\n").unwrap();
        assert_eq!((old.timestamp, old.revision), (12, 0));
        for bad in
            ["", "T1R1", "2a695360ba25033e8899486a62c9dc7316650b56", "2a695360ba25033e8899486a62c9dc7316650b56T-1"]
        {
            assert_eq!(Breadcrumb::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_breadcrumb_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let fqrn = Fqrn::new("a.b").unwrap();
        assert_eq!(Breadcrumb::load(dir.path(), &fqrn).unwrap(), None);
        let breadcrumb = Breadcrumb::parse(b"2a695360ba25033e8899486a62c9dc7316650b56T12R4").unwrap();
        breadcrumb.save(dir.path(), &fqrn, 0o600).unwrap();
        assert_eq!(Breadcrumb::load(dir.path(), &fqrn).unwrap(), Some(breadcrumb));
        std::fs::write(dir.path().join("cvmfschecksum.a.b"), "x").unwrap();
        assert!(matches!(Breadcrumb::load(dir.path(), &fqrn), Err(TrustError::MemoryDamaged { .. })));
    }
}
