//! The proofs of the newest manifest seen, kept in the cache so that it can be verified again without a network.

use crate::Error;
use crate::cache::{Breadcrumb, Cache};
use crate::fqrn::Fqrn;
use crate::trust::{Evidence, VerifiedManifest};
use std::sync::Arc;

const MANIFEST: &str = "cvmfspublished";
const WHITELIST: &str = "cvmfswhitelist";
const CERTIFICATE: &str = "certificate";

/// The letters of one repository.
#[derive(Clone)]
pub(super) struct Letters {
    pub(super) cache: Arc<Cache>,
    pub(super) fqrn: Fqrn,
}

impl Letters {
    /// Keeps the proofs of a manifest. A cache that cannot take them only makes offline use impossible.
    pub(super) fn store(&self, manifest: &VerifiedManifest) {
        let evidence = manifest.evidence();
        let letters =
            [(CERTIFICATE, evidence.certificate), (WHITELIST, evidence.whitelist), (MANIFEST, evidence.manifest)];
        let stored = letters.iter().try_for_each(|(name, bytes)| match self.cache.load_letter(&self.fqrn, name) {
            Ok(Some(known)) if known == *bytes => Ok(()),
            _ => self.cache.store_letter(&self.fqrn, name, bytes),
        });
        let breadcrumb = Breadcrumb {
            catalog: manifest.root_catalog().hash,
            timestamp: manifest.timestamp().unwrap_or(0),
            revision: manifest.revision(),
        };
        let stored = stored.and_then(|()| match self.breadcrumb() {
            Some(known) if known == breadcrumb => Ok(()),
            _ => self.cache.store_breadcrumb(&self.fqrn, &breadcrumb),
        });
        if let Err(error) = stored {
            log::debug!("{}: not kept for offline use: {error}", self.fqrn);
        }
    }

    /// The proofs kept; `None` unless all of them are there.
    pub(super) fn load(&self) -> Result<Option<Evidence>, Error> {
        let load = |name| self.cache.load_letter(&self.fqrn, name);
        let (manifest, certificate, whitelist) = (load(MANIFEST)?, load(CERTIFICATE)?, load(WHITELIST)?);
        Ok(match (manifest, certificate, whitelist) {
            (Some(manifest), Some(certificate), Some(whitelist)) => Some(Evidence { manifest, certificate, whitelist }),
            _ => None,
        })
    }

    /// What an official client or a preloader left behind.
    pub(super) fn breadcrumb(&self) -> Option<Breadcrumb> {
        self.cache.load_breadcrumb(&self.fqrn).unwrap_or_else(|error| {
            log::warn!("{}: {error}", self.fqrn);
            None
        })
    }
}
