//! Which host and which proxy the next try goes to: a state machine without network and without clock.
//!
//! See the module documentation of [`crate::transport`] for the rules. Two kinds of memory meet here: what all
//! requests share (current host, current group and member, burned proxies), and what one [`Job`] has tried already.

use super::backoff::Backoff;
use super::error::Failure;
use super::host_chain::Host;
use super::proxy_list::{ProxyAddress, ProxySpec};
use super::shard::Ring;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A proxy at one address, or no proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Hop {
    /// No proxy.
    Direct,
    /// One address of a proxy; no address if its name could not be resolved.
    Proxy {
        /// As configured.
        proxy: ProxyAddress,
        /// Where to connect.
        address: Result<IpAddr, String>,
    },
}

impl Hop {
    /// The URL with the literal address, as logs and attributes show it.
    pub(super) fn label(&self) -> String {
        match self {
            Hop::Direct => "DIRECT".to_owned(),
            Hop::Proxy { proxy, address: Err(_) } => proxy.to_string(),
            Hop::Proxy { proxy, address: Ok(address) } => {
                format!("http://{}", std::net::SocketAddr::new(*address, proxy.authority.port))
            }
        }
    }
}

/// One step of the proxy fail-over.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// As configured.
    pub(super) spec: Vec<ProxySpec>,
    /// One per address.
    pub(super) members: Vec<Hop>,
    /// From `CVMFS_FALLBACK_PROXY`.
    pub(super) fallback: bool,
}

/// The parameters of the rules.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) max_retries: u32,
    pub(super) backoff_init: Duration,
    pub(super) backoff_max: Duration,
    pub(super) proxy_reset_after: Duration,
    pub(super) host_reset_after: Duration,
    pub(super) indefinitely: bool,
    pub(super) shard: bool,
}

/// How a failed try counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The host cannot serve.
    Host,
    /// The host does not have this one object.
    MissingObject,
    /// The proxy cannot serve: no address, no connection, or an error of its own.
    Proxy,
    /// The proxy took the connection and not one byte came: proxy or host, who knows.
    SilentProxy,
    /// Bytes came through the proxy, but too slowly or not all.
    SlowProxy,
    /// All bytes came and are wrong.
    Corrupt,
    /// Trying elsewhere is of no use.
    Hopeless,
}

/// A failed try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) failure: Failure,
    pub(super) blame: Blame,
}

/// Where a try goes.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) host: Arc<Host>,
    pub(super) host_index: usize,
    pub(super) hop: Hop,
}

/// What to do after a failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The same route again over a fresh connection, after a pause.
    Again(Duration),
    /// The same route again, past the caches.
    PastCaches,
    /// Ask for a new route, after a pause.
    Elsewhere(Duration),
    /// Nothing is left to try.
    GiveUp,
}

/// A change of the shared state, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Switch {
    Host { from: String, to: String },
    Proxy { from: String, to: String },
}

/// The memory of one request.
#[derive(Debug)]
pub(super) struct Job {
    shard_key: u32,
    only_host: Option<usize>,
    retries: u32,
    backoff: Backoff,
    /// The current try asks caches to step aside.
    pub(super) past_caches: bool,
    failed_hosts: HashSet<usize>,
    missing_on: HashSet<usize>,
    dead_hops: HashSet<Hop>,
    /// Ruled out for good: whoever starts over with the hosts must rule out a proxy for it, or there is no end.
    excluded_hops: HashSet<Hop>,
    /// Members of the current group that were silent or slow with the current host.
    doubted_hops: HashSet<Hop>,
    /// Doubt about a proxy is no reason to go around it.
    never_direct: bool,
    /// Something came through the current group.
    heard: bool,
}

impl Job {
    /// True if every host said that the object does not exist.
    pub(super) fn missing_everywhere(&self, hosts: usize) -> bool {
        if self.only_host.is_some() { !self.missing_on.is_empty() } else { self.missing_on.len() >= hosts }
    }
}

/// The shared state.
#[derive(Debug)]
pub(super) struct FailOver {
    hosts: Vec<Arc<Host>>,
    host: usize,
    left_first_host: Option<Instant>,
    groups: Vec<Group>,
    group: usize,
    member: usize,
    left_first_group: Option<Instant>,
    burned: HashSet<Hop>,
    burned_since: Option<Instant>,
    ring: Option<Ring>,
    rules: Rules,
    random: fastrand::Rng,
    switches: Vec<Switch>,
}

