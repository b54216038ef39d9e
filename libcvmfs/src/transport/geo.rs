//! Ordering hosts: by distance, as the servers' Geo API tells, or by measured time.

use super::error::TransportError;
use super::failover::{Group, Hop};
use super::host_chain::Host;
use super::proxy_list::ProxySpec;
use super::request::Request;
use super::{Transport, groups};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between hosts and fallback proxies: sort the hosts by their distance from the closest proxy.
const SEPARATOR: &str = "+PXYSEP+";
/// Servers asked before the configured order is kept.
const MAX_ASKED: usize = 3;
/// A reply is one line of numbers.
const MAX_REPLY: u64 = 4096;
/// A manifest is small.
const MAX_PROBE: u64 = 64 * 1024;
/// Times each host is measured; the first round warms caches and connections.
const PROBE_ROUNDS: usize = 2;

/// What is asked of the Geo API, and how its answer is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    names: Vec<String>,
    /// Index into the host chain for the first names.
    hosts: Vec<usize>,
    /// Position of the first fallback group in `names`.
    first_fallback: usize,
}

impl Question {
    fn new(hosts: &[Arc<Host>], groups: &[Group]) -> Question {
        let mut order: Vec<usize> = (0..hosts.len()).collect();
        // Sorted, so that clients with the same servers in another order share cached answers.
        order.sort_by(|a, b| hosts[*a].name().cmp(hosts[*b].name()));
        let mut names: Vec<String> = order.iter().map(|index| hosts[*index].name().to_owned()).collect();
        if groups.iter().all(|group| group.fallback) && hosts.len() > 1 {
            names.push(SEPARATOR.to_owned());
        }
        let first_fallback = names.len();
        names.extend(groups.iter().filter(|group| group.fallback).map(|group| match group.spec.first() {
            Some(ProxySpec::Http(proxy)) => proxy.authority.name.clone(),
            _ => "DIRECT".to_owned(),
        }));
        Question { names, hosts: order, first_fallback }
    }

    /// The new order of hosts and of fallback groups (counted from the first fallback group).
    fn read(&self, permutation: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let hosts = permutation.iter().filter_map(|position| self.hosts.get(*position).copied()).collect();
        let fallback = permutation.iter().filter_map(|position| position.checked_sub(self.first_fallback)).collect();
        (hosts, fallback)
    }
}

