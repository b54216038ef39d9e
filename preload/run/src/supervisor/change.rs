//! Attempts to change the tree: refused in the words of a read-only file system.
//!
//! The order of the checks is the kernel's. Making a name that exists is `EEXIST`. Removing or renaming a name is
//! `EROFS` whether or not it exists, since the kernel looks at the mount before the name. Across the border of the
//! tree it is `EXDEV`. Changing the attributes of something is `EROFS`, or `ENOENT` if it does not exist.

use super::calls::{At, Object};
use super::listener::Notification;
use super::locate::{Place, last_link};
use super::task::Task;
use super::{Answer, Outcome, Supervisor};
use cvmfs_view::{Errno, Refusal};
use libc::c_int;
use libcvmfs::namespace::{FileKind, LastLink};
use std::os::unix::ffi::OsStrExt as _;

const READ_ONLY: Refusal = Refusal::Error(Errno(libc::EROFS));

impl Supervisor {
    pub(super) fn make(&self, task: &Task, at: At, notification: &Notification) -> Outcome {
        let path = task.memory.path(at.path)?;
        match self.locate_path(task, at.dir, &path, LastLink::Keep) {
            Ok(Place::Ours(_)) => Err(Errno(libc::EEXIST).into()),
            Ok(place) => Ok(self.elsewhere(place, notification, at)),
            Err(Refusal::Error(Errno(libc::ENOENT))) => match self.parent(task, at.dir, &path)? {
                Place::Ours(_) => Err(READ_ONLY),
                place => Ok(self.elsewhere(place, notification, at)),
            },
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn remove(&self, task: &Task, at: At, notification: &Notification) -> Outcome {
        let path = task.memory.path(at.path)?;
        match self.parent(task, at.dir, &path)? {
            Place::Ours(_) => Err(READ_ONLY),
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
        self.two_names(task, from, to)
    }

    pub(super) fn link(&self, task: &Task, from: At, to: At, flags: c_int) -> Outcome {
        if flags & libc::AT_EMPTY_PATH != 0 && task.memory.path(from.path)?.is_empty() {
            return match (self.locate_descriptor(task, from.dir)?, self.is_inside(task, to)?) {
                (Place::Native, false) => Ok(Answer::Resume),
                (Place::Ours(_), true) => Err(READ_ONLY),
                _ => Err(Errno(libc::EXDEV).into()),
            };
        }
        // Unlike a rename, a link needs what it is to be made of, and a name that is free.
        let last = if flags & libc::AT_SYMLINK_FOLLOW != 0 { LastLink::Follow } else { LastLink::Keep };
        self.locate(task, from, last)?;
        match self.locate(task, to, LastLink::Keep) {
            Ok(Place::Ours(_)) => Err(Errno(libc::EEXIST).into()),
            Ok(_) | Err(Refusal::Error(Errno(libc::ENOENT))) => self.two_names(task, from, to),
            Err(refusal) => Err(refusal),
        }
    }

    fn two_names(&self, task: &Task, from: At, to: At) -> Outcome {
        match (self.is_inside(task, from)?, self.is_inside(task, to)?) {
            (false, false) => Ok(Answer::Resume),
            (true, true) => Err(READ_ONLY),
            _ => Err(Errno(libc::EXDEV).into()),
        }
    }

    /// Whether a name is, or would be, in a directory of the tree.
    fn is_inside(&self, task: &Task, at: At) -> Result<bool, Refusal> {
        let path = task.memory.path(at.path)?;
        if path.is_empty() {
            return Ok(false);
        }
        Ok(matches!(self.parent(task, at.dir, &path)?, Place::Ours(_)))
    }

    pub(super) fn alter(&self, task: &Task, of: Object, notification: &Notification) -> Outcome {
        match of {
            Object::Descriptor(_) => match self.object(task, of)? {
                Place::Ours(_) => Err(READ_ONLY),
                _ => Ok(Answer::Resume),
            },
            Object::Path(at, _) => match self.object(task, of)? {
                Place::Ours(_) => Err(READ_ONLY),
                place => Ok(self.elsewhere(place, notification, at)),
            },
        }
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