impl FailOver {
    /// `hosts` and `groups` must not be empty, nor any group.
    pub(super) fn new(hosts: Vec<Host>, groups: Vec<Group>, rules: Rules, random: fastrand::Rng) -> FailOver {
        let mut machine = FailOver {
            hosts: hosts.into_iter().map(Arc::new).collect(),
            host: 0,
            left_first_host: None,
            groups,
            group: 0,
            member: 0,
            left_first_group: None,
            burned: HashSet::new(),
            burned_since: None,
            ring: None,
            rules,
            random,
            switches: Vec::new(),
        };
        machine.rebalance();
        machine
    }

    /// A new request; `only_host` forbids to leave that host.
    pub(super) fn job(&self, shard_key: u32, only_host: Option<usize>) -> Job {
        Job {
            shard_key,
            only_host,
            retries: 0,
            backoff: Backoff::new(self.rules.backoff_init, self.rules.backoff_max),
            past_caches: false,
            failed_hosts: HashSet::new(),
            missing_on: HashSet::new(),
            dead_hops: HashSet::new(),
            excluded_hops: HashSet::new(),
            doubted_hops: HashSet::new(),
            never_direct: false,
            heard: false,
        }
    }

    /// Where the next try of the job goes.
    pub(super) fn route(&mut self, job: &Job, now: Instant) -> Route {
        self.reset_when_due(now);
        let host_index = self.host_of(job);
        let host = Arc::clone(&self.hosts[host_index]);
        let hop = if host.authority.is_none() { Hop::Direct } else { self.hop_of(job) };
        Route { host, host_index, hop }
    }

    /// Decides what follows a failed try.
    pub(super) fn judge(&mut self, job: &mut Job, route: &Route, verdict: Verdict, now: Instant) -> Step {
        use Failure as F;
        let repeatable = matches!(
            verdict.failure,
            F::ProxyConnection
                | F::HostConnection
                | F::ProxyTooSlow
                | F::HostTooSlow
                | F::ProxyShortTransfer
                | F::HostShortTransfer
        );
        if verdict.blame == Blame::Hopeless {
            return Step::GiveUp;
        }
        if repeatable && !job.past_caches && job.retries < self.rules.max_retries {
            job.retries += 1;
            return Step::Again(job.backoff.advance(&mut self.random));
        }
        if verdict.blame == Blame::Corrupt && !job.past_caches {
            job.past_caches = true;
            return Step::PastCaches;
        }
        job.past_caches = false;
        let found = match verdict.blame {
            Blame::Host => self.leave_host(job, route, now, true),
            Blame::MissingObject => {
                job.missing_on.insert(route.host_index);
                self.leave_host(job, route, now, false)
            }
            Blame::Corrupt => self.leave_host(job, route, now, true) || self.leave_corrupting_proxy(job, route, now),
            Blame::Proxy => self.leave_dead_proxy(job, route, now),
            Blame::SilentProxy | Blame::SlowProxy => {
                job.heard |= verdict.blame == Blame::SlowProxy;
                self.leave_doubtful_proxy(job, route, now)
            }
            Blame::Hopeless => false,
        };
        if found {
            return Step::Elsewhere(Duration::ZERO);
        }
        let content = matches!(verdict.blame, Blame::Corrupt | Blame::MissingObject)
            || matches!(verdict.failure, F::TooBig | F::HostHttp);
        if self.rules.indefinitely && !content {
            job.failed_hosts.clear();
            job.missing_on.clear();
            job.dead_hops.clear();
            job.excluded_hops.clear();
            job.doubted_hops.clear();
            job.heard = false;
            return Step::Elsewhere(job.backoff.advance(&mut self.random));
        }
        Step::GiveUp
    }

    /// More tries than the rules can ask for, unless requests at the same time turn the state in circles.
    pub(super) fn most_tries(&self) -> u32 {
        let routes = self.hosts.len() * self.groups.iter().map(|group| group.members.len()).sum::<usize>();
        let most = u32::try_from(routes).unwrap_or(u32::MAX).saturating_mul(4).saturating_add(self.rules.max_retries);
        if self.rules.indefinitely { u32::MAX } else { most.saturating_add(16) }
    }

    /// The changes made since the last call.
    pub(super) fn take_switches(&mut self) -> Vec<Switch> {
        std::mem::take(&mut self.switches)
    }

    // ---- hosts ----

    fn host_of(&self, job: &Job) -> usize {
        if let Some(only) = job.only_host {
            return only.min(self.hosts.len() - 1);
        }
        let count = self.hosts.len();
        (0..count).map(|step| (self.host + step) % count).find(|i| !job.failed_hosts.contains(i)).unwrap_or(self.host)
    }

    /// The job is done with its host; true if another one is left. `for_all`: so is everybody else.
    fn leave_host(&mut self, job: &mut Job, route: &Route, now: Instant, for_all: bool) -> bool {
        job.failed_hosts.insert(route.host_index);
        if job.only_host.is_some() || job.failed_hosts.len() >= self.hosts.len() {
            return false;
        }
        job.doubted_hops.clear();
        if for_all {
            self.switch_host(route.host_index, now);
        }
        true
    }

