//! Opening, and changing the working directory.

use super::calls::{At, Buffer};
use super::listener::Notification;
use super::locate::Place;
use super::memory::bytes_of;
use super::rerun::Rerun;
use super::task::Task;
use super::{Answer, Outcome, Supervisor};
use cvmfs_view::{Errno, Refusal, verdict};
use libc::{c_int, open_how};
use libcvmfs::namespace::{FileKind, LastLink, Node};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

/// Flags of an open that still mean something when everything is settled.
const KEPT: c_int = libc::O_NONBLOCK
    | libc::O_DIRECT
    | libc::O_NOATIME
    | libc::O_LARGEFILE
    | libc::O_DIRECTORY
    | libc::O_APPEND
    | libc::O_SYNC;

impl Supervisor {
    pub(super) fn open(&self, task: &Task, at: At, flags: c_int, mode: u32, notification: &Notification) -> Outcome {
        let has = |flag: c_int| flags & flag == flag;
        if verdict::creates(flags) && has(libc::O_DIRECTORY) && !has(libc::O_TMPFILE) {
            return Ok(Answer::Resume);
        }
        if has(libc::O_TMPFILE) && !verdict::writes(flags) {
            return Ok(Answer::Resume);
        }
        let exclusive = verdict::creates(flags) && has(libc::O_EXCL);
        let last = if has(libc::O_NOFOLLOW) || exclusive { LastLink::Keep } else { LastLink::Follow };
        let path = task.memory.path(at.path)?;
        if verdict::creates(flags)
            && path.ends_with(b"/")
            && let Place::Ours(_) = self.parent(task, at.dir, &path)?
        {
            // Before the kernel looks at the name: a directory is not made by opening it.
            return Err(Errno(libc::EISDIR).into());
        }
        let node = match self.locate_path(task, at.dir, &path, last) {
            Ok(Place::Ours(node)) => node,
            Ok(Place::Native) => return Ok(Answer::Resume),
            Ok(Place::Elsewhere(path)) if has(libc::O_PATH) => {
                return Ok(Answer::Rerun(self.with_path(notification, at, path.as_os_str().as_bytes())));
            }
            Ok(Place::Elsewhere(path)) => return Ok(open_elsewhere(at, path, flags, mode, last)),
            Err(Refusal::Error(Errno(libc::ENOENT))) if verdict::creates(flags) => {
                return self.missing(task, at.dir, &path);
            }
            Err(refusal) => return Err(refusal),
        };
        verdict::open(&node, flags, &self.caller)?;
        if has(libc::O_PATH) {
            let name = self.named(&node)?;
            let flags = (flags | libc::O_NOFOLLOW) as u64;
            return Ok(Answer::Rerun(
                Rerun::brief(libc::SYS_openat, [libc::AT_FDCWD as u64, 0, flags, 0, 0, 0])
                    .with_string(1, &name)
                    .or_in_place(at, &name, last),
            ));
        }
        let kept = OFlags::from_bits_retain((flags & KEPT) as u32);
        self.keep(&node);
        let file = match node.kind() {
            FileKind::Directory => {
                self.view.fill(&node)?;
                let flags = kept | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                rustix::fs::openat(CWD, self.view.name(&node), flags, Mode::empty()).map_err(Errno::from)?
            }
            FileKind::Regular => self.view.open(&node, kept)?,
            kind => return Ok(open_by_itself(at, &self.named(&node)?, flags, 0, last, kind == FileKind::Fifo)),
        };
        self.note(&node)?;
        Ok(Answer::Descriptor { file, close_on_exec: has(libc::O_CLOEXEC) })
    }

    pub(super) fn open_how(&self, task: &Task, at: At, how: Buffer, notification: &Notification) -> Outcome {
        // SAFETY: a structure of plain numbers.
        let mut wanted: open_how = unsafe { std::mem::zeroed() };
        let mut bytes = bytes_of(&wanted).to_vec();
        if (how.size as usize) < bytes.len() {
            return Ok(Answer::Resume);
        }
        task.memory.read(how.address, &mut bytes)?;
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_ne_bytes).unwrap_or_default();
        (wanted.flags, wanted.mode, wanted.resolve) = (word(0), word(8), word(16));
        // What the kernel does not know it refuses, and a mode without anything to make.
        const RESOLVE: u64 = 0x3f;
        let makes = (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;
        let mode_for_nothing = wanted.mode != 0 && wanted.flags & makes == 0;
        if wanted.flags >> 32 != 0 || wanted.resolve & !RESOLVE != 0 || mode_for_nothing {
            return Ok(Answer::Resume);
        }
        let place = self.locate(task, at, LastLink::Keep);
        match place {
            // What the kernel would find without us it finds with all its rules.
            Ok(Place::Native) => Ok(Answer::Resume),
            // Rules about the way there are not kept: programs fall back to openat.
            _ if wanted.resolve != 0 => Err(Errno(libc::ENOSYS).into()),
            _ => self.open(task, at, wanted.flags as c_int, wanted.mode as u32, notification),
        }
    }

    /// A name that would be made: the directory decides.
    fn missing(&self, task: &Task, dir: c_int, path: &[u8]) -> Outcome {
        match self.parent(task, dir, path)? {
            Place::Ours(_) => Err(Errno(libc::EROFS).into()),
            _ => Ok(Answer::Resume),
        }
    }

