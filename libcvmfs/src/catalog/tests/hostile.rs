//! Signed by the publisher and still not to be trusted.

use super::*;

fn names(index: &Index<'_>) -> Vec<String> {
    index.root().unwrap().children().iter().map(|e| String::from_utf8_lossy(e.name()).into_owned()).collect()
}

#[test]
fn impossible_names_are_never_listed() {
    let long = "x".repeat(256);
    for name in ["", ".", "..", "a/b", "/etc/evil", "nul\0", &long] {
        // With the path hash that belongs to the name, and with one that does not.
        for honest in [true, false] {
            let forge = Forge::new();
            forge.file("/good");
            let path = format!("/{name}");
            let hash = PathHash::of(if honest { path.as_bytes() } else { b"/other" }).columns();
            forge.raw(
                hash,
                PathHash::of(b"").columns(),
                name.as_bytes(),
                0o100644,
                4,
                Some(10.into()),
                Some(vec![7; 20]),
            );
            let (image, report) = forge.build();
            let index = open(&image);
            assert_eq!(names(&index), ["good"], "{name:?}");
            assert_eq!((report.dropped_count(), index.dropped(), index.entry_count()), (1, 1, 2), "{name:?}");
            assert!(index.find(path.as_bytes()).is_none());
        }
    }
    let forge = Forge::new();
    let longest = format!("/{}", "x".repeat(255));
    forge.file(&longest);
    let (image, report) = forge.build();
    assert!(report.is_clean(), "{report}");
    assert!(open(&image).find(longest.as_bytes()).is_some());
}

#[test]
fn rows_with_the_path_hash_of_another_path_are_left_out() {
    let forge = Forge::new();
    forge.directory("/d").file("/d/inside").file("/good");
    let root = PathHash::of(b"").columns();
    // Before the real one in the file, so that it comes first wherever order matters.
    forge.sql("DELETE FROM catalog WHERE name = 'd'");
    forge.raw(PathHash::of(b"/d").columns(), root, b"evil", 0o40755, 1, Some(0.into()), None);
    forge.raw(PathHash::of(b"/nowhere").columns(), root, b"liar", 0o100644, 4, Some(10.into()), Some(vec![7; 20]));
    forge.directory("/d");
    let (image, report) = forge.build();
    let index = open(&image);
    assert_eq!(names(&index), ["d", "good"]);
    assert!(index.find(b"/d/inside").is_some(), "the impostor took the directory's children away");
    assert_eq!(report.dropped_count(), 2, "{report}");
}

#[test]
fn circles_orphans_and_doubles_are_left_out() {
    let forge = Forge::new();
    forge.directory("/a").file("/a/f").file("/twice").file("/twice");
    // Two directories that hold each other, one that holds itself, one below nothing, one below a file.
    let hash = |path: &str| PathHash::of(path.as_bytes()).columns();
    forge.raw(hash("/x/y"), hash("/y/x"), b"y", 0o40755, 1, None, None);
    forge.raw(hash("/y/x"), hash("/x/y"), b"x", 0o40755, 1, None, None);
    forge.raw(hash("/self"), hash("/self"), b"self", 0o40755, 1, None, None);
    forge.file("/missing/f").file("/a/f/below");
    // The root once more, below itself.
    forge.raw(hash(""), hash(""), b"again", 0o40755, 1, None, None);
    let (image, report) = forge.build();
    let index = open(&image);
    assert_eq!(names(&index), ["a", "twice"]);
    assert_eq!(index.entry_count(), 4);
    assert_eq!(report.dropped_count(), 7, "{report}");
}

#[test]
fn nothing_hangs_below_a_mount_point() {
    let forge = Forge::new();
    forge.row(b"/n", 0o40755, 3, None, None).file("/n/shadow");
    forge.sql("INSERT INTO nested_catalogs VALUES ('/n', '2a695360ba25033e8899486a62c9dc7316650b56', 1)");
    let (image, report) = forge.build();
    let index = open(&image);
    assert_eq!(index.find(b"/n").unwrap().damage(), None);
    assert!(index.find(b"/n/shadow").is_none());
    assert_eq!(report.dropped_count(), 1, "{report}");
}

