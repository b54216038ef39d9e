//! From the configured proxies to the addresses that are used: one member per address.

use super::dns::Names;
use super::failover::{Group, Hop};
use super::proxy_list::{ProxyGroup, ProxyList, ProxySpec};
use std::time::Instant;

/// Applies the rule about fallback proxies: if there are any, DIRECT disappears from both lists.
pub(super) fn effective_lists(regular: &ProxyList, fallback: &ProxyList) -> (ProxyList, ProxyList) {
    let fallback = fallback.without_direct();
    if fallback.groups.is_empty() {
        return (regular.clone(), fallback);
    }
    let kept = regular.without_direct();
    if kept != *regular {
        log::info!("DIRECT is ignored in CVMFS_HTTP_PROXY because CVMFS_FALLBACK_PROXY is set");
    }
    (kept, fallback)
}

/// Groups in the order of fail-over, without addresses yet.
pub(super) fn unresolved_groups(regular: &ProxyList, fallback: &ProxyList) -> Vec<Group> {
    let from = |list: &ProxyList, fallback: bool| {
        list.groups
            .iter()
            .filter_map(|group| match group {
                ProxyGroup::Members(spec) if !spec.is_empty() => {
                    Some(Group { spec: spec.clone(), members: Vec::new(), fallback })
                }
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let mut groups = from(regular, false);
    groups.extend(from(fallback, true));
    groups
}

/// Looks all names of a group up. Returns one member per address and the time until which they hold.
pub(super) fn resolve_members(
    spec: &[ProxySpec],
    names: &Names,
    max_per_name: usize,
    random: &mut fastrand::Rng,
) -> (Vec<Hop>, Instant) {
    let mut members = Vec::new();
    let mut until: Option<Instant> = None;
    for proxy in spec {
        let proxy = match proxy {
            ProxySpec::Direct => {
                members.push(Hop::Direct);
                continue;
            }
            ProxySpec::Http(proxy) => proxy,
        };
        let holds = match names.one_family(&proxy.authority.name) {
            Ok((mut addresses, holds)) => {
                if max_per_name > 0 && addresses.len() > max_per_name {
                    random.shuffle(&mut addresses);
                    addresses.truncate(max_per_name);
                }
                let member = |address| Hop::Proxy { proxy: proxy.clone(), address: Ok(address) };
                members.extend(addresses.into_iter().map(member));
                holds
            }
            Err(error) => {
                log::warn!("proxy {proxy}: {error}");
                members.push(Hop::Proxy { proxy: proxy.clone(), address: Err(error.to_string()) });
                Instant::now() + names.negative_ttl()
            }
        };
        until = Some(until.map_or(holds, |until| until.min(holds)));
    }
    // Stable order and no duplicates, or a new answer in another order would look like a change.
    let mut seen = std::collections::HashSet::new();
    members.retain(|member| seen.insert(member.clone()));
    (members, until.unwrap_or_else(|| Instant::now() + std::time::Duration::from_secs(86400)))
}

/// The attribute form: one URL per line, group after group.
pub(super) fn list_text(groups: &[Group]) -> String {
    groups.iter().flat_map(|group| &group.members).map(|member| member.label() + "\n").collect()
}
