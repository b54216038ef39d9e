//! One mounted repository: its configuration, its parts, and the snapshot in use.

mod configure;
mod letters;
mod probe;
mod select;
mod status;

pub use probe::{Probe, probe_routes};

use crate::Error;
use crate::cache::Cache;
use crate::config::{Config, table};
use crate::fetch::Fetcher;
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use crate::history::{History, Tag};
use crate::namespace::Presentation;
use crate::patience;
use crate::snapshot::{Choice, Identity, Snapshot};
use crate::transport::discovery::{PacEvaluator, discover};
use crate::transport::{self, Transport, TransportError};
use crate::trust::{Floors, VerifiedManifest};
use letters::Letters;
use parking_lot::{Mutex, RwLock};
use select::{Selected, Selector, Wanted, can_go_offline};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time after which a failed look for a newer revision is repeated.
const SHORT_TTL: Duration = Duration::from_secs(180);

/// Evaluates the scripts by which sites name their proxies; brought by programs, which have an engine for it.
pub type SharedPacEvaluator = Arc<dyn PacEvaluator + Send + Sync>;

/// A mounted repository. Clones share everything.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    config: Config,
    selector: Selector,
    source: Arc<status::FetchingSource>,
    presentation: Arc<Presentation>,
    current: RwLock<Current>,
    /// Held by the one who looks for a newer revision; others go on meanwhile.
    refreshing: Mutex<()>,
    max_ttl: Option<Duration>,
    mounted: Instant,
}

/// What is mounted now.
#[derive(Clone)]
struct Current {
    snapshot: Arc<Snapshot>,
    manifest: Option<Arc<VerifiedManifest>>,
    offline: Option<String>,
    expires: Option<Instant>,
}

/// What a look for a newer revision found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The revision in use is fixed, or still the newest.
    UpToDate,
    /// A newer revision is in use from now on.
    Newer {
        /// Its number.
        revision: u64,
    },
    /// The servers could not be asked, or what they said cannot be accepted.
    Offline {
        /// Why.
        reason: String,
    },
}

/// What is mounted and how sure that is.
#[derive(Debug, Clone)]
pub struct State {
    /// The revision in use.
    pub identity: Identity,
    /// The signed manifest it was taken from; none for a fixed root hash or a breadcrumb.
    pub manifest: Option<Arc<VerifiedManifest>>,
    /// Why the servers could not be asked last time.
    pub offline: Option<String>,
    /// Time until the next look for a newer revision; none if there will be none.
    pub expires_in: Option<Duration>,
    /// Time since it was mounted.
    pub mounted_for: Duration,
}

impl Repository {
    /// Mounts a repository: chooses its revision, verifies it and maps its root catalog.
    ///
    /// `pac` is needed only where the configuration leaves the choice of proxies to a script.
    pub fn mount(config: Config, pac: Option<&SharedPacEvaluator>) -> Result<Repository, Error> {
        let fqrn = config.fqrn().clone();
        let wanted = Wanted::of(&config)?;
        let cache = Arc::new(Cache::open(&configure::cache(&config)?)?);
        let connect = |mut settings: transport::Settings| -> Result<Arc<Transport>, Error> {
            let discovery = configure::discovery(&config, cache.workspace());
            discover(&mut settings, &discovery, pac.map(|pac| &**pac as &dyn PacEvaluator))
                .map_err(TransportError::from)?;
            let transport = Transport::new(settings)?;
            transport.order_hosts();
            Ok(Arc::new(transport))
        };
        let transport = connect(configure::transport(&config)?)?;
        let external = configure::external_transport(&config)?.map(connect).transpose()?;
        let fetcher = Arc::new(Fetcher::new(transport, external, cache.clone()));
        let floors = cache.workspace().map(|workspace| Floors::new(workspace.join("seen")));
        let selector = Selector {
            fqrn: fqrn.clone(),
            wanted,
            fetcher: fetcher.clone(),
            // With a fixed root hash there is nothing to be signed.
            keys: match configure::master_keys(&config) {
                Err(_) if config.text(&table::ROOT_HASH)?.is_some() => Default::default(),
                keys => keys?,
            },
            blacklist: configure::blacklist(&config)?,
            floors,
            letters: Letters { cache, fqrn },
            alternative_root: config.on(&table::ALT_ROOT_PATH)?,
        };
        let presentation = Arc::new(configure::presentation(&config)?);
        let source = Arc::new(status::FetchingSource::new(fetcher, &config)?);
        let max_ttl = configure::max_ttl(&config)?;
        let updates = selector.follows_updates() && config.switch(&table::AUTO_UPDATE)? != Some(false);
        let (selected, snapshot) = open_newest(&selector, &source, &presentation, None)?;
        let ttl = updates.then(|| time_to_live(&snapshot, max_ttl, selected.offline.is_some()));
        let Selected { manifest, offline, .. } = selected;
        let current = Current { snapshot, manifest, offline, expires: ttl.map(|ttl| Instant::now() + ttl) };
        source.expires(current.expires);
        Ok(Repository(Arc::new(Inner {
            config,
            selector,
            source,
            presentation,
            current: RwLock::new(current),
            refreshing: Mutex::new(()),
            max_ttl,
            mounted: Instant::now(),
        })))
    }

