//! Names by `/etc/hosts` and the name servers of `/etc/resolv.conf`, without the C library.
//!
//! A program that has the C library inside cannot ask its name service: that wants to load modules which belong to the
//! C library of the machine.

use super::{DNS_PORT, IpFamily, ResolveError, Resolved, Resolver, ServerResolver};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Asks the files that administrators keep, anew for every name: they change when a machine changes its network.
#[derive(Debug)]
pub(super) struct FileResolver {
    pub(super) hosts: PathBuf,
    pub(super) configuration: PathBuf,
    /// Where name servers listen.
    pub(super) port: u16,
    /// The longest time for one question to one server; the configuration may want less.
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) family: IpFamily,
}

impl FileResolver {
    /// With the files of this machine.
    pub(super) fn of_machine(timeout: Duration, retries: u32, family: IpFamily) -> FileResolver {
        let (hosts, configuration) = ("/etc/hosts".into(), "/etc/resolv.conf".into());
        FileResolver { hosts, configuration, port: DNS_PORT, timeout, retries, family }
    }
}

impl Resolver for FileResolver {
    fn resolve(&self, name: &str) -> Result<Resolved, ResolveError> {
        // A machine without this file knows no other.
        let hosts = std::fs::read_to_string(&self.hosts).unwrap_or_default();
        let addresses = in_hosts(&hosts, name.trim_end_matches('.'));
        if !addresses.is_empty() {
            return Ok(Resolved { addresses, ttl: None });
        }
        let text = std::fs::read(&self.configuration).unwrap_or_default();
        let configuration = resolv_conf::Config::parse(&text).map_err(|error| ResolveError::Other {
            name: name.to_owned(),
            reason: format!("{}: {error}", self.configuration.display()),
        })?;
        let mut servers: Vec<SocketAddr> =
            configuration.nameservers.iter().map(|server| SocketAddr::new(server.into(), self.port)).collect();
        if servers.is_empty() {
            // As the C library does.
            servers.push((std::net::Ipv4Addr::LOCALHOST, self.port).into());
        }
        let asked_of = ServerResolver { servers, timeout: self.timeout, retries: self.retries, family: self.family };
        let domains = configuration.get_last_search_or_domain().map(String::as_str);
        let search: Vec<&str> = domains.filter(|domain| !domain.trim_matches('.').is_empty()).collect();
        let mut answer = Err(ResolveError::NoAddress(name.to_owned()));
        for candidate in candidates(name, &search, configuration.ndots) {
            answer = asked_of.resolve(&candidate);
            if !matches!(answer, Err(ResolveError::NoAddress(_))) {
                break;
            }
        }
        match answer {
            Err(ResolveError::NoAddress(_)) => Err(ResolveError::NoAddress(name.to_owned())),
            answer => answer,
        }
    }
}

/// The addresses that a file like `/etc/hosts` gives a name.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The full names that `name` may mean, in the order in which they are tried.
fn candidates(name: &str, search: &[&str], dots_of_a_full_name: u32) -> Vec<String> {
    if let Some(full) = name.strip_suffix('.') {
        return vec![full.to_owned()];
    }
    let mut all: Vec<String> = search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.'))).collect();
    let is_full = name.matches('.').count() >= dots_of_a_full_name as usize;
    all.insert(if is_full { 0 } else { all.len() }, name.to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_the_c_library_reads_them() {
        let text = "# comment 10.0.0.9 squid\n127.0.0.1\tlocalhost\n10.0.0.1 squid.example Squid # other\n\
                    fe80::1%eth0 squid\nnonsense squid\n::1 squid\n10.0.0.1 squid\n";
        assert_eq!(in_hosts(text, "squid"), ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(in_hosts(text, "other"), Vec::<IpAddr>::new());
    }

    #[test]
    fn short_names_are_looked_for_in_the_domains_first() {
        let search = ["a.example", "b.example."];
        assert_eq!(candidates("squid", &search, 1), ["squid.a.example", "squid.b.example", "squid"]);
        assert_eq!(candidates("x.org", &search, 1), ["x.org", "x.org.a.example", "x.org.b.example"]);
        assert_eq!(candidates("x.org", &search, 2), ["x.org.a.example", "x.org.b.example", "x.org"]);
        assert_eq!(candidates("x.", &search, 1), ["x"]);
    }
}
