//! Mounting, and what goes on while something is mounted.

use crate::adapter::Adapter;
use crate::control::{Control, Kernel};
use crate::tree::Tree;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use libcvmfs::namespace::Namespace;
use libcvmfs::prefetch::RecordFile;
use libcvmfs::repository::Repository;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use thiserror::Error;

/// Time between two looks for newer revisions; the repository has its own time to live.
const TICK: Duration = Duration::from_secs(1);
/// What the mount table calls the file system; scripts know the official client's mounts by it.
const SOURCE: &str = "cvmfs2";

/// How to mount.
pub struct Settings {
    /// Other users than the one who mounts may use it.
    pub for_others: bool,
    /// The kernel decides by the permission bits who may do what; else everybody may do what root may.
    pub checks_permissions: bool,
    /// The kernel is asked to read files of the cache by itself, where it can.
    pub passthrough: bool,
    /// The longest time that the kernel may keep an entry without asking again.
    pub kernel_keeps: Option<Duration>,
    /// Threads that receive calls.
    pub threads: usize,
    /// Questions are answered ([`crate::control`]); not for a mount whose root is somebody else than who serves it.
    pub answers: bool,
    /// Keeps account of the files that are opened.
    pub record: Option<Arc<RecordFile>>,
    /// What else gives up its descriptors when nothing may be written any more.
    pub on_drop: Box<dyn Fn() + Send + Sync>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            for_others: libcvmfs::identity::user() == 0,
            checks_permissions: true,
            passthrough: true,
            kernel_keeps: None,
            threads: thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
            answers: true,
            record: None,
            on_drop: Box::new(|| ()),
        }
    }
}

/// Why something cannot be mounted or unmounted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountError {
    /// There is no such directory.
    #[error("{}: {source}", place.display())]
    Place {
        /// Where it was to be mounted.
        place: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
    /// The program behind a mount has died.
    #[error("{}: the program that served it has died; unmount it first: cvmfs-mount --unmount {}", place.display(), place.display())]
    Dead {
        /// The mount.
        place: PathBuf,
    },
    /// The kernel has no FUSE, or this user may not use it.
    #[error("/dev/fuse cannot be opened: {source}; {}", device_hint(source))]
    Device {
        /// What the kernel says.
        source: io::Error,
    },
    /// Mounting failed.
    #[error(
        "mounting on {}: {source}. Mounting takes root, or fusermount3 of the package fuse3, or a user namespace: \
         unshare --user --map-root-user --mount", place.display()
    )]
    Refused {
        /// Where it was to be mounted.
        place: PathBuf,
        /// What the kernel or fusermount3 says.
        source: io::Error,
    },
    /// Something is open there, or somebody works there.
    #[error("{}: somebody uses it; 'fuser -m' tells who, and --lazy unmounts it as soon as nobody does", place.display())]
    Busy {
        /// The mount.
        place: PathBuf,
    },
    /// Unmounting failed.
    #[error("unmounting {}: {reason}", place.display())]
    NotUnmounted {
        /// The mount.
        place: PathBuf,
        /// What the kernel or fusermount3 says.
        reason: String,
    },
}

fn device_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "the kernel has no FUSE, or this container no device: try 'modprobe fuse'",
        io::ErrorKind::PermissionDenied => "only some users may use FUSE here; cvmfs-run needs no FUSE",
        _ => "cvmfs-run needs no FUSE",
    }
}

/// A mounted repository. It stays mounted until somebody unmounts it, or this process ends: then who uses it finds
/// `ENOTCONN`.
pub struct Mounted {
    /// Taken by who waits for the end.
    session: Mutex<Option<JoinHandle<io::Result<()>>>>,
    tree: Arc<Tree>,
    control: Arc<Control>,
    ended: Arc<AtomicBool>,
}

