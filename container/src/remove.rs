//! Deleting trees that anybody may have made: directories without permissions, and deeper than any path is long.

use crate::child;
use crate::ids::Ids;
use crate::layer;
use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmodat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Deletes what is in the directory `gone`. Others may do so at the same time; who is interrupted leaves the rest to the next.
///
/// # Errors
/// If something stays.
pub(crate) fn everything_in(gone: &Path) -> Result<()> {
    let entries = fs::read_dir(gone).with_context(|| format!("reading {}", gone.display()))?;
    let mut first = Ok(());
    for entry in entries {
        let tree = entry.with_context(|| format!("reading {}", gone.display()))?.path();
        // What stays keeps nothing else from going.
        first = first.and(remove(&tree).with_context(|| format!("deleting {}", tree.display())));
    }
    first
}

fn remove(tree: &Path) -> Result<()> {
    match layer::ids_of(tree)? {
        // Files of other users can be deleted by who is root among them only.
        Some(ids) => removed_by_root(tree, &ids)?,
        None => empty(tree)?,
    }
    match fs::remove_dir_all(tree) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn removed_by_root(tree: &Path, ids: &Ids) -> Result<()> {
    let child = child::start(ids, 0, || empty(tree).map(|()| 0))?;
    match child::end_of(child)? {
        0 => Ok(()),
        _ => bail!("not everything could be deleted"),
    }
}

/// Deletes what is in a directory that somebody else has filled.
pub(crate) fn contents(directory: &Path) -> Result<()> {
    let context = || format!("emptying {}", directory.display());
    empty(directory).with_context(context)?;
    for entry in fs::read_dir(directory).with_context(context)? {
        fs::remove_file(entry.with_context(context)?.path()).with_context(context)?;
    }
    Ok(())
}

/// Deletes all directories in a directory.
fn empty(tree: &Path) -> Result<()> {
    let Some(top) = open(CWD, &CString::new(tree.as_os_str().as_encoded_bytes())?)? else { return Ok(()) };
    let mut number = 0u64;
    loop {
        let directories = names(&top, true)?;
        if directories.is_empty() {
            return Ok(());
        }
        for name in directories {
            // What has something in it comes to the top, so that nothing here depends on how deep a tree is.
            if let Some(directory) = open(top.as_fd(), &name)? {
                for inner in names(&directory, false)? {
                    if unlink(directory.as_fd(), &inner)? {
                        continue;
                    }
                    // Moving a directory writes its '..'.
                    tolerant(chmodat(&directory, &inner, Mode::RWXU, AtFlags::empty()))?;
                    let mut to = CString::new(format!("moved-{number}"))?;
                    while rustix::fs::statat(&top, &to, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                        number += 1;
                        to = CString::new(format!("moved-{number}"))?;
                    }
                    tolerant(renameat(&directory, &inner, &top, &to))?;
                }
            }
            tolerant(unlinkat(&top, &name, AtFlags::REMOVEDIR))?;
        }
    }
}

/// Opens a directory, and lets its owner do everything in it first. `None` if somebody else has deleted it.
fn open(at: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    tolerant(chmodat(at, name, Mode::RWXU, AtFlags::empty()))?;
    match openat(at, name, flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn names(directory: &OwnedFd, directories_only: bool) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." || directories_only && !is_directory(directory, name) {
            continue;
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn is_directory(directory: &OwnedFd, name: &CStr) -> bool {
    let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir())
}

/// Takes away a file or an empty directory; false if it is a directory with something in it.
fn unlink(at: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    match unlinkat(at, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => match unlinkat(at, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => Ok(false),
            done => tolerant(done).map(|()| true),
        },
        done => tolerant(done).map(|()| true),
    }
}

/// Somebody else may be deleting the same.
fn tolerant(done: rustix::io::Result<()>) -> Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn trees_without_permissions_and_deeper_than_a_path_is_long_go() {
        let gone = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("stays"), "x").unwrap();
        let tree = gone.path().join("tree");
        fs::create_dir_all(tree.join("fs/moved-0/moved-1")).unwrap();
        fs::write(tree.join("fs/moved-0/moved-1/file"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.join("fs/moved-0/link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.join("fs/moved-0/moved-1/link")).unwrap();
        let mut at =
            open(CWD, &CString::new(tree.join("fs").as_os_str().as_encoded_bytes()).unwrap()).unwrap().unwrap();
        for _ in 0..3000 {
            mkdirat(&at, c"deeper", Mode::RWXU).unwrap();
            at = openat(&at, c"deeper", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        for closed in ["fs/moved-0/moved-1", "fs/moved-0", "fs"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        everything_in(gone.path()).unwrap();
        assert_eq!(fs::read_dir(gone.path()).unwrap().count(), 0);
        assert!(outside.path().join("stays").exists());
    }
}
