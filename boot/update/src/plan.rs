//! What becomes of the whole overlay: steps to take, and what users should know of them.
//!
//! Only the overlay is walked. What is not in it comes from the new tree anyway, and asking for all of that would fetch every
//! catalog of an operating system.

use crate::decision::{self, Below, Changed, Decision, Place, Upper};
use crate::{At as _, Error};
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The three trees, each at its root.
#[derive(Debug, Clone, Copy)]
pub struct Trees<'a> {
    /// The tree that was below until now, if it can still be had.
    pub base: Option<&'a Path>,
    /// The tree that is to be below.
    pub new: &'a Path,
    /// The writable branch.
    pub upper: &'a Path,
}

/// A change of the overlay. Paths begin below its root. Each can be made twice, and is not made where it was made already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take the entry away, and keep it elsewhere.
    Replace(PathBuf),
    /// Remove a whiteout.
    Unhide(PathBuf),
    /// Let a directory be seen together with the one below it.
    Open(PathBuf),
    /// Put a file here that was prepared.
    Install(PathBuf),
    /// Put a file that was prepared beside the overlay, among those of the loader.
    Furnish(PathBuf),
}

/// Steps, and lines for the log: what happened to which path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are made.
    pub steps: Vec<Step>,
    /// What users may want to know.
    pub log: Vec<String>,
    /// How many entries both sides have changed; the user's were kept.
    pub conflicts: usize,
}

/// Decides what becomes of every entry.
///
/// # Errors
/// Where one of the trees cannot be read.
pub fn plan(trees: &Trees<'_>) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        let place = trees.upper.join(&directory);
        let mut names = Vec::new();
        for entry in fs::read_dir(&place).at(&place)? {
            names.push(entry.at(&place)?.file_name());
        }
        names.sort();
        for name in names {
            let path = directory.join(name);
            let decision = of_one(trees, &path)?;
            plan.note(decision, &path);
            if matches!(decision, Decision::Descend | Decision::OpenAndDescend) {
                left.push(path);
            }
        }
    }
    Ok(plan)
}

impl Plan {
    fn note(&mut self, decision: Decision, path: &Path) {
        let (word, step) = match decision {
            Decision::Keep => ("preserve", None),
            Decision::Conflict => ("conflict", None),
            Decision::Replace => ("rebase", Some(Step::Replace(path.to_owned()))),
            Decision::Unhide => ("restore", Some(Step::Unhide(path.to_owned()))),
            Decision::OpenAndDescend => ("open", Some(Step::Open(path.to_owned()))),
            Decision::Descend => return,
        };
        self.conflicts += usize::from(decision == Decision::Conflict);
        self.log.push(format!("{word} /{}", decision::shown(path)));
        self.steps.extend(step);
    }
}

fn of_one(trees: &Trees<'_>, path: &Path) -> Result<Decision, Error> {
    let own = trees.upper.join(path);
    let found = fs::symlink_metadata(&own).at(&own)?;
    let upper = match &found {
        found if found.is_dir() => Upper::Directory { opaque: decision::is_opaque(&own) },
        found if found.file_type().is_char_device() && found.rdev() == 0 => Upper::Whiteout,
        _ => Upper::Other,
    };
    let new = trees.new.join(path);
    let below = match look(&new)? {
        None => Below::Nothing,
        Some(found) if found.is_dir() => Below::Directory,
        Some(_) => Below::Other,
    };
    let mut failed = None;
    let changed = || {
        let Some(base) = trees.base.map(|base| base.join(path)) else {
            return Changed { by_user: true, by_system: true };
        };
        let differs = |one: &Path, other: &Path, failed: &mut Option<Error>| match same(one, other) {
            Ok(same) => !same,
            Err(error) => {
                *failed = Some(error);
                true
            }
        };
        Changed { by_user: differs(&own, &base, &mut failed), by_system: differs(&base, &new, &mut failed) }
    };
    let decision = decision::decide(Place::of(path), upper, below, changed);
    failed.map_or(Ok(decision), Err)
}

/// What is at `path`, without following a link at its end; a tree that has a file where a directory was has nothing there.
pub(crate) fn look(path: &Path) -> Result<Option<Metadata>, Error> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).at(path),
    }
}

