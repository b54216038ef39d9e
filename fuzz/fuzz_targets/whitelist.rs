//! What `.cvmfswhitelist` may say, and the other files of the chain of trust.
#![no_main]

use libcvmfs::trust::{Blacklist, Breadcrumb, Certificate, MasterKeys, Whitelist};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Whitelist::parse(bytes);
    let _ = Blacklist::parse(bytes);
    let _ = Breadcrumb::parse(bytes);
    let _ = Certificate::parse(bytes);
    let _ = MasterKeys::default().add("fuzz", bytes);
});
