//! Filling a directory for use on another machine, the job of `cvmfs_preload`.

use crate::Error;
use crate::client::Client;
use crate::config::table;
use crate::fqrn::Fqrn;
use std::path::Path;

/// The parameters that make `directory` the cache that is filled: in the official layout, open to the group, without
/// limit, with the letters that verify the repository beside the objects.
pub fn options(directory: &Path) -> Vec<(String, String)> {
    let directory = directory.display().to_string();
    vec![
        (table::ALIEN_CACHE.name.to_owned(), directory.clone()),
        (table::WORKSPACE.name.to_owned(), directory),
        (table::QUOTA_LIMIT.name.to_owned(), "-1".to_owned()),
    ]
}

/// Adds what a repository needs besides catalogs and files: its list of tags. Manifest, whitelist, certificate and
/// breadcrumb are there since it was mounted.
pub fn complete(client: &Client, fqrn: &Fqrn) -> Result<(), Error> {
    let repository = client.repository(fqrn.as_str())?;
    match repository.history() {
        Ok(_) => Ok(()),
        // A repository without tags is complete without them.
        Err(Error::NoSuchRevision { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
