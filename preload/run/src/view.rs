//! Where the view lies.

use anyhow::Context as _;
use libcvmfs::config::{Loader, Sources};
use libcvmfs::repository::Repository;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The directory of the view for the parameters in the environment, made when missing: `view` below the cache base,
/// or below the directory for sockets where the cache base cannot be written to.
pub(crate) fn directory() -> anyhow::Result<PathBuf> {
    let base = Loader::new(Sources::system(Vec::new())).common()?.cache_base()?;
    let make = |base: &Path| -> std::io::Result<PathBuf> {
        fs::create_dir_all(base)?;
        let view = fs::canonicalize(base)?.join("view");
        DirBuilder::new().recursive(true).mode(0o700).create(&view)?;
        let found = fs::symlink_metadata(&view)?;
        if !found.is_dir() || found.uid() != cvmfs_helper::endpoint::user() || found.mode() & 0o077 != 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "not a private directory of ours"));
        }
        Ok(view)
    };
    match make(&base) {
        Ok(view) => Ok(view),
        Err(_) => {
            let other = cvmfs_helper::endpoint::private_directory()?;
            make(&other).with_context(|| format!("making a view in {}", other.display()))
        }
    }
}

/// The directory of indexes, if programs may map what is in it.
pub(crate) fn mappable(repository: &Repository) -> Option<PathBuf> {
    let cache = repository.cache();
    let local = cache.capabilities().local_file_system;
    cache.workspace().filter(|_| local).map(|workspace| workspace.join("indexes"))
}
