//! Giving back the disk of what the cache has evicted.

use crate::View;
use crate::fill::FILLED;
use crate::place::PLACEHOLDER_MODE;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Directories of the view that hold something else.
const OTHER: [&str; 2] = [".indexes", ".quiet"];

/// The names of one file in the view, and how many it has altogether.
#[derive(Default)]
struct Names {
    links: u64,
    /// And whether the name is in a directory that the kernel lists.
    names: Vec<(PathBuf, bool)>,
}

impl View {
    /// Removes the names of files whose only names are in the view: the cache has evicted them. In directories that
    /// are listed by the kernel the names stay, for content that would have to be fetched again.
    pub fn clean(&self) {
        let mut files: HashMap<(u64, u64), Names> = HashMap::new();
        // Files at the top are tools of ours, and no contents.
        let top = PathBuf::from(OsStr::from_bytes(self.prefix()));
        let mut waiting = vec![top.clone()];
        while let Some(directory) = waiting.pop() {
            let filled = fs::metadata(&directory).is_ok_and(|found| found.mode() & 0o7777 == FILLED);
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(found) = entry.metadata() else { continue };
                if found.is_dir() {
                    if !OTHER.iter().any(|other| entry.file_name() == *other) {
                        waiting.push(entry.path());
                    }
                } else if directory != top && found.is_file() && found.mode() & 0o7777 != PLACEHOLDER_MODE {
                    let file = files.entry((found.dev(), found.ino())).or_default();
                    file.links = found.nlink();
                    file.names.push((entry.path(), filled));
                }
            }
        }
        for Names { links, names } in files.into_values() {
            if links == names.len() as u64 {
                for (name, filled) in names {
                    self.forget(&name, filled);
                }
            }
        }
    }

    /// A program may have made the name again meanwhile: then it is made once more when it is next opened.
    fn forget(&self, name: &Path, filled: bool) {
        let temporary = self.temporary();
        if filled && self.place_holder(&temporary).is_ok() {
            let _ = fs::rename(&temporary, name);
            let _ = fs::remove_file(&temporary);
        } else {
            let _ = fs::remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_names_of_evicted_objects_are_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let listed = dir.path().join("view/root/cvmfs/listed");
        let names = listed.parent().unwrap();
        fs::create_dir_all(&listed).unwrap();
        let object = dir.path().join("object");
        fs::write(&object, "kept").unwrap();
        fs::hard_link(&object, names.join("kept")).unwrap();
        fs::write(names.join("evicted"), "twice").unwrap();
        fs::hard_link(names.join("evicted"), listed.join("evicted too")).unwrap();
        fs::set_permissions(&listed, fs::Permissions::from_mode(FILLED)).unwrap();
        let view = View::at(&dir.path().join("view")).unwrap();
        view.clean();
        assert!(names.join("kept").exists() && !names.join("evicted").exists());
        let left = fs::metadata(listed.join("evicted too")).unwrap();
        assert_eq!((left.mode() & 0o7777, left.len()), (PLACEHOLDER_MODE, 0));
        view.clean();
        assert!(listed.join("evicted too").exists(), "a placeholder has names in the view only, and stays");
    }
}