    /// Makes the next host current, if `from` still is.
    pub(super) fn switch_host(&mut self, from: usize, now: Instant) -> bool {
        if self.host != from || self.hosts.len() < 2 {
            return false;
        }
        self.set_host((from + 1) % self.hosts.len(), now);
        true
    }

    fn set_host(&mut self, to: usize, now: Instant) {
        if to == self.host {
            return;
        }
        let from = self.hosts[self.host].url.clone();
        self.switches.push(Switch::Host { from, to: self.hosts[to].url.clone() });
        self.host = to;
        self.left_first_host = if to == 0 { None } else { self.left_first_host.or(Some(now)) };
    }

    pub(super) fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    pub(super) fn current_host(&self) -> usize {
        self.host
    }

    /// Installs another order (or selection) of hosts and begins with its first.
    pub(super) fn install_hosts(&mut self, hosts: Vec<Arc<Host>>) {
        if !hosts.is_empty() {
            self.hosts = hosts;
            self.host = 0;
            self.left_first_host = None;
        }
    }

    // ---- proxies ----

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn current_group(&self) -> usize {
        self.group
    }

    /// The member that requests go through now.
    pub(super) fn current_hop(&self) -> Hop {
        self.groups[self.group].members.get(self.member).cloned().unwrap_or(Hop::Direct)
    }

    /// Puts newly resolved members in place of a group's old ones, keeping the current one if it is still there.
    pub(super) fn install_members(&mut self, group: usize, members: Vec<Hop>) {
        let Some(place) = self.groups.get_mut(group) else { return };
        if members.is_empty() || place.members == members {
            return;
        }
        let current = place.members.get(self.member).cloned();
        place.members = members;
        if group == self.group {
            self.ring = None;
            match self.groups[group].members.iter().position(|hop| Some(hop) == current.as_ref()) {
                Some(position) => self.member = position,
                None => self.rebalance(),
            }
        }
    }

    /// Installs another order of groups.
    pub(super) fn install_groups(&mut self, groups: Vec<Group>) {
        if !groups.is_empty() {
            self.groups = groups;
            self.back_to_first_group();
        }
    }

    /// Chooses a random member of the current group.
    pub(super) fn rebalance(&mut self) {
        self.ring = None;
        let usable = self.usable_members(self.group, |_| true);
        self.member = self.random_of(&usable).unwrap_or(0);
    }

    fn random_of(&mut self, from: &[usize]) -> Option<usize> {
        // A name without address stays in the list, but comes last.
        let members = &self.groups[self.group].members;
        let good: Vec<usize> = from
            .iter()
            .copied()
            .filter(|i| !matches!(members.get(*i), Some(Hop::Proxy { address: Err(_), .. })))
            .collect();
        let from = if good.is_empty() { from } else { &good };
        (!from.is_empty()).then(|| from[self.random.usize(..from.len())])
    }

    /// Unburned members of a group that fulfil a condition.
    fn usable_members(&self, group: usize, also: impl Fn(&Hop) -> bool) -> Vec<usize> {
        let members = &self.groups[group].members;
        (0..members.len()).filter(|i| !self.burned.contains(&members[*i]) && also(&members[*i])).collect()
    }

    fn fits(job: &Job) -> impl Fn(&Hop) -> bool {
        |hop| {
            let ruled_out = [&job.dead_hops, &job.excluded_hops, &job.doubted_hops].iter().any(|set| set.contains(hop));
            let bypass = job.never_direct && *hop == Hop::Direct;
            !ruled_out && !bypass
        }
    }

    fn hop_of(&mut self, job: &Job) -> Hop {
        let mut usable = self.usable_members(self.group, Self::fits(job));
        if usable.is_empty() && job.never_direct {
            // Another request may have moved on to DIRECT meanwhile; this one must not.
            let proxies = |hop: &Hop| *hop != Hop::Direct;
            if let Some(group) = (0..self.groups.len()).find(|g| self.groups[*g].members.iter().any(proxies))
                && self.groups[self.group].members.iter().all(|hop| *hop == Hop::Direct)
            {
                let members: Vec<&Hop> = self.groups[group].members.iter().filter(|hop| proxies(hop)).collect();
                return members[self.random.usize(..members.len())].clone();
            }
        }
        if usable.is_empty() {
            usable = self.usable_members(self.group, |hop| !(job.never_direct && *hop == Hop::Direct));
        }
        if self.rules.shard {
            let members = &self.groups[self.group].members;
            let ring = self.ring.get_or_insert_with(|| Ring::new(members.iter().map(Hop::label)));
            if let Some(index) = ring.pick(job.shard_key, |index| usable.contains(&index)) {
                return members[index].clone();
            }
        }
        let index = if usable.is_empty() || usable.contains(&self.member) {
            self.member
        } else {
            self.random_of(&usable).unwrap_or(self.member)
        };
        self.groups[self.group].members[index].clone()
    }