    /// Its name.
    pub fn fqrn(&self) -> &Fqrn {
        self.0.config.fqrn()
    }

    /// The configuration it was mounted with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Cache and transport.
    pub fn fetcher(&self) -> &Arc<Fetcher> {
        &self.0.selector.fetcher
    }

    /// The transport for its objects.
    pub fn transport(&self) -> &Transport {
        self.fetcher().transport()
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        self.fetcher().cache()
    }

    /// How entries appear.
    pub fn presentation(&self) -> &Presentation {
        &self.0.presentation
    }

    /// The snapshot in use, as it is: see [`Repository::fresh_snapshot`].
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.current.read().snapshot.clone()
    }

    /// The snapshot to use from now on: a newer one if the time to live is over and there is one.
    ///
    /// A thread that may not wait gets the one in use. At most one caller at a time waits for the servers; a failure is remembered and not reported.
    pub fn fresh_snapshot(&self) -> Arc<Snapshot> {
        let (snapshot, expires) = {
            let current = self.0.current.read();
            (current.snapshot.clone(), current.expires)
        };
        if !patience::may_wait() || expires.is_none_or(|expires| Instant::now() < expires) {
            return snapshot;
        }
        let Some(_alone) = self.0.refreshing.try_lock() else { return snapshot };
        if let Err(error) = self.look() {
            log::warn!("{}: {error}", self.fqrn());
        }
        self.snapshot()
    }

    /// Looks for a newer revision now, whatever the time to live says.
    pub fn refresh(&self) -> Result<Refreshed, Error> {
        let _alone = self.0.refreshing.lock();
        self.look()
    }

    fn look(&self) -> Result<Refreshed, Error> {
        let inner = &*self.0;
        if inner.current.read().expires.is_none() {
            return Ok(Refreshed::UpToDate);
        }
        let old = inner.current.read().clone();
        let opened = open_newest(&inner.selector, &inner.source, &inner.presentation, Some(&old.snapshot));
        let outcome = opened.map(|(selected, snapshot)| self.follow(&old, selected, snapshot));
        if outcome.is_err() {
            let mut current = inner.current.write();
            current.expires = Some(Instant::now() + SHORT_TTL);
            inner.source.expires(current.expires);
            current.offline = outcome.as_ref().err().map(|error| error.to_string());
        }
        outcome
    }

    fn follow(&self, old: &Current, selected: Selected, snapshot: Arc<Snapshot>) -> Refreshed {
        let inner = &*self.0;
        let ttl = time_to_live(&snapshot, inner.max_ttl, selected.offline.is_some());
        let revision = snapshot.identity().revision;
        let replaced = !Arc::ptr_eq(&snapshot, &old.snapshot);
        inner.source.expires(Some(Instant::now() + ttl));
        *inner.current.write() = Current {
            snapshot,
            manifest: selected.manifest.or_else(|| old.manifest.clone()),
            offline: selected.offline.clone(),
            expires: Some(Instant::now() + ttl),
        };
        // Whoever looked while its root was attached already saw the old one here.
        crate::snapshot::announce();
        match selected.offline {
            Some(reason) => Refreshed::Offline { reason },
            None if replaced => Refreshed::Newer { revision },
            None => Refreshed::UpToDate,
        }
    }

    /// When the next look for a newer revision is due; `None` if there will be none.
    pub fn expires(&self) -> Option<Instant> {
        self.0.current.read().expires
    }

    /// Writes nothing more and stays at the revision in use; see [`Cache::stop_writing`].
    pub fn stop_writing(&self, patience: Duration) -> Result<(), Error> {
        {
            let _alone = self.0.refreshing.try_lock_for(patience);
            self.0.current.write().expires = None;
            self.0.source.expires(None);
        }
        Ok(self.cache().stop_writing(patience)?)
    }

    /// Asks these name servers from now on, or those of the machine if there are none.
    pub fn set_name_servers(&self, servers: &[SocketAddr]) {
        self.fetcher().set_name_servers(servers);
    }

    /// What is mounted and how sure that is.
    pub fn state(&self) -> State {
        let current = self.0.current.read();
        State {
            identity: current.snapshot.identity().clone(),
            manifest: current.manifest.clone(),
            offline: current.offline.clone(),
            expires_in: current.expires.map(|expires| expires.saturating_duration_since(Instant::now())),
            mounted_for: self.0.mounted.elapsed(),
        }
    }

    /// What the servers publish now, verified; what is mounted stays as it is. The second is the name of its tag, if
    /// somebody gave it one.
    ///
    /// # Errors
    /// What the servers or their answers are wrong with; the cache is not asked.
    pub fn newest(&self) -> Result<(Identity, Option<String>), Error> {
        let selector = &self.0.selector;
        let manifest = selector.newest_manifest()?;
        let identity = selector.of_newest(&manifest);
        let of_publisher = |tag: &&Tag| tag.root == identity.root_hash && !tag.name.starts_with("trunk");
        let history = manifest.history().map(|_| selector.history(&manifest)).transpose()?;
        let tag = history.and_then(|history| history.tags().iter().find(of_publisher).map(|tag| tag.name.clone()));
        Ok((identity, tag))
    }

    /// The tag database that belongs to the signed manifest in use.
    pub fn history(&self) -> Result<History, Error> {
        let manifest = self.0.current.read().manifest.clone();
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => Arc::new(self.0.selector.newest_manifest()?),
        };
        self.0.selector.history(&manifest)
    }

    /// All tags, in the order of the published database.
    pub fn tags(&self) -> Result<Vec<Tag>, Error> {
        Ok(self.history()?.tags().to_vec())
    }

    /// The snapshot of another tag of this repository.
    pub fn snapshot_of_tag(&self, name: &str) -> Result<Arc<Snapshot>, Error> {
        let history = self.history()?;
        let identity = self.0.selector.tagged(&history, name)?;
        self.snapshot_of(identity)
    }

    /// The snapshot with this root catalog.
    pub fn snapshot_of_root(&self, root_hash: ContentHash) -> Result<Arc<Snapshot>, Error> {
        self.snapshot_of(Identity {
            fqrn: self.fqrn().clone(),
            root_hash,
            catalog_size: None,
            revision: 0,
            published: None,
            choice: Choice::RootHash,
        })
    }

    fn snapshot_of(&self, identity: Identity) -> Result<Arc<Snapshot>, Error> {
        Ok(Arc::new(Snapshot::open(identity, self.0.source.clone(), self.0.presentation.clone())?))
    }
}

