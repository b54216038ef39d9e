//! Servers and master keys of public domains, built in, so that they work without any file.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::fqrn::Fqrn;

/// What is built in, with where it comes from.
#[derive(Debug, Deserialize)]
struct Table {
    origin: String,
    path: String,
    pac_urls: Vec<String>,
    pac_urls_any_order: Vec<String>,
    fallback_proxies: Vec<String>,
    config_repository: String,
    domains: Vec<Row>,
    keys: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Row {
    domain: String,
    cdn: Vec<String>,
    servers: Vec<String>,
    geo_api: bool,
    keys: Vec<String>,
    #[serde(default)]
    fallback_proxies: Option<bool>,
    #[serde(default)]
    note: Option<String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/public-repositories.json")).expect("a test reads the same file")
});

/// One public domain.
#[derive(Debug, Clone, Copy)]
pub struct Domain(&'static Row);

/// The domain of a repository, if it is built in.
pub fn find(fqrn: &Fqrn) -> Option<Domain> {
    TABLE.domains.iter().find(|row| row.domain == fqrn.domain()).map(Domain)
}

/// All built-in domains.
pub fn all() -> impl Iterator<Item = Domain> {
    TABLE.domains.iter().map(Domain)
}

/// Where the built-in table comes from.
pub fn origin() -> &'static str {
    &TABLE.origin
}

/// The configuration repository that knows further domains.
pub fn config_repository() -> &'static str {
    &TABLE.config_repository
}

/// Places of PAC files; `random` decides the order of the last two.
pub fn pac_urls(random: u32) -> String {
    let mut any_order: Vec<&str> = TABLE.pac_urls_any_order.iter().map(String::as_str).collect();
    if random % 2 == 1 {
        any_order.reverse();
    }
    TABLE.pac_urls.iter().map(String::as_str).chain(any_order).collect::<Vec<_>>().join(";")
}

impl Domain {
    /// Its name, such as `cern.ch`.
    pub fn name(&self) -> &'static str {
        &self.0.domain
    }

    /// Value of `CVMFS_SERVER_URL`, with or without the content delivery network.
    pub fn server_url(&self, cdn: bool) -> String {
        let hosts =
            if cdn && !self.0.cdn.is_empty() || self.0.servers.is_empty() { &self.0.cdn } else { &self.0.servers };
        hosts.iter().map(|host| format!("{host}{}", TABLE.path)).collect::<Vec<_>>().join(";")
    }

    /// Whether its servers are to be sorted by the Geo API.
    pub fn geo_api(&self) -> bool {
        self.0.geo_api
    }

    /// Value of `CVMFS_FALLBACK_PROXY` for clients behind a proxy of their site.
    pub fn fallback_proxies(&self) -> Option<String> {
        self.0.fallback_proxies.unwrap_or(true).then(|| TABLE.fallback_proxies.join(";"))
    }

    /// Its master keys: name and PEM text.
    pub fn keys(&self) -> Vec<(&'static str, String)> {
        let keys = self.0.keys.iter().filter_map(|name| Some((name.as_str(), TABLE.keys.get(name)?)));
        keys.map(|(name, lines)| (name, lines.join("\n") + "\n")).collect()
    }

    /// What to know about this row.
    pub fn note(&self) -> Option<&'static str> {
        self.0.note.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_domain_has_servers_and_keys_that_parse() {
        use rsa::pkcs8::DecodePublicKey;
        assert!(all().count() >= 15 && origin().contains("cvmfs-config.cern.ch"));
        for domain in all() {
            assert!(!domain.keys().is_empty(), "{}", domain.name());
            for (name, pem) in domain.keys() {
                rsa::RsaPublicKey::from_public_key_pem(&pem).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            for cdn in [true, false] {
                for url in domain.server_url(cdn).split(';') {
                    let host = url.strip_prefix("http://").and_then(|u| u.strip_suffix("/cvmfs/@fqrn@"));
                    let (name, port) = host.unwrap().split_once(':').unwrap_or((host.unwrap(), "80"));
                    assert!(port.parse::<u16>().is_ok() && name.split('.').count() > 2, "{url}");
                }
            }
        }
    }

    #[test]
    fn the_promised_domains_are_there() {
        for name in ["sft.cern.ch", "biomed.egi.eu", "oasis.opensciencegrid.org", "software.eessi.io"] {
            assert!(find(&Fqrn::new(name).unwrap()).is_some(), "{name}");
        }
        assert!(find(&Fqrn::new("small.test.example").unwrap()).is_none());
    }
}
