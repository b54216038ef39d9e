//! Lists of proxies and of hosts: no panic, what is understood survives being written again, and DIRECT is only where
//! it was written.
#![no_main]

use libcvmfs::transport::dns::parse_dns_servers;
use libcvmfs::transport::{Host, ProxyGroup, ProxyList, ProxySpec, escape_path, split_host_chain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(escape_path(bytes).bytes().all(|byte| (b'!'..=b'~').contains(&byte)));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = parse_dns_servers(text);
    let _ = ProxyList::parse_fallback(text);
    for url in split_host_chain(text) {
        if let Ok(host) = Host::parse(&url) {
            assert_eq!(Host::parse(&host.url), Ok(host));
        }
    }
    if let Ok(list) = ProxyList::parse(text) {
        assert_eq!(ProxyList::parse(&list.to_string()), Ok(without_credentials(list.clone())));
        let direct = list.groups.iter().filter(|group| has_direct(group)).count();
        assert!(direct <= text.matches("DIRECT").count());
    }
});

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