/// Chooses a revision and opens it; `mounted` is kept if nothing else was chosen. A revision whose root catalog cannot
/// be had is passed over for the last complete one.
fn open_newest(
    selector: &Selector,
    source: &Arc<status::FetchingSource>,
    presentation: &Arc<Presentation>,
    mounted: Option<&Arc<Snapshot>>,
) -> Result<(Selected, Arc<Snapshot>), Error> {
    let open = |selected: &Selected| match mounted {
        // Offline there is nothing newer than what is mounted; online the chain has refused everything older.
        Some(mounted) if selected.offline.is_some() || mounted.identity().root_hash == selected.identity.root_hash => {
            Ok(mounted.clone())
        }
        _ => Snapshot::open(selected.identity.clone(), source.clone(), presentation.clone()).map(Arc::new),
    };
    let selected = selector.select()?;
    let (selected, snapshot) = match open(&selected) {
        Ok(snapshot) => (selected, snapshot),
        Err(error) if selected.offline.is_none() && selector.follows_updates() && can_go_offline(&error) => {
            log::warn!("{}: revision {} is incomplete: {error}", selector.fqrn, selected.identity.revision);
            let selected = selector.offline(error)?;
            let snapshot = open(&selected)?;
            (selected, snapshot)
        }
        Err(error) => return Err(error),
    };
    let membership = snapshot.membership();
    // The user who runs a machine reads everything on it, as with the official client.
    if !membership.is_empty() && crate::identity::user() != 0 {
        return Err(Error::Restricted { fqrn: selector.fqrn.to_string(), membership });
    }
    selector.accept(&selected)?;
    source.mounted(&selected);
    Ok((selected, snapshot))
}

/// Opens the cache that a configuration names, without mounting anything.
pub fn open_cache(config: &Config) -> Result<Cache, Error> {
    Ok(Cache::open(&configure::cache(config)?)?)
}

fn time_to_live(snapshot: &Snapshot, max_ttl: Option<Duration>, offline: bool) -> Duration {
    let ttl = Duration::from_secs(u64::from(snapshot.ttl()));
    let ttl = max_ttl.map_or(ttl, |max| ttl.min(max));
    if offline { ttl.min(SHORT_TTL) } else { ttl }
}
