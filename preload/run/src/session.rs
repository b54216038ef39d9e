//! Parameters, library and helper for one run.

use crate::arguments::{Arguments, Mode};
use crate::say::say;
use crate::supervisor::publish::{PAGE, Publisher};
use crate::supervisor::rooted::Plan;
use crate::supervisor::{SESSION_LINK, Supervisor, Wanted};
use anyhow::{Context as _, anyhow, bail};
use cvmfs_helper::{
    Endpoint, LIBRARY_VARIABLE, PIN_VARIABLE, PROGRAM_VARIABLE, Reply, Request, SOCKET_VARIABLE, VIEW_VARIABLE,
};
use cvmfs_pac::PacEngine;
use cvmfs_view::View;
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::config::table::{AUTO_UPDATE, CHECK_PERMISSIONS};
use libcvmfs::config::{Loader, Sources};
use libcvmfs::demo;
use libcvmfs::prefetch::RecordFile;
use libcvmfs::repository::SharedPacEvaluator;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LIBRARY: &str = "libcvmfs_preload.so";
/// What the name begins with under which it is unpacked.
const UNPACKED: &str = "cvmfs_preload";

/// What a run needs while its program runs.
pub(crate) struct Session {
    /// This program, to be run again in front of the user's.
    pub(crate) program: PathBuf,
    /// Variables for the program.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The helper stays as long as this is open.
    _stay: UnixStream,
}

impl Session {
    /// Finds the library and makes sure that a helper is there.
    pub(crate) fn open(arguments: &Arguments) -> anyhow::Result<Session> {
        let program = std::env::current_exe().context("finding this program")?;
        let endpoint = Endpoint::of_environment()?;
        let (stay, view) = stay(&endpoint, &program)?;
        let library = library(&program, &view)?;
        if arguments.verbose {
            say!("library {}", library.display());
            say!("helper {}, log {}", endpoint.socket().display(), endpoint.log_file().display());
            say!("view {}", view.display());
        }
        let environment = vec![
            ("LD_PRELOAD".into(), preload_list(&library, Place::First)),
            (SOCKET_VARIABLE.into(), endpoint.socket().into()),
            (VIEW_VARIABLE.into(), view.into()),
            (PROGRAM_VARIABLE.into(), program.clone().into()),
        ];
        Ok(Session { program, environment, _stay: stay })
    }
}

/// Puts the parameters of the command line into the environment, for this process and all that it starts.
pub(crate) fn settle(arguments: &Arguments) -> anyhow::Result<()> {
    let options = parameters(arguments)?;
    for (name, value) in &options {
        // SAFETY: this program has no other thread yet.
        unsafe { std::env::set_var(name, value) };
    }
    for stale in [SOCKET_VARIABLE, VIEW_VARIABLE, PIN_VARIABLE] {
        // SAFETY: as above. Of a run around this one, perhaps with other parameters.
        unsafe { std::env::remove_var(stale) };
    }
    if is_pinned(arguments) {
        // A helper of another run may have mounted an older snapshot.
        let own = format!("{:016x}", random()?);
        for (name, value) in [(PIN_VARIABLE, own.as_str()), (AUTO_UPDATE.name, "no")] {
            // SAFETY: as above.
            unsafe { std::env::set_var(name, value) };
        }
    }
    Ok(())
}

/// Whether each repository stays at one snapshot; a list is of one.
fn is_pinned(arguments: &Arguments) -> bool {
    arguments.pin || arguments.record.is_some()
}

fn random() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    // SAFETY: a buffer with its length.
    if unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } != 8 {
        bail!("no random numbers: {}", std::io::Error::last_os_error());
    }
    Ok(u64::from_ne_bytes(bytes))
}

/// A client for the parameters in the environment.
pub(crate) fn client() -> anyhow::Result<Client> {
    client_with(Vec::new())
}

/// A client for these parameters, and those in the environment.
pub(crate) fn client_with(options: Vec<(String, String)>) -> anyhow::Result<Client> {
    let pac: SharedPacEvaluator = Arc::new(PacEngine::default());
    Ok(Client::new(ClientSettings { pac: Some(pac), options, ..ClientSettings::from_process() })?)
}