/// Whether two entries are alike: kind, permissions, owners and content. What only one side has is not alike.
fn same(one: &Path, other: &Path) -> Result<bool, Error> {
    let (Some(first), Some(second)) = (look(one)?, look(other)?) else { return Ok(false) };
    let about = |found: &Metadata| (found.mode(), found.uid(), found.gid());
    if about(&first) != about(&second) {
        return Ok(false);
    }
    if first.is_symlink() {
        return Ok(fs::read_link(one).at(one)? == fs::read_link(other).at(other)?);
    }
    if !first.is_file() {
        return Ok(first.rdev() == second.rdev());
    }
    Ok(first.len() == second.len() && same_bytes(one, other)?)
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool, Error> {
    let (mut first, mut second) = (File::open(one).at(one)?, File::open(other).at(other)?);
    let (mut room, mut other_room) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let length = first.read(&mut room).at(one)?;
        let Some((read, rest)) = room.get(..length).zip(other_room.get_mut(..length)) else { return Ok(false) };
        if length == 0 {
            return Ok(second.read(&mut other_room).at(other)? == 0);
        }
        if second.read_exact(rest).is_err() || read != rest {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    fn file(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().expect("a parent")).expect("a directory");
        fs::write(root.join(path), text).expect("a file");
    }

    fn whiteout(root: &Path, path: &str) {
        fs::create_dir_all(root.join(path).parent().expect("a parent")).expect("a directory");
        mknodat(CWD, root.join(path), FileType::CharacterDevice, Mode::empty(), 0).expect("a whiteout");
    }

    #[test]
    fn an_overlay_with_everything_in_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = |name: &str| {
            let root = directory.path().join(name);
            fs::create_dir(&root).expect("a directory");
            root
        };
        let (base, new, upper) = (root("base"), root("new"), root("upper"));
        for (path, old, now) in [
            ("etc/both", "1", "2"),
            ("etc/mine", "1", "1"),
            ("etc/touched", "1", "2"),
            ("etc/issue", "1", "2"),
            ("usr/bin/tool", "1", "2"),
            ("usr/bin/gone", "1", "2"),
            ("var/lib/dpkg/status", "1", "2"),
        ] {
            file(&base, path, old);
            file(&new, path, now);
        }
        for (path, text) in [
            ("etc/both", "local"),
            ("etc/mine", "local"),
            ("etc/touched", "1"),
            ("usr/bin/tool", "local"),
            ("usr/local/own", "local"),
            ("var/lib/dpkg/status", "local"),
            ("home/user/file", "local"),
        ] {
            file(&upper, path, text);
        }
        whiteout(&upper, "etc/issue");
        whiteout(&upper, "usr/bin/gone");
        whiteout(&upper, "opt/nothing");
        let trees = Trees { base: Some(&base), new: &new, upper: &upper };
        let made = plan(&trees).expect("a plan");
        let mut log = made.log.clone();
        log.sort();
        assert_eq!(
            log,
            [
                "conflict /etc/both",
                "preserve /etc/issue",
                "preserve /etc/mine",
                "preserve /home/user/file",
                "preserve /usr/local/own",
                "rebase /etc/touched",
                "rebase /usr/bin/tool",
                "rebase /var/lib/dpkg/status",
                "restore /opt/nothing",
                "restore /usr/bin/gone",
            ]
        );
        assert_eq!((made.conflicts, made.steps.len()), (1, 5));
        // Nobody knows any more what was there: what is the user's may be his.
        let without = plan(&Trees { base: None, ..trees }).expect("a plan");
        assert_eq!(without.conflicts, 3);
        assert!(!without.steps.contains(&Step::Replace("etc/touched".into())));
    }

    #[test]
    fn files_of_one_length_are_compared() {
        let directory = tempfile::tempdir().expect("a directory");
        let of = |name: &str, bytes: &[u8]| {
            let file = directory.path().join(name);
            fs::write(&file, bytes).expect("a file");
            file
        };
        let long = vec![7; 200_000];
        let mut other = long.clone();
        other[199_999] = 8;
        let (one, two, three) = (of("1", &long), of("2", &long), of("3", &other));
        assert!(same(&one, &two).expect("files"));
        assert!(!same(&one, &three).expect("files"));
        assert!(!same(&one, Path::new("/nowhere")).expect("files"));
    }
}