#[test]
fn defects_of_content_leave_the_entry_visible_and_damaged() {
    let cases = [
        ("hash = x'0102030405'", Damage::BadHash),
        ("hash = zeroblob(21)", Damage::BadHash),
        ("hash = 5", Damage::BadHash),
        ("hash = NULL", Damage::MissingHash),
        ("hash = zeroblob(20)", Damage::MissingHash),
        ("size = -1", Damage::BadSize),
        ("flags = 4 | (3 << 8)", Damage::UnknownAlgorithm),
        ("flags = 4 | (7 << 8)", Damage::UnknownAlgorithm),
        ("flags = 4 | (2 << 11)", Damage::UnknownCompression),
        ("flags = 0x44, hash = NULL", Damage::MissingChunks),
        ("mode = 0xa1ff, symlink = ''", Damage::BadTarget),
        ("mode = 0xa1ff, symlink = cast(x'610062' AS TEXT)", Damage::BadTarget),
        ("mode = 0xa1ff, symlink = replace(hex(zeroblob(2048)), '0', 'x')", Damage::BadTarget),
        ("mode = 0x41ed, flags = 3", Damage::MissingNested),
        ("mode = 0x41ed, flags = 0x4001", Damage::MissingNested),
        ("mode = 0x41ed, flags = 0x4003", Damage::AmbiguousMountPoint),
    ];
    for (assignment, damage) in cases {
        let forge = Forge::new();
        forge.file("/good").file("/f").set("/f", assignment);
        let (image, report) = forge.build();
        let index = open(&image);
        assert_eq!(names(&index), ["f", "good"], "{assignment}");
        assert_eq!(index.find(b"/f").unwrap().damage(), Some(damage), "{assignment}");
        assert_eq!(index.find(b"/good").unwrap().damage(), None);
        assert_eq!(
            (report.damaged_count(), report.dropped_count(), index.damaged()),
            (1, 0, 1),
            "{assignment}: {report}"
        );
        assert!(index.find(b"/f").unwrap().symlink_target().is_empty());
    }
}

