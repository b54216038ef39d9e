//! Another path without tracing: where a thread may not be traced, the path in its own memory is changed for the call.
//!
//! The new one has to fit in its place, so it leads over a short alias: `/tmp/.abc/1/name`, where `1` is a link to the
//! directory that is meant. The name at its end stays what it was if there is room, which is what programs look at in
//! their first argument.
//!
//! The old path is put back as soon as the kernel has read the new one, or else with the next call of the thread, and
//! only if what lies there is still ours. That the kernel has read it is seen at the time of the last access of the link.
//! Lest the call is over by then, the link leads on by a way that takes the kernel two milliseconds. On a busy machine
//! that may not be enough: then a program finds the alias where it looks at its string after the call. It leads to the
//! same place.

use super::memory::Memory;
use super::rerun::Own;
use super::task::Task;
use cvmfs_view::Errno;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Timespec, Timestamps};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Where the directory of aliases may be: the shorter the better.
const PLACES: [&str; 3] = ["/tmp", "/run", "/dev/shm"];
const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Names tried for it in each place.
const ATTEMPTS: usize = 64;
/// How long it is waited for that the kernel reads a path.
const READS: Duration = Duration::from_millis(20);
/// Time between two looks at that.
const LOOKS: Duration = Duration::from_micros(10);
/// The slow way: so many links, each through so many times the same directory. The kernel follows 40 links in all.
const LINKS: usize = 30;
const STEPS: usize = 2000;

/// The links to what is meant.
struct Aliases {
    directory: PathBuf,
    /// Those that are followed at once.
    quick: HashMap<PathBuf, PathBuf>,
    /// Those that are followed slowly.
    slow: HashMap<PathBuf, PathBuf>,
    names: usize,
}

impl Aliases {
    fn new() -> Result<Aliases, Errno> {
        Ok(Aliases { directory: private_directory()?, quick: HashMap::new(), slow: HashMap::new(), names: 0 })
    }

    fn new_link(&mut self, target: &Path) -> io::Result<PathBuf> {
        let link = self.directory.join(short_name(self.names));
        self.names += 1;
        symlink(target, &link)?;
        Ok(link)
    }

    fn quick_link(&mut self, target: &Path) -> io::Result<PathBuf> {
        if let Some(link) = self.quick.get(target) {
            return Ok(link.clone());
        }
        let link = self.new_link(target)?;
        self.quick.insert(target.to_owned(), link.clone());
        Ok(link)
    }

