//! What this process knows of its session: prefixes, helper, and the environment that its children need.

use crate::{inside, sys};
use cvmfs_helper::{Endpoint, EndpointError, Reply, Request};
use cvmfs_view::View;
use libcvmfs::Error;
use parking_lot::Mutex;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What the environment said when the library was loaded: programs empty it.
struct Start {
    mount_dir: Vec<u8>,
    socket: Option<PathBuf>,
    /// `NAME=value` of every variable that makes the session; the preload list is not among them.
    variables: Vec<CString>,
    library: PathBuf,
}

static START: OnceLock<Start> = OnceLock::new();
static VIEW: OnceLock<View> = OnceLock::new();
static PROCESS: AtomicU32 = AtomicU32::new(0);

const DEFAULT_MOUNT_DIR: &[u8] = b"/cvmfs";

#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    note_process();
    inside::watch_forks();
    start();
}

/// Whether the session is made. Before that the memory allocator may be making itself, which looks at paths: what is
/// native must then be passed on without an allocation.
pub(crate) fn is_made() -> bool {
    START.get().is_some()
}

/// Whether an absolute path can be ours, as far as this can be told without making the session.
pub(crate) fn may_concern(path: &[u8]) -> bool {
    if is_made() {
        return true;
    }
    // SAFETY: C strings; nobody changes the environment before the program runs.
    let given = unsafe {
        let value = libc::getenv(c"CVMFS_MOUNT_DIR".as_ptr());
        if value.is_null() { c"" } else { CStr::from_ptr(value) }
    };
    let mount_dir = given.to_bytes();
    path.starts_with(if mount_dir.is_empty() { DEFAULT_MOUNT_DIR } else { mount_dir })
}

/// Takes note of this process's number, to tell a `vfork` child from it later.
pub(crate) fn note_process() {
    PROCESS.store(sys::getpid(), Ordering::Relaxed);
}

/// Whether this is not a `vfork` child, which shares its memory with another process.
pub(crate) fn is_own_process() -> bool {
    PROCESS.load(Ordering::Relaxed) == sys::getpid()
}

fn start() -> &'static Start {
    START.get_or_init(|| inside::unhooked(make))
}

fn make() -> Start {
    let value = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    if let Some(view) = value(cvmfs_helper::VIEW_VARIABLE) {
        set_view(Path::new(&view));
    }
    let mut mount_dir = value("CVMFS_MOUNT_DIR").map_or_else(|| DEFAULT_MOUNT_DIR.to_vec(), OsString::into_vec);
    while mount_dir.len() > 1 && mount_dir.ends_with(b"/") {
        mount_dir.pop();
    }
    Start {
        mount_dir,
        socket: value(cvmfs_helper::SOCKET_VARIABLE).map(PathBuf::from),
        variables: std::env::vars_os()
            .filter(|(name, _)| name.as_bytes().starts_with(b"CVMFS_"))
            .filter_map(|(name, value)| entry(&name, &value))
            .collect(),
        library: own_file(),
    }
}

fn entry(name: &OsStr, value: &OsStr) -> Option<CString> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
}

/// The file of this library, absolute.
fn own_file() -> PathBuf {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address of one of our functions, and room for the answer, of which zero bytes are a valid one.
    let name = unsafe {
        libc::dladdr(own_file as *const libc::c_void, info.as_mut_ptr());
        info.assume_init().dli_fname
    };
    if name.is_null() {
        return PathBuf::new();
    }
    // SAFETY: the loader keeps the name of a library as a C string as long as the library is loaded.
    let name = PathBuf::from(OsString::from_vec(unsafe { CStr::from_ptr(name) }.to_bytes().to_vec()));
    std::path::absolute(&name).unwrap_or(name)
}

/// The mount directory: `/cvmfs`, or `CVMFS_MOUNT_DIR` of the environment.
pub(crate) fn mount_dir() -> &'static [u8] {
    &start().mount_dir
}

/// This library's file, for the preload list of children.
pub(crate) fn library() -> &'static Path {
    &start().library
}

/// The variables that a child must have to be in the same session, as `NAME=value`.
pub(crate) fn variables() -> Vec<CString> {
    let mut variables = start().variables.clone();
    let mut add = |name: &str, value: &OsStr| {
        let starts = |v: &CString| v.to_bytes().strip_prefix(name.as_bytes()).is_some_and(|r| r.starts_with(b"="));
        if !variables.iter().any(starts) {
            variables.extend(entry(OsStr::new(name), value));
        }
    };
    if let (Some(view), Some(endpoint)) = (VIEW.get(), ENDPOINT.get()) {
        add(cvmfs_helper::VIEW_VARIABLE, OsStr::from_bytes(view.prefix()));
        add(cvmfs_helper::SOCKET_VARIABLE, endpoint.socket().as_os_str());
    }
    variables
}

/// The view, as far as it is known: nothing can lie in it before.
pub(crate) fn view() -> Option<&'static View> {
    if is_made() { VIEW.get() } else { None }
}

/// Takes note of where the view is.
pub(crate) fn set_view(directory: &Path) {
    if let Ok(view) = View::at(directory) {
        let _ = VIEW.set(view);
    }
}

static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();

/// The helper of this session.
fn endpoint() -> Result<&'static Endpoint, EndpointError> {
    if let Some(endpoint) = ENDPOINT.get() {
        return Ok(endpoint);
    }
    let endpoint = match &start().socket {
        Some(socket) => Endpoint::at(socket),
        None => Endpoint::of_environment()?,
    };
    Ok(ENDPOINT.get_or_init(|| endpoint))
}

/// When the helper could last not be had, so that a program with thousands of paths does not wait for each.
static LOST: Mutex<Option<Instant>> = Mutex::new(None);
const LOST_FOR: Duration = Duration::from_secs(5);

/// Asks the helper, which is started if there is none.
pub(crate) fn ask(request: &Request) -> Result<Reply, Error> {
    if LOST.lock().is_some_and(|since| since.elapsed() < LOST_FOR) {
        return Err(Error::Remote { message: "no helper process".to_owned(), errno: libc::EIO });
    }
    let asked = || {
        let endpoint = endpoint()?;
        if VIEW.get().is_none()
            && let Ok(Reply::Hello { view }) = endpoint.ask_or_start(&Request::Hello, library())?
        {
            set_view(&view);
        }
        endpoint.ask_or_start(request, library())
    };
    match asked() {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(failure)) => Err(Error::Remote { message: failure.message, errno: failure.errno }),
        Err(error) => {
            let message = error.to_string();
            let before = LOST.lock().replace(Instant::now());
            // Said once: the program's own messages can only tell of an input/output error.
            if before.is_none() {
                let _ = writeln!(std::io::stderr(), "cvmfs-preload: {message}");
            }
            Err(Error::Remote { message, errno: libc::EIO })
        }
    }
}
