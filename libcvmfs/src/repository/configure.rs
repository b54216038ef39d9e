//! From parameters to the settings of each part: the only place that knows both.

use crate::Error;
use crate::cache;
use crate::config::{Config, ConfigError, table};
use crate::namespace::{Caller, IdMap, MagicListing, Owners, Presentation, Variables};
use crate::transport::discovery::DiscoverySettings;
use crate::transport::dns::parse_dns_servers;
use crate::transport::{self, DnsSettings, GeoSettings, IpFamily, ProxyList, TlsSettings, split_host_chain};
use crate::trust::{Blacklist, MasterKeys};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bound on one request with all its tries, so that no caller waits for ever.
const REQUEST_DEADLINE: Duration = Duration::from_secs(300);

/// Connections of one transport at the same time: only a prefetch with many jobs comes near.
const MAX_CONNECTIONS: usize = 64;

/// The transport for the repository's own objects.
pub(super) fn transport(config: &Config) -> Result<transport::Settings, Error> {
    let mut settings = common_transport(config)?;
    settings.hosts = config.servers()?.iter().flat_map(|servers| split_host_chain(servers)).collect();
    let only_files = settings.hosts.iter().all(|host| host.starts_with("file://"));
    settings.proxies = match config.proxies() {
        // Nothing goes over a network, so there is nothing to be said about proxies.
        Err(_) if only_files => ProxyList::direct(),
        proxies => ProxyList::parse(proxies?)?,
    };
    settings.fallback_proxies = match config.text(&table::FALLBACK_PROXY)? {
        Some(text) => ProxyList::parse_fallback(text)?,
        None => ProxyList::default(),
    };
    settings.timeout = seconds(config, &table::TIMEOUT, settings.timeout)?;
    settings.timeout_direct = seconds(config, &table::TIMEOUT_DIRECT, settings.timeout_direct)?;
    settings.geo = GeoSettings {
        enabled: config.on(&table::USE_GEOAPI)?,
        max_servers: count(config, &table::MAX_SERVERS)?,
        proxy_template: config.text(&table::PROXY_TEMPLATE)?.map(str::to_owned),
        client_id: None,
    };
    Ok(settings)
}

/// The transport for external data; `None` if no server is named for it.
pub(super) fn external_transport(config: &Config) -> Result<Option<transport::Settings>, Error> {
    let hosts = config.list(&table::EXTERNAL_URL)?;
    if hosts.is_empty() {
        return Ok(None);
    }
    let mut settings = common_transport(config)?;
    settings.hosts = hosts.iter().flat_map(|hosts| split_host_chain(hosts)).collect();
    settings.proxies = match config.text(&table::EXTERNAL_HTTP_PROXY)? {
        Some(text) => ProxyList::parse_named(text, table::EXTERNAL_HTTP_PROXY.name)?,
        None => ProxyList::direct(),
    };
    settings.fallback_proxies = match config.text(&table::EXTERNAL_FALLBACK_PROXY)? {
        Some(text) => ProxyList::parse_fallback(text)?,
        None => ProxyList::default(),
    };
    settings.timeout = seconds(config, &table::EXTERNAL_TIMEOUT, settings.timeout)?;
    settings.timeout_direct = seconds(config, &table::EXTERNAL_TIMEOUT_DIRECT, settings.timeout_direct)?;
    settings.geo.max_servers = count(config, &table::EXTERNAL_MAX_SERVERS)?;
    Ok(Some(settings))
}

