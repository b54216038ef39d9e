//! Objects over HTTP: hosts, proxies, fail-over, retries, and nothing about what the bytes mean.
//!
//! A [`Transport`] knows the servers of one repository and the proxies on the way. [`Transport::fetch`] hands the
//! body of one object to a [`Receiver`], which judges it while it streams; what the
//! receiver refuses is asked for again past the caches, then elsewhere.
//!
//! # Rules of fail-over
//!
//! The current host and the current proxy are shared by all requests, so that connections and caches stay warm;
//! several requests that fail together cause one switch. After `CVMFS_HOST_RESET_AFTER` and
//! `CVMFS_PROXY_RESET_AFTER` the first host and the first group come back.
//!
//! 1. A connection problem, a slow or a broken transfer is first repeated on the same route over a fresh connection,
//!    `CVMFS_MAX_RETRIES` times per request, after a pause.
//! 2. Wrong bytes are asked for once more past the caches on the same route, then from the other hosts; only when
//!    all hosts deliver wrong bytes through a proxy is that proxy left.
//! 3. A host that fails is left for the next of the ring. *Not found* (404) is a statement about one object:
//!    the other hosts are asked too, but the host stays current for everybody else.
//! 4. A *dead* proxy (no address, no connection, an answer that is no HTTP, an HTTP error of its own) is burned: another
//!    member of its group follows, then the next group. When all proxies failed, the next host is tried from the first
//!    group on.
//! 5. A *slow* proxy is not a dead proxy. If the connection stands but the answer is slow, late or cut short, it may be the
//!    host behind it as well: other members of the same group are tried, then other hosts through the group.
//!    A proxy through which bytes came is never left for a later group; one from which nothing came, for any host, may be
//!    left for a later group *of proxies*. Doubt never leads to DIRECT.
//! 6. DIRECT is used only where the list of proxies says so, and never if `CVMFS_FALLBACK_PROXY` is set.

mod backoff;
mod connect;
pub mod discovery;
pub mod dns;
mod error;
mod failover;
mod fetch;
mod file_url;
mod geo;
mod groups;
mod host_chain;
mod http;
mod proxy_list;
mod request;
mod settings;
mod shard;
mod status;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod url;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use fetch::replay::http_reply_fuzz;

pub use backoff::Backoff;
pub use error::{FailedFetch, Failure, TransportError};
pub use host_chain::{Host, HostChainError, split_host_chain};
pub use proxy_list::{ElementError, ProxyAddress, ProxyGroup, ProxyList, ProxyListError, ProxySpec};
pub use request::Request;
pub use settings::{DnsSettings, GeoSettings, IpFamily, Settings, TlsSettings};
pub use status::{Status, Totals};
pub use url::{Authority, Scheme, UrlError, escape_path};

use crate::object::Receiver;
use connect::Connector;
use dns::Names;
use failover::{FailOver, Hop, Route, Rules, Step, Switch};
use fetch::{Fault, Fetcher, Try};
use http::Pool;
use parking_lot::{Condvar, Mutex};
use request::HeaderTemplate;
use status::Counters;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request that was served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Base URL of the host that served it.
    pub host: String,
    /// The proxy it came through; `None` is a direct connection or a file.
    pub proxy: Option<String>,
    /// Bytes handed to the receiver.
    pub bytes: u64,
    /// HTTP status; 200 for files.
    pub status: u16,
    /// Transfers it took.
    pub tries: u32,
    /// Time it took, pauses included.
    pub time: Duration,
}

/// Fetches the objects of one repository. Shared by all threads.
#[derive(Debug)]
pub struct Transport {
    fetcher: Fetcher,
    machine: Mutex<FailOver>,
    group_expiry: Mutex<Vec<Instant>>,
    slots: Slots,
    names: Arc<Names>,
    counters: Arc<Counters>,
    max_ipaddr_per_proxy: usize,
    request_deadline: Option<Duration>,
    geo: GeoSettings,
    random: Mutex<fastrand::Rng>,
}

impl Transport {
    /// Asks these name servers from now on, or those of the machine if there are none. What is known is forgotten.
    pub fn set_name_servers(&self, servers: &[SocketAddr]) {
        self.names.ask(servers);
    }

