//! Every schema that a published catalog may have.

use super::*;
use crate::error::{Origin, Retry};

fn properties(schema: &str, revision: Option<u32>) -> String {
    let revision = revision.map_or(String::new(), |r| format!(", ('schema_revision', '{r}')"));
    format!(
        "CREATE TABLE properties (key TEXT, value TEXT);
         INSERT INTO properties VALUES ('schema', '{schema}'){revision};"
    )
}

/// A catalog with the columns and tables of that time, holding the root and the file `/f`.
fn catalog(schema: &str, revision: u32) -> tempfile::NamedTempFile {
    let legacy = schema.starts_with('1');
    let latest = |since: u32| schema == "2.5" && revision >= since;
    let mut columns = vec!["md5path_1", "md5path_2", "parent_1", "parent_2"];
    columns.push(if legacy { "inode" } else { "hardlinks" });
    columns.extend(["hash", "size", "mode", "mtime", "flags", "name", "symlink"]);
    if !legacy {
        columns.extend(["uid", "gid"]);
    }
    if latest(2) {
        columns.push("xattr");
    }
    if latest(7) {
        columns.push("mtimens");
    }
    let mut sql = properties(schema, (schema == "2.5").then_some(revision));
    sql += &format!("CREATE TABLE catalog ({});", columns.join(", "));
    sql += if latest(1) {
        "CREATE TABLE nested_catalogs (path, sha1, size);"
    } else {
        "CREATE TABLE nested_catalogs (path, sha1);"
    };
    if !legacy {
        sql += "CREATE TABLE chunks (md5path_1, md5path_2, offset, size, hash);";
        sql += "CREATE TABLE statistics (counter, value); INSERT INTO statistics VALUES ('self_regular', 1);";
    }
    if latest(4) {
        sql += "CREATE TABLE bind_mountpoints (path, sha1, size);";
    }
    for (path, parent, name, mode, flags, hash) in [
        ("", None, "", 0o40755, 1, "NULL"),
        ("/f", Some(""), "f", 0o100644, 0x104, "x'2a695360ba25033e8899486a62c9dc7316650b56'"),
        ("/n", Some(""), "n", 0o40755, 3, "NULL"),
    ] {
        let (own, parent) = (
            PathHash::of(path.as_bytes()).columns(),
            parent.map_or((0, 0), |p: &str| PathHash::of(p.as_bytes()).columns()),
        );
        let values: Vec<String> = columns
            .iter()
            .map(|column| match *column {
                "md5path_1" => own.0.to_string(),
                "md5path_2" => own.1.to_string(),
                "parent_1" => parent.0.to_string(),
                "parent_2" => parent.1.to_string(),
                "hardlinks" => "2".into(),
                "inode" => "4711".into(),
                "hash" => hash.into(),
                "size" => "12".into(),
                "mode" => mode.to_string(),
                "mtime" => "99".into(),
                "flags" => flags.to_string(),
                "name" => format!("'{name}'"),
                "symlink" => "''".into(),
                "uid" => "1".into(),
                "gid" => "2".into(),
                "xattr" => "x'010101016b76'".into(),
                _ => "123".into(),
            })
            .collect();
        sql += &format!("INSERT INTO catalog VALUES ({});", values.join(", "));
    }
    let size = if latest(1) { ", 5000" } else { "" };
    sql += &format!("INSERT INTO nested_catalogs VALUES ('/n', '2a695360ba25033e8899486a62c9dc7316650b56'{size});");
    testing::write_database(&sql)
}

#[test]
fn every_supported_schema_is_read_with_what_it_has() {
    for (schema, revision) in [("1.0", 0), ("1.2", 0), ("2.4", 0)].into_iter().chain((0..=8).map(|r| ("2.5", r))) {
        let file = catalog(schema, revision);
        let (image, report) = build(file.path());
        assert!(report.is_clean(), "schema {schema} r{revision}: {report}");
        let index = open(&image);
        let legacy = schema.starts_with('1');
        let latest = |since: u32| schema == "2.5" && revision >= since;
        let entry = index.find(b"/f").unwrap();
        assert_eq!(entry.nlink(), if legacy { 1 } else { 2 }, "schema {schema} r{revision}");
        let owner = (entry.uid(), entry.gid());
        assert_eq!(owner, if legacy { (u32::MAX, u32::MAX) } else { (1, 2) });
        assert_eq!(entry.algorithm(), if legacy { 1 } else { 2 }, "legacy catalogs know only SHA-1");
        assert_eq!(entry.xattrs().get(b"k").is_some(), latest(2));
        assert_eq!(entry.mtime_nanos(), if latest(7) { 123 } else { 0 });
        assert_eq!((entry.size(), entry.mtime()), (12, 99));
        let nested = index.find(b"/n").unwrap().nested().unwrap();
        assert_eq!(nested.size(), latest(1).then_some(5000));
        assert_eq!(Statistics::of(&index).own.get("regular"), Some(if legacy { 0 } else { 1 }));
    }
}

#[test]
fn a_version_need_not_be_written_exactly() {
    let file = catalog("2.5", 7);
    let set = |version: &str| {
        let connection = rusqlite::Connection::open(file.path()).unwrap();
        connection.execute("UPDATE properties SET value = ?1 WHERE key = 'schema'", [version]).unwrap();
        SqliteCatalog::open(file.path())
    };
    for good in ["2.5", "2.50", "2.49999999", " 2.5000001"] {
        assert_eq!(set(good).unwrap().schema(), (2500, 7), "{good}");
    }
    for bad in ["2.0", "2.1", "2.3", "2.6", "3.0", "0.9", "-2.5", "", "two", "nan", "inf", "2.498"] {
        let error = set(bad).err().unwrap_or_else(|| panic!("schema '{bad}' is accepted"));
        assert!(matches!(error, CatalogError::Schema { .. }), "{error}");
        assert_eq!((error.origin(), error.retry()), (Origin::Content, Retry::Never));
    }
}

#[test]
fn what_is_no_catalog_is_refused_cleanly() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"This is not a catalog, whatever the signature says.").unwrap();
    let error = SqliteCatalog::open(file.path()).err().unwrap();
    assert!(matches!(error, CatalogError::Database(DatabaseError::NotADatabase { .. })), "{error}");
    assert_eq!(error.origin(), Origin::Content);

    let error = SqliteCatalog::open(Path::new("/nonexistent/catalog")).err().unwrap();
    assert!(matches!(error, CatalogError::Database(DatabaseError::Open { .. })), "{error}");

    std::fs::write(file.path(), b"").unwrap();
    let error = SqliteCatalog::open(file.path()).err().unwrap();
    assert!(matches!(error, CatalogError::Database(DatabaseError::NoTable { .. })), "{error}");

    let plain = std::fs::read(testing::inflate(ROOT_OBJECT).path()).unwrap();
    std::fs::write(file.path(), &plain[..plain.len() / 2]).unwrap();
    let outcome = SqliteCatalog::open(file.path()).and_then(|catalog| build_index(&catalog, &some_hash()));
    assert!(matches!(outcome, Err(CatalogError::Database(DatabaseError::Malformed { .. }))), "half a catalog passes");
}

#[test]
fn odd_file_names_are_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a?mode=rwc&b#c%41 d");
    std::fs::copy(catalog("2.5", 7).path(), &path).unwrap();
    assert_eq!(SqliteCatalog::open(&path).unwrap().schema(), (2500, 7));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was created beside it");
}
