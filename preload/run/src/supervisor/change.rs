//! Attempts to change the tree: refused in the words of a read-only file system.
//!
//! The order of the checks is the kernel's. Making a name that exists is `EEXIST`. Removing or renaming a name is
//! `EROFS` whether or not it exists, since the kernel looks at the mount before the name. Across the border of the
//! tree it is `EXDEV`. Changing the attributes of something is `EROFS`, or `ENOENT` if it does not exist.

use super::calls::{At, Made, Object};
use super::listener::Notification;
use super::locate::{Place, last_link};
use super::task::Task;
use super::{Answer, Outcome, Supervisor, early};
use cvmfs_view::{Errno, Refusal, verdict};
use libc::c_int;
use libcvmfs::namespace::{FileKind, LastLink, Node};
use std::os::unix::ffi::OsStrExt as _;

pub(super) const READ_ONLY: Refusal = Refusal::Error(Errno(libc::EROFS));

impl Supervisor {
    pub(super) fn make(&self, task: &Task, at: At, what: Made, notification: &Notification) -> Outcome {
        let path = task.memory.path(at.path)?;
        // A slash at the end does not make the kernel follow a link here.
        match self.locate_path(task, at.dir, without_slashes(&path), LastLink::Keep) {
            Ok(Place::Ours(_)) => Err(Errno(libc::EEXIST).into()),
            Ok(place) => Ok(self.elsewhere(place, notification, at)),
            Err(Refusal::Error(Errno(libc::ENOENT))) => match self.parent(task, at.dir, &path)? {
                Place::Ours(parent) => {
                    self.may_search(&parent)?;
                    let only_directories = path.ends_with(b"/") && !matches!(what, Made::Directory { .. });
                    Err(if only_directories { Errno(libc::ENOENT).into() } else { READ_ONLY })
                }
                place => Ok(self.elsewhere(place, notification, at)),
            },
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn remove(&self, task: &Task, at: At, directory: bool, notification: &Notification) -> Outcome {
        let path = task.memory.path(at.path)?;
        if path.is_empty() {
            return Err(Errno(libc::ENOENT).into());
        }
        match self.parent(task, at.dir, &path)? {
            Place::Ours(parent) => {
                self.may_search(&parent)?;
                Err(match last_name(&path) {
                    b"." | b".." if !directory => Errno(libc::EISDIR).into(),
                    b"." => Errno(libc::EINVAL).into(),
                    b".." => Errno(libc::ENOTEMPTY).into(),
                    _ => READ_ONLY,
                })
            }
            // The name itself may be a link of ours that leads out: the link is what is meant.
            Place::Elsewhere(_) | Place::Native => match self.locate_path(task, at.dir, &path, LastLink::Keep) {
                Ok(Place::Ours(_)) => Err(Errno(libc::EBUSY).into()),
                Ok(place) => Ok(self.elsewhere(place, notification, at)),
                Err(Refusal::Error(Errno(libc::ENOENT))) => Ok(Answer::Resume),
                Err(refusal) => Err(refusal),
            },
        }
    }

    pub(super) fn rename(&self, task: &Task, from: At, to: At) -> Outcome {
        match (self.holder(task, from)?, self.holder(task, to)?) {
            (None, None) => Ok(Answer::Resume),
            (Some(from_device), Some(to_device)) if from_device == to_device => {
                for at in [from, to] {
                    if matches!(last_name(&task.memory.path(at.path)?), b"." | b"..") {
                        return Err(Errno(libc::EBUSY).into());
                    }
                }
                Err(READ_ONLY)
            }
            _ => Err(Errno(libc::EXDEV).into()),
        }
    }

    pub(super) fn link(&self, task: &Task, from: At, to: At, flags: c_int) -> Outcome {
        // Unlike a rename, a link needs what it is to be made of, and a name that is free.
        let empty = flags & libc::AT_EMPTY_PATH;
        let last = if flags & libc::AT_SYMLINK_FOLLOW != 0 { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        if empty == 0 && task.memory.path(from.path)?.is_empty() {
            return Err(Errno(libc::ENOENT).into());
        }
        let ours = matches!(self.object(task, Object::Path(from, empty | last))?, Place::Ours(_));
        let path = task.memory.path(to.path)?;
        match self.locate_path(task, to.dir, without_slashes(&path), LastLink::Keep) {
            Ok(Place::Ours(_)) => return Err(Errno(libc::EEXIST).into()),
            Ok(_) | Err(Refusal::Error(Errno(libc::ENOENT))) => {}
            Err(refusal) => return Err(refusal),
        }
        match self.holder(task, to)? {
            // The kernel asks whether the new name can be made before it compares the file systems.
            Some(_) if path.ends_with(b"/") => Err(Errno(libc::ENOENT).into()),
            Some(_) => Err(READ_ONLY),
            None if ours => Err(Errno(libc::EXDEV).into()),
            None => Ok(Answer::Resume),
        }
    }

    /// The device of the directory of the tree in which a name is, or would be; `None`: it is a native one.
    fn holder(&self, task: &Task, at: At) -> Result<Option<u64>, Refusal> {
        let path = task.memory.path(at.path)?;
        if path.is_empty() {
            return Err(Errno(libc::ENOENT).into());
        }
        if !path.starts_with(b"/") && at.dir != libc::AT_FDCWD && task.descriptor(at.dir).is_none() {
            return Err(Errno(libc::EBADF).into());
        }
        match self.parent(task, at.dir, &path)? {
            Place::Ours(parent) => {
                self.may_search(&parent)?;
                Ok(Some(parent.attributes().dev))
            }
            _ => Ok(None),
        }
    }

    fn may_search(&self, directory: &Node) -> Result<(), Refusal> {
        Ok(verdict::permitted(directory, &self.caller, libc::X_OK)?)
    }

    pub(super) fn alter(&self, task: &Task, of: Object, notification: &Notification) -> Outcome {
        match of {
            // One that is only a path is not good enough: the kernel says so.
            Object::Descriptor(fd) if task.is_path_only(fd) => Ok(Answer::Resume),
            Object::Descriptor(_) => match self.object(task, of)? {
                Place::Ours(_) => Err(READ_ONLY),
                _ => Ok(Answer::Resume),
            },
            Object::Path(at, _) => match self.object(task, of)? {
                Place::Ours(_) if !self.times_make_sense(task, notification) => Err(Errno(libc::EINVAL).into()),
                Place::Ours(_) => Err(READ_ONLY),
                place => Ok(self.elsewhere(place, notification, at)),
            },
        }
    }

    fn times_make_sense(&self, task: &Task, notification: &Notification) -> bool {
        let [_, _, times, ..] = notification.arguments;
        libc::c_long::from(notification.number) != libc::SYS_utimensat || early::are_times(task.memory, times)
    }

    pub(super) fn truncate(&self, task: &Task, at: At, notification: &Notification) -> Outcome {
        match self.locate(task, at, LastLink::Follow)? {
            Place::Ours(node) => match node.kind() {
                FileKind::Directory => Err(Errno(libc::EISDIR).into()),
                FileKind::Regular => Err(READ_ONLY),
                _ => Err(Errno(libc::EINVAL).into()),
            },
            place => Ok(self.elsewhere(place, notification, at)),
        }
    }

    /// What a call is about: a path, or, if that is empty and may be, a descriptor.
    pub(super) fn object(&self, task: &Task, of: Object) -> Result<Place, Refusal> {
        match of {
            Object::Descriptor(fd) => self.locate_descriptor(task, fd),
            Object::Path(at, flags) => {
                let empty = flags & libc::AT_EMPTY_PATH != 0;
                if empty && at.path == 0 {
                    return self.locate_descriptor(task, at.dir);
                }
                let path = task.memory.path(at.path)?;
                if path.is_empty() && empty {
                    return if at.dir == libc::AT_FDCWD {
                        self.locate_path(task, at.dir, b".", LastLink::Follow)
                    } else {
                        self.locate_descriptor(task, at.dir)
                    };
                }
                self.locate_path(task, at.dir, &path, last_link(flags))
            }
        }
    }

    /// The kernel goes on, with the path that was found where the one given cannot be followed.
    pub(super) fn elsewhere(&self, place: Place, notification: &Notification, at: At) -> Answer {
        match place {
            Place::Elsewhere(path) => Answer::Rerun(self.with_path(notification, at, path.as_os_str().as_bytes())),
            _ => Answer::Resume,
        }
    }
}

/// A path without slashes at its end; the root stays.
pub(super) fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(path.len().min(1), |last| last + 1);
    path.get(..end).unwrap_or_default()
}

/// The last name of a path, empty for the root.
pub(super) fn last_name(path: &[u8]) -> &[u8] {
    let path = without_slashes(path);
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}
