//! Flat indexes: built once from the published catalog, then mapped.

use super::{Fetcher, fetch_error, not_stored};
use crate::Error;
use crate::cache::{self, Key, Mapping};
use crate::catalog::{Index, SqliteCatalog, build_index, digest};
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
        let file = self.catalog(catalog.hash, catalog.size)?;
        let sqlite = SqliteCatalog::open(&file.path)?;
        let (image, report) = build_index(&sqlite, &catalog.hash)?;
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

fn check(mapping: &Mapping, catalog: &CatalogRef) -> Result<(), String> {
    let index = Index::open(mapping, &digest(&catalog.hash)).map_err(|error| error.to_string())?;
    index.verify_checksum().map_err(|error| error.to_string())
}