    fn set_member(&mut self, group: usize, member: usize, now: Instant) {
        let from = self.current_hop();
        if group != self.group {
            self.ring = None;
            self.left_first_group = if group == 0 { None } else { self.left_first_group.or(Some(now)) };
        }
        self.group = group;
        self.member = member;
        let to = self.current_hop();
        if from != to {
            self.switches.push(Switch::Proxy { from: from.label(), to: to.label() });
        }
    }

    /// Another unburned member of the current group becomes current; false if none fits.
    fn rotate(&mut self, job: &Job, now: Instant) -> bool {
        let usable = self.usable_members(self.group, Self::fits(job));
        if usable.contains(&self.member) {
            return true;
        }
        match self.random_of(&usable) {
            Some(member) => {
                self.set_member(self.group, member, now);
                true
            }
            None => false,
        }
    }

    /// The first later group with a fitting member becomes current; false if there is none.
    fn advance_group(&mut self, job: &Job, now: Instant, allowed: impl Fn(&Group) -> bool) -> bool {
        for group in self.group + 1..self.groups.len() {
            if !allowed(&self.groups[group]) {
                continue;
            }
            let usable = self.usable_members(group, Self::fits(job));
            if !usable.is_empty() {
                let before = self.group;
                self.group = group;
                let member = self.random_of(&usable).unwrap_or(usable[0]);
                self.group = before;
                self.set_member(group, member, now);
                return true;
            }
        }
        false
    }

    fn burn(&mut self, hop: &Hop, now: Instant) {
        if self.burned.insert(hop.clone()) {
            self.burned_since.get_or_insert(now);
        }
    }

    fn back_to_first_group(&mut self) {
        let from = self.current_hop();
        self.group = 0;
        self.left_first_group = None;
        self.burned.clear();
        self.burned_since = None;
        self.rebalance();
        let to = self.current_hop();
        if from != to {
            self.switches.push(Switch::Proxy { from: from.label(), to: to.label() });
        }
    }

    fn leave_dead_proxy(&mut self, job: &mut Job, route: &Route, now: Instant) -> bool {
        job.dead_hops.insert(route.hop.clone());
        job.never_direct = false;
        job.heard = false;
        self.burn(&route.hop, now);
        if self.rotate(job, now) || self.advance_group(job, now, |_| true) {
            job.doubted_hops.clear();
            return true;
        }
        // All proxies failed: perhaps they cannot reach this host, so another one begins with the first group.
        self.back_to_first_group();
        job.dead_hops.clear();
        job.doubted_hops.clear();
        let usable = self.rotate(job, now) || self.advance_group(job, now, |_| true);
        usable && self.leave_host(job, route, now, true)
    }

    fn leave_corrupting_proxy(&mut self, job: &mut Job, route: &Route, now: Instant) -> bool {
        if route.hop == Hop::Direct || job.only_host.is_some() {
            return false;
        }
        job.excluded_hops.insert(route.hop.clone());
        self.burn(&route.hop, now);
        let found = self.rotate(job, now) || self.advance_group(job, now, |_| true);
        if found {
            job.failed_hosts.clear();
        } else {
            self.back_to_first_group();
        }
        found
    }

    fn leave_doubtful_proxy(&mut self, job: &mut Job, route: &Route, now: Instant) -> bool {
        job.doubted_hops.insert(route.hop.clone());
        job.never_direct = true;
        if self.rotate(job, now) {
            return true;
        }
        if self.leave_host(job, route, now, true) {
            return true;
        }
        // Nothing at all came through this group, from any host: other proxies may be asked, but nobody is bypassed.
        let all_proxies = |group: &Group| group.members.iter().all(|hop| *hop != Hop::Direct);
        let silent_group = self.groups[self.group].members.clone();
        if !job.heard && self.advance_group(job, now, all_proxies) {
            job.excluded_hops.extend(silent_group);
            job.failed_hosts.clear();
            job.doubted_hops.clear();
            return true;
        }
        false
    }

    // ---- time ----

    fn reset_when_due(&mut self, now: Instant) {
        let due = |since: Option<Instant>, after: Duration| {
            !after.is_zero() && since.is_some_and(|since| now.saturating_duration_since(since) >= after)
        };
        let after = self.rules.proxy_reset_after;
        if due(self.left_first_group, after) || due(self.burned_since, after) {
            self.back_to_first_group();
        }
        if due(self.left_first_host, self.rules.host_reset_after) {
            self.set_host(0, now);
        }
    }
}

#[cfg(test)]
mod tests;