/// A supervisor for the parameters in the environment, and the variables that its programs need. With `shim`, they get
/// the library that answers inside of them what it can.
pub(crate) fn supervisor(arguments: &Arguments, shim: bool) -> anyhow::Result<(Supervisor, Environment)> {
    let client = client()?;
    let directory = crate::view::directory()?;
    if arguments.verbose {
        say!("view {}", directory.display());
    }
    let view = View::at(&directory).with_context(|| format!("using {}", directory.display()))?;
    let cookie = random()?;
    let record = |path: &Path| RecordFile::new(path).with_context(|| format!("--record={}", path.display()));
    let record = arguments.record.as_deref().map(record).transpose()?;
    let prepared = match shim.then(|| prepare_shim(&client, &view, cookie, arguments.verbose)) {
        // Without it everything works, and takes longer.
        Some(Err(error)) if arguments.mode == Mode::Auto => {
            if arguments.verbose {
                say!("no shim: {error:#}");
            }
            None
        }
        prepared => prepared.transpose().context("preparing the shim")?,
    };
    let (publisher, environment) = prepared.unzip();
    let plan = arguments.root.as_deref().map(|tree| Plan {
        tree: tree.to_owned(),
        layers: arguments.layers.clone(),
        places: arguments.places.clone(),
        emptied: arguments.emptied.clone(),
    });
    let wanted = Wanted { cookie, publisher, record, root: plan.as_ref() };
    let mut environment = environment.unwrap_or_default();
    environment.extend(arguments.variables.iter().cloned());
    Ok((Supervisor::new(client, view, wanted)?, environment))
}

/// The page that the shims read, and variables by which programs find both.
fn prepare_shim(client: &Client, view: &View, cookie: u64, verbose: bool) -> anyhow::Result<(Publisher, Environment)> {
    let library = unpacked(view, "shim", cvmfs_shim_embed::LIBRARY)?;
    // After the user's own libraries: it would not ask them.
    let list = preload_list(&library, Place::Last);
    let page = cvmfs_helper::endpoint::private_directory()?.join(format!("{PAGE}{cookie:016x}"));
    let mount_dir = client.namespace().mount_dir();
    let publisher = Publisher::create(&page, cookie, mount_dir, view, list.as_encoded_bytes())?;
    if verbose {
        say!("shim {}, control page {}", library.display(), page.display());
    }
    let environment = vec![("LD_PRELOAD".into(), list), (CONTROL_VARIABLE.into(), publisher.variable())];
    Ok((publisher, environment))
}

/// Variables for a program.
pub(crate) type Environment = Vec<(OsString, OsString)>;

const CONTROL_VARIABLE: &str = "CVMFS_RUN_CONTROL";

/// The file of a library that this program carries, named by its content, written where it is missing.
fn unpacked(view: &View, what: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let name = format!(".{what}-{}.so", &blake3::hash(bytes).to_hex()[..16]);
    let path = Path::new(OsStr::from_bytes(view.prefix())).join(name);
    if path.to_string_lossy().contains([':', ' ']) {
        bail!("{}: the loader takes no preloaded library whose path has a colon or a space", path.display());
    }
    let mounted = rustix::fs::statvfs(view.prefix()).context("looking at the view's file system")?;
    if mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        bail!("{}: nothing can be run or loaded from this file system", path.display());
    }
    if !path.exists() {
        let written = view.write_program(&path, |file| std::io::Write::write_all(file, bytes));
        written.with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(path)
}

/// Where in the list of libraries to preload ours is.
enum Place {
    First,
    Last,
}

/// The list of libraries to preload, with what was there.
fn preload_list(library: &Path, place: Place) -> OsString {
    let before = std::env::var_os("LD_PRELOAD").filter(|list| !list.is_empty());
    let parts = match (before, place) {
        (None, _) => return library.into(),
        (Some(before), Place::First) => [library.into(), before],
        (Some(before), Place::Last) => [before, library.into()],
    };
    parts.join(OsStr::new(":"))
}

/// What serves this process, and all that it starts, already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Around {
    Nothing,
    Supervisor,
    /// The preload library.
    Library,
}

/// What is around this process.
pub(crate) fn around() -> Around {
    let mount_dir = std::env::var_os("CVMFS_MOUNT_DIR").filter(|dir| !dir.is_empty());
    let mount_dir = PathBuf::from(mount_dir.unwrap_or_else(|| "/cvmfs".into()));
    if std::fs::read_link(mount_dir.join(SESSION_LINK)).is_ok() {
        return Around::Supervisor;
    }
    let preloaded = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    let is_library = |path: &[u8]| {
        let name = Path::new(OsStr::from_bytes(path)).file_name().unwrap_or_default();
        name == LIBRARY || name.as_bytes().starts_with(format!(".{UNPACKED}-").as_bytes())
    };
    let has_library = preloaded.as_bytes().split(|byte| b": ".contains(byte)).any(is_library);
    if has_library && std::env::var_os(SOCKET_VARIABLE).is_some() { Around::Library } else { Around::Nothing }
}

