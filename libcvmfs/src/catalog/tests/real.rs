//! Official catalogs: the index says exactly what the SQLite file says.

use super::*;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

type Columns = BTreeMap<String, Value>;

/// All rows by path hash, read without any code of ours.
fn rows(path: &Path) -> BTreeMap<(i64, i64), Columns> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT * FROM catalog").unwrap();
    let names: Vec<String> = statement.column_names().into_iter().map(String::from).collect();
    let mut found = BTreeMap::new();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let value = |at| match row.get_ref(at).unwrap() {
            // Names need not be UTF-8.
            rusqlite::types::ValueRef::Text(bytes) => Value::Blob(bytes.to_vec()),
            other => other.into(),
        };
        let columns: Columns = names.iter().enumerate().map(|(at, name)| (name.clone(), value(at))).collect();
        found.insert((row.get(0).unwrap(), row.get(1).unwrap()), columns);
    }
    found
}

fn int(columns: &Columns, name: &str) -> i64 {
    match columns[name] {
        Value::Integer(number) => number,
        _ => 0,
    }
}

fn blob<'c>(columns: &'c Columns, name: &str) -> &'c [u8] {
    match &columns[name] {
        Value::Blob(bytes) => bytes,
        _ => &[],
    }
}

fn compare(entry: &Entry<'_>, columns: &Columns, is_root: bool) {
    let path = path_of(entry);
    let shown = String::from_utf8_lossy(&path);
    let name = if is_root { &b""[..] } else { blob(columns, "name") };
    assert_eq!(entry.name(), name, "{shown}");
    assert_eq!(i64::from(entry.mode()), int(columns, "mode"), "{shown}");
    assert_eq!(i64::from(entry.uid()), int(columns, "uid"), "{shown}");
    assert_eq!(i64::from(entry.gid()), int(columns, "gid"), "{shown}");
    assert_eq!(i64::from(entry.nlink()), int(columns, "hardlinks") & 0xffff_ffff, "{shown}");
    assert_eq!(i64::from(entry.hardlink_group()), int(columns, "hardlinks") >> 32, "{shown}");
    assert_eq!(entry.mtime(), int(columns, "mtime"), "{shown}");
    assert_eq!(i64::from(entry.mtime_nanos()), int(columns, "mtimens"), "{shown}");
    assert_eq!(entry.content().map_or(Vec::new(), |d| d.bytes.to_vec()), blob(columns, "hash"), "{shown}");
    assert_eq!(entry.symlink_target(), blob(columns, "symlink"), "{shown}");
    assert_eq!(entry.xattr_blob(), blob(columns, "xattr"), "{shown}");
    assert_eq!(entry.damage(), None, "{shown}");
    let size = int(columns, "size") as u64;
    match entry.kind() {
        EntryKind::Regular | EntryKind::Directory => assert_eq!((entry.size(), entry.rdev()), (size, 0), "{shown}"),
        EntryKind::Symlink => assert_eq!(entry.size(), blob(columns, "symlink").len() as u64, "{shown}"),
        EntryKind::CharacterDevice | EntryKind::BlockDevice => {
            assert_eq!((entry.size(), entry.rdev()), (0, size), "{shown}")
        }
        EntryKind::Fifo | EntryKind::Socket => assert_eq!((entry.size(), entry.rdev()), (0, 0), "{shown}"),
    }
    let flags = int(columns, "flags");
    for (what, bit) in [
        (entry.is_nested_mount_point(), 0x2),
        (entry.is_nested_root(), 0x20),
        (entry.is_chunked(), 0x40),
        (entry.is_external(), 0x80),
        (entry.is_bind_mount_point(), 0x4000),
        (entry.is_hidden(), 0x8000),
        (entry.is_direct_io(), 0x10000),
    ] {
        assert_eq!(what, flags & bit != 0, "{shown}: flag {bit:#x}");
    }
    assert_eq!(i64::from(entry.algorithm()), (flags >> 8 & 7) + 1, "{shown}");
    assert_eq!(
        compression(entry),
        Some([crate::object::Compression::Zlib, crate::object::Compression::None][(flags >> 11 & 7) as usize])
    );
}

