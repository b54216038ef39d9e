//! Changing what is inside a root of its own.

use super::tell::Subject;
use super::walk::{Found, Spot, Walked};
use super::{Inside, real_path};
use crate::supervisor::calls::{Alteration, At, Made, Object, Times};
use crate::supervisor::change::{READ_ONLY, last_name, without_slashes};
use crate::supervisor::early;
use crate::supervisor::rerun::Rerun;
use crate::supervisor::{Answer, Outcome};
use cvmfs_union::change::Making;
use cvmfs_union::ownership::{ATTRIBUTE, Ownership};
use cvmfs_union::{below, child_path};
use cvmfs_view::{Errno, Refusal};
use libc::c_int;
use libcvmfs::namespace::LastLink;
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, XattrFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Longest name and value of an extended attribute.
const NAME_ROOM: usize = 256;
const VALUE_ROOM: u64 = 1 << 16;

/// A name that is to be made or taken away.
enum Name {
    /// In the tree or its layers, by its path inside.
    Union(Vec<u8>),
    /// Of the host, by its real path.
    Host {
        real: Vec<u8>,
        read_only: bool,
    },
    Ours,
    Native,
}

impl Inside<'_> {
    fn name_of(&self, walked: Walked) -> Name {
        match walked {
            Walked::Native => Name::Native,
            Walked::Found(Found { path, spot }) => match spot {
                Spot::Union(_) => Name::Union(path),
                Spot::Ours(_) => Name::Ours,
                Spot::Host { real, read_only, .. } => Name::Host { real, read_only },
            },
            Walked::Missing { directory: Found { path, spot }, name, .. } => match spot {
                Spot::Union(_) => Name::Union(child_path(&path, &name)),
                Spot::Ours(_) => Name::Ours,
                Spot::Host { real, read_only, .. } => Name::Host { real: child_path(&real, &name), read_only },
            },
        }
    }

    /// The same call with this path, which is the host's.
    fn of_host(&self, at: At, real: &[u8], read_only: bool) -> Outcome {
        if read_only {
            return Err(READ_ONLY);
        }
        Ok(Answer::Rerun(self.supervisor.with_path(self.notification, at, real)))
    }

    pub(super) fn make(&self, at: At, what: Made) -> Outcome {
        let path = self.task.memory.path(at.path)?;
        let only_directories = path.ends_with(b"/") && !matches!(what, Made::Directory { .. });
        let walked = self.walk(at.dir, without_slashes(&path), LastLink::Keep)?;
        match &walked {
            Walked::Found(_) => return Err(Errno(libc::EEXIST).into()),
            Walked::Missing { .. } if only_directories => return Err(Errno(libc::ENOENT).into()),
            _ => {}
        }
        let target = match what {
            Made::Link { target } => self.task.memory.path(target)?,
            _ => Vec::new(),
        };
        match self.name_of(walked) {
            Name::Native => Ok(Answer::Resume),
            Name::Ours => Err(READ_ONLY),
            Name::Host { real, read_only } => self.of_host(at, &real, read_only),
            Name::Union(path) => {
                let bits = |mode: u32| mode & 0o7777 & !self.task.umask();
                let making = match what {
                    Made::Directory { mode } => Making::Directory(bits(mode) & 0o1777),
                    Made::Node { mode } => Making::Node(mode & libc::S_IFMT, bits(mode)),
                    Made::Link { .. } => Making::Link(&target),
                };
                self.rooted.union.make(&path, &making)?;
                Ok(Answer::Value(0))
            }
        }
    }

    pub(super) fn remove(&self, at: At, directory: bool) -> Outcome {
        let path = self.task.memory.path(at.path)?;
        match last_name(&path) {
            b"." if directory => return Err(Errno(libc::EINVAL).into()),
            b".." if directory => return Err(Errno(libc::ENOTEMPTY).into()),
            b"." | b".." => return Err(Errno(libc::EISDIR).into()),
            _ => {}
        }
        let walked = match self.walk(at.dir, without_slashes(&path), LastLink::Keep)? {
            Walked::Missing { .. } => return Err(Errno(libc::ENOENT).into()),
            walked => walked,
        };
        if let Walked::Found(found) = &walked
            && self.rooted.is_busy(&found.path)
        {
            return Err(Errno(if found.is_directory() && !directory { libc::EISDIR } else { libc::EBUSY }).into());
        }
        match self.name_of(walked) {
            Name::Native => Ok(Answer::Resume),
            Name::Ours => Err(READ_ONLY),
            Name::Host { real, read_only } => self.of_host(at, &real, read_only),
            Name::Union(inside) => {
                if path.ends_with(b"/") && !directory {
                    return Err(Errno(libc::ENOTDIR).into());
                }
                self.rooted.union.remove(&inside, directory)?;
                Ok(Answer::Value(0))
            }
        }
    }

    pub(super) fn rename(&self, from: At, to: At, flags: u32) -> Outcome {
        let (from_path, to_path) = (self.task.memory.path(from.path)?, self.task.memory.path(to.path)?);
        for path in [&from_path, &to_path] {
            if matches!(last_name(path), b"." | b"..") {
                return Err(Errno(libc::EBUSY).into());
            }
        }
        let moved = match self.walk(from.dir, without_slashes(&from_path), LastLink::Keep)? {
            Walked::Missing { .. } => return Err(Errno(libc::ENOENT).into()),
            walked => walked,
        };
        let slashes = from_path.ends_with(b"/") || to_path.ends_with(b"/");
        if let Walked::Found(found) = &moved
            && slashes
            && !found.is_directory()
        {
            return Err(Errno(libc::ENOTDIR).into());
        }
        let target = self.walk(to.dir, without_slashes(&to_path), LastLink::Keep)?;
        for walked in [&moved, &target] {
            if let Walked::Found(found) = walked
                && self.rooted.is_busy(&found.path)
            {
                return Err(Errno(libc::EBUSY).into());
            }
        }
        match (self.name_of(moved), self.name_of(target)) {
            (Name::Union(from), Name::Union(to)) => {
                if to != from && below(&from, &to).is_some() {
                    return Err(Errno(libc::EINVAL).into());
                }
                self.rooted.union.rename(&from, &to, RenameFlags::from_bits_retain(flags))?;
                Ok(Answer::Value(0))
            }
            (Name::Host { real: from, read_only }, Name::Host { real: to, read_only: other }) => {
                if read_only || other {
                    return Err(READ_ONLY);
                }
                Ok(two_paths(libc::SYS_renameat2, &from, &to, flags))
            }
            (Name::Native, Name::Native) => Ok(Answer::Resume),
            (Name::Ours, Name::Ours) => Err(READ_ONLY),
            _ => Err(Errno(libc::EXDEV).into()),
        }
    }

    pub(super) fn link(&self, from: At, to: At, flags: c_int) -> Outcome {
        let last = if flags & libc::AT_SYMLINK_FOLLOW != 0 { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        let subject = self.subject(Object::Path(from, flags & libc::AT_EMPTY_PATH | last))?;
        let to_path = self.task.memory.path(to.path)?;
        let target = match self.walk(to.dir, without_slashes(&to_path), LastLink::Keep)? {
            Walked::Found(_) => return Err(Errno(libc::EEXIST).into()),
            Walked::Missing { .. } if to_path.ends_with(b"/") => return Err(Errno(libc::ENOENT).into()),
            walked => self.name_of(walked),
        };
        let union = &self.rooted.union;
        match (subject, target) {
            (Subject::Found(Found { spot: Spot::Union(_), path }), Name::Union(to)) => union.link(&path, &to)?,
            (Subject::Open { link, name }, Name::Union(to)) if union.is_written(&name) => {
                union.link_real(&link, AtFlags::SYMLINK_FOLLOW, &to)?;
            }
            // A file without a name gets one by the kernel's link to it.
            (Subject::Found(Found { spot: Spot::Host { real, .. }, .. }), Name::Union(to))
                if self.is_written_behind(&real) =>
            {
                union.link_real(real_path(&real), AtFlags::SYMLINK_FOLLOW, &to)?;
            }
            (Subject::Found(Found { spot: Spot::Host { real, .. }, .. }), Name::Host { real: to, read_only }) => {
                if read_only {
                    return Err(READ_ONLY);
                }
                return Ok(two_paths(libc::SYS_linkat, &real, &to, 0));
            }
            (_, Name::Ours) => return Err(READ_ONLY),
            (Subject::Native, Name::Native) => return Ok(Answer::Resume),
            _ => return Err(Errno(libc::EXDEV).into()),
        }
        Ok(Answer::Value(0))
    }

    fn is_written_behind(&self, link: &[u8]) -> bool {
        let name = std::fs::read_link(real_path(link));
        name.is_ok_and(|name| self.rooted.union.is_written(name.as_os_str().as_bytes()))
    }

    pub(super) fn truncate(&self, at: At, length: u64) -> Outcome {
        match self.subject(Object::Path(at, 0))? {
            Subject::Found(Found { spot: Spot::Union(entry), path }) => {
                if entry.is_directory() {
                    return Err(Errno(libc::EISDIR).into());
                }
                if !entry.is(libc::S_IFREG) {
                    return Err(Errno(libc::EINVAL).into());
                }
                let real = self.rooted.union.raise(&path)?;
                File::options().write(true).open(real)?.set_len(length)?;
                Ok(Answer::Value(0))
            }
            Subject::Found(found) => self.alter_elsewhere(at, found),
            _ => Ok(Answer::Resume),
        }
    }

    fn alter_elsewhere(&self, at: At, found: Found) -> Outcome {
        match found.spot {
            Spot::Host { real, read_only, .. } => self.of_host(at, &real, read_only),
            _ => Err(READ_ONLY),
        }
    }

    pub(super) fn alter(&self, of: Object, how: Alteration) -> Outcome {
        if matches!(of, Object::Descriptor(fd) if self.task.is_path_only(fd)) {
            return Ok(Answer::Resume);
        }
        if let Alteration::Times(Times::Nanoseconds(times)) = how
            && !early::are_times(self.task.memory, times)
        {
            return Err(Errno(libc::EINVAL).into());
        }
        match self.subject(of)? {
            Subject::Native => Ok(Answer::Resume),
            Subject::Open { link, name } => {
                if self.rooted.union.is_written(&name) {
                    if how == Alteration::Other {
                        return Ok(Answer::Resume);
                    }
                    let mut told = cvmfs_view::stat::of_path(&link, true)?;
                    self.rooted.present_open(&link, &name, &mut told);
                    return self.apply(&link, &told, how);
                }
                // Of the host.
                let Some(path) = self.rooted.inside(&name) else { return Ok(Answer::Resume) };
                match self.walk(libc::AT_FDCWD, &path, LastLink::Keep)? {
                    Walked::Found(Found { spot: Spot::Union(entry), path }) if how != Alteration::Other => {
                        self.apply(&self.rooted.union.raise(&path)?, entry.stat(), how)
                    }
                    Walked::Found(Found { spot: Spot::Host { read_only: false, .. }, .. }) => Ok(Answer::Resume),
                    _ => Err(READ_ONLY),
                }
            }
            Subject::Found(Found { spot: Spot::Union(entry), path }) => {
                self.apply(&self.rooted.union.raise(&path)?, entry.stat(), how)
            }
            Subject::Found(found) => match of {
                Object::Path(at, _) => self.alter_elsewhere(at, found),
                Object::Descriptor(_) => Ok(Answer::Resume),
            },
        }
    }

    /// Alters a file of the layer, of which `told` was told.
    fn apply(&self, real: &Path, told: &libc::stat, how: Alteration) -> Outcome {
        let kind = told.st_mode & libc::S_IFMT;
        let is_link = kind == libc::S_IFLNK;
        let give = |ownership: Ownership| ownership.give(real, kind == libc::S_IFDIR);
        let before = Ownership::told(told);
        match how {
            Alteration::Mode(_) if is_link => return Err(Errno(libc::EOPNOTSUPP).into()),
            Alteration::Mode(mode) => give(Ownership { mode: mode & 0o7777, ..before })?,
            // Nothing can be kept beside a link; it is root's.
            Alteration::Owner(..) if is_link => {}
            Alteration::Owner(uid, gid) => {
                let or = |new: u32, old: u32| if new == u32::MAX { old } else { new };
                give(Ownership { uid: or(uid, before.uid), gid: or(gid, before.gid), ..before })?;
            }
            Alteration::Times(times) => {
                let times = self.times(times)?;
                let flags = if is_link { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
                rustix::fs::utimensat(CWD, real, &times, flags)?;
            }
            Alteration::SetAttribute { name, value, flags } => {
                let name = self.attribute_name(name)?;
                if value.size > VALUE_ROOM {
                    return Err(Errno(libc::E2BIG).into());
                }
                let mut bytes = vec![0; value.size as usize];
                self.task.memory.read(value.address, &mut bytes)?;
                let flags = XattrFlags::from_bits_retain(flags as u32);
                rustix::fs::setxattr(real, OsStr::from_bytes(&name), &bytes, flags)?;
            }
            Alteration::RemoveAttribute { name } => {
                let name = self.attribute_name(name)?;
                rustix::fs::removexattr(real, OsStr::from_bytes(&name))?;
            }
            Alteration::Other => return Err(Errno(libc::EOPNOTSUPP).into()),
        }
        Ok(Answer::Value(0))
    }

    fn attribute_name(&self, address: u64) -> Result<Vec<u8>, Refusal> {
        let name = self.task.memory.string(address, NAME_ROOM)?;
        match () {
            () if name == ATTRIBUTE.to_bytes() => Err(Errno(libc::EPERM).into()),
            // Access lists would say something else than the bits that are kept beside.
            () if name.starts_with(b"system.") => Err(Errno(libc::EOPNOTSUPP).into()),
            () => Ok(name),
        }
    }

    fn times(&self, times: Times) -> Result<Timestamps, Refusal> {
        let now = Timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW };
        let both = |access, change| Timestamps { last_access: access, last_modification: change };
        let word = |address: u64| self.task.memory.word(address).map(|word| word as i64);
        let pair = |address: u64, unit: i64| -> Result<Timestamps, Errno> {
            let time = |at: u64| Ok::<_, Errno>(Timespec { tv_sec: word(at)?, tv_nsec: word(at + 8)? * unit });
            Ok(both(time(address)?, time(address + 16)?))
        };
        match times {
            Times::Seconds(0) | Times::Microseconds(0) | Times::Nanoseconds(0) => Ok(both(now, now)),
            Times::Nanoseconds(address) => Ok(pair(address, 1)?),
            Times::Microseconds(address) => Ok(pair(address, 1000)?),
            Times::Seconds(address) => {
                let time = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
                Ok(both(time(word(address)?), time(word(address + 8)?)))
            }
        }
    }
}

/// A call about two files of the host.
fn two_paths(number: i64, from: &[u8], to: &[u8], flags: u32) -> Answer {
    let here = libc::AT_FDCWD as u64;
    let rerun = Rerun::brief(number, [here, 0, here, 0, u64::from(flags), 0]);
    Answer::Rerun(rerun.with_string(1, from).with_string(3, to))
}
