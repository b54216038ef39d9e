//! Everything a program needs: the tree of `/cvmfs`, whose repositories are mounted when first touched.

use crate::Error;
use crate::config::{Config, ConfigError, ConfigRepository, Loader, Sources, table};
use crate::fqrn::Fqrn;
use crate::namespace::{FileKind, LastLink, Mounts, Namespace};
use crate::patience;
use crate::repository::{Repository, SharedPacEvaluator};
use crate::snapshot::Snapshot;
use once_cell::sync::OnceCell;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time during which a repository that could not be mounted is not tried again.
const MOUNT_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of a file of the configuration repository.
const CONFIG_FILE_LIMIT: u64 = 1 << 20;

/// What a client is made from.
#[derive(Clone, Default)]
pub struct ClientSettings {
    /// Parameters that beat everything else (`-o KEY=VALUE`).
    pub options: Vec<(String, String)>,
    /// The environment, for `CVMFS_*` parameters, default directories and variant symbolic links.
    pub environment: Vec<(OsString, OsString)>,
    /// Directories laid out like `/etc/cvmfs`; none: the usual ones.
    pub config_roots: Option<Vec<PathBuf>>,
    /// Evaluates the scripts by which sites name their proxies.
    pub pac: Option<SharedPacEvaluator>,
}

impl ClientSettings {
    /// The environment of this process and the usual configuration directories.
    pub fn from_process() -> ClientSettings {
        ClientSettings { environment: std::env::vars_os().collect(), ..ClientSettings::default() }
    }
}

/// The tree of `/cvmfs`. Clones share everything; there is no global state.
#[derive(Clone)]
pub struct Client {
    mounter: Arc<Mounter>,
    namespace: Namespace,
}

struct Mounter {
    loader: Loader,
    pac: Option<SharedPacEvaluator>,
    mounted: RwLock<BTreeMap<String, Arc<Slot>>>,
    /// `CVMFS_REPOSITORIES`.
    listed: Vec<Fqrn>,
    /// `CVMFS_STRICT_MOUNT`: nothing else can be mounted.
    strict: bool,
}

/// A repository's place: mounted once, by whoever comes first.
#[derive(Default)]
struct Slot {
    repository: OnceCell<Repository>,
    failed: RwLock<Option<(Instant, Arc<Error>)>>,
}

impl Client {
    /// Reads the configuration that concerns no single repository. Nothing is mounted yet.
    pub fn new(settings: ClientSettings) -> Result<Client, Error> {
        let mut sources = Sources::system(settings.options);
        sources.environment = settings
            .environment
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if let Some(roots) = settings.config_roots {
            sources.roots = roots;
        }
        let loader = Loader::new(sources);
        let common = loader.common()?;
        let mount_dir = common.text(&table::MOUNT_DIR)?.unwrap_or("/cvmfs").trim_end_matches('/').to_owned();
        if !mount_dir.starts_with('/') || mount_dir.split('/').skip(1).any(|c| matches!(c, "" | "." | "..")) {
            let reason = format!("'{mount_dir}' is no absolute path without dots");
            return Err(Error::Setting { parameter: table::MOUNT_DIR.name, reason });
        }
        let listed = common.list(&table::REPOSITORIES)?;
        let listed = listed.iter().map(|name| loader.name(name.trim())).collect::<Result<Vec<Fqrn>, ConfigError>>()?;
        let strict = common.on(&table::STRICT_MOUNT)?;
        let mounter = Arc::new(Mounter { loader, pac: settings.pac, mounted: RwLock::default(), listed, strict });
        let namespace = Namespace::new(mount_dir.as_bytes(), mounter.clone());
        Ok(Client { mounter, namespace })
    }

    /// The tree with all repositories.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A repository, mounted if it was not. A name without a dot is completed by `CVMFS_DEFAULT_DOMAIN`.
    pub fn repository(&self, name: &str) -> Result<Repository, Error> {
        let fqrn = self.mounter.loader.name(name)?;
        self.mounter.repository(&fqrn)
    }

    /// The configuration of a repository, without mounting it.
    pub fn config(&self, name: &str) -> Result<Config, Error> {
        let fqrn = self.mounter.loader.name(name)?;
        self.mounter.config(&fqrn)
    }

    /// The configuration that is common to all repositories.
    pub fn common_config(&self) -> Result<Config, Error> {
        Ok(self.mounter.loader.common()?)
    }

    /// The repositories mounted so far.
    pub fn mounted(&self) -> Vec<Repository> {
        self.mounter.mounted.read().values().filter_map(|slot| slot.repository.get().cloned()).collect()
    }
}

