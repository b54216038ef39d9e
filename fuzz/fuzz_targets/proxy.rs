//! Lists of proxies and of hosts: no panic, what is understood survives being written again, and DIRECT is only where
//! it was written.
#![no_main]

use libcvmfs::transport::discovery::{DiscoverySettings, PacEvaluator, discover};
use libcvmfs::transport::dns::parse_dns_servers;
use libcvmfs::transport::{Host, ProxyGroup, ProxyList, ProxySpec, Settings, escape_path, split_host_chain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(escape_path(bytes).bytes().all(|byte| (b'!'..=b'~').contains(&byte)));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = parse_dns_servers(text);
    let _ = ProxyList::parse_fallback(text);
    for url in split_host_chain(text) {
        if let Ok(host) = Host::parse(&url) {
            // The root directory is `file:///`, and its URL without the slash that all lack alone is not one.
            assert_eq!(Host::parse(&format!("{}/", host.url)), Ok(host));
        }
    }
    if let Ok(list) = ProxyList::parse(text) {
        assert_eq!(ProxyList::parse(&list.to_string()), Ok(without_credentials(list.clone())));
        let direct = list.groups.iter().filter(|group| has_direct(group)).count();
        assert!(direct <= text.matches("DIRECT").count());
    }
    if let Some(found) = discovered(text) {
        assert!(!found.has_auto() && !found.groups.is_empty());
    }
});

struct Answer<'a>(&'a str);

impl PacEvaluator for Answer<'_> {
    fn find_proxy(&self, _: &str, _: &str, _: &str) -> Result<String, String> {
        Ok(self.0.to_owned())
    }
}

/// What a PAC file that answers `text` leads to.
fn discovered(text: &str) -> Option<ProxyList> {
    let script = std::env::temp_dir().join("fuzz-empty.pac");
    if !script.exists() {
        std::fs::write(&script, b"").ok()?;
    }
    let auto = ProxyList { groups: vec![ProxyGroup::Auto] };
    let hosts = vec!["http://localhost/cvmfs/a".to_owned()];
    let mut settings = Settings { hosts, proxies: auto, ..Settings::default() };
    let pac_urls = Some(format!("file://{}", script.display()));
    discover(&mut settings, &DiscoverySettings { pac_urls, ..Default::default() }, Some(&Answer(text))).ok()?;
    Some(settings.proxies)
}

fn has_direct(group: &ProxyGroup) -> bool {
    matches!(group, ProxyGroup::Members(members) if members.contains(&ProxySpec::Direct))
}

fn without_credentials(mut list: ProxyList) -> ProxyList {
    for group in &mut list.groups {
        if let ProxyGroup::Members(members) = group {
            for member in members {
                if let ProxySpec::Http(address) = member {
                    address.credentials = None;
                }
            }
        }
    }
    list
}
