//! The image of an index, damaged: whatever it holds, reading it ends and stays inside.
#![no_main]

use cvmfs_index::Index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = Index::open_any(bytes) else { return };
    let _ = index.verify_checksum();
    let mut buffer = [0; 4096];
    for entry in index.entries().take(1000) {
        let _ = (entry.name(), entry.content(), entry.symlink_target(), entry.path(&mut buffer).is_some());
        let _ = (entry.xattrs().count(), entry.chunks().iter().take(1000).count(), entry.nested().is_some());
        let _ = entry.children().iter().take(1000).count();
    }
    for path in [&b""[..], b"/a", b"/sub/a"] {
        let _ = index.find(path);
    }
    let _ = index.all_nested().take(1000).count();
});
