use super::*;
use crate::hash::{Algorithm, ContentHash};
use crate::object::Compression;

fn directory(path: &str) -> Row {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", ""));
    Row {
        path: PathHash::of(path.as_bytes()),
        parent: if path.is_empty() { PathHash([0; 16]) } else { PathHash::of(parent.as_bytes()) },
        group: 0,
        links: 7,
        digest: None,
        size: 4096,
        mode: 0o040755,
        mtime: 5,
        mtime_ns: None,
        flags: Flags::DIRECTORY,
        name: name.as_bytes().to_vec(),
        target: Vec::new(),
        uid: 1,
        gid: 4_000_000_000,
        xattr: Vec::new(),
    }
}

fn file(path: &str, group: u32) -> Row {
    let flags = Flags::FILE | Flags::of_content(Algorithm::Rmd160, Compression::None);
    let digest = Some([3; 20]);
    Row { mode: 0o100644, flags, digest, group, links: 1, size: 10, xattr: vec![1, 0], ..directory(path) }
}

#[test]
fn rows_come_back_as_they_were_put() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog");
    let writer = CatalogWriter::create(&path, PAGE_SIZE).unwrap();
    let mut odd = file("/d/odd", 0);
    (odd.name, odd.mtime_ns, odd.mtime, odd.size) = (b"\xff\x01".to_vec(), Some(999_999_999), -5, 1 << 40);
    let rows = [directory(""), directory("/d"), odd, file("/d/f", 0)];
    for row in &rows {
        writer.put(row).unwrap();
    }
    let chunks = [ChunkRow { offset: 0, size: 6, digest: [1; 20] }, ChunkRow { offset: 6, size: 4, digest: [2; 20] }];
    writer.put_chunks(rows[3].path, &chunks).unwrap();
    let link = Link { path: b"/d/n\xff".to_vec(), hash: Some(ContentHash::new(Algorithm::Shake128, [9; 20])), size: 3 };
    writer.put_link(LinkTable::Bind, &link).unwrap();
    writer.finish().unwrap();

    let writer = CatalogWriter::open(&path).unwrap();
    for row in &rows {
        assert_eq!(writer.row(row.path).unwrap().as_ref(), Some(row));
    }
    assert_eq!(writer.children(rows[1].path).unwrap(), rows[2..]);
    assert_eq!(writer.chunks(rows[3].path).unwrap(), chunks);
    assert_eq!(writer.links(LinkTable::Bind).unwrap(), [link]);
    assert_eq!(writer.links(LinkTable::Nested).unwrap(), []);
    assert_eq!((rows[3].algorithm(), rows[3].content().unwrap().digest), (Algorithm::Rmd160, [3; 20]));
    writer.remove(rows[3].path).unwrap();
    assert_eq!((writer.row(rows[3].path).unwrap(), writer.chunks(rows[3].path).unwrap()), (None, vec![]));
    writer.remove_link(LinkTable::Bind, b"/d/n\xff").unwrap();
    assert_eq!(writer.links(LinkTable::Bind).unwrap(), []);
}

#[test]
fn links_and_groups_are_counted_from_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let writer = CatalogWriter::create(&dir.path().join("catalog"), PAGE_SIZE).unwrap();
    assert_eq!(writer.next_group().unwrap(), 1);
    let mut mount = directory("/b");
    mount.flags |= Flags::MOUNT_POINT;
    let rows = [directory(""), directory("/a"), mount, file("/a/1", 1), file("/a/2", 1), file("/a/3", 1)];
    for row in rows.iter().chain([&file("/a/alone", 2), &file("/x", 3), &file("/y", 3)]) {
        writer.put(row).unwrap();
    }
    assert_eq!(writer.next_group().unwrap(), 4);
    writer.count_links().unwrap();
    writer.count_groups().unwrap();
    let links = |path: &str| {
        let row = writer.row(PathHash::of(path.as_bytes())).unwrap().unwrap();
        (row.group, row.links)
    };
    assert_eq!([links(""), links("/a"), links("/b")], [(0, 4), (0, 2), (0, 7)]);
    assert_eq!([links("/a/1"), links("/a/3"), links("/a/alone")], [(1, 3), (1, 3), (0, 1)]);
    assert_eq!([links("/x"), links("/y")], [(3, 2), (3, 2)]);
    let counters = writer.count().unwrap();
    assert_eq!((counters.get("dir"), counters.get("regular"), counters.get("xattr")), (Some(3), Some(6), Some(6)));
    assert_eq!((counters.get("file_size"), counters.entries()), (Some(60), 9));
}

#[test]
fn a_catalog_of_an_earlier_revision_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE properties (key TEXT PRIMARY KEY, value TEXT);
         CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER,
            hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, flags INTEGER, name TEXT,
            symlink TEXT, uid INTEGER, gid INTEGER, PRIMARY KEY (md5path_1, md5path_2));
         CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB,
            PRIMARY KEY (md5path_1, md5path_2, offset, size));
         CREATE TABLE nested_catalogs (path TEXT PRIMARY KEY, sha1 TEXT);
         CREATE TABLE statistics (counter TEXT PRIMARY KEY, value INTEGER);
         INSERT INTO properties VALUES ('schema', '2.5'), ('schema_revision', '0');",
    )
    .unwrap();
    drop(old);
    let writer = CatalogWriter::open(&path).unwrap();
    writer.put(&file("/f", 0)).unwrap();
    writer.put_link(LinkTable::Bind, &Link { path: b"/b".to_vec(), hash: None, size: 1 }).unwrap();
    writer.put_link(LinkTable::Nested, &Link { path: b"/n".to_vec(), hash: None, size: 1 }).unwrap();
    writer.finish().unwrap();
    assert_eq!(SqliteCatalog::open(&path).unwrap().schema(), (2500, 7));
    assert_eq!(CatalogWriter::open(&path).unwrap().row(PathHash::of(b"/f")).unwrap(), Some(file("/f", 0)));
}

#[test]
fn sets_hold_what_was_put_in() {
    let dir = tempfile::tempdir().unwrap();
    let set = PathSet::create(&dir.path().join("set")).unwrap();
    for path in [&b"/a"[..], b"/b", b"/a"] {
        set.insert(PathHash::of(path)).unwrap();
    }
    assert!(set.contains(PathHash::of(b"/a")).unwrap() && !set.contains(PathHash::of(b"/c")).unwrap());
}