/// The index against the SQLite file: every row, every listing, every lookup. Gives the number of entries.
fn check(path: &Path) -> u32 {
    let (image, report) = build(path);
    assert!(report.is_clean(), "{report}");
    let index = open(&image);
    let expected = rows(path);
    assert_eq!(index.entry_count() as usize, expected.len());
    let prefix = index.root_prefix().to_vec();
    let full = |path: &[u8]| [&prefix[..], path].concat();

    let mut seen = BTreeSet::new();
    let mut inodes: BTreeMap<(u32, u64), BTreeSet<u32>> = BTreeMap::new();
    for entry in index.entries() {
        let path = path_of(&entry);
        let key = PathHash::of(&full(&path)).columns();
        compare(&entry, &expected[&key], path.is_empty());
        assert!(seen.insert(key));
        assert_eq!(index.find(&path), Some(entry));
        assert_eq!(index.find(&[&path[..], b"/"].concat()), None);
        assert_eq!(
            index.find(&[&path[..], b"x"].concat()).map(|e| path_of(&e)),
            expected.contains_key(&PathHash::of(&full(&[&path[..], b"x"].concat())).columns()).then(|| [
                &path[..],
                b"x"
            ]
            .concat())
        );
        if let Some(parent) = entry.parent() {
            let at_parent = path_of(&parent);
            assert_eq!(parent.child(entry.name()), Some(entry));
            let mut hash = index.hasher();
            for name in at_parent.split(|&b| b == b'/').skip(1) {
                hash = hash.child(name);
            }
            assert_eq!(parent.child_hashed(hash, entry.name()).map(|(e, _)| e), Some(entry));
            assert_eq!(parent.child(b"no such name"), None);
        }
        inodes.entry((entry.hardlink_group(), entry.ino())).or_default().insert(entry.number());

        // The listing, as the official client asks for it.
        let listed: Vec<Vec<u8>> = entry.children().iter().map(|child| child.name().to_vec()).collect();
        assert!(listed.is_sorted());
        let wanted: BTreeSet<Vec<u8>> = expected
            .iter()
            .filter(|(_, c)| (int(c, "parent_1"), int(c, "parent_2")) == key)
            .map(|(_, c)| blob(c, "name").to_vec())
            .collect();
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(listed.len(), wanted.len());
    }
    for ((group, ino), members) in &inodes {
        assert!(*group != 0 || members.len() == 1, "inode {ino} is shared without a hard-link group");
    }
    let groups: BTreeSet<u32> = inodes.keys().map(|(group, _)| *group).filter(|&group| group != 0).collect();
    assert_eq!(inodes.keys().filter(|(group, _)| *group != 0).count(), groups.len(), "one inode a group");
    check_chunks(&index, path);
    index.entry_count()
}

