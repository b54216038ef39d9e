//! Parameters, library and helper for one run.

use crate::arguments::{Arguments, Mode};
use anyhow::{Context as _, anyhow, bail};
use cvmfs_helper::{Endpoint, LIBRARY_VARIABLE, PROGRAM_VARIABLE, Reply, Request, SOCKET_VARIABLE, VIEW_VARIABLE};
use libcvmfs::config::{Loader, Sources};
use libcvmfs::demo;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const LIBRARY: &str = "libcvmfs_preload.so";

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
    /// Finds the library, settles the parameters and makes sure that a helper is there.
    pub(crate) fn open(arguments: &Arguments) -> anyhow::Result<Session> {
        // Auto is what exists.
        let (Mode::Auto | Mode::Preload) = arguments.mode;
        let program = std::env::current_exe().context("finding this program")?;
        let library = library(&program)?;
        let options = parameters(arguments)?;
        for (name, value) in &options {
            // SAFETY: this program has no other thread yet.
            unsafe { std::env::set_var(name, value) };
        }
        for stale in [SOCKET_VARIABLE, VIEW_VARIABLE] {
            // SAFETY: as above. Of a run around this one, perhaps with other parameters.
            unsafe { std::env::remove_var(stale) };
        }
        let endpoint = Endpoint::of_environment()?;
        let (stay, view) = stay(&endpoint, &program)?;
        if arguments.verbose {
            eprintln!("cvmfs-run: library {}", library.display());
            eprintln!("cvmfs-run: helper {}, log {}", endpoint.socket().display(), endpoint.log_file().display());
            eprintln!("cvmfs-run: view {}", view.display());
        }
        let mut preload = library.into_os_string();
        if let Some(before) = std::env::var_os("LD_PRELOAD").filter(|list| !list.is_empty()) {
            preload.push(":");
            preload.push(before);
        }
        let environment = vec![
            ("LD_PRELOAD".into(), preload),
            (SOCKET_VARIABLE.into(), endpoint.socket().into()),
            (VIEW_VARIABLE.into(), view.into()),
            (PROGRAM_VARIABLE.into(), program.clone().into()),
        ];
        Ok(Session { program, environment, _stay: stay })
    }
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

/// The preload library: as the environment says, beside this program, or in `../lib`.
fn library(program: &Path) -> anyhow::Result<PathBuf> {
    if let Some(library) = std::env::var_os(LIBRARY_VARIABLE).filter(|library| !library.is_empty()) {
        return std::path::absolute(library).context(LIBRARY_VARIABLE);
    }
    let directory = program.parent().unwrap_or(Path::new("/"));
    let places = [directory.join(LIBRARY), directory.join("../lib").join(LIBRARY)];
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
        anyhow!("{LIBRARY} is neither in {} nor in ../lib; set {LIBRARY_VARIABLE} to its path", directory.display())
    })
}
