//! Telling what is at a path: attributes, permissions, targets of links, names.

use super::calls::{At, Buffer, Object};
use super::listener::Notification;
use super::locate::Place;
use super::task::Task;
use super::{Answer, Outcome, Supervisor};
use cvmfs_view::{Errno, name, stat, verdict};
use libc::c_int;
use libcvmfs::namespace::{FileKind, LastLink};
use std::os::unix::ffi::OsStrExt as _;

/// Longest extended attribute and its longest name, as in the kernel.
const ATTRIBUTE_NAME_ROOM: usize = 256;

/// The name below the mount directory by which a program can tell that it is in a session.
pub(crate) const SESSION_LINK: &str = ".cvmfs-run";

impl Supervisor {
    pub(super) fn stat(&self, task: &Task, of: Object, put: impl FnOnce(&libc::stat) -> Outcome) -> Outcome {
        match self.object(task, of)? {
            Place::Native => Ok(Answer::Resume),
            Place::Ours(node) => put(&stat::stat(&node.attributes())),
            Place::Elsewhere(path) => {
                let follow = !matches!(of, Object::Path(_, flags) if flags & libc::AT_SYMLINK_NOFOLLOW != 0);
                put(&stat::of_path(&path, follow)?)
            }
        }
    }

    pub(super) fn access(&self, task: &Task, at: At, mode: c_int, flags: c_int) -> Outcome {
        match self.object(task, Object::Path(at, flags))? {
            Place::Native => Ok(Answer::Resume),
            Place::Ours(node) => {
                verdict::access(&node, mode, &self.caller)?;
                Ok(Answer::Value(0))
            }
            Place::Elsewhere(path) => {
                let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno(libc::ENOENT))?;
                // SAFETY: a C string.
                let done = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, flags) };
                if done == 0 { Ok(Answer::Value(0)) } else { Err(std::io::Error::last_os_error().into()) }
            }
        }
    }

    pub(super) fn read_link(&self, task: &Task, at: At, into: Buffer) -> Outcome {
        if into.size as u32 as c_int <= 0 {
            return Err(Errno(libc::EINVAL).into());
        }
        let path = task.memory.path(at.path)?;
        let place = if path.is_empty() {
            self.locate_descriptor(task, at.dir)?
        } else if self.is_session_link(&path) {
            let text = format!("session {}", std::process::id());
            return self.give_truncated(task, text.as_bytes(), into);
        } else {
            self.locate_path(task, at.dir, &path, LastLink::Keep)?
        };
        match place {
            Place::Ours(node) => {
                if path.is_empty() && node.kind() != FileKind::Symlink {
                    return Err(Errno(libc::ENOENT).into());
                }
                self.give_truncated(task, &node.read_link()?, into)
            }
            Place::Elsewhere(path) => {
                let target = std::fs::read_link(path)?;
                self.give_truncated(task, target.as_os_str().as_bytes(), into)
            }
            // `/proc/self/exe` and its like tell names in the view.
            Place::Native => {
                let path = if path.starts_with(b"/") { path } else { return Ok(Answer::Resume) };
                if !path.starts_with(b"/proc/") {
                    return Ok(Answer::Resume);
                }
                match task.kernel_link(&task.own(&path)) {
                    Some(name) => match name::split(self.view.prefix(), &name) {
                        Some((_, virtual_path)) => self.give_truncated(task, virtual_path, into),
                        None => Ok(Answer::Resume),
                    },
                    None => Ok(Answer::Resume),
                }
            }
        }
    }

    pub(super) fn is_session_link(&self, path: &[u8]) -> bool {
        self.client.namespace().strip(path).is_some_and(|rest| rest.strip_prefix(b"/") == Some(SESSION_LINK.as_bytes()))
    }

    pub(super) fn working_directory(&self, task: &Task, into: Buffer) -> Outcome {
        let Some(directory) = task.working_directory() else { return Ok(Answer::Resume) };
        let Some((_, path)) = name::split(self.view.prefix(), &directory) else { return Ok(Answer::Resume) };
        let mut path = path.to_vec();
        path.push(0);
        if path.len() as u64 > into.size {
            return Err(Errno(libc::ERANGE).into());
        }
        task.write(into.address, &path)?;
        Ok(Answer::Value(path.len() as i64))
    }

    pub(super) fn stat_fs(&self, task: &Task, of: Object, buf: u64, notification: &Notification) -> Outcome {
        match (self.object(task, of)?, of) {
            (Place::Ours(node), _) => self.put(task, buf, &stat::Statfs::of_device(node.attributes().dev)),
            (place, Object::Path(at, _)) => Ok(self.elsewhere(place, notification, at)),
            _ => Ok(Answer::Resume),
        }
    }

    pub(super) fn get_attribute(
        &self,
        task: &Task,
        of: Object,
        name: u64,
        into: Buffer,
        notification: &Notification,
    ) -> Outcome {
        if matches!(of, Object::Descriptor(fd) if task.is_path_only(fd)) {
            return Ok(Answer::Resume);
        }
        match (self.object(task, of)?, of) {
            (Place::Ours(node), _) => {
                let name = match task.memory.string(name, ATTRIBUTE_NAME_ROOM) {
                    Err(Errno(libc::ENAMETOOLONG)) => return Err(Errno(libc::ERANGE).into()),
                    name => name?,
                };
                if name.is_empty() {
                    return Err(Errno(libc::ERANGE).into());
                }
                let value = node.get_xattr(&name)?;
                self.give_whole(task, &value, into)
            }
            (place, Object::Path(at, _)) => Ok(self.elsewhere(place, notification, at)),
            _ => Ok(Answer::Resume),
        }
    }

    pub(super) fn list_attributes(
        &self,
        task: &Task,
        of: Object,
        into: Buffer,
        notification: &Notification,
    ) -> Outcome {
        if matches!(of, Object::Descriptor(fd) if task.is_path_only(fd)) {
            return Ok(Answer::Resume);
        }
        match (self.object(task, of)?, of) {
            (Place::Ours(node), _) => {
                let mut list = Vec::new();
                for name in node.list_xattrs()? {
                    list.extend_from_slice(&name);
                    list.push(0);
                }
                self.give_whole(task, &list, into)
            }
            (place, Object::Path(at, _)) => Ok(self.elsewhere(place, notification, at)),
            _ => Ok(Answer::Resume),
        }
    }

    pub(super) fn handle(&self, task: &Task, of: Object) -> Outcome {
        match self.object(task, of)? {
            Place::Ours(_) => Err(Errno(libc::EOPNOTSUPP).into()),
            _ => Ok(Answer::Resume),
        }
    }

    /// As much as there is room for.
    pub(super) fn give_truncated(&self, task: &Task, bytes: &[u8], into: Buffer) -> Outcome {
        let bytes = bytes.get(..into.size as usize).unwrap_or(bytes);
        task.write(into.address, bytes)?;
        Ok(Answer::Value(bytes.len() as i64))
    }

    /// All, or `ERANGE`; without room only the length is told.
    pub(super) fn give_whole(&self, task: &Task, bytes: &[u8], into: Buffer) -> Outcome {
        if into.size > 0 {
            if bytes.len() as u64 > into.size {
                return Err(Errno(libc::ERANGE).into());
            }
            task.write(into.address, bytes)?;
        }
        Ok(Answer::Value(bytes.len() as i64))
    }
}
