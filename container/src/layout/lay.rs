//! Making a planned root in a directory.

use super::{Part, Plan};
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// How the tree's own parts come to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Showing {
    /// By links to the tree.
    Links,
    /// By mounts, for which places are made.
    Places,
}

/// What was not made.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Paths where something else was there already, which stays.
    pub(crate) there: Vec<PathBuf>,
    /// Files that the caller may not read, and devices, pipes and sockets.
    pub(crate) left_out: Vec<PathBuf>,
}

/// Makes the root in the directory `root`. What is there already stays: laying the same again changes nothing.
///
/// # Errors
/// If something cannot be read or written, or lies in the way of a directory.
pub(crate) fn lay(plan: &Plan, tree: &Path, root: &Path, showing: Showing) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for (path, part) in plan.parts() {
        let (from, to) = (tree.join(path), root.join(path));
        let made = match part {
            Part::Directory(bits) => directory(&to, *bits),
            Part::Link(target) => link(target, &to, &mut outcome),
            Part::Empty => unless_there(&to, &mut outcome, |to| File::create_new(to).map(drop)),
            Part::Shown if showing == Showing::Links => link(&from, &to, &mut outcome),
            Part::Shown if from.is_dir() => directory(&to, 0o755),
            Part::Shown => unless_there(&to, &mut outcome, |to| File::create_new(to).map(drop)),
            Part::Imported => copy(&Path::new("/").join(path), &to, &mut outcome),
            Part::Copied => copy(&from, &to, &mut outcome),
        };
        made.with_context(|| format!("making {}", to.display()))?;
    }
    Ok(outcome)
}

fn directory(to: &Path, bits: u32) -> Result<()> {
    match fs::create_dir(to) {
        Ok(()) => Ok(fs::set_permissions(to, Permissions::from_mode(bits))?),
        Err(_) if fs::symlink_metadata(to).is_ok_and(|found| found.is_dir()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!("something else is in the way"),
        Err(error) => Err(error.into()),
    }
}

fn link(target: &Path, to: &Path, outcome: &mut Outcome) -> Result<()> {
    if fs::read_link(to).is_ok_and(|known| known == target) {
        return Ok(());
    }
    unless_there(to, outcome, |to| symlink(target, to))
}

fn unless_there(to: &Path, outcome: &mut Outcome, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    match make(to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => outcome.there.push(to.to_owned()),
        made => made?,
    }
    Ok(())
}

/// Copies a file, or a directory with all that is in it. At the top a link is followed, and none below.
fn copy(from: &Path, to: &Path, outcome: &mut Outcome) -> Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        outcome.there.push(to.to_owned());
        return Ok(());
    }
    let mut open = vec![(from.to_owned(), to.to_owned(), fs::metadata(from)?)];
    // Bits and times are given when nothing is put in any more.
    let mut directories = Vec::new();
    while let Some((from, to, found)) = open.pop() {
        let kind = found.file_type();
        let done = match () {
            () if kind.is_symlink() => fs::read_link(&from).and_then(|target| symlink(target, &to)),
            () if kind.is_file() => copy_file(&from, &to, &found),
            () if kind.is_dir() => fs::read_dir(&from).and_then(|entries| {
                fs::create_dir(&to)?;
                for entry in entries {
                    let entry = entry?;
                    open.push((entry.path(), to.join(entry.file_name()), entry.metadata()?));
                }
                directories.push((to, found));
                Ok(())
            }),
            () => Err(io::ErrorKind::PermissionDenied.into()),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => outcome.left_out.push(from),
            done => done.with_context(|| format!("copying {}", from.display()))?,
        }
    }
    for (directory, found) in directories.iter().rev() {
        File::open(directory)
            .and_then(|open| {
                open.set_times(times(found)?)?;
                open.set_permissions(Permissions::from_mode(found.permissions().mode() & 0o7777))
            })
            .with_context(|| format!("copying to {}", directory.display()))?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
    fs::copy(from, to)?;
    // The copy may be read-only, which its times need not be.
    File::open(to)?.set_times(times(found)?)
}

fn times(found: &Metadata) -> io::Result<FileTimes> {
    Ok(FileTimes::new().set_accessed(found.accessed()?).set_modified(found.modified()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    /// Path, kind, bits, target or content.
    fn listed(root: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let mut open = vec![root.to_owned()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let found = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                lines.push(match () {
                    () if found.is_symlink() => format!("{name} -> {}", fs::read_link(&path).unwrap().display()),
                    () if found.is_dir() => format!("{name}/ {:o}", found.permissions().mode() & 0o7777),
                    () => format!(
                        "{name} {:o} {:?}",
                        found.permissions().mode() & 0o7777,
                        fs::read_to_string(&path).unwrap()
                    ),
                });
                if found.is_dir() {
                    open.push(path);
                }
            }
        }
        lines.sort();
        lines
    }

    #[test]
    fn the_same_laid_again_changes_nothing() {
        let (tree, root, host) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (tree, root) = (tree.path(), root.path());
        for directory in ["etc/closed", "usr/local", "usr/bin"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        fs::write(tree.join("etc/closed/file"), "old").unwrap();
        fs::set_permissions(tree.join("etc/closed/file"), Permissions::from_mode(0o440)).unwrap();
        fs::set_permissions(tree.join("etc/closed"), Permissions::from_mode(0o550)).unwrap();
        symlink("/not/there", tree.join("etc/link")).unwrap();
        symlink("usr/bin", tree.join("bin")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, tree.join("etc/pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        fs::write(host.path().join("hosts"), "host").unwrap();

        let import = host.path().join("hosts");
        let rules = format!("readonly /\ncopy /etc\nwritable /usr/local\ntouch /etc/mtab\nimport {}", import.display());
        let plan = Plan::new(&rules.parse().unwrap(), tree).unwrap();
        let outcome = lay(&plan, tree, root, Showing::Links).unwrap();
        assert_eq!(outcome.left_out, [tree.join("etc/pipe")]);
        assert!(outcome.there.is_empty());
        let found = listed(root);
        for line in [
            "bin -> usr/bin",
            "etc/closed/ 550",
            "etc/closed/file 440 \"old\"",
            "etc/link -> /not/there",
            "etc/mtab 644 \"\"",
            "usr/local/ 755",
            &format!("usr/bin -> {}", tree.join("usr/bin").display()),
            &format!("{} 644 \"host\"", import.strip_prefix("/").unwrap().display()),
        ] {
            assert!(found.iter().any(|found| found == line), "{line}: {found:#?}");
        }
        fs::write(root.join("etc/mtab"), "mine").unwrap();
        fs::write(root.join("usr/local/mine"), "mine").unwrap();
        let changed = listed(root);
        let outcome = lay(&plan, tree, root, Showing::Links).unwrap();
        assert_eq!(listed(root), changed);
        assert!(outcome.there.contains(&root.join("etc/mtab")));
    }

    /// A link that a program has put into the place of a directory leads nowhere.
    #[test]
    fn nothing_is_laid_through_a_link() {
        let (tree, root, elsewhere) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(tree.path().join("etc")).unwrap();
        fs::write(tree.path().join("etc/passwd"), "").unwrap();
        let plan = Plan::new(&"copy /etc\ntouch /etc/mtab".parse().unwrap(), tree.path()).unwrap();
        symlink(elsewhere.path(), root.path().join("etc")).unwrap();
        assert!(lay(&plan, tree.path(), root.path(), Showing::Links).is_err());
        assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
    }
}
