//! Telling what is inside a root of its own.

use super::walk::{Found, Spot, Walked, is_kernel_link};
use super::{Inside, real_path};
use crate::supervisor::calls::{At, Buffer, Object};
use crate::supervisor::locate::last_link;
use crate::supervisor::{Answer, Outcome};
use cvmfs_union::lookup::Source;
use cvmfs_union::ownership::ATTRIBUTE;
use cvmfs_view::{Errno, Refusal, name, stat, verdict};
use libc::c_int;
use libcvmfs::namespace::LastLink;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// Longest extended attribute and its longest name, as in the kernel.
const ATTRIBUTE_ROOM: usize = 1 << 16;
const NAME_ROOM: usize = 256;

/// What a call is about.
pub(super) enum Subject {
    Found(Found),
    /// Something that is open.
    Open {
        /// The kernel's link to it.
        link: PathBuf,
        /// Its real name.
        name: Vec<u8>,
    },
    /// What the kernel says.
    Native,
}

impl Inside<'_> {
    /// What is open under this number.
    pub(super) fn descriptor(&self, fd: c_int) -> Subject {
        match self.task.descriptor(fd) {
            Some(name) if self.rooted.inside(&name).is_some() => {
                Subject::Open { link: format!("/proc/{}/fd/{fd}", self.task.tid).into(), name }
            }
            _ => Subject::Native,
        }
    }

    /// What a call is about; a name that is missing is `ENOENT`.
    pub(super) fn subject(&self, of: Object) -> Result<Subject, Refusal> {
        let (at, flags) = match of {
            Object::Descriptor(fd) => return Ok(self.descriptor(fd)),
            Object::Path(at, flags) => (at, flags),
        };
        let may_be_empty = flags & libc::AT_EMPTY_PATH != 0;
        let path = if may_be_empty && at.path == 0 { Vec::new() } else { self.task.memory.path(at.path)? };
        if path.is_empty() && may_be_empty {
            if at.dir != libc::AT_FDCWD {
                return Ok(self.descriptor(at.dir));
            }
            return self.walked(self.walk(at.dir, b".", LastLink::Follow)?);
        }
        self.walked(self.walk(at.dir, &path, last_link(flags))?)
    }

    fn walked(&self, walked: Walked) -> Result<Subject, Refusal> {
        match walked {
            Walked::Found(found) => Ok(Subject::Found(found)),
            Walked::Missing { .. } => Err(Errno(libc::ENOENT).into()),
            Walked::Native => Ok(Subject::Native),
        }
    }

    pub(super) fn stat(&self, of: Object, put: impl FnOnce(&libc::stat) -> Outcome) -> Outcome {
        match self.subject(of)? {
            Subject::Native => Ok(Answer::Resume),
            Subject::Found(Found { spot: Spot::Union(entry), .. }) => put(entry.stat()),
            Subject::Found(Found { spot: Spot::Ours(node), .. }) => put(&stat::stat(&node.attributes())),
            Subject::Found(Found { spot: Spot::Host { real, mut stat, .. }, .. }) => {
                self.rooted.union.present_of_host(&mut stat);
                // Who opens a file of a layer by the kernel's link should be told the same as by its name.
                if is_kernel_link(&real)
                    && let Ok(name) = std::fs::read_link(real_path(&real)).map(|name| name.into_os_string().into_vec())
                {
                    self.rooted.present_open(real_path(&real), &name, &mut stat);
                }
                put(&stat)
            }
            Subject::Open { link, name } => {
                if name::split(&self.rooted.view, &name).is_some()
                    && let Object::Descriptor(fd) | Object::Path(At { dir: fd, .. }, _) = of
                    && let crate::supervisor::locate::Place::Ours(node) =
                        self.supervisor.locate_descriptor(self.task, fd)?
                {
                    return put(&stat::stat(&node.attributes()));
                }
                let mut found = stat::of_path(&link, true)?;
                self.rooted.union.present_of_host(&mut found);
                self.rooted.present_open(&link, &name, &mut found);
                put(&found)
            }
        }
    }

    pub(super) fn access(&self, at: At, mode: c_int, flags: c_int) -> Outcome {
        if mode & !(libc::R_OK | libc::W_OK | libc::X_OK) != 0 {
            return Err(Errno(libc::EINVAL).into());
        }
        match self.subject(Object::Path(at, flags))? {
            Subject::Native | Subject::Open { .. } => Ok(Answer::Resume),
            Subject::Found(Found { spot: Spot::Union(entry), .. }) => {
                // Root may do everything but run what nobody may run.
                let runs = entry.is_directory() || entry.stat().st_mode & 0o111 != 0;
                if mode & libc::X_OK != 0 && !runs { Err(Errno(libc::EACCES).into()) } else { Ok(Answer::Value(0)) }
            }
            Subject::Found(Found { spot: Spot::Ours(node), .. }) => {
                verdict::access(&node, mode, &self.supervisor.caller)?;
                Ok(Answer::Value(0))
            }
            Subject::Found(Found { spot: Spot::Host { real, read_only, .. }, .. }) => {
                if read_only && mode & libc::W_OK != 0 {
                    return Err(Errno(libc::EROFS).into());
                }
                let path = CString::new(real).map_err(|_| Errno(libc::ENOENT))?;
                // SAFETY: a C string.
                let done = unsafe { libc::access(path.as_ptr(), mode) };
                if done == 0 { Ok(Answer::Value(0)) } else { Err(std::io::Error::last_os_error().into()) }
            }
        }
    }

    pub(super) fn read_link(&self, at: At, into: Buffer) -> Outcome {
        if into.size as u32 as c_int <= 0 {
            return Err(Errno(libc::EINVAL).into());
        }
        let path = self.task.memory.path(at.path)?;
        if self.supervisor.is_session_link(&path) {
            return self.supervisor.read_link(self.task, at, into);
        }
        let found = if path.is_empty() {
            // A link that is open is at its name.
            match self.descriptor(at.dir) {
                Subject::Open { name, .. } => match self.rooted.inside(&name) {
                    Some(path) => self.walk(libc::AT_FDCWD, &path, LastLink::Keep)?,
                    None => return Ok(Answer::Resume),
                },
                _ => return Ok(Answer::Resume),
            }
        } else {
            self.walk(at.dir, &path, LastLink::Keep)?
        };
        let found = match found {
            Walked::Found(found) => found,
            Walked::Missing { .. } => return Err(Errno(libc::ENOENT).into()),
            Walked::Native => return Ok(Answer::Resume),
        };
        let target = match &found.spot {
            Spot::Union(entry) => self.rooted.union.read_link(entry, &found.path)?,
            Spot::Ours(node) => node.read_link()?,
            Spot::Host { real, .. } => {
                let target = self.link_of_host(real)?;
                let is_kernels = super::walk::is_kernel_link(real);
                self.rooted.inside(&target).filter(|_| is_kernels).unwrap_or(target)
            }
        };
        self.supervisor.give_truncated(self.task, &target, into)
    }

    pub(super) fn working_directory(&self, into: Buffer) -> Outcome {
        let Some(name) = self.task.working_directory() else { return Ok(Answer::Resume) };
        let Some(mut path) = self.rooted.inside(&name) else { return Ok(Answer::Resume) };
        if path.ends_with(b" (deleted)") {
            return Err(Errno(libc::ENOENT).into());
        }
        path.push(0);
        if path.len() as u64 > into.size {
            return Err(Errno(libc::ERANGE).into());
        }
        self.task.write(into.address, &path)?;
        Ok(Answer::Value(path.len() as i64))
    }

    /// `None`: it is what it is for all programs.
    pub(super) fn stat_fs(&self, at: At, buf: u64) -> Result<Option<Answer>, Refusal> {
        let Subject::Found(Found { spot: Spot::Union(_), .. }) = self.subject(Object::Path(at, 0))? else {
            return Ok(None);
        };
        // That of the layer: there is room there, or not.
        let path = CString::new(self.rooted.directory().into_os_string().into_vec()).map_err(|_| Errno(libc::EIO))?;
        // SAFETY: a structure of plain numbers.
        let mut told: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: a C string and room for the answer.
        if unsafe { libc::statfs(path.as_ptr(), &mut told) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        self.supervisor.put(self.task, buf, &told).map(Some)
    }

    /// The real file that has the attributes of something in the union; `None` if it is nothing of that.
    fn attributed(&self, of: Object) -> Result<Option<PathBuf>, Refusal> {
        Ok(match self.subject(of)? {
            Subject::Found(Found { spot: Spot::Union(entry), path }) => match self.rooted.union.source(&entry, &path) {
                Source::File(real) => Some(real),
                Source::Node(_) => None,
            },
            Subject::Open { link, name } => self.rooted.is_of_union(&name).then_some(link),
            _ => None,
        })
    }

    pub(super) fn get_attribute(&self, of: Object, name: u64, into: Buffer) -> Result<Option<Answer>, Refusal> {
        let Some(real) = self.attributed(of)? else { return Ok(None) };
        let name = self.task.memory.string(name, NAME_ROOM)?;
        if name == ATTRIBUTE.to_bytes() {
            return Err(Errno(libc::ENODATA).into());
        }
        let mut value = vec![0; ATTRIBUTE_ROOM];
        let name = OsStr::from_bytes(&name);
        let length = match of {
            Object::Path(_, flags) if flags & libc::AT_SYMLINK_NOFOLLOW != 0 => {
                rustix::fs::lgetxattr(&real, name, &mut value)?
            }
            _ => rustix::fs::getxattr(&real, name, &mut value)?,
        };
        value.truncate(length);
        self.supervisor.give_whole(self.task, &value, into).map(Some)
    }

    pub(super) fn list_attributes(&self, of: Object, into: Buffer) -> Result<Option<Answer>, Refusal> {
        let Some(real) = self.attributed(of)? else { return Ok(None) };
        let mut list = vec![0; ATTRIBUTE_ROOM];
        let length = match of {
            Object::Path(_, flags) if flags & libc::AT_SYMLINK_NOFOLLOW != 0 => {
                rustix::fs::llistxattr(&real, &mut list)?
            }
            _ => rustix::fs::listxattr(&real, &mut list)?,
        };
        list.truncate(length);
        let shown = list.split_inclusive(|&byte| byte == 0).filter(|name| *name != ATTRIBUTE.to_bytes_with_nul());
        let shown: Vec<u8> = shown.flatten().copied().collect();
        self.supervisor.give_whole(self.task, &shown, into).map(Some)
    }
}