    /// One that shows when it is followed the next time.
    fn slow_link(&mut self, target: &Path) -> io::Result<PathBuf> {
        let link = match self.slow.get(target) {
            Some(link) => link.clone(),
            None => {
                let detour = PathBuf::from("./".repeat(STEPS));
                let mut way = target.to_owned();
                for number in 0..LINKS {
                    let name = PathBuf::from(format!(".{}.{number}", self.names));
                    symlink(&way, self.directory.join(&name))?;
                    way = detour.join(name);
                }
                let link = self.new_link(&way)?;
                self.slow.insert(target.to_owned(), link.clone());
                link
            }
        };
        let seconds = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
        // File systems note an access where the last one is older than the last change.
        let times = Timestamps { last_access: seconds(0), last_modification: seconds(1) };
        rustix::fs::utimensat(rustix::fs::CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(link)
    }

    /// It may be followed by somebody who is late.
    fn give_up(&mut self, link: &Path) {
        self.slow.retain(|_, slow| slow != link);
    }
}

/// A path that was changed.
struct Change {
    address: u64,
    before: Vec<u8>,
    ours: Vec<u8>,
}

/// The paths that are changed at the moment, and their aliases.
#[derive(Default)]
pub(super) struct InPlace {
    aliases: Mutex<Option<Aliases>>,
    /// Slow links are followed by one call at a time.
    turn: Mutex<()>,
    changes: Mutex<HashMap<u32, Change>>,
    /// How many there are, for who only wants to know that.
    count: AtomicUsize,
}

impl InPlace {
    /// Changes the path of a call that waits, lets it go on by `resume`, and puts the path back. Nothing is changed where
    /// the kernel needs no other path.
    ///
    /// # Errors
    /// `EPERM` where that cannot be done, and `resume` is not called: the alias is too long, the memory cannot be written
    /// to, or it is another process's as well.
    pub(super) fn carry_out(&self, task: &Task, own: &Own, resume: impl FnOnce() + Send) -> Result<(), Errno> {
        let path = task.memory.path(own.address)?;
        if leads_there(task, own.dir, &path, &own.name) {
            resume();
            return Ok(());
        }
        let _turn = self.turn.lock();
        let (alias, link) = self.alias(path.len(), own)?;
        let mut ours = alias.into_os_string().into_encoded_bytes();
        ours.push(0);
        let length = ours.len();
        let mut before = path;
        before.push(0);
        before.truncate(length);
        let change = Change { address: own.address, before, ours };
        let written = task.write_private(own.address, &change.ours);
        if written.is_err() || shares_memory(task.tid, &change) {
            change.undo(task.memory);
            return Err(Errno(libc::EPERM));
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.changes.lock().insert(task.tid, change);
        if own.lasts {
            resume();
            return Ok(());
        }
        std::thread::scope(|scope| {
            // Whoever answers may lose its processor to the thread that goes on, and so would see nothing in time.
            let answers = std::thread::Builder::new().spawn_scoped(scope, resume);
            if answers.is_ok() && is_read(&link) {
                self.restore(task.tid);
            } else if let Some(aliases) = self.aliases.lock().as_mut() {
                aliases.give_up(&link);
            }
            answers.map(drop).map_err(|_| Errno(libc::EPERM))
        })
    }

    /// Puts back what was changed for an earlier call of a thread, which is in another one now.
    pub(super) fn restore(&self, tid: u32) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let change = self.changes.lock().remove(&tid);
        if let Some(change) = change {
            self.count.fetch_sub(1, Ordering::Relaxed);
            change.undo(Memory(tid));
        }
    }

    /// A path of at most `room` bytes, with the same name at its end if possible: necessarily if that must not be a link.
    /// And the link in it.
    fn alias(&self, room: usize, own: &Own) -> Result<(PathBuf, PathBuf), Errno> {
        let target = Path::new(OsStr::from_bytes(&own.name));
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Err(Errno(libc::EPERM)) };
        let mut aliases = self.aliases.lock();
        let aliases = match &mut *aliases {
            Some(aliases) => aliases,
            none => none.insert(Aliases::new()?),
        };
        let mut link_to = |target| if own.lasts { aliases.quick_link(target) } else { aliases.slow_link(target) };
        let link = link_to(parent)?;
        let alias = link.join(name);
        if alias.as_os_str().len() <= room {
            return Ok((alias, link));
        }
        if own.follows {
            let link = link_to(target)?;
            if link.as_os_str().len() <= room {
                return Ok((link.clone(), link));
            }
        }
        Err(Errno(libc::EPERM))
    }

    /// Takes all aliases away.
    pub(super) fn remove(&self) {
        if let Some(aliases) = self.aliases.lock().take() {
            // What it holds are links.
            let _ = std::fs::remove_dir_all(aliases.directory);
        }
    }
}

impl Change {
    fn undo(&self, memory: Memory) {
        let mut now = vec![0; self.ours.len()];
        // Something else may lie there by now.
        if memory.read(self.address, &mut now).is_ok() && now == self.ours {
            let _ = memory.write_private(self.address, &self.before);
        }
    }
}

/// Waits until somebody follows this link, but not long.
fn is_read(link: &Path) -> bool {
    // Sleeping is not to take longer than it has to.
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
    let start = Instant::now();
    while start.elapsed() < READS {
        if std::fs::symlink_metadata(link).is_ok_and(|found| found.atime() != 0) {
            return true;
        }
        // Asleep, for the other thread may be on this processor.
        std::thread::sleep(LOOKS);
    }
    false
}