fn common_transport(config: &Config) -> Result<transport::Settings, Error> {
    let base = transport::Settings::default();
    let variable = |name: &str| config.value(name).map(|value| value.text.clone());
    let tracing = config.on(&table::HTTP_TRACING)?;
    let tracing_headers = config.text(&table::HTTP_TRACING_HEADERS)?.unwrap_or_default().to_owned();
    Ok(transport::Settings {
        low_speed_limit: number(config, &table::LOW_SPEED_LIMIT)?.unwrap_or(base.low_speed_limit),
        request_deadline: Some(REQUEST_DEADLINE),
        max_retries: number(config, &table::MAX_RETRIES)?.map_or(base.max_retries, saturated),
        backoff_init: seconds(config, &table::BACKOFF_INIT, base.backoff_init)?,
        backoff_max: seconds(config, &table::BACKOFF_MAX, base.backoff_max)?,
        proxy_reset_after: seconds(config, &table::PROXY_RESET_AFTER, base.proxy_reset_after)?,
        host_reset_after: seconds(config, &table::HOST_RESET_AFTER, base.host_reset_after)?,
        failover_indefinitely: config.on(&table::FAILOVER_INDEFINITELY)?,
        proxy_shard: config.on(&table::PROXY_SHARD)?,
        max_ipaddr_per_proxy: count(config, &table::MAX_IPADDR_PER_PROXY)?,
        ip_family: match (variable("CVMFS_IPV4_ONLY"), number(config, &table::IPFAMILY_PREFER)?) {
            (Some(_), _) => IpFamily::OnlyV4,
            (None, Some(6)) => IpFamily::PreferV6,
            _ => IpFamily::PreferV4,
        },
        dns: DnsSettings {
            servers: name_servers(config)?,
            timeout: seconds(config, &table::DNS_TIMEOUT, base.dns.timeout)?,
            retries: number(config, &table::DNS_RETRIES)?.map_or(base.dns.retries, saturated),
            min_ttl: seconds(config, &table::DNS_MIN_TTL, base.dns.min_ttl)?,
            max_ttl: seconds(config, &table::DNS_MAX_TTL, base.dns.max_ttl)?,
        },
        follow_redirects: config.on(&table::FOLLOW_REDIRECTS)?,
        send_info_header: config.on(&table::SEND_INFO_HEADER)?,
        cernvm_uuid: variable("CERNVM_UUID"),
        tracing_headers: tracing.then_some(tracing_headers),
        tls: TlsSettings {
            use_system_ca: config.on(&table::USE_SSL_SYSTEM_CA)?,
            cert_dir: variable("X509_CERT_DIR").map(PathBuf::from).or(base.tls.cert_dir),
            cert_bundle: variable("X509_CERT_BUNDLE").map(PathBuf::from),
        },
        max_connections: MAX_CONNECTIONS,
        ..base
    })
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn number(config: &Config, parameter: &crate::config::Parameter) -> Result<Option<u64>, ConfigError> {
    Ok(config.integer(parameter)?.map(|number| u64::try_from(number).unwrap_or(0)))
}

fn count(config: &Config, parameter: &crate::config::Parameter) -> Result<usize, ConfigError> {
    Ok(number(config, parameter)?.map_or(0, |number| usize::try_from(number).unwrap_or(usize::MAX)))
}

fn seconds(config: &Config, parameter: &crate::config::Parameter, default: Duration) -> Result<Duration, ConfigError> {
    Ok(config.duration(parameter)?.unwrap_or(default))
}

fn name_servers(config: &Config) -> Result<Vec<std::net::SocketAddr>, Error> {
    let text = config.text(&table::DNS_SERVER)?.unwrap_or_default();
    let wrong = |reason: String| Error::Setting { parameter: table::DNS_SERVER.name, reason };
    parse_dns_servers(text).map_err(wrong)
}

/// How proxies are found where the list says `auto`; the outcome is remembered in the workspace.
pub(super) fn discovery(config: &Config, workspace: Option<&Path>) -> DiscoverySettings {
    let variables = config.environment_for_symlinks();
    DiscoverySettings {
        http_proxy: variables.get("http_proxy").filter(|proxy| !proxy.is_empty()).cloned(),
        pac_urls: variables.get(table::PAC_URLS.name).filter(|urls| !urls.is_empty()).cloned(),
        memory: workspace.map(|workspace| workspace.join(format!("proxies.{}", config.fqrn()))),
    }
}

/// Upper bound of the time between two looks for a newer revision.
pub(super) fn max_ttl(config: &Config) -> Result<Option<Duration>, Error> {
    let limits = [config.duration(&table::MAX_TTL)?, config.duration(&table::MAX_TTL_SECS)?];
    Ok(limits.into_iter().flatten().filter(|ttl| !ttl.is_zero()).min())
}

/// The cache.
pub(super) fn cache(config: &Config) -> Result<cache::Settings, Error> {
    let directory = config.cache_directory()?;
    let base = cache::Settings::default();
    let quota = match config.value(table::QUOTA_LIMIT.name) {
        Some(_) => config.bytes(&table::QUOTA_LIMIT)?,
        None => base.quota_limit_bytes,
    };
    let workspace = match config.path(&table::CACHE_WORKSPACE)? {
        Some(workspace) => Some(workspace),
        None => config.path(&table::WORKSPACE)?,
    };
    let alien = match config.path(&table::CACHE_ALIEN)? {
        Some(alien) => Some(alien),
        None => config.path(&table::ALIEN_CACHE)?,
    };
    let shared = alien.as_ref().unwrap_or(&directory);
    if !is_ours_to_write(shared) {
        // A preloaded cache that we may only read is used as it is, and what it lacks goes to a place of our own.
        let own = |base: PathBuf| base.join(config.fqrn().as_str());
        let places = [workspace, alien.is_some().then(|| directory.clone()), Some(own(config.cache_base()?))];
        let place = places.into_iter().flatten().find(|place| place != shared && is_ours_to_write(place));
        return Ok(cache::Settings {
            directory: place.unwrap_or_else(|| own(config.user_cache())),
            lower: vec![shared.clone()],
            quota_limit_bytes: quota,
            ..base
        });
    }
    Ok(match alien {
        Some(alien) => cache::Settings {
            directory: alien,
            workspace: Some(workspace.unwrap_or(directory)),
            mode: cache::Mode::Alien,
            quota_limit_bytes: None,
            ..base
        },
        None => cache::Settings { directory, workspace, quota_limit_bytes: quota, ..base },
    })
}

/// Whether files can be put there: nobody else manages it, and it is writable or not there yet.
fn is_ours_to_write(directory: &Path) -> bool {
    !directory.exists()
        || (rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
            && !cache::is_managed_by_official_client(directory))
}

/// The master keys.
pub(super) fn master_keys(config: &Config) -> Result<MasterKeys, Error> {
    let mut keys = MasterKeys::default();
    for source in config.master_keys()? {
        keys.add(&source.name, &source.pem)?;
    }
    Ok(keys)
}

/// Everything on any blacklist.
pub(super) fn blacklist(config: &Config) -> Result<Blacklist, Error> {
    Ok(Blacklist::parse(&config.blacklists()?.join(&b'\n')))
}

/// How entries appear.
pub(super) fn presentation(config: &Config) -> Result<Presentation, Error> {
    let claimed_by = config.on(&table::CLAIM_OWNERSHIP)?.then(|| (crate::identity::user(), crate::identity::group()));
    let variables = config.environment_for_symlinks();
    let variables = variables.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes()));
    // Two parameters of one meaning: the default of either must not stand in the way of the other.
    let is_set = |name: &str| config.value(name).is_some();
    let visibility = config.choice(&table::MAGIC_XATTRS_VISIBILITY)?;
    let hidden = config.on(&table::HIDE_MAGIC_XATTRS)?;
    let magic_listing = match visibility.filter(|_| is_set(table::MAGIC_XATTRS_VISIBILITY.name)) {
        Some("never") => MagicListing::Never,
        Some("always") => MagicListing::Always,
        Some(_) => MagicListing::RootOnly,
        None if !is_set(table::HIDE_MAGIC_XATTRS.name) => MagicListing::RootOnly,
        None if hidden => MagicListing::Never,
        None => MagicListing::Always,
    };
    let gids = config.list(&table::XATTR_PRIVILEGED_GIDS)?;
    let privileged_gids = gids.iter().map(|gid| gid.trim().parse()).collect::<Result<Vec<u32>, _>>();
    Ok(Presentation {
        owners: Owners {
            claimed_by,
            users: id_map(config, &table::UID_MAP)?,
            groups: id_map(config, &table::GID_MAP)?,
        },
        variables: Variables::from_iter(variables),
        world_readable: config.on(&table::WORLD_READABLE)?,
        checked: config.on(&table::CHECK_PERMISSIONS)?.then(|| {
            let (uid, groups) = crate::identity::of_process();
            Caller { uid, groups }
        }),
        magic_listing,
        protected_xattrs: config.list(&table::XATTR_PROTECTED_XATTRS)?,
        privileged_gids: privileged_gids.map_err(|_| Error::Setting {
            parameter: table::XATTR_PRIVILEGED_GIDS.name,
            reason: "expected group numbers separated by commas".to_owned(),
        })?,
    })
}

fn id_map(config: &Config, parameter: &crate::config::Parameter) -> Result<IdMap, Error> {
    let Some(path) = config.path(parameter)? else { return Ok(IdMap::default()) };
    let wrong =
        |reason: String| Error::Setting { parameter: parameter.name, reason: format!("{}: {reason}", path.display()) };
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    IdMap::parse(&text).map_err(|error| wrong(error.to_string()))
}