    /// Checks the settings and resolves the proxies. No connection is made.
    pub fn new(settings: Settings) -> Result<Transport, TransportError> {
        let hosts = host_chain::parse_hosts(&settings.hosts)?;
        if settings.proxies.has_auto() || settings.fallback_proxies.has_auto() {
            let reason = "the group 'auto' was not resolved".to_owned();
            return Err(discovery::DiscoveryError::NothingFound(reason).into());
        }
        let (regular, fallback) = groups::effective_lists(&settings.proxies, &settings.fallback_proxies);
        let mut proxy_groups = groups::unresolved_groups(&regular, &fallback);
        if proxy_groups.is_empty() {
            return Err(ProxyListError::Empty { parameter: "CVMFS_HTTP_PROXY" }.into());
        }
        for (parameter, value) in
            [("CVMFS_TIMEOUT", settings.timeout), ("CVMFS_TIMEOUT_DIRECT", settings.timeout_direct)]
        {
            if value.is_zero() {
                let reason = "no time at all is left for connections; it must be at least one second".to_owned();
                return Err(TransportError::Setting { parameter, reason });
            }
        }
        let tls = match hosts.iter().any(|host| host.scheme == Scheme::Https) || settings.follow_redirects {
            true => match tls::Authorities::load(&settings.tls) {
                Err(_) if !hosts.iter().any(|host| host.scheme == Scheme::Https) => None,
                loaded => Some(loaded?),
            },
            false => None,
        };
        let mut random = settings.random_seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let names = Arc::new(Names::new(&settings.dns, settings.ip_family, settings.resolver.clone()));
        let mut group_expiry = Vec::new();
        for group in &mut proxy_groups {
            let (members, until) =
                groups::resolve_members(&group.spec, &names, settings.max_ipaddr_per_proxy, &mut random);
            group.members = members;
            group_expiry.push(until);
        }
        let rules = Rules {
            max_retries: settings.max_retries,
            backoff_init: settings.backoff_init,
            backoff_max: settings.backoff_max,
            proxy_reset_after: settings.proxy_reset_after,
            host_reset_after: settings.host_reset_after,
            indefinitely: settings.failover_indefinitely,
            shard: settings.proxy_shard,
        };
        let counters = Arc::new(Counters::default());
        let max_connections = settings.max_connections.max(1);
        let machine = FailOver::new(hosts, proxy_groups, rules, random.fork());
        log::info!(
            "transport: host {}, proxy {}",
            machine.hosts()[machine.current_host()].url,
            machine.current_hop().label()
        );
        Ok(Transport {
            fetcher: Fetcher {
                connector: Connector { names: Arc::clone(&names), tls, counters: Arc::clone(&counters) },
                pool: Pool::new(max_connections),
                headers: HeaderTemplate::new(&settings)?,
                timeout: settings.timeout,
                timeout_direct: settings.timeout_direct,
                low_speed_limit: settings.low_speed_limit,
                follow_redirects: settings.follow_redirects,
            },
            machine: Mutex::new(machine),
            group_expiry: Mutex::new(group_expiry),
            slots: Slots { used_of: Mutex::new((0, max_connections)), freed: Condvar::new() },
            names,
            counters,
            max_ipaddr_per_proxy: settings.max_ipaddr_per_proxy,
            request_deadline: settings.request_deadline,
            geo: settings.geo,
            random: Mutex::new(random),
        })
    }

    /// Lets at least this many requests run at the same time from now on, over connections that are kept.
    pub fn allow_connections(&self, connections: usize) {
        self.fetcher.pool.allow(connections);
        self.slots.allow(connections);
    }

    /// Fetches an object from whoever can deliver it, trying hosts and proxies by the rules.
    ///
    /// Blocks until the object is complete, refused everywhere, or the deadline has passed.
    pub fn fetch(&self, request: &Request<'_>, receiver: &mut dyn Receiver) -> Result<Fetched, TransportError> {
        self.fetch_by(request, receiver, None)
    }

