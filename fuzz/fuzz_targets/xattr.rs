//! Packed extended attributes: no panic, and every name that is listed is found.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(attributes) = cvmfs_index::xattr::unpack(bytes) {
        for (name, _) in attributes {
            assert!(attributes.get(name).is_some());
        }
    }
});
