//! Asks every host through every proxy.

use super::configure;
use crate::Error;
use crate::config::Config;
use crate::fetch::MANIFEST_PATH;
use crate::object::decode::SmallBody;
use crate::transport::{ProxyGroup, ProxyList, ProxySpec, Request, Settings, Transport};
use std::time::Duration;

/// Bytes of a manifest.
const LARGEST_MANIFEST: usize = 64 << 10;

/// What came of asking one host through one proxy.
#[derive(Debug)]
pub struct Probe {
    /// Base URL of the host.
    pub host: String,
    /// The proxy, or `DIRECT`.
    pub proxy: String,
    /// Time until the manifest was there, connecting included.
    pub outcome: Result<Duration, Error>,
}

/// Fetches the manifest from every configured host through every configured proxy, once, without any fail-over.
/// The hosts are asked at the same time. Groups of proxies that have to be discovered are left out.
pub fn probe_routes(config: &Config) -> Result<Vec<Probe>, Error> {
    let settings = configure::transport(config)?;
    let groups = settings.proxies.groups.iter().chain(&settings.fallback_proxies.groups);
    let proxies: Vec<ProxySpec> = groups
        .flat_map(|group| match group {
            ProxyGroup::Members(members) => members.clone(),
            ProxyGroup::Auto => Vec::new(),
        })
        .collect();
    let (settings, proxies) = (&settings, &proxies);
    std::thread::scope(|scope| {
        let of_host = |host: &String| {
            let host = host.clone();
            scope.spawn(move || {
                let of_proxy = |proxy: &ProxySpec| Probe {
                    host: host.clone(),
                    proxy: proxy.to_string(),
                    outcome: probe(settings, &host, proxy),
                };
                proxies.iter().map(of_proxy).collect::<Vec<Probe>>()
            })
        };
        let running: Vec<_> = settings.hosts.iter().map(of_host).collect();
        // A thread that panicked has nothing to tell.
        Ok(running.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect())
    })
}

fn probe(settings: &Settings, host: &str, proxy: &ProxySpec) -> Result<Duration, Error> {
    let transport = Transport::new(Settings {
        hosts: vec![host.to_owned()],
        proxies: ProxyList { groups: vec![ProxyGroup::Members(vec![proxy.clone()])] },
        fallback_proxies: ProxyList::default(),
        max_retries: 0,
        geo: Default::default(),
        ..settings.clone()
    })?;
    let mut body = SmallBody::new(MANIFEST_PATH, LARGEST_MANIFEST);
    let request = Request::new(MANIFEST_PATH, LARGEST_MANIFEST as u64).with_label(MANIFEST_PATH);
    Ok(transport.fetch(&request, &mut body)?.time)
}
