//! Files that lie in the cache before the system starts: those that it cannot do without, and those that it is known to read.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// In the tree: files that the system cannot do without.
pub(crate) const LIST: &str = ".ucernvm_pinfiles";

/// In the tree: what was read when it was booted before, as `cvmfs-mount --record` writes it.
pub(crate) const RECORDED: &str = ".ucernvm_prefetch";
/// Files that are fetched at the same time: what counts is the way there and back.
const JOBS: usize = 16;

/// Fetches what `list` names below the mounted `repository`, many at a time; how many could not be. Opening a file brings all of
/// it into the cache. What is not there any more is no failure.
pub(crate) fn fetch_all(list: &str, fqrn: &str, repository: &Path) -> usize {
    let names: Vec<PathBuf> = list.lines().filter_map(|line| recorded(line, fqrn)).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = open(&repository.join(name))
                        && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                    {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    failed.into_inner()
}

fn open(file: &Path) -> std::io::Result<()> {
    let found = fs::symlink_metadata(file)?;
    if found.is_file() {
        fs::File::open(file)?;
    } else if found.is_dir() {
        fs::read_dir(file)?.next().transpose()?;
    }
    Ok(())
}

/// The path of a line, below the repository. Lines of others, and those that lead elsewhere, have none.
fn recorded(line: &str, fqrn: &str) -> Option<PathBuf> {
    let path = match line.strip_prefix("object ") {
        Some(words) => words.get(words.find(" /")? + 1..)?,
        None => line,
    };
    let inside = path.strip_prefix("/cvmfs/")?.strip_prefix(fqrn)?.strip_prefix('/')?;
    // Names with bytes that had to be written otherwise are rare, and are fetched when they are read.
    let path = Path::new(inside);
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    (!inside.is_empty() && !inside.contains('\\') && is_below).then(|| path.to_owned())
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
    fn a_recorded_list_names_what_is_in_this_repository() {
        let of = |line: &str| recorded(line, "os.example.org").map(|path| path.display().to_string());
        let object =
            "object os.example.org 2a695360ba25033e8899486a62c9dc7316650b56 1024 zlib /cvmfs/os.example.org/a b/c";
        assert_eq!(of(object).as_deref(), Some("a b/c"));
        assert_eq!(of("/cvmfs/os.example.org/bin/sh").as_deref(), Some("bin/sh"));
        for line in [
            "# /cvmfs/os.example.org/x",
            "snapshot os.example.org 073e8f52186124b22c195c432d6dcd95f5e7e9b7 1205",
            "object os.example.org 2a695360ba25033e8899486a62c9dc7316650b56C 7 zlib /cvmfs/os.example.org",
            "object os.example.org 2a695360ba25033e8899486a62c9dc7316650b56",
            "/cvmfs/os.example.org/../../etc/shadow",
            "/cvmfs/os.example.organisation/x",
            "/cvmfs/os.example.org/a\\x0a",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn a_recorded_list_is_gone_through_whatever_is_missing() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("bin")).expect("a directory");
        fs::write(root.path().join("bin/sh"), "x").expect("a file");
        symlink("/nowhere", root.path().join("link")).expect("a link");
        let list: String =
            ["bin", "bin/sh", "bin/absent", "bin/sh/x", "link"].map(|name| format!("/cvmfs/r.org/{name}\n")).concat();
        assert_eq!(fetch_all(&list, "r.org", root.path()), 0);
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
