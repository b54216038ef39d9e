//! What `.cvmfspublished` may say: no panic, and what is understood survives being written again.
#![no_main]

use libcvmfs::trust::{Manifest, ManifestFields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Manifest::parse(bytes);
    if let Ok(fields) = ManifestFields::parse(bytes) {
        let again = ManifestFields::parse(fields.to_text().as_bytes());
        assert_eq!(again.ok().map(|fields| fields.to_text()), Some(fields.to_text()));
    }
});