    /// Fetches from one host only (an index into [`Transport::hosts`]), with the usual fail-over of proxies.
    pub fn fetch_from(
        &self,
        host: &str,
        request: &Request<'_>,
        receiver: &mut dyn Receiver,
    ) -> Result<Fetched, TransportError> {
        let index = self.machine.lock().hosts().iter().position(|known| known.url == host);
        match index {
            Some(index) => self.fetch_by(request, receiver, Some(index)),
            None => Err(TransportError::Setting {
                parameter: "CVMFS_SERVER_URL",
                reason: format!("'{host}' is not one of the hosts"),
            }),
        }
    }

    fn fetch_by(
        &self,
        request: &Request<'_>,
        receiver: &mut dyn Receiver,
        only_host: Option<usize>,
    ) -> Result<Fetched, TransportError> {
        let started = Instant::now();
        let deadline = self.request_deadline.map(|time| started + time);
        let _slot = self.slots.take();
        let shard_key = request
            .hash
            .map_or(0, |hash| u32::from_be_bytes([hash.digest[0], hash.digest[1], hash.digest[2], hash.digest[3]]));
        let mut job = self.machine.lock().job(shard_key, only_host);
        let mut tries = 0;
        let mut same_route: Option<Route> = None;
        let mut fresh_connection = false;
        loop {
            self.refresh_proxies();
            let route = match same_route.take() {
                Some(route) => route,
                None => self.machine.lock().route(&job, Instant::now()),
            };
            if tries > 0 {
                receiver.restart().map_err(|error| local_error(request, Fault::from(error)))?;
            }
            tries += 1;
            let how = Try { past_caches: job.past_caches, fresh_connection, deadline };
            let fault = match self.fetcher.fetch(&route, request, how, receiver) {
                Ok(delivered) => {
                    let time = started.elapsed();
                    self.counters.download(delivered.bytes, time);
                    return Ok(Fetched {
                        host: route.host.url.clone(),
                        proxy: (route.hop != Hop::Direct).then(|| route.hop.label()),
                        bytes: delivered.bytes,
                        status: delivered.status,
                        tries,
                        time,
                    });
                }
                Err(fault) => fault,
            };
            if let Fault::Local(_) = fault {
                self.counters.error();
                return Err(local_error(request, fault));
            }
            let verdict = fault.verdict(route.hop != Hop::Direct);
            if verdict.failure == Failure::HostResolve
                && let Some(authority) = &route.host.authority
            {
                self.names.forget(&authority.name);
            }
            log::debug!(
                "{} from {} via {}: {} ({fault})",
                request.shown_path(),
                route.host.url,
                route.hop.label(),
                verdict.failure
            );
            let (step, switches, hosts) = {
                let mut machine = self.machine.lock();
                let mut step = machine.judge(&mut job, &route, verdict, Instant::now());
                if tries >= machine.most_tries() {
                    step = Step::GiveUp;
                }
                (step, machine.take_switches(), machine.hosts().len())
            };
            self.report_switches(switches, verdict.failure, &fault.to_string(), &request.shown_path());
            fresh_connection = matches!(step, Step::Again(_));
            let pause = match step {
                Step::Again(pause) => {
                    self.counters.retry();
                    same_route = Some(route.clone());
                    pause
                }
                Step::PastCaches => {
                    self.counters.retry();
                    log::warn!(
                        "{} from {} via {}: {fault}; asking again past the caches",
                        request.shown_path(),
                        route.host.url,
                        route.hop.label()
                    );
                    same_route = Some(route.clone());
                    Duration::ZERO
                }
                Step::Elsewhere(pause) => pause,
                Step::GiveUp => {
                    self.counters.error();
                    let failed = failed_fetch(request, &route, &fault, verdict.failure, tries);
                    return Err(if job.missing_everywhere(hosts) {
                        TransportError::NotFound(failed)
                    } else {
                        log::warn!("{failed}");
                        TransportError::Failed(failed)
                    });
                }
            };
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now + pause >= deadline) {
                self.counters.error();
                return Err(TransportError::Failed(failed_fetch(request, &route, &fault, verdict.failure, tries)));
            }
            std::thread::sleep(pause);
        }
    }

    /// Leaves a host whose answers cannot be trusted (a manifest that fails verification), if it is still current.
    pub fn switch_host(&self, from: &str, reason: &str) {
        let switches = {
            let mut machine = self.machine.lock();
            if let Some(index) = machine.hosts().iter().position(|host| host.url == from) {
                machine.switch_host(index, Instant::now());
            }
            machine.take_switches()
        };
        self.report_switches(switches, Failure::Corrupt, reason, "manifest");
    }

    /// Base URLs of the hosts, beginning with the current one.
    pub fn hosts(&self) -> Vec<String> {
        let machine = self.machine.lock();
        let (before, after) = machine.hosts().split_at(machine.current_host());
        after.iter().chain(before).map(|host| host.url.clone()).collect()
    }

    /// Current host, proxy and running totals.
    pub fn status(&self) -> Status {
        let hosts = self.hosts();
        let machine = self.machine.lock();
        Status {
            host: hosts.first().cloned().unwrap_or_default(),
            hosts,
            proxy: machine.current_hop().label(),
            proxy_list: groups::list_text(machine.groups()),
            proxy_group: machine.current_group(),
            timeout: self.fetcher.timeout,
            timeout_direct: self.fetcher.timeout_direct,
            low_speed_limit: self.fetcher.low_speed_limit,
            totals: self.counters.read(),
        }
    }

    /// Chooses another random member of the current proxy group.
    pub fn rebalance_proxies(&self) {
        self.machine.lock().rebalance();
    }

    /// Resolves the groups whose addresses have expired. Others go on with the old addresses meanwhile.
    fn refresh_proxies(&self) {
        let Some(mut expiry) = self.group_expiry.try_lock() else { return };
        let now = Instant::now();
        for (index, until) in expiry.iter_mut().enumerate() {
            if *until > now {
                continue;
            }
            let Some(spec) = self.machine.lock().groups().get(index).map(|group| group.spec.clone()) else { continue };
            let mut random = self.random.lock().fork();
            let (members, holds) = groups::resolve_members(&spec, &self.names, self.max_ipaddr_per_proxy, &mut random);
            *until = holds;
            self.machine.lock().install_members(index, members);
        }
    }

    fn report_switches(&self, switches: Vec<Switch>, failure: Failure, detail: &str, path: &str) {
        for switch in switches {
            match switch {
                Switch::Host { from, to } => {
                    self.counters.host_switch();
                    log::warn!("switching host from {from} to {to}: {failure} ({path}: {detail})");
                }
                Switch::Proxy { from, to } => {
                    self.counters.proxy_switch();
                    log::warn!("switching proxy from {from} to {to}: {failure} ({path}: {detail})");
                }
            }
        }
    }
}

