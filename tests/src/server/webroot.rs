use super::behaviour::{self, Behaviour, Content, Next};
use super::port::ReservedPort;
use super::request::LoggedRequest;
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

type Script = Arc<dyn Fn(&LoggedRequest) -> Behaviour + Send + Sync>;

/// A static web server as a Stratum 1 is one: keep-alive, `HEAD`, `Range`, and optionally a Geo API.
///
/// It also takes whole URLs as targets, so it can be used as a forward proxy to itself. Everything can be changed
/// while it runs. Dropping it stops it.
pub struct WebRoot {
    port: ReservedPort,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: Arc<AtomicBool>,
    acceptor: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    connections: AtomicUsize,
    requests: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// URL prefix without trailing slash and the directory behind it.
    mounts: Vec<(String, PathBuf)>,
    log: Vec<LoggedRequest>,
    open: Vec<TcpStream>,
    delay: Duration,
    geo: Option<String>,
    /// Path suffix, behaviour, and for how many more requests.
    overrides: Vec<(String, Behaviour, usize)>,
    script: Option<Script>,
}

impl Default for WebRoot {
    fn default() -> WebRoot {
        WebRoot::new()
    }
}

impl WebRoot {
    /// Starts a server on a free port that has nothing to serve yet.
    pub fn new() -> WebRoot {
        let port = ReservedPort::new().expect("a free port on the loop-back interface");
        let listener = port.listen().expect("nobody listens on a reserved port");
        let shared = Arc::new(Shared::default());
        let running = Mutex::new(Some(Running::start(listener, shared.clone())));
        WebRoot { port, shared, running }
    }

    /// Starts a server that shows `directory` as `/cvmfs/<fqrn>`.
    pub fn serve(fqrn: &str, directory: impl AsRef<Path>) -> WebRoot {
        let server = WebRoot::new();
        server.mount_repository(fqrn, directory);
        server
    }

    /// Starts a server for `directory` that behaves the same bad way on every request.
    pub fn hostile(fqrn: &str, directory: impl AsRef<Path>, behaviour: Behaviour) -> WebRoot {
        let server = WebRoot::serve(fqrn, directory);
        server.script(move |_| behaviour.clone());
        server
    }

    /// Shows `directory` as `/cvmfs/<fqrn>`, in the place of what was shown there before.
    pub fn mount_repository(&self, fqrn: &str, directory: impl AsRef<Path>) {
        self.mount(&format!("/cvmfs/{fqrn}"), directory);
    }

    /// Shows `directory` at the URL path `prefix`, in the place of what was shown there before.
    pub fn mount(&self, prefix: &str, directory: impl AsRef<Path>) {
        let prefix = prefix.trim_end_matches('/').to_owned();
        let mounts = &mut self.shared.state.lock().mounts;
        mounts.retain(|(old, _)| *old != prefix);
        mounts.push((prefix, directory.as_ref().to_owned()));
    }

    /// The port, which stays the same over [`WebRoot::stop`] and [`WebRoot::restart`].
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `http://127.0.0.1:PORT`, also usable as the URL of a proxy.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The value for `CVMFS_SERVER_URL`.
    pub fn server_url(&self) -> String {
        format!("{}/cvmfs/@fqrn@", self.url())
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.state.lock().log.clone()
    }

    /// The paths of all requests so far, in order of arrival.
    pub fn paths(&self) -> Vec<String> {
        self.shared.state.lock().log.iter().map(|request| request.path.clone()).collect()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.state.lock().log.clear();
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits this long before every answer: a distant server.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.state.lock().delay = delay;
    }

    /// Sets the body of answers to Geo API requests (such as `"2,1\n"`); `None`: status 404.
    pub fn set_geo(&self, answer: Option<&str>) {
        self.shared.state.lock().geo = answer.map(str::to_owned);
    }

    /// Behaves like this for every path that ends in `suffix`.
    pub fn misbehave(&self, suffix: &str, behaviour: Behaviour) {
        self.misbehave_times(suffix, usize::MAX, behaviour);
    }

    /// Behaves like this for the next `times` requests for a path that ends in `suffix`.
    pub fn misbehave_times(&self, suffix: &str, times: usize, behaviour: Behaviour) {
        self.shared.state.lock().overrides.push((suffix.to_owned(), behaviour, times));
    }

    /// Lets a function decide about every request.
    pub fn script(&self, decide: impl Fn(&LoggedRequest) -> Behaviour + Send + Sync + 'static) {
        self.shared.state.lock().script = Some(Arc::new(decide));
    }

    /// Behaves well again: no script, no overrides, no delay.
    pub fn behave(&self) {
        let mut state = self.shared.state.lock();
        state.script = None;
        state.overrides.clear();
        state.delay = Duration::ZERO;
    }