fn check_chunks(index: &Index<'_>, path: &Path) {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT offset, size, hash FROM chunks WHERE md5path_1 = ?1 AND md5path_2 = ?2 ORDER BY offset")
        .unwrap();
    for entry in index.entries() {
        let key = PathHash::of(&[index.root_prefix(), &path_of(&entry)].concat()).columns();
        let expected: Vec<(u64, u64, Vec<u8>)> = statement
            .query_map(key, |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let found: Vec<_> = entry.chunks().iter().map(|c| (c.offset, c.size, c.digest.bytes.to_vec())).collect();
        assert_eq!(found, expected);
        assert_eq!(entry.is_chunked(), !found.is_empty());
    }
}

#[test]
fn the_index_of_official_catalogs_says_what_they_say() {
    for (object, prefix, entries) in [
        (ROOT_OBJECT, "", 2341),
        (NESTED_OBJECT, "/nested", 31),
        (SNAPSHOTS_OBJECT, "/.cvmfs", 10),
        (CHUNKED_OBJECT, "/nested/a/b/c", 15),
    ] {
        let file = testing::inflate(object);
        assert_eq!(check(file.path()), entries, "{prefix}");
        let (image, _) = build(file.path());
        assert_eq!(open(&image).root_prefix(), prefix.as_bytes());
    }
}

#[test]
fn properties_and_counters_are_in_the_index() {
    let file = testing::inflate(ROOT_OBJECT);
    let (image, _) = build(file.path());
    let index = open(&image);
    assert_eq!((index.revision(), index.last_modified(), index.ttl()), (9, 1_795_262_299, 240));
    assert_eq!((index.membership(), index.branch(), index.is_volatile()), (&b""[..], &b""[..], false));
    let statistics = Statistics::of(&index);
    assert_eq!(statistics.own.get("regular"), Some(1902));
    assert_eq!(statistics.subtree.get("chunked_size"), Some(900_000));
    assert_eq!(statistics.total().get("file_size"), Some(14_587_649 + 1_114_326));
    assert_eq!(statistics.own.entries(), i64::from(index.entry_count()));
    assert_eq!(statistics.own.get("no such counter"), None);
}

#[test]
fn nested_catalogs_and_bind_mount_points_are_listed_and_checked() {
    let root_file = testing::inflate(ROOT_OBJECT);
    let (root_image, _) = build(root_file.path());
    let root = open(&root_image);
    let mounts: Vec<_> = root.all_nested().map(|n| String::from_utf8(n.path().to_vec()).unwrap()).collect();
    assert_eq!(
        mounts,
        [
            "/.cvmfs",
            "/nested",
            "/software/data.skip/v1",
            "/software/data.skip/v2",
            "/software/gcc",
            "/software/notthis/v1",
            "/software/notthis/v2",
            "/software/python"
        ]
    );
    let place = root.find(b"/nested").unwrap().nested().unwrap();
    assert_eq!(content_hash(place.catalog().unwrap()).to_string(), "040fdb4eb71474b250620b5660a4265011e5b72a");
    assert_eq!((place.size(), place.kind()), (Some(19456), NestedKind::Nested));
    assert_eq!(place.mount_point(), root.find(b"/nested"));
    assert!(root.find(b"/.cvmfs").unwrap().is_hidden());

    let nested_file = testing::inflate(NESTED_OBJECT);
    let (nested_image, _) = build(nested_file.path());
    let nested = open(&nested_image);
    // The directory is in both catalogs, as one inode.
    assert_eq!(root.find(b"/nested").unwrap().ino(), nested.root().unwrap().ino());
    check_mounted(&place, &nested).unwrap();
    let gcc = root.find(b"/software/gcc").unwrap().nested().unwrap();
    assert!(matches!(check_mounted(&gcc, &nested), Err(AttachError::WrongPlace { .. })));
    assert!(matches!(check_mounted(&place, &root), Err(AttachError::WrongPlace { .. })), "the root in itself");
    check_root(&root).unwrap();
    assert!(matches!(check_root(&nested), Err(AttachError::NotARoot { .. })));

    let snapshots_file = testing::inflate(SNAPSHOTS_OBJECT);
    let (snapshots_image, _) = build(snapshots_file.path());
    let snapshots = open(&snapshots_image);
    let v1 = snapshots.find(b"/snapshots/v1").unwrap().nested().unwrap();
    assert_eq!((v1.path(), v1.kind(), v1.size()), (&b"/.cvmfs/snapshots/v1"[..], NestedKind::Bind, Some(370_688)));
    check_mounted(&v1, &root).unwrap();
}

#[test]
fn an_index_belongs_to_one_catalog() {
    let file = testing::inflate(NESTED_OBJECT);
    let (mut image, _) = build(file.path());
    let mut other = digest(&some_hash());
    other.bytes[0] ^= 1;
    assert_eq!(Index::open(&image, &other).unwrap_err(), IndexError::OtherCatalog);
    other = digest(&some_hash());
    other.algorithm = 2;
    assert_eq!(Index::open(&image, &other).unwrap_err(), IndexError::OtherCatalog);
    let whole = image.len();
    assert_eq!(Index::open_any(&image[..whole - 1]).unwrap_err(), IndexError::Length);
    assert_eq!(Index::open_any(&image[..100]).unwrap_err(), IndexError::NotAnIndex);
    image.push(0);
    assert_eq!(Index::open_any(&image).unwrap_err(), IndexError::Length);
    image.pop();
    *image.last_mut().unwrap() ^= 1;
    assert_eq!(Index::open_any(&image).unwrap().verify_checksum(), Err(IndexError::BodyChecksum));
    image[100] ^= 1;
    assert_eq!(Index::open_any(&image).unwrap_err(), IndexError::HeaderChecksum);
}

/// All catalogs of real repositories named by `CVMFS_TEST_CATALOGS` (a directory of inflated files).
#[test]
#[ignore = "needs a directory of inflated catalogs"]
fn all_catalogs_of_a_directory() {
    let directory = std::env::var_os("CVMFS_TEST_CATALOGS").expect("CVMFS_TEST_CATALOGS names a directory");
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none() && path.to_string_lossy().ends_with('C') {
            println!("{}: {} entries", path.display(), check(&path));
        }
    }
}
