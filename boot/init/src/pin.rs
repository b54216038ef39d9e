//! What keeps a machine at its snapshot.

use anyhow::{Context as _, Result};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

/// The pin, on scratch: root hash and tag.
pub(crate) const FILE: &str = "aux/cvmfs_snapshot";
/// A tag to go to at the next boot, on scratch.
pub(crate) const FORCED: &str = "aux/cvmfs_force_tag";
/// In the tree: files that the system cannot do without.
pub(crate) const CORE_FILES: &str = ".ucernvm_pinfiles";

/// Pins, and takes back the wish for another snapshot: that was this one.
pub(crate) fn write(scratch: &Path, root_hash: &str, tag: Option<&str>) -> Result<()> {
    let file = scratch.join(FILE);
    let temporary = file.with_extension("new");
    let described = || file.display().to_string();
    let mut open = fs::File::create(&temporary).with_context(described)?;
    open.write_all(format!("{root_hash}\n{}\n", tag.unwrap_or_default()).as_bytes()).with_context(described)?;
    open.sync_all().with_context(described)?;
    fs::rename(&temporary, &file).with_context(described)?;
    fs::File::open(scratch.join("aux"))?.sync_all().with_context(described)?;
    match fs::remove_file(scratch.join(FORCED)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(described),
        _ => Ok(()),
    }
}

/// Reads every file of `list` to its end, so that it is in the cache; how many could not be. Names that are not there are no
/// failure: one list serves several releases.
pub(crate) fn read_all(list: &str, root: &Path) -> usize {
    let names = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.filter_map(|name| resolved(root, Path::new(name))).filter(|file| !read(file)).count()
}

fn read(file: &Path) -> bool {
    let Ok(mut file) = fs::File::open(file) else { return false };
    let mut room = vec![0; 1 << 16];
    loop {
        match file.read(&mut room) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// The regular file that `name` means inside `root`: links with a slash in front begin at `root` as well.
fn resolved(root: &Path, name: &Path) -> Option<PathBuf> {
    let mut left: Vec<PathBuf> = parts(name);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let metadata = fs::symlink_metadata(root.join(&next)).ok()?;
        if metadata.is_symlink() {
            links += 1;
            if links > 40 {
                return None;
            }
            let target = fs::read_link(root.join(&next)).ok()?;
            if target.is_absolute() {
                at = PathBuf::new();
            }
            left.extend(parts(&target));
        } else {
            at = next;
        }
    }
    let found = root.join(at);
    found.is_file().then_some(found)
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_pin_is_written_and_the_wish_is_gone() {
        let scratch = tempfile::tempdir().expect("a directory");
        fs::create_dir(scratch.path().join("aux")).expect("a directory");
        fs::write(scratch.path().join(FORCED), "old\n").expect("a file");
        write(scratch.path(), "abc", Some("old")).expect("a pin");
        assert_eq!(fs::read_to_string(scratch.path().join(FILE)).expect("a pin"), "abc\nold\n");
        assert!(!scratch.path().join(FORCED).exists());
        write(scratch.path(), "def", None).expect("a pin");
        assert_eq!(fs::read_to_string(scratch.path().join(FILE)).expect("a pin"), "def\n\n");
    }

    #[test]
    fn links_stay_inside_the_root() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("usr/bin")).expect("a directory");
        fs::write(root.path().join("usr/bin/dash"), "x").expect("a file");
        symlink("usr/bin", root.path().join("bin")).expect("a link");
        symlink("/usr/bin/../bin/dash", root.path().join("usr/bin/sh")).expect("a link");
        symlink("../../../../etc/passwd", root.path().join("usr/out")).expect("a link");
        symlink("loop", root.path().join("usr/loop")).expect("a link");
        assert_eq!(resolved(root.path(), Path::new("/bin/sh")), Some(root.path().join("usr/bin/dash")));
        assert_eq!(resolved(root.path(), Path::new("usr/out")), None);
        assert_eq!(resolved(root.path(), Path::new("usr/loop")), None);
        assert_eq!(read_all("# core\n/bin/sh\n\n/absent\n/usr\n", root.path()), 0);
    }
}
