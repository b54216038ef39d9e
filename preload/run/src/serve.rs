//! The helper process: mounts and downloads for the programs in which the preload library runs.

use crate::view;
use anyhow::Context as _;
use cvmfs_helper::message::{self, Mounted};
use cvmfs_helper::{Failure, IDLE_VARIABLE, Reply, Request};
use cvmfs_pac::PacEngine;
use cvmfs_view::View;
use libcvmfs::Error;
use libcvmfs::cache::Key;
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::repository::{Repository, SharedPacEvaluator};
use log::{debug, warn};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Idle time of a helper that nobody asked to stay: programs with the bare library.
const IDLE: Duration = Duration::from_secs(300);
/// Time after the last one who asked to stay has gone.
const GRACE: Duration = Duration::from_secs(2);
/// Time between two clean-ups of the view.
const CLEAN_EVERY: Duration = Duration::from_secs(600);

/// Becomes the helper at `socket`: returns at once, and the helper goes on in the background. If there is one already,
/// or one that starts at the same moment, nothing happens.
pub(crate) fn run(socket: &Path) -> anyhow::Result<()> {
    close_inherited();
    let pac: SharedPacEvaluator = Arc::new(PacEngine::default());
    let client = Client::new(ClientSettings { pac: Some(pac), ..ClientSettings::from_process() })?;
    let view = view::directory()?;
    let Some(lock) = lock(&socket.with_extension("lock"))? else { return Ok(()) };
    // Left behind by a helper that was killed: the lock says that none is alive.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).with_context(|| format!("listening at {}", socket.display()))?;
    listener.set_nonblocking(true)?;
    let log = File::options().create(true).append(true).mode(0o600).open(socket.with_extension("log"))?;
    // SAFETY: there is one thread.
    match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error()).context("starting the helper"),
        0 => {}
        _ => return Ok(()),
    }
    go_to_background(log)?;
    // Held until the process ends.
    let _ = lock.into_raw_fd();
    let _ = log::set_logger(&Log).map(|()| log::set_max_level(log::LevelFilter::Warn));
    let helper = Arc::new(Helper { client, view, state: Mutex::new(State::new()) });
    helper.serve(&listener, socket);
    Ok(())
}

/// A descriptor of the program that starts the helper, kept open here, would be a pipe that never ends.
fn close_inherited() {
    // SAFETY: nothing above the standard descriptors is in use yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = File::options().create(true).write(true).truncate(false).mode(0o600).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    // SAFETY: a descriptor of ours, and no memory.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(Some(file));
    }
    let error = std::io::Error::last_os_error();
    if error.kind() == std::io::ErrorKind::WouldBlock {
        return Ok(None);
    }
    Err(error).with_context(|| format!("locking {}", path.display()))
}

fn go_to_background(log: File) -> anyhow::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: descriptors of ours, and no memory.
    unsafe {
        libc::setsid();
        libc::dup2(null.as_raw_fd(), 0);
        libc::dup2(log.as_raw_fd(), 1);
        libc::dup2(log.as_raw_fd(), 2);
        libc::umask(0o077);
    }
    Ok(())
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = record.level().as_str().to_ascii_lowercase();
        crate::say::plain(format_args!("{} {level}: {}", std::process::id(), record.args()));
    }

    fn flush(&self) {}
}

struct State {
    /// Connections being answered.
    busy: usize,
    /// Connections of those who want the helper to stay.
    staying: usize,
    /// Whether anybody ever did.
    was_asked_to_stay: bool,
    last: Instant,
}

impl State {
    fn new() -> State {
        State { busy: 0, staying: 0, was_asked_to_stay: false, last: Instant::now() }
    }

    fn is_over(&self, idle: Duration) -> bool {
        let limit = if self.was_asked_to_stay { GRACE } else { idle };
        self.busy == 0 && self.staying == 0 && self.last.elapsed() > limit
    }
}

struct Helper {
    client: Client,
    view: PathBuf,
    state: Mutex<State>,
}