/// Whether the memory in which the path was changed is also that of the parent, which waits in `vfork` and will find
/// there what we have written.
fn shares_memory(tid: u32, change: &Change) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else { return true };
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
    let mut there = vec![0; change.ours.len()];
    parent.is_none_or(|parent| Memory(parent).read(change.address, &mut there).is_ok() && there == change.ours)
}

/// Whether the kernel, following the path as it is, comes to the file that is meant.
fn leads_there(task: &Task, at: libc::c_int, path: &[u8], name: &[u8]) -> bool {
    let base = if at == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{at}") };
    let mut whole = PathBuf::from(format!("/proc/{}/{base}", task.tid));
    if !path.is_empty() {
        // Joined to it, an absolute path is itself.
        whole.push(OsStr::from_bytes(path));
    }
    let identity = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    match (identity(&whole), identity(Path::new(OsStr::from_bytes(name)))) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A new directory with a short path that only its owner may enter.
fn private_directory() -> Result<PathBuf, Errno> {
    for place in PLACES {
        for _ in 0..ATTEMPTS {
            let mut seed = [0u8; 3];
            // SAFETY: a buffer with its length. Names that are guessed are in use already, and not taken.
            unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
            let name: String =
                seed.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
            let directory = Path::new(place).join(format!(".{name}"));
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(directory),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => break,
            }
        }
    }
    Err(Errno(libc::EPERM))
}

fn short_name(number: usize) -> String {
    let mut name = String::new();
    let mut rest = number;
    loop {
        name.insert(0, char::from(LETTERS[rest % LETTERS.len()]));
        rest /= LETTERS.len();
        if rest == 0 {
            return name;
        }
        rest -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_different() {
        let names: std::collections::HashSet<String> = (0..5000).map(short_name).collect();
        assert_eq!(names.len(), 5000);
        assert!((0..62).all(|number| short_name(number).len() == 1));
        assert!(names.iter().all(|name| name.len() <= 3));
    }

    fn own(name: &Path, follows: bool, lasts: bool) -> Own {
        let name = name.as_os_str().as_bytes().to_vec();
        Own { address: 0, dir: libc::AT_FDCWD, name, follows, lasts }
    }

    #[test]
    fn aliases_keep_the_last_name_and_lead_there() {
        let place = InPlace::default();
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a file");
        std::fs::write(&file, "x").unwrap();
        for lasts in [true, false] {
            let (alias, _) = place.alias(100, &own(&file, false, lasts)).unwrap();
            let length = alias.as_os_str().len();
            assert!(alias.ends_with("a file") && length <= "/dev/shm/.abc/0/a file".len());
            assert_eq!(std::fs::canonicalize(&alias).unwrap(), std::fs::canonicalize(&file).unwrap());
            assert_eq!(place.alias(length - 1, &own(&file, false, lasts)), Err(Errno(libc::EPERM)));
            let (shorter, _) = place.alias(length - 1, &own(&file, true, lasts)).unwrap();
            assert!(shorter.as_os_str().len() < length);
            assert_eq!(std::fs::canonicalize(&shorter).unwrap(), std::fs::canonicalize(&file).unwrap());
            assert_eq!(place.alias(5, &own(&file, true, lasts)), Err(Errno(libc::EPERM)));
            assert_eq!(place.alias(100, &own(&file, true, lasts)).unwrap().0, alias, "it is used again");
        }
        let (alias, _) = place.alias(100, &own(&file, true, true)).unwrap();
        place.remove();
        assert!(!alias.exists());
        assert!(file.exists(), "the links were removed, not what they led to");
    }

    #[test]
    fn following_a_link_is_seen() {
        let place = InPlace::default();
        let home = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let (alias, link) = place.alias(100, &own(home.path(), true, false)).unwrap();
            assert_eq!(std::fs::symlink_metadata(&link).unwrap().atime(), 0);
            std::fs::metadata(alias).unwrap();
            assert!(is_read(&link));
        }
        place.remove();
    }
}
