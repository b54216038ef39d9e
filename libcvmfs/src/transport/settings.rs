//! Everything a transport needs to know, as plain values.

use super::dns::Resolver;
use super::proxy_list::ProxyList;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Which addresses of a name are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4 if there is any, else IPv6 (`CVMFS_IPFAMILY_PREFER=4`).
    PreferV4,
    /// IPv6 if there is any, else IPv4 (`CVMFS_IPFAMILY_PREFER=6`).
    PreferV6,
    /// IPv4 and nothing else (environment variable `CVMFS_IPV4_ONLY`).
    OnlyV4,
}

/// How names are resolved (`CVMFS_DNS_*`).
#[derive(Debug, Clone)]
pub struct DnsSettings {
    /// Name servers (`CVMFS_DNS_SERVER`); empty asks the system.
    pub servers: Vec<SocketAddr>,
    /// Time for one try.
    pub timeout: Duration,
    /// Repetitions after a try without an answer.
    pub retries: u32,
    /// An address is kept at least that long.
    pub min_ttl: Duration,
    /// An address is kept at most that long.
    pub max_ttl: Duration,
}

impl Default for DnsSettings {
    fn default() -> DnsSettings {
        DnsSettings {
            servers: Vec::new(),
            timeout: Duration::from_secs(3),
            retries: 1,
            min_ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(86400),
        }
    }
}

/// Ordering of hosts by distance.
#[derive(Debug, Clone, Default)]
pub struct GeoSettings {
    /// `CVMFS_USE_GEOAPI`.
    pub enabled: bool,
    /// `CVMFS_MAX_SERVERS`: keep that many hosts after ordering; 0 keeps all.
    pub max_servers: usize,
    /// `CVMFS_PROXY_TEMPLATE`: text sent in place of the proxy's name.
    pub proxy_template: Option<String>,
    /// Sent in place of the proxy's name by a client without proxy, so that caches keep clients apart.
    pub client_id: Option<String>,
}

/// Which certificate authorities are trusted for https.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// `CVMFS_USE_SSL_SYSTEM_CA`: the authorities of the operating system.
    pub use_system_ca: bool,
    /// `X509_CERT_DIR`: a directory with one PEM file per authority.
    pub cert_dir: Option<PathBuf>,
    /// `X509_CERT_BUNDLE`: a file with many authorities.
    pub cert_bundle: Option<PathBuf>,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            use_system_ca: false,
            cert_dir: Some(PathBuf::from("/etc/grid-security/certificates")),
            cert_bundle: None,
        }
    }
}

/// Settings of one transport. Defaults are the code defaults of the official client; hosts and proxies have none.
#[derive(Clone)]
pub struct Settings {
    /// `CVMFS_SERVER_URL`: base URLs of the repository, `@fqrn@` already replaced.
    pub hosts: Vec<String>,
    /// `CVMFS_HTTP_PROXY`.
    pub proxies: ProxyList,
    /// `CVMFS_FALLBACK_PROXY`; its presence removes DIRECT from both lists.
    pub fallback_proxies: ProxyList,
    /// `CVMFS_TIMEOUT`: to connect, and to stay below the speed limit, through a proxy.
    pub timeout: Duration,
    /// `CVMFS_TIMEOUT_DIRECT`: the same without a proxy.
    pub timeout_direct: Duration,
    /// `CVMFS_LOW_SPEED_LIMIT` in bytes per second; 0 still ends transfers that stand still.
    pub low_speed_limit: u64,
    /// Bound on a whole request with all its tries; none is the official behaviour.
    pub request_deadline: Option<Duration>,
    /// `CVMFS_MAX_RETRIES`: repetitions on the same host and proxy, in total for one request.
    pub max_retries: u32,
    /// `CVMFS_BACKOFF_INIT`: the first repetition waits a random time up to this.
    pub backoff_init: Duration,
    /// `CVMFS_BACKOFF_MAX`: no repetition waits longer.
    pub backoff_max: Duration,
    /// `CVMFS_PROXY_RESET_AFTER`: return to the first group; zero is never.
    pub proxy_reset_after: Duration,
    /// `CVMFS_HOST_RESET_AFTER`: return to the first host; zero is never.
    pub host_reset_after: Duration,
    /// `CVMFS_FAILOVER_INDEFINITELY`: begin again instead of giving up (still bounded by `request_deadline`).
    pub failover_indefinitely: bool,
    /// `CVMFS_PROXY_SHARD`: the object decides which member of a group serves it.
    pub proxy_shard: bool,
    /// `CVMFS_MAX_IPADDR_PER_PROXY`: addresses used of one proxy name; 0 uses all.
    pub max_ipaddr_per_proxy: usize,
    /// `CVMFS_IPFAMILY_PREFER`, `CVMFS_IPV4_ONLY`.
    pub ip_family: IpFamily,
    /// `CVMFS_DNS_*`.
    pub dns: DnsSettings,
    /// `CVMFS_USE_GEOAPI` and its kin.
    pub geo: GeoSettings,
    /// `CVMFS_FOLLOW_REDIRECTS`.
    pub follow_redirects: bool,
    /// `CVMFS_SEND_INFO_HEADER`.
    pub send_info_header: bool,
    /// `User-Agent`, without the host's UUID.
    pub user_agent: String,
    /// `CERNVM_UUID`, appended to the user agent.
    pub cernvm_uuid: Option<String>,
    /// `CVMFS_HTTP_TRACING` with `CVMFS_HTTP_TRACING_HEADERS` (`key:value|key:value`); `None` is off.
    pub tracing_headers: Option<String>,
    /// Trust in https servers.
    pub tls: TlsSettings,
    /// Connections at the same time; more requests wait for their turn.
    pub max_connections: usize,
    /// Replaces the resolver built from `dns`.
    pub resolver: Option<Arc<dyn Resolver>>,
    /// Seed of every random choice, for repeatable tests.
    pub random_seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hosts: Vec::new(),
            proxies: ProxyList::default(),
            fallback_proxies: ProxyList::default(),
            timeout: Duration::from_secs(5),
            timeout_direct: Duration::from_secs(5),
            low_speed_limit: 1024,
            request_deadline: None,
            max_retries: 1,
            backoff_init: Duration::from_secs(2),
            backoff_max: Duration::from_secs(10),
            proxy_reset_after: Duration::ZERO,
            host_reset_after: Duration::ZERO,
            failover_indefinitely: false,
            proxy_shard: false,
            max_ipaddr_per_proxy: 0,
            ip_family: IpFamily::PreferV4,
            dns: DnsSettings::default(),
            geo: GeoSettings::default(),
            follow_redirects: false,
            send_info_header: false,
            user_agent: concat!("cvmfs libcvmfs ", env!("CARGO_PKG_VERSION")).to_owned(),
            cernvm_uuid: None,
            tracing_headers: None,
            tls: TlsSettings::default(),
            max_connections: 16,
            resolver: None,
            random_seed: None,
        }
    }
}