    /// Where the directory of the last component is.
    pub(super) fn parent(&self, task: &Task, dir: c_int, path: &[u8]) -> Result<Place, Refusal> {
        let end = path.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1);
        let path = path.get(..end).unwrap_or_default();
        let parent = match path.iter().rposition(|&b| b == b'/') {
            Some(0) => b"/",
            Some(slash) => path.get(..slash).unwrap_or_default(),
            None => b".",
        };
        let place = self.locate_path(task, dir, parent, LastLink::Follow)?;
        match &place {
            Place::Ours(node) if node.kind() != FileKind::Directory => Err(Errno(libc::ENOTDIR).into()),
            _ => Ok(place),
        }
    }

    /// The real name of something, made if it was missing.
    pub(super) fn named(&self, node: &Node) -> Result<Vec<u8>, Refusal> {
        self.keep(node);
        if node.kind() == FileKind::Directory && verdict::permits(node, &self.caller, libc::R_OK) {
            // Whoever holds it can list it by the kernel alone.
            self.view.fill(node)?;
        }
        let name = self.view.materialise(node)?;
        self.note(node)?;
        Ok(name.as_os_str().as_bytes().to_vec())
    }

    pub(super) fn change_directory(&self, task: &Task, at: At, notification: &Notification) -> Outcome {
        match self.locate(task, at, LastLink::Follow)? {
            Place::Native => Ok(Answer::Resume),
            Place::Elsewhere(path) => Ok(Answer::Rerun(self.with_path(notification, at, path.as_os_str().as_bytes()))),
            Place::Ours(node) => {
                if node.kind() != FileKind::Directory {
                    return Err(Errno(libc::ENOTDIR).into());
                }
                verdict::permitted(&node, &self.caller, libc::X_OK)?;
                let name = self.named(&node)?;
                let rerun = Rerun::brief(libc::SYS_chdir, [0; 6]).with_string(0, &name);
                Ok(Answer::Rerun(rerun.or_in_place(at, &name, LastLink::Follow)))
            }
        }
    }

    /// A watch on something that never changes: on an empty directory of ours.
    pub(super) fn watch(&self, task: &Task, at: At, mask: u32, notification: &Notification) -> Outcome {
        let last = if mask & libc::IN_DONT_FOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
        match self.locate(task, at, last)? {
            Place::Native => Ok(Answer::Resume),
            Place::Elsewhere(path) => Ok(Answer::Rerun(self.with_path(notification, at, path.as_os_str().as_bytes()))),
            Place::Ours(node) => {
                if mask & libc::IN_ONLYDIR != 0 && node.kind() != FileKind::Directory {
                    return Err(Errno(libc::ENOTDIR).into());
                }
                let quiet = self.view.quiet_directory()?;
                Ok(Answer::Rerun(self.with_path(notification, at, quiet.as_os_str().as_bytes())))
            }
        }
    }

    /// The same call with another path.
    pub(super) fn with_path(&self, notification: &Notification, at: At, path: &[u8]) -> Rerun {
        let number = libc::c_long::from(notification.number);
        let position = notification.arguments.iter().position(|argument| *argument == at.path).unwrap_or(0);
        Rerun::brief(number, notification.arguments).with_string(position, path).or_in_place(at, path, LastLink::Keep)
    }
}

/// Opens a file of the host's to which the tree links. What is made gets the program's umask, and what is no file may keep
/// who opens it waiting or become its terminal: the program does that itself.
pub(super) fn open_elsewhere(at: At, path: PathBuf, flags: c_int, mode: u32, last: LastLink) -> Answer {
    let found = match last {
        LastLink::Follow => std::fs::metadata(&path),
        LastLink::Keep => std::fs::symlink_metadata(&path),
    };
    match found {
        Ok(found) if found.is_file() || found.is_dir() => Answer::Open { path, flags, mode },
        Err(error) if !verdict::creates(flags) && error.kind() == std::io::ErrorKind::NotFound => {
            Answer::Open { path, flags, mode }
        }
        found => {
            let is_pipe = found.is_ok_and(|found| found.file_type().is_fifo());
            open_by_itself(at, path.as_os_str().as_bytes(), flags, mode, last, is_pipe)
        }
    }
}

/// Lets the program's own thread open `name`.
pub(super) fn open_by_itself(at: At, name: &[u8], flags: c_int, mode: u32, last: LastLink, is_pipe: bool) -> Answer {
    let arguments = [libc::AT_FDCWD as u64, 0, flags as u32 as u64, u64::from(mode), 0, 0];
    // Who opens one end of a pipe may have to wait for the other. Nobody can hold a thread for so long, and the registers
    // of one that was let go in the middle stay as they were for the call.
    let waits = is_pipe && flags & libc::O_NONBLOCK == 0 && flags & libc::O_ACCMODE != libc::O_RDWR;
    let rerun = if waits { Rerun::long } else { Rerun::brief };
    let rerun = rerun(libc::SYS_openat, arguments).with_string(1, name);
    Answer::Rerun(rerun.or_in_place(at, name, last))
}
