//! Forged catalogs through the library's own reader and index.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::forge::{Forge, Published};
use libcvmfs::catalog::{BuildReport, EntryKind, Index, SqliteCatalog, build_index, content_hash};
use libcvmfs::object::{ObjectKind, ObjectName};
use std::io::Read as _;

const FQRN: &str = "forged.test.example";

fn index(published: &Published, mountpoint: &str) -> (Vec<u8>, BuildReport) {
    let (hash, _) = published.catalogs[mountpoint];
    let stored = std::fs::read(published.object_file(&ObjectName::new(hash, ObjectKind::Catalog))).unwrap();
    let mut plain = Vec::new();
    flate2::read::ZlibDecoder::new(&stored[..]).read_to_end(&mut plain).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plain).unwrap();
    build_index(&SqliteCatalog::open(file.path()).unwrap(), &hash).unwrap()
}

#[test]
fn an_index_says_what_was_described() {
    let dir = tempfile::tempdir().unwrap();
    let forge = Forge::new(FQRN).file("/d/file", b"abc").mode(0o640).owner(1, 2).mtime_ns(5).xattr("user.x", b"y");
    let forge = forge.hardlink("/d/other", "/d/file").symlink("/d/link", "file").file("/d/big", [1; 70]);
    let forge = forge.chunks_of(32).dir("/d/secret").hidden().nested("/sub").file("/sub/x", b"x").revision(3);
    let published = forge.publish(dir.path());
    let (image, report) = index(&published, "");
    assert!(report.is_clean(), "{report:?}");
    let index_of_root = Index::open_any(&image).unwrap();
    let find = |path: &str| index_of_root.find(path.as_bytes()).unwrap_or_else(|| panic!("{path}"));
    let file = find("/d/file");
    assert_eq!((file.kind(), file.mode() & 0o7777, file.uid(), file.gid()), (EntryKind::Regular, 0o640, 1, 2));
    assert_eq!((file.size(), file.nlink(), file.mtime_nanos()), (3, 2, 5));
    assert_eq!(file.xattrs().get(b"user.x"), Some(&b"y"[..]));
    assert_eq!(file.content().map(content_hash), Some(published.objects["/d/file"][0].hash));
    assert_eq!(find("/d/other").ino(), file.ino());
    assert_eq!(find("/d/link").symlink_target(), b"file");
    let sizes: Vec<u64> = find("/d/big").chunks().iter().map(|chunk| chunk.size).collect();
    assert_eq!(sizes, [32, 32, 6]);
    assert!(find("/d/secret").is_hidden());
    let nested = find("/sub").nested().unwrap();
    assert_eq!(nested.catalog().map(content_hash), Some(published.catalogs["/sub"].0));
    let (image, report) = index(&published, "/sub");
    assert!(report.is_clean(), "{report:?}");
    assert!(Index::open_any(&image).unwrap().find(b"/x").is_some(), "paths are relative to the mount point");
}

#[test]
fn rows_that_lie_are_found_out() {
    for lie in [
        "UPDATE catalog SET name = '..' WHERE name = 'f'",
        "UPDATE catalog SET name = 'a/b' WHERE name = 'f'",
        "UPDATE catalog SET size = -1 WHERE name = 'f'",
        "UPDATE chunks SET offset = offset + 1 WHERE offset > 0",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let forge = Forge::new(FQRN).file("/f", b"abc").file("/g", [1; 70]).chunks_of(32).catalog_sql("", lie);
        let (_, report) = index(&forge.publish(dir.path()), "");
        assert!(!report.is_clean(), "{lie}");
    }
}