impl Mounter {
    fn repository(&self, fqrn: &Fqrn) -> Result<Repository, Error> {
        let slot = self.mounted.write().entry(fqrn.as_str().to_owned()).or_default().clone();
        if let Some(repository) = slot.repository.get() {
            return Ok(repository.clone());
        }
        if let Some((when, error)) = &*slot.failed.read()
            && when.elapsed() < MOUNT_PAUSE
        {
            return Err(Error::StillFailing(error.clone()));
        }
        patience::wait()?;
        let mounted = slot.repository.get_or_try_init(|| Repository::mount(self.config(fqrn)?, self.pac.as_ref()));
        match mounted {
            Ok(repository) => {
                // Its root was attached before it was found among the mounted ones.
                crate::snapshot::announce();
                Ok(repository.clone())
            }
            Err(error) => {
                let error = Arc::new(error);
                *slot.failed.write() = Some((Instant::now(), error.clone()));
                Err(Error::StillFailing(error))
            }
        }
    }

    fn config(&self, fqrn: &Fqrn) -> Result<Config, Error> {
        let Some(requested) = self.loader.config_repository(fqrn)? else {
            return Ok(self.loader.load(fqrn, None)?);
        };
        match self.repository(&requested.fqrn) {
            Ok(repository) => {
                let files = MountedConfig::new(&repository);
                Ok(self.loader.load(fqrn, Some(&files))?)
            }
            Err(error) if requested.required => Err(error),
            Err(error) => {
                log::warn!("configuration repository {}: {error}; going on without it", requested.fqrn);
                Ok(self.loader.load(fqrn, None)?)
            }
        }
    }
}

impl Mounts for Mounter {
    fn mount(&self, name: &str) -> Result<Option<Arc<Snapshot>>, Error> {
        if let Some(slot) = self.mounted.read().get(name)
            && let Some(repository) = slot.repository.get()
        {
            return Ok(Some(repository.fresh_snapshot()));
        }
        let Ok(fqrn) = Fqrn::new(name) else { return Ok(None) };
        if self.strict && !self.listed.contains(&fqrn) {
            return Ok(None);
        }
        match self.repository(&fqrn) {
            Ok(repository) => Ok(Some(repository.fresh_snapshot())),
            // Nothing anywhere describes such a repository, or has it, so there is none: programs look for files such
            // as `package.json` in every directory above their own.
            Err(error) if error.is_undescribed() || error.is_unknown_everywhere() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn known(&self) -> Vec<Fqrn> {
        let mut known = self.listed.clone();
        let mounted = self.mounted.read();
        known.extend(mounted.values().filter_map(|slot| Some(slot.repository.get()?.fqrn().clone())));
        known.sort();
        known.dedup();
        known
    }
}

/// The mounted configuration repository as the configuration loader sees it.
struct MountedConfig(Namespace);

/// A tree with one repository at its root's name.
struct Alone(Arc<Snapshot>);

impl Mounts for Alone {
    fn mount(&self, name: &str) -> Result<Option<Arc<Snapshot>>, Error> {
        Ok((name == self.0.fqrn().as_str()).then(|| self.0.clone()))
    }

    fn known(&self) -> Vec<Fqrn> {
        vec![self.0.fqrn().clone()]
    }
}

impl MountedConfig {
    fn new(repository: &Repository) -> MountedConfig {
        MountedConfig(Namespace::new(b"/cvmfs", Arc::new(Alone(repository.fresh_snapshot()))))
    }

    fn resolve(&self, path: &str) -> io::Result<Option<crate::namespace::Node>> {
        let Some(fqrn) = self.0.known().pop() else { return Ok(None) };
        let path = format!("/cvmfs/{fqrn}{path}");
        match self.0.resolve(path.as_bytes(), LastLink::Follow).and_then(crate::namespace::Resolved::node) {
            Ok(node) => Ok(Some(node)),
            Err(Error::NotFound | Error::NotDirectory | Error::Outside(_)) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl ConfigRepository for MountedConfig {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(node) = self.resolve(path)?.filter(|node| node.kind() == FileKind::Regular) else { return Ok(None) };
        let mut bytes = Vec::new();
        node.open().map_err(io::Error::other)?.take(CONFIG_FILE_LIMIT).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let node = self.resolve(directory)?.filter(|node| node.kind() == FileKind::Directory);
        let Some(node) = node else { return Ok(Vec::new()) };
        let listing = node.list().map_err(io::Error::other)?;
        Ok(listing.iter().filter_map(|item| String::from_utf8(item.name.to_vec()).ok()).collect())
    }
}
