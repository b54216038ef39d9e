//! How repositories come to be seen inside: the host's mounts are shown, or the program is started through `cvmfs-run`.

use crate::arguments::{Backend, Bind, Os, Start};
use crate::mounted;
use crate::sandbox::program::private;
use crate::say::say;
use crate::served;
use anyhow::{Context as _, Result};
use libcvmfs::config::{Loader, Sources};
use libcvmfs::fqrn::Fqrn;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

const PROGRAM: &str = "cvmfs-run";
const LIBRARY: &str = "libcvmfs_preload.so";
/// Where the host keeps parameters and keys.
const CONFIGURATION: &str = "/etc/cvmfs";

/// What has to be inside so that repositories are.
#[derive(Default)]
pub(crate) struct Provision {
    /// Repositories that the host has mounted.
    pub(crate) mounted: Vec<String>,
    /// Repositories that are mounted inside.
    pub(crate) served: Vec<Fqrn>,
    /// The program inside that shows repositories to other programs.
    pub(crate) shown_by: Option<PathBuf>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// Finds out how the repositories that are wanted can be shown.
pub(crate) fn provide(start: &Start, backend: Backend) -> Result<Provision> {
    let mut provision = Provision::default();
    if start.cvmfs.is_empty() {
        return Ok(provision);
    }
    let missing: Vec<&Fqrn> = start.cvmfs.iter().filter(|fqrn| !host_has(fqrn)).collect();
    if missing.is_empty() || (backend == Backend::Namespaces && served::is_possible()) {
        let mounted = start.cvmfs.iter().filter(|fqrn| !missing.contains(fqrn));
        provision.mounted = mounted.map(|fqrn| fqrn.as_str().to_owned()).collect();
        provision.served = missing.into_iter().cloned().collect();
        return Ok(provision);
    }
    for fqrn in missing.iter().filter(|_| is_automounted()) {
        say!(
            "the host's automounter did not mount /cvmfs/{fqrn} when it was touched, and cannot do so later for who is \
             inside; cvmfs-run shows it instead"
        );
    }
    serve(start, &mut provision)?;
    Ok(provision)
}

/// As [`provide`], for programs whose root is shown by `cvmfs-run`, which then shows repositories, too.
pub(crate) fn provide_by_root(start: &Start, os: Option<&Os>) -> Result<Provision> {
    let mut provision = Provision::default();
    for fqrn in start.cvmfs.iter().filter(|fqrn| host_has(fqrn)) {
        let place = Path::new("/cvmfs").join(fqrn.as_str());
        provision.binds.push(Bind { source: place.clone(), target: place, read_only: true });
    }
    // Also what the host has: it is listed so, and found at its place before it would be asked for.
    let mut shown: Vec<&str> = start.cvmfs.iter().map(Fqrn::as_str).collect();
    shown.extend(os.map(|os| os.fqrn.as_str()));
    provision.environment = parameters(start.options.clone(), &cache(start)?, &shown);
    Ok(provision)
}

/// The cache of the host, made where missing.
fn cache(start: &Start) -> Result<PathBuf> {
    let base = Loader::new(Sources::system(start.options.clone())).common()?.cache_base()?;
    fs::create_dir_all(&base).with_context(|| format!("making the cache {}", base.display()))?;
    fs::canonicalize(&base).with_context(|| format!("finding the cache {}", base.display()))
}

/// Variables by which `cvmfs-run` shows these repositories, and no others.
fn parameters(options: Vec<(String, String)>, cache: &Path, shown: &[&str]) -> Vec<(OsString, OsString)> {
    let own: [(OsString, OsString); 3] = [
        ("CVMFS_CACHE_BASE".into(), cache.into()),
        ("CVMFS_REPOSITORIES".into(), shown.join(",").into()),
        ("CVMFS_STRICT_MOUNT".into(), "yes".into()),
    ];
    let others = options.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let mut environment: Vec<_> = others.filter(|(name, _)| own.iter().all(|(known, _)| known != name)).collect();
    environment.extend(own);
    environment
}

/// Whether the host has this repository mounted, also if it does so on touch.
fn host_has(fqrn: &Fqrn) -> bool {
    let place = Path::new("/cvmfs").join(fqrn.as_str());
    let _ = fs::read_dir(&place).map(|mut entries| entries.next());
    mounted::all().iter().any(|mounted| mounted.place == place && mounted.kind != "autofs")
}

fn is_automounted() -> bool {
    mounted::all().iter().any(|mounted| mounted.place == Path::new("/cvmfs") && mounted.kind == "autofs")
}

/// Brings `cvmfs-run` in, with the cache and the parameters of the host.
fn serve(start: &Start, provision: &mut Provision) -> Result<()> {
    let program = program()?;
    let options = start.options.clone();
    let base = cache(start)?;
    let inside = private("bin").join(PROGRAM);
    let mut show = |source: &Path, target: &Path, read_only| {
        provision.binds.push(Bind { source: source.to_owned(), target: target.to_owned(), read_only });
    };
    show(&program, &inside, true);
    // At the same place as outside, for what is derived from objects may name the cache.
    show(&base, &base, false);
    if Path::new(CONFIGURATION).is_dir() {
        show(Path::new(CONFIGURATION), Path::new(CONFIGURATION), true);
    }
    let shown: Vec<&str> = start.cvmfs.iter().map(Fqrn::as_str).collect();
    provision.environment = parameters(options.clone(), &base, &shown);
    if let Some(library) = library(&program) {
        let inside = private("bin").join(LIBRARY);
        show(&library, &inside, true);
        provision.environment.push(("CVMFS_RUN_LIBRARY".into(), inside.into_os_string()));
    }
    let given = |name: &str| options.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    for name in ["CVMFS_PUBLIC_KEY", "CVMFS_KEYS_DIR"] {
        let files = given(name).or_else(|| std::env::var(name).ok()).unwrap_or_default();
        for file in files.split([':', ',']).map(Path::new) {
            if file.is_absolute() && file.exists() && !file.starts_with(CONFIGURATION) {
                show(file, file, true);
            }
        }
    }
    provision.shown_by = Some(inside);
    Ok(())
}

/// `cvmfs-run`, beside this program or in `PATH`.
pub(crate) fn program() -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join(PROGRAM));
    let found = beside.into_iter().chain(in_path).find(|file| file.is_file());
    found.and_then(|file| fs::canonicalize(file).ok()).context(
        "cvmfs-run, which shows repositories and roots where nothing can be mounted, is neither beside cernvm-fork nor in PATH",
    )
}

/// Its library, if it is not inside of it.
fn library(program: &Path) -> Option<PathBuf> {
    let named = std::env::var_os("CVMFS_RUN_LIBRARY").map(PathBuf::from);
    let directory = program.parent()?;
    let usual = [directory.join(LIBRARY), directory.join("../lib").join(LIBRARY)];
    named.into_iter().chain(usual).find(|file| file.is_file()).and_then(|file| fs::canonicalize(file).ok())
}