/// Reads a reply: a permutation of 1 to `count`. Positions are returned counted from 0.
fn parse_reply(reply: &[u8], count: usize) -> Option<Vec<usize>> {
    let line = reply.strip_suffix(b"\n")?;
    if !line.iter().all(|b| b.is_ascii_digit() || *b == b',' || *b == b' ') {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?;
    let mut seen = vec![false; count];
    let mut order = Vec::with_capacity(count);
    for number in text.split(',') {
        let position = number.trim().parse::<usize>().ok()?.checked_sub(1)?;
        if std::mem::replace(seen.get_mut(position)?, true) {
            return None;
        }
        order.push(position);
    }
    (order.len() == count).then_some(order)
}

impl Transport {
    /// Asks up to three servers for the order of hosts and fallback proxies by distance, and installs it.
    /// Without a usable answer the order stays and false is returned. Afterwards, or at once if the Geo API is not
    /// enabled, the chain is cut to `CVMFS_MAX_SERVERS`.
    pub fn order_hosts(&self) -> bool {
        let ordered = self.geo.enabled && self.order_by_distance();
        if self.geo.max_servers > 0 {
            let mut machine = self.machine.lock();
            if machine.hosts().len() > self.geo.max_servers {
                let kept = machine.hosts()[..self.geo.max_servers].to_vec();
                machine.install_hosts(kept);
            }
        }
        ordered
    }

    fn order_by_distance(&self) -> bool {
        let (hosts, proxy_groups, hop) = {
            let machine = self.machine.lock();
            (machine.hosts().to_vec(), machine.groups().to_vec(), machine.current_hop())
        };
        let fallbacks = proxy_groups.iter().filter(|group| group.fallback).count();
        if hosts.len() < 2 && fallbacks < 2 {
            return false;
        }
        let question = Question::new(&hosts, &proxy_groups);
        let path = format!("/api/v1.0/geo/{}/{}", self.geo_key(&hop, &proxy_groups), question.names.join(","));
        let mut candidates: Vec<&Arc<Host>> = hosts.iter().filter(|host| host.authority.is_some()).collect();
        self.random.lock().shuffle(&mut candidates);
        for host in candidates.into_iter().take(MAX_ASKED) {
            let mut reply = Vec::new();
            if let Err(error) = self.fetch_from(&host.url, &Request::new(&path, MAX_REPLY), &mut reply) {
                log::warn!("Geo API of {}: {error}", host.url);
                continue;
            }
            let Some(permutation) = parse_reply(&reply, question.names.len()) else {
                log::warn!("Geo API of {}: unusable reply '{}'", host.url, reply.escape_ascii());
                continue;
            };
            let (order, fallback_order) = question.read(&permutation);
            let first_fallback = proxy_groups.len() - fallbacks;
            // Both locks in the order of every other user of the two.
            let mut expiry = self.group_expiry.lock();
            let mut machine = self.machine.lock();
            machine.install_hosts(order.into_iter().map(|index| Arc::clone(&hosts[index])).collect());
            if fallback_order.iter().enumerate().any(|(place, index)| place != *index) {
                // Indices of groups change, and with them whose addresses expire when.
                let old = expiry.clone();
                let mut sorted = proxy_groups[..first_fallback].to_vec();
                for (place, index) in fallback_order.into_iter().enumerate() {
                    sorted.push(proxy_groups[first_fallback + index].clone());
                    expiry[first_fallback + place] = old[first_fallback + index];
                }
                machine.install_groups(sorted);
            }
            log::info!(
                "hosts by distance: {}",
                machine.hosts().iter().map(|h| h.name()).collect::<Vec<_>>().join(", ")
            );
            return true;
        }
        log::warn!("no server answered about distances; hosts stay in the configured order");
        false
    }

    /// Text that tells clients at different places apart.
    fn geo_key(&self, hop: &Hop, proxy_groups: &[Group]) -> String {
        if let Some(template) = self.geo.proxy_template.as_deref().filter(|template| !template.is_empty()) {
            return template.to_owned();
        }
        match hop {
            Hop::Proxy { proxy, .. } if proxy_groups.iter().any(|group| !group.fallback) => {
                proxy.authority.name.clone()
            }
            _ => self.geo.client_id.clone().unwrap_or_else(|| "direct".to_owned()),
        }
    }

    /// Measures how fast each host delivers the manifest and puts the fastest first; hosts that fail go last.
    /// Returns the order with the measured times.
    pub fn probe_hosts(&self) -> Vec<(String, Result<Duration, TransportError>)> {
        let hosts = self.machine.lock().hosts().to_vec();
        let mut measured: Vec<(Arc<Host>, Result<Duration, TransportError>)> = hosts
            .into_iter()
            .map(|host| {
                let mut time = Ok(Duration::MAX);
                for _ in 0..PROBE_ROUNDS {
                    let started = Instant::now();
                    let request = Request::new("/.cvmfspublished", MAX_PROBE);
                    time = self.fetch_from(&host.url, &request, &mut Vec::new()).map(|_| started.elapsed());
                    if time.is_err() {
                        break;
                    }
                }
                (host, time)
            })
            .collect();
        measured.sort_by_key(|(_, time)| time.as_ref().map_or(Duration::MAX, |time| *time));
        self.machine.lock().install_hosts(measured.iter().map(|(host, _)| Arc::clone(host)).collect());
        measured.into_iter().map(|(host, time)| (host.url.clone(), time)).collect()
    }

    /// Groups of proxies as configured and resolved, one URL per line.
    pub fn proxy_list(&self) -> String {
        groups::list_text(self.machine.lock().groups())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hosts(names: &[&str]) -> Vec<Arc<Host>> {
        names.iter().map(|name| Arc::new(Host::parse(&format!("http://{name}:8000/cvmfs/x")).expect("a URL"))).collect()
    }

    fn group(name: &str, fallback: bool) -> Group {
        let list = super::super::ProxyList::parse(name).expect("a proxy");
        let mut groups = groups::unresolved_groups(&list, &super::super::ProxyList::default());
        Group { fallback, ..groups.remove(0) }
    }

    #[test]
    fn names_are_sorted_and_answers_are_mapped_back() {
        let hosts = hosts(&["c.x", "a.x", "b.x"]);
        let question = Question::new(&hosts, &[group("p1", false), group("f1", true), group("f2", true)]);
        assert_eq!(question.names, ["a.x", "b.x", "c.x", "f1", "f2"]);
        let permutation = parse_reply(b"3,1,2,5,4\n", 5).expect("a permutation");
        assert_eq!(question.read(&permutation), (vec![0, 1, 2], vec![1, 0]));
    }

    #[test]
    fn with_fallback_proxies_only_there_is_a_separator_that_counts() {
        let question = Question::new(&hosts(&["b.x", "a.x"]), &[group("f1", true), group("f2", true)]);
        assert_eq!(question.names, ["a.x", "b.x", "+PXYSEP+", "f1", "f2"]);
        let permutation = parse_reply(b"2,1,5,4,3\n", 5).expect("a permutation");
        assert_eq!(question.read(&permutation), (vec![0, 1], vec![1, 0]));
    }

    #[test]
    fn replies_are_read_strictly() {
        assert_eq!(parse_reply(b"3, 1,2\n", 3), Some(vec![2, 0, 1]));
        for bad in ["3,1,2", "3,1\n", "3,1,1\n", "4,1,2\n", "0,1,2\n", "3,1,2,\n", "3,1,2\n\n", "<html>\n", "", "\n"] {
            assert_eq!(parse_reply(bad.as_bytes(), 3), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_permutation(reply in "[0-9, \n]{0,12}", count in 0usize..5) {
            if let Some(mut order) = parse_reply(reply.as_bytes(), count) {
                order.sort_unstable();
                prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
            }
        }
    }
}