/// Mounts `repository` on the directory `place`. It is served by threads of this process until it is unmounted.
///
/// # Errors
/// Where mounting is impossible, with what would help.
pub fn mount(
    namespace: Namespace,
    repository: Repository,
    place: &Path,
    settings: Settings,
) -> Result<Mounted, MountError> {
    check(place)?;
    let mut config = config(&settings);
    config.mount_options = vec![MountOption::RO, MountOption::FSName(SOURCE.to_owned())];
    if settings.checks_permissions {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    let begin = |adapter| Session::new(adapter, place, &config);
    go_on(namespace, repository, settings, begin)
        .map_err(|source| MountError::Refused { place: place.to_owned(), source })
}

/// Serves `repository` to whoever mounts the opened `/dev/fuse` that is given, or has mounted it already, in whatever
/// namespaces; so the server can stay outside of them. Whether permissions are checked is for who mounts.
///
/// # Errors
/// Where it is no such device, or the kernel's first message is none.
pub fn serve(namespace: Namespace, repository: Repository, device: OwnedFd, settings: Settings) -> io::Result<Mounted> {
    let config = config(&settings);
    let acl = config.acl;
    go_on(namespace, repository, settings, |adapter| Session::from_fd(adapter, device, acl, config))
}

fn config(settings: &Settings) -> Config {
    let mut config = Config::default();
    config.acl = if settings.for_others { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(settings.threads.max(1));
    config
}

/// Begins a session and lets it go on in threads.
fn go_on(
    namespace: Namespace,
    repository: Repository,
    settings: Settings,
    begin: impl FnOnce(Adapter) -> io::Result<Session<Adapter>>,
) -> io::Result<Mounted> {
    let tree = Arc::new(Tree::new(namespace, repository, settings.kernel_keeps));
    let control = Arc::new(Control::new(settings.on_drop));
    let answered = settings.answers.then(|| control.clone());
    let session = begin(Adapter::new(tree.clone(), answered, settings.passthrough, settings.record))?;
    let device = session.as_fd().try_clone_to_owned()?;
    control.connect(Some(Kernel { device, notifier: session.notifier() }));
    let session = receiver(session.spawn()?);
    let ended = Arc::new(AtomicBool::new(false));
    let (tree_of_clock, control_of_clock, ended_of_clock) = (tree.clone(), control.clone(), ended.clone());
    let clock = move || keep_fresh(&tree_of_clock, &control_of_clock, &ended_of_clock);
    thread::Builder::new().name("cvmfs-clock".to_owned()).spawn(clock)?;
    Ok(Mounted { session: Mutex::new(Some(session)), tree, control, ended })
}

/// The thread that receives calls. What fuser keeps beside it is given up without being dropped: it would unmount
/// whatever is mounted at the place by then.
fn receiver(mut session: BackgroundSession) -> JoinHandle<io::Result<()>> {
    let receiver = std::mem::replace(&mut session.guard, thread::spawn(|| Ok(())));
    std::mem::forget(session);
    receiver
}

/// Whether something can be mounted there.
fn check(place: &Path) -> Result<(), MountError> {
    match std::fs::metadata(place) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(MountError::Place { place: place.to_owned(), source: io::ErrorKind::NotADirectory.into() });
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {
            return Err(MountError::Dead { place: place.to_owned() });
        }
        Err(source) => return Err(MountError::Place { place: place.to_owned(), source }),
    }
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    device.map(drop).map_err(|source| MountError::Device { source })
}

/// Looks for newer revisions when it is time, and tells the kernel of them.
fn keep_fresh(tree: &Tree, control: &Control, ended: &AtomicBool) {
    let root_hash = || tree.repository().snapshot().identity().root_hash;
    let mut known = root_hash();
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(TICK);
        tree.repository().fresh_snapshot();
        let now = root_hash();
        if now != known {
            known = now;
            log::info!("revision {} is mounted", tree.repository().state().identity.revision);
            control.tell_kernel(tree);
        }
    }
}

impl Mounted {
    /// Looks for a newer revision now; tells what is mounted then.
    ///
    /// # Errors
    /// What the servers or their answers are wrong with.
    pub fn reload(&self) -> Result<String, String> {
        self.control.reload(&self.tree)
    }

    /// How many entries the kernel knows.
    pub fn known_entries(&self) -> usize {
        self.tree.known()
    }

    /// Waits until it is unmounted, by whomever.
    ///
    /// # Errors
    /// What ended it otherwise.
    pub fn wait(&self) -> io::Result<()> {
        let Some(session) = self.session.lock().take() else { return Ok(()) };
        let end = session.join();
        self.end();
        end.unwrap_or_else(|_| Err(io::Error::other("a mistake in this program")))
    }

    /// Whether it was unmounted and [`Mounted::wait`] knows it.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn end(&self) {
        self.control.connect(None);
        self.ended.store(true, Ordering::SeqCst);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.end();
    }
}

/// Unmounts what is mounted at `place`; if `lazy`, nobody new finds it, and it is served until nobody uses it any more.
///
/// # Errors
/// [`MountError::Busy`] while somebody uses it.
pub fn unmount(place: &Path, lazy: bool) -> Result<(), MountError> {
    // A link to it, as it was perhaps named when it was mounted. Nothing is asked of what is mounted: it may be dead.
    let followed = fs::read_link(place).and_then(|_| fs::canonicalize(place));
    let place = followed.as_deref().unwrap_or(place);
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    let reason = match rustix::mount::unmount(place, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(()),
        Err(Errno::BUSY) => return Err(MountError::Busy { place: place.to_owned() }),
        Err(Errno::PERM) => match with_fusermount(place, lazy) {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        },
        Err(Errno::INVAL) => "nothing is mounted there".to_owned(),
        Err(error) => error.to_string(),
    };
    if reason.contains("Device or resource busy") {
        return Err(MountError::Busy { place: place.to_owned() });
    }
    Err(MountError::NotUnmounted { place: place.to_owned(), reason })
}

/// An ordinary user's mounts are taken away by the program that made them.
fn with_fusermount(place: &Path, lazy: bool) -> Result<(), String> {
    let mut command = Command::new("fusermount3");
    command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(place);
    let output = command.output().map_err(|error| format!("only root may, and fusermount3: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