    /// Closes the port and all connections. New connections are refused until [`WebRoot::restart`].
    pub fn stop(&self) {
        let Some(running) = self.running.lock().take() else { return };
        running.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port()));
        running.acceptor.join().expect("the acceptor does not panic");
        for stream in self.shared.state.lock().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Opens the same port again after [`WebRoot::stop`].
    pub fn restart(&self) {
        let mut running = self.running.lock();
        if running.is_none() {
            let listener = self.port.listen().expect("nobody listens on a reserved port");
            *running = Some(Running::start(listener, self.shared.clone()));
        }
    }
}

impl Drop for WebRoot {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start(listener: TcpListener, shared: Arc<Shared>) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                if let Ok(copy) = stream.try_clone() {
                    let open = &mut shared.state.lock().open;
                    // A closed connection has no peer any more.
                    open.retain(|stream| stream.peer_addr().is_ok());
                    open.push(copy);
                }
                let (shared, stopped) = (shared.clone(), stopped.clone());
                // A peer that goes away in the middle is its own business.
                std::thread::spawn(move || shared.converse(stream, connection, &|| stopped.load(Ordering::SeqCst)));
            }
        });
        Running { stop, acceptor }
    }
}

impl Shared {
    fn converse(&self, stream: TcpStream, connection: usize, stopped: &dyn Fn() -> bool) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        let next = loop {
            let Some(mut request) = LoggedRequest::read(&mut input, connection)? else { break Ok(Next::Close) };
            request.number = self.requests.fetch_add(1, Ordering::SeqCst);
            let (decision, delay) = self.decide(&request);
            behaviour::rest(delay, stopped);
            let close_asked = request.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
            match self.reply(&mut out, &request, decision, stopped) {
                Ok(Next::Keep) if !close_asked => continue,
                end => break end,
            }
        };
        // The copy in the list of open connections would keep this one half alive. A socket set to linger for no
        // time sends its reset when the last descriptor is closed.
        let local = out.peer_addr().ok();
        self.state.lock().open.retain(|other| other.peer_addr().ok() != local);
        if socket2::SockRef::from(&out).linger().ok().flatten().is_none() {
            let _ = out.shutdown(Shutdown::Both);
        }
        next.map(|_| ())
    }

    fn decide(&self, request: &LoggedRequest) -> (Decision, Duration) {
        let mut state = self.state.lock();
        state.log.push(request.clone());
        let overriding =
            state.overrides.iter_mut().find(|(suffix, _, left)| *left > 0 && request.path.ends_with(suffix));
        let decision = match overriding {
            Some((_, behaviour, left)) => {
                *left = left.saturating_sub(usize::from(*left != usize::MAX));
                Decision::Behave(behaviour.clone())
            }
            None if request.path.contains("/api/v1.0/geo/") => Decision::Geo(state.geo.clone()),
            None => match state.script.clone() {
                Some(script) => Decision::Ask(script),
                None => Decision::Behave(Behaviour::Normal),
            },
        };
        (decision, state.delay)
    }

    fn reply(
        &self,
        out: &mut TcpStream,
        request: &LoggedRequest,
        decision: Decision,
        stopped: &dyn Fn() -> bool,
    ) -> io::Result<Next> {
        let head_only = request.method == "HEAD";
        let behaviour = match decision {
            Decision::Behave(behaviour) => behaviour,
            Decision::Ask(script) => script(request),
            Decision::Geo(Some(order)) => return behaviour::typed(out, "text/plain", order.as_bytes(), head_only),
            Decision::Geo(None) => return behaviour::status(out, 404, head_only),
        };
        let content = match self.content(request) {
            None if !behaviour.needs_file() => Some(Content::default()),
            content => content,
        };
        behaviour::answer(out, &behaviour, head_only, &request.path, content, stopped)
    }

    fn content(&self, request: &LoggedRequest) -> Option<Content> {
        let file = self.file(&request.path)?;
        let mut file = File::open(file).ok()?;
        let size = file.metadata().ok().filter(|m| m.is_file())?.len();
        let max_age = if request.path.contains("/data/") { 259_200 } else { 61 };
        let (length, part) = match request.range(size) {
            Some((first, end)) if first < end => {
                file.seek(SeekFrom::Start(first)).ok()?;
                (end - first, Some((first, size)))
            }
            _ => (size, None),
        };
        Some(Content { file: Some(file.take(length)), length, part, max_age })
    }

    fn file(&self, path: &str) -> Option<PathBuf> {
        if path.split('/').any(|component| component == "..") {
            return None;
        }
        let state = self.state.lock();
        let inside = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix('/').map(str::to_owned);
        state.mounts.iter().find_map(|(prefix, directory)| Some(directory.join(inside(prefix)?)))
    }
}

enum Decision {
    Behave(Behaviour),
    Ask(Script),
    Geo(Option<String>),
}
