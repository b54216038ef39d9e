//! Where the view lies, and cleaning it up.
//!
//! The view holds hard links to cache objects. One that is evicted would keep its bytes on disk through them, so
//! names of files that have no name outside of the view any more are removed.

use anyhow::Context as _;
use libcvmfs::config::{Loader, Sources};
use std::collections::HashMap;
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

/// Removes the names of files whose only names are in the view.
pub(crate) fn clean(view: &Path) {
    let mut files: HashMap<(u64, u64), (u64, Vec<PathBuf>)> = HashMap::new();
    let mut waiting = vec![view.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                // These have no other name.
                if entry.file_name() != ".indexes" {
                    waiting.push(entry.path());
                }
            } else if found.is_file() {
                files.entry((found.dev(), found.ino())).or_insert((found.nlink(), Vec::new())).1.push(entry.path());
            }
        }
    }
    for (links, names) in files.into_values() {
        if links == names.len() as u64 {
            for name in names {
                // A program may have made it again: then it is made once more when it is next opened.
                let _ = fs::remove_file(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_evicted_objects_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let view = dir.path().join("view/root/cvmfs");
        fs::create_dir_all(&view).unwrap();
        let object = dir.path().join("object");
        fs::write(&object, "kept").unwrap();
        fs::hard_link(&object, view.join("kept")).unwrap();
        fs::write(view.join("evicted"), "twice").unwrap();
        fs::hard_link(view.join("evicted"), view.join("evicted too")).unwrap();
        clean(&dir.path().join("view"));
        let left: Vec<_> = fs::read_dir(&view).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
    }
}
