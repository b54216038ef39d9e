//! A database that claims to be a catalog: opened, made into an index, and the index walked.
#![no_main]

use libcvmfs::catalog::{Index, SqliteCatalog, build_index};
use libcvmfs::hash::{Algorithm, Hasher};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = std::env::temp_dir().join(format!("fuzz-catalog-{}", std::process::id()));
    std::fs::write(&file, bytes).expect("a temporary file");
    let Ok(catalog) = SqliteCatalog::open(&file) else { return };
    let Ok((image, _)) = build_index(&catalog, &Hasher::hash(Algorithm::Sha1, bytes)) else { return };
    walk(&Index::open_any(&image).expect("an index just built"));
});

fn walk(index: &Index<'_>) {
    for entry in index.entries() {
        for child in entry.children().iter() {
            assert_eq!(child.parent().map(|parent| parent.number()), Some(entry.number()));
        }
        let _ = (entry.name(), entry.content(), entry.symlink_target(), entry.xattrs().count(), entry.nested());
        let _ = entry.chunks().iter().count();
    }
}