fn failed_fetch(request: &Request<'_>, route: &Route, fault: &Fault, failure: Failure, tries: u32) -> Box<FailedFetch> {
    Box::new(FailedFetch {
        failure,
        detail: fault.to_string(),
        path: request.shown_path().into_owned(),
        host: route.host.url.clone(),
        proxy: (route.hop != Hop::Direct).then(|| route.hop.label()),
        url: Fetcher::url(route, request),
        status: fault.status(),
        tries,
    })
}

fn local_error(request: &Request<'_>, fault: Fault) -> TransportError {
    let source = match fault {
        Fault::Local(error) => error,
        other => std::io::Error::other(other.to_string()),
    };
    TransportError::Local { path: request.shown_path().into_owned(), source }
}

/// Limits the number of transfers under way.
#[derive(Debug)]
struct Slots {
    /// Transfers under way, and how many there may be.
    used_of: Mutex<(usize, usize)>,
    freed: Condvar,
}

impl Slots {
    fn take(&self) -> Slot<'_> {
        let mut used_of = self.used_of.lock();
        while used_of.0 >= used_of.1 {
            self.freed.wait(&mut used_of);
        }
        used_of.0 += 1;
        Slot { slots: self }
    }

    fn allow(&self, transfers: usize) {
        let mut used_of = self.used_of.lock();
        used_of.1 = used_of.1.max(transfers);
        self.freed.notify_all();
    }
}

struct Slot<'s> {
    slots: &'s Slots,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.used_of.lock().0 -= 1;
        self.slots.freed.notify_one();
    }
}