/// Whether this run is served by what is around it. A supervisor cannot be left; the preload library can, for other
/// parameters or another mode.
pub(crate) fn joins(arguments: &Arguments, around: Around) -> anyhow::Result<bool> {
    let own = !arguments.options.is_empty() || arguments.demo || !matches!(arguments.mode, Mode::Auto | Mode::Preload);
    let joins = match around {
        Around::Nothing => false,
        Around::Supervisor => true,
        // The library in the programs would answer what the list should have.
        Around::Library => !own || arguments.record.is_some(),
    };
    if joins && arguments.record.is_some() {
        bail!("--record does not work inside of another cvmfs-run; give it to the outermost one");
    }
    if joins && arguments.root.is_some() {
        bail!("--root does not work inside of another cvmfs-run: there is one root for all that is run");
    }
    if joins && arguments.pin && std::env::var_os(PIN_VARIABLE).is_none() {
        bail!("the cvmfs-run around this one follows new revisions; give --pin to the outermost one");
    }
    Ok(joins)
}

/// Starts a helper if there is none, and asks it to stay.
fn stay(endpoint: &Endpoint, program: &Path) -> anyhow::Result<(UnixStream, PathBuf)> {
    for _ in 0..10 {
        // The answer does not matter yet: a helper that is there can be on its way out.
        let _ = endpoint.ask_or_start(&Request::Hello, program)?;
        let Some(stream) = endpoint.connect()? else { continue };
        if let Ok(Ok(Reply::Hello { view })) = cvmfs_helper::endpoint::converse(&stream, &Request::Stay) {
            return Ok((stream, view));
        }
    }
    Err(anyhow!("the helper does not stay; see {}", endpoint.log_file().display()))
}

/// The parameters of the command line, as variables for the helper and the program.
fn parameters(arguments: &Arguments) -> anyhow::Result<Vec<(String, String)>> {
    let mut options = Vec::new();
    if arguments.root.is_some() {
        // Inside, the caller is root, who may read everything.
        options.push((CHECK_PERMISSIONS.name.to_owned(), "no".to_owned()));
    }
    if arguments.demo {
        let base = Loader::new(Sources::system(arguments.options.clone())).common()?.cache_base()?;
        let demo = demo::unpack(&base.join("demo")).context("unpacking the demo repository")?;
        options.extend(demo.options());
        options.push(("CVMFS_REPOSITORIES".to_owned(), demo.fqrn.to_string()));
    }
    options.extend(arguments.options.iter().cloned());
    if let Some((name, _)) = options.iter().find(|(name, _)| name.contains(['=', '\0'])) {
        bail!("'{name}' is no name of a parameter");
    }
    Ok(options)
}

/// The preload library, if this program was built with it inside.
const INSIDE: Option<&[u8]> = {
    #[cfg(library_inside)]
    let inside: Option<&[u8]> = Some(include_bytes!(env!("CVMFS_PRELOAD_LIBRARY")));
    #[cfg(not(library_inside))]
    let inside = None;
    inside
};

/// The preload library: as the environment says, beside this program, in `../lib`, or out of this program.
fn library(program: &Path, view: &Path) -> anyhow::Result<PathBuf> {
    if let Some(library) = std::env::var_os(LIBRARY_VARIABLE).filter(|library| !library.is_empty()) {
        return std::path::absolute(library).context(LIBRARY_VARIABLE);
    }
    let directory = program.parent().unwrap_or(Path::new("/"));
    let places = [directory.join(LIBRARY), directory.join("../lib").join(LIBRARY)];
    if let Some(place) = places.iter().find(|place| place.is_file()) {
        return Ok(place.clone());
    }
    let inside = INSIDE.ok_or_else(|| {
        anyhow!("{LIBRARY} is neither in {} nor in ../lib; set {LIBRARY_VARIABLE} to its path", directory.display())
    })?;
    let view = View::at(view).with_context(|| format!("using {}", view.display()))?;
    unpacked(&view, UNPACKED, inside)
}