impl Helper {
    fn serve(self: Arc<Self>, listener: &UnixListener, socket: &Path) {
        let seconds = std::env::var(IDLE_VARIABLE).ok().and_then(|text| text.parse().ok());
        let idle = seconds.map_or(IDLE, Duration::from_secs);
        self.clean();
        let mut cleaned = Instant::now();
        let mut leaving = false;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    self.state.lock().busy += 1;
                    let helper = self.clone();
                    std::thread::spawn(move || helper.answer(&stream));
                    continue;
                }
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                    warn!("accepting a connection: {error}")
                }
                Err(_) => {}
            }
            if leaving && self.state.lock().is_over(Duration::ZERO) {
                return;
            }
            if !leaving && self.state.lock().is_over(idle) {
                // From here on nobody new finds the way; who has found it already is served.
                let _ = fs::remove_file(socket);
                leaving = true;
                continue;
            }
            if cleaned.elapsed() > CLEAN_EVERY {
                self.clean();
                cleaned = Instant::now();
            }
            wait_for(listener, Duration::from_millis(500));
        }
    }

    fn clean(&self) {
        if let Ok(view) = View::at(&self.view) {
            view.clean();
        }
    }

    fn answer(&self, stream: &UnixStream) {
        if let Err(error) = self.converse(stream) {
            debug!("a conversation ended: {error}");
        }
        let mut state = self.state.lock();
        state.busy -= 1;
        state.last = Instant::now();
    }

    fn converse(&self, stream: &UnixStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        let peer = cvmfs_helper::endpoint::peer(stream)?;
        if peer != cvmfs_helper::endpoint::user() && peer != 0 {
            warn!("user {peer} was turned away");
            return Ok(());
        }
        let request: Request = message::receive(stream)?;
        let stays = matches!(request, Request::Stay);
        let reply = self.reply(request).map_err(|error| {
            let failure = Failure { errno: error.errno(), message: error.to_string() };
            if error.origin().is_some() {
                warn!("{}", failure.message);
            }
            failure
        });
        message::send(stream, &reply)?;
        if stays {
            self.stay(stream);
        }
        Ok(())
    }

    fn stay(&self, mut stream: &UnixStream) {
        {
            let mut state = self.state.lock();
            state.staying += 1;
            state.was_asked_to_stay = true;
        }
        // The other end says no more; reading ends when it closes.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        self.state.lock().staying -= 1;
    }

    fn reply(&self, request: Request) -> Result<Reply, Error> {
        Ok(match request {
            Request::Hello | Request::Stay => Reply::Hello { view: self.view.clone() },
            Request::Known => Reply::Known(self.client.namespace().known()),
            Request::Mount(name) => match self.client.namespace().top().child(name.as_bytes())? {
                None => Reply::NoSuchRepository,
                Some(root) => {
                    let snapshot = root.snapshot().ok_or(Error::NotFound)?;
                    let repository = self.client.repository(&name)?;
                    let cache = repository.cache();
                    let settings = cache.settings();
                    let objects = std::iter::once(&settings.directory).chain(&settings.lower).cloned().collect();
                    Reply::Mounted(Box::new(Mounted {
                        identity: snapshot.identity().clone(),
                        presentation: repository.presentation().clone(),
                        objects,
                        indexes: view::mappable(&repository),
                    }))
                }
            },
            Request::Index(fqrn, catalog) => {
                let repository = self.of(&fqrn)?;
                let mapping = repository.snapshot().source().index(&catalog)?;
                let name = Key::Index(catalog.hash).file_name();
                Reply::File(match view::mappable(&repository) {
                    Some(indexes) => indexes.join(name),
                    // A network file system: its bytes must not be mapped into programs of others.
                    None => self.copy(&mapping, &name)?,
                })
            }
            Request::Open(fqrn, content) => {
                let file = self.of(&fqrn)?.snapshot().source().open(&content)?;
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                Reply::File(fs::read_link(link).map_err(|error| remote(&error))?)
            }
            Request::StatusAttribute(fqrn, name) => {
                Reply::Attribute(self.of(&fqrn)?.snapshot().source().status_attribute(&name)?)
            }
        })
    }

    fn of(&self, fqrn: &Fqrn) -> Result<Repository, Error> {
        self.client.repository(fqrn.as_str())
    }

    /// Keeps a copy of an index where it can be mapped: in the directory of the view, which is on a local disk if
    /// anything is.
    fn copy(&self, bytes: &[u8], name: &str) -> Result<PathBuf, Error> {
        let path = self.view.join(".indexes").join(name);
        let write = || {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let temporary = path.with_extension(format!("new-{}", std::process::id()));
            fs::write(&temporary, bytes)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| remote(&error))?;
        Ok(path)
    }
}

fn remote(error: &std::io::Error) -> Error {
    Error::Remote { message: error.to_string(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

fn wait_for(listener: &UnixListener, time: Duration) {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one `pollfd`.
    unsafe { libc::poll(&mut poll, 1, time.as_millis() as libc::c_int) };
}