#[test]
fn harmless_oddities_are_replaced() {
    type Holds = fn(&Entry<'_>) -> bool;
    let cases: [(&str, Holds); 9] = [
        ("hardlinks = 0", |e| e.nlink() == 1),
        ("uid = -1, gid = 4294967296", |e| (e.uid(), e.gid()) == (65534, 65534)),
        ("xattr = x'02'", |e| e.xattrs().count() == 0 && e.xattr_blob().is_empty()),
        ("xattr = x'01020101'", |e| e.xattr_blob().is_empty()),
        ("mtimens = 1000000000", |e| e.mtime_nanos() == 0),
        ("mtimens = -1", |e| e.mtime_nanos() == 0),
        ("flags = 4 | 2", |e| !e.is_mount_point()),
        ("flags = 4 | 0x20", |e| !e.is_nested_root()),
        ("flags = 4 | (1 << 40)", |e| e.flags() == 0),
    ];
    for (assignment, holds) in cases {
        let forge = Forge::new();
        forge.file("/f").set("/f", assignment);
        let (image, report) = forge.build();
        let entry = open(&image).find(b"/f").unwrap();
        assert!(holds(&entry), "{assignment}: {entry:?}");
        assert_eq!((entry.damage(), report.dropped_count()), (None, 0), "{assignment}: {report}");
    }
}

#[test]
fn rows_that_say_nothing_sensible_are_left_out() {
    for assignment in
        ["mode = 0", "mode = -1", "mode = 0x181a4", "mode = 'x'", "size = 'big'", "name = 5", "uid = 'root'"]
    {
        let forge = Forge::new();
        forge.file("/good").file("/f").set("/f", assignment);
        let (image, report) = forge.build();
        assert_eq!(names(&open(&image)), ["good"], "{assignment}: {report}");
        assert_eq!(report.dropped_count(), 1, "{assignment}: {report}");
    }
}

#[test]
fn chunks_cover_the_file_exactly_once() {
    let cases: [(&[(i64, i64)], bool); 10] = [
        (&[(0, 4), (4, 6)], true),
        (&[(4, 6), (0, 4)], true),
        (&[(0, 10)], true),
        (&[(0, 4), (5, 5)], false),
        (&[(0, 5), (4, 6)], false),
        (&[(0, 4), (4, 5)], false),
        (&[(0, 4), (4, 7)], false),
        (&[(1, 9)], false),
        (&[(0, 4), (4, 0), (4, 6)], false),
        (&[(0, 20), (20, -10)], false),
    ];
    for (chunks, good) in cases {
        let forge = Forge::new();
        forge.row(b"/f", 0o100644, 0x44, Some(10.into()), None);
        for &(offset, size) in chunks {
            forge.chunk("/f", offset, size);
        }
        let (image, report) = forge.build();
        let entry = open(&image).find(b"/f").unwrap();
        assert_eq!(entry.damage(), (!good).then_some(Damage::BadChunks), "{chunks:?}: {report}");
        assert_eq!(entry.chunks().len(), if good { chunks.len() as u32 } else { 0 });
        assert!(entry.chunks().iter().is_sorted_by_key(|c| c.offset));
    }
    let forge = Forge::new();
    forge.row(b"/f", 0o100644, 0x44, Some(4.into()), None).chunk("/f", 0, 4);
    forge.sql("UPDATE chunks SET hash = x'00'");
    assert_eq!(open(&forge.build().0).find(b"/f").unwrap().damage(), Some(Damage::BadChunks));
}

#[test]
fn hard_links_share_an_inode_only_if_they_are_one_file() {
    let forge = Forge::new();
    forge.file("/a").file("/b").file("/c").file("/other");
    forge.sql("UPDATE catalog SET hardlinks = (7 << 32) | 3 WHERE name IN ('a', 'b', 'c')");
    forge.set("/c", "size = 11");
    let (image, report) = forge.build();
    let index = open(&image);
    let ino = |path: &[u8]| index.find(path).unwrap().ino();
    assert_eq!(ino(b"/a"), ino(b"/b"));
    assert_ne!(ino(b"/a"), ino(b"/c"), "another size, hence another file");
    assert_ne!(ino(b"/a"), ino(b"/other"));
    assert_eq!((index.find(b"/b").unwrap().nlink(), index.find(b"/b").unwrap().hardlink_group()), (3, 7));
    assert_eq!(report.repaired.len(), 1, "{report}");
}

#[test]
fn nested_catalogs_hang_only_where_a_row_says_so() {
    let hash = "2a695360ba25033e8899486a62c9dc7316650b56";
    let forge = Forge::new();
    forge.directory("/plain").row(b"/bind", 0o40755, 0x4001, None, None).row(b"/null", 0o40755, 3, None, None);
    forge.sql(&format!(
        "INSERT INTO nested_catalogs VALUES ('/plain', '{hash}', 1), ('/absent', '{hash}', 1), ('/bind', '{hash}', 1),
            ('', '{hash}', 1), ('/null', '', 1), ('plain', '{hash}', -5)"
    ));
    let (image, report) = forge.build();
    let index = open(&image);
    assert_eq!(index.nested_count(), 1, "{report}");
    assert!(index.find(b"/plain").unwrap().nested().is_none());
    assert_eq!(index.find(b"/bind").unwrap().damage(), Some(Damage::MissingNested));
    let null = index.find(b"/null").unwrap().nested().unwrap();
    assert_eq!(null.catalog(), None, "a catalog without hash cannot be fetched");
}

#[test]
fn a_catalog_without_a_root_or_with_an_impossible_prefix_is_refused() {
    let forge = Forge::without_root();
    forge.file("/f");
    let catalog = SqliteCatalog::open(forge.path()).unwrap();
    assert!(matches!(build_index(&catalog, &some_hash()), Err(CatalogError::NoRoot { .. })));
    forge.file("");
    assert!(matches!(build_index(&catalog, &some_hash()), Err(CatalogError::NoRoot { .. })), "the root is a file");
    for prefix in ["a", "/", "/a/", "//a", "/a/../b", "/.", "/a/./b"] {
        let forge = Forge::new();
        forge.sql(&format!("INSERT INTO properties VALUES ('root_prefix', '{prefix}')"));
        let refused = SqliteCatalog::open(forge.path()).err();
        assert!(matches!(refused, Some(CatalogError::RootPrefix { .. })), "{prefix}");
    }
}

#[test]
fn views_virtual_tables_and_giants_are_refused() {
    let view = Forge::new();
    view.sql(
        "ALTER TABLE catalog RENAME TO hidden;
         CREATE VIEW catalog AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n, hidden",
    );
    assert!(matches!(SqliteCatalog::open(view.path()), Err(CatalogError::Database(DatabaseError::NoTable { .. }))));
    let giant = Forge::new();
    giant.file("/f").set("/f", "xattr = zeroblob(2000000)");
    let outcome = SqliteCatalog::open(giant.path()).and_then(|catalog| build_index(&catalog, &some_hash()));
    assert!(matches!(outcome, Err(CatalogError::Database(DatabaseError::Malformed { .. }))));
}
