//! Flat indexes: built once from the published catalog, then mapped.

use super::{Fetcher, fetch_error, not_stored};
use crate::Error;
use crate::cache::{self, CachedFile, Found, Key, Mapping};
use crate::catalog::{BuildReport, CatalogError, Index, SqliteCatalog, build_index, digest};
use crate::patience;
use crate::snapshot::CatalogRef;
use std::io::Write as _;

impl Fetcher {
    /// The mapped index of a catalog. A missing one is built; a damaged one is built again.
    pub fn index(&self, catalog: &CatalogRef) -> Result<Mapping, Error> {
        let key = Key::Index(catalog.hash);
        if let Some(mapping) = self.cache.map(&key)? {
            match check(&mapping, catalog) {
                Ok(()) => return Ok(mapping),
                Err(reason) => log::warn!("index of catalog {}: {reason}; building it again", catalog.hash),
            }
            drop(mapping);
            self.cache.evict(&key)?;
        }
        patience::wait()?;
        let filled = self.cache.fetch(&key, cache::Expected::default(), |transaction| {
            let image = self.build(catalog)?;
            transaction.write_all(&image).map_err(|error| not_stored("an index", error))
        });
        filled.map_err(fetch_error)?;
        let gone =
            || Error::CatalogIndex { catalog: catalog.hash, reason: "evicted as soon as it was built".to_owned() };
        let mapping = self.cache.map(&key)?.ok_or_else(gone)?;
        check(&mapping, catalog).map_err(|reason| Error::CatalogIndex { catalog: catalog.hash, reason })?;
        Ok(mapping)
    }

    fn build(&self, catalog: &CatalogRef) -> Result<Vec<u8>, Error> {
        if let Some(size) = catalog.size.filter(|size| *size > self.limits.metadata) {
            let path = if catalog.mount.is_empty() { b"/".to_vec() } else { catalog.mount.clone() };
            let reason =
                format!("a catalog of {size} bytes is announced, at most {} are accepted", self.limits.metadata);
            return Err(Error::Damaged { path, reason });
        }
        let file = self.catalog(catalog.hash, catalog.size)?;
        let (image, report) = match build_from(&file, catalog) {
            // It may have been damaged since it came in: what the servers have decides.
            Err(error) if file.found != Found::Fetched && self.cache.evict(&object(catalog))? => {
                log::warn!("catalog {} in the cache: {error}; fetching it again", catalog.hash);
                build_from(&self.catalog(catalog.hash, catalog.size)?, catalog)
            }
            outcome => outcome,
        }
        .map_err(|source| Error::NoCatalog {
            host: self.transport.hosts().first().cloned().unwrap_or_default(),
            catalog: catalog.hash,
            mount: catalog.mount.clone(),
            source: Box::new(source),
        })?;
        for finding in report.dropped.iter().chain(&report.damaged) {
            log::warn!(
                "catalog {} at '{}': {} ({} rows, first '{}')",
                catalog.hash,
                String::from_utf8_lossy(&catalog.mount),
                finding.reason,
                finding.count,
                finding.example
            );
        }
        Ok(image)
    }
}

fn object(catalog: &CatalogRef) -> Key {
    Key::Object(catalog.hash)
}

fn build_from(file: &CachedFile, catalog: &CatalogRef) -> Result<(Vec<u8>, BuildReport), CatalogError> {
    build_index(&SqliteCatalog::open(&file.path)?, &catalog.hash)
}

fn check(mapping: &Mapping, catalog: &CatalogRef) -> Result<(), String> {
    let index = Index::open(mapping, &digest(&catalog.hash)).map_err(|error| error.to_string())?;
    index.verify_checksum().map_err(|error| error.to_string())
}

/// Whether a cached file is an index whose own check sum is right, whatever catalog it is of.
pub fn is_intact_index(file: &std::fs::File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let Ok(length) = file.metadata().map(|metadata| metadata.len()) else { return false };
    let Ok(length) = usize::try_from(length) else { return false };
    let mut image = vec![0; length];
    file.read_exact_at(&mut image, 0).is_ok()
        && Index::open_any(&image).is_ok_and(|index| index.verify_checksum().is_ok())
}
