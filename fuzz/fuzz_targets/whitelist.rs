//! What `.cvmfswhitelist` may say, and the other files of the chain of trust.
#![no_main]

use libcvmfs::cache::Breadcrumb;
use libcvmfs::trust::{Blacklist, Certificate, MasterKeys, Whitelist};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Whitelist::parse(bytes);
    let _ = Blacklist::parse(bytes);
    if let Some(breadcrumb) = std::str::from_utf8(bytes).ok().and_then(Breadcrumb::parse) {
        assert_eq!(Breadcrumb::parse(&breadcrumb.to_string()), Some(breadcrumb));
    }
    let _ = Certificate::parse(bytes);
    let _ = MasterKeys::default().add("fuzz", bytes);
});
