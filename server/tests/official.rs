//! Repositories of the official publisher, published again here from their content: the same objects, the same rows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use anyhow::Result;
use common::{FQRN, Published};
use cvmfs_server::keys::KeyFiles;
use cvmfs_server::publish::{Attributes, Kind, Order, Publication, Settings, publish};
use cvmfs_server::repository::Repository;
use cvmfs_server::source::Source;
use cvmfs_tests::fixtures;
use cvmfs_tests::mount::{Mount, Mounted};
use libcvmfs::catalog::xattr;
use libcvmfs::hash::{Algorithm, PathHash};
use libcvmfs::object::chunk::ChunkSizes;
use libcvmfs::object::encode::Encoding;
use libcvmfs::object::{Compression, ObjectKind, ObjectName};
use libcvmfs::trust::unix_now;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use tempfile::TempDir;

/// All catalogs of a repository, inflated, by mount point.
struct Catalogs {
    _dir: TempDir,
    databases: BTreeMap<Vec<u8>, Connection>,
}

impl Catalogs {
    fn of(web_root: &Path) -> Catalogs {
        let mut catalogs = Catalogs { _dir: tempfile::tempdir().unwrap(), databases: BTreeMap::new() };
        let manifest = std::fs::read(web_root.join(".cvmfspublished")).unwrap();
        let line = manifest.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"C")).unwrap();
        catalogs.add(web_root, Vec::new(), std::str::from_utf8(&line[1..]).unwrap());
        catalogs
    }

    fn add(&mut self, web_root: &Path, mountpoint: Vec<u8>, hash: &str) {
        let name = ObjectName::new(hash.parse().unwrap(), ObjectKind::Catalog);
        let stored = std::fs::read(web_root.join(&name.path()[1..])).unwrap();
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(&stored[..]).read_to_end(&mut plain).unwrap();
        let file = self._dir.path().join(hash);
        std::fs::write(&file, plain).unwrap();
        let db = Connection::open(&file).unwrap();
        let nested: Vec<(Vec<u8>, String)> = rows(&db, "SELECT CAST(path AS BLOB), sha1 FROM nested_catalogs", |row| {
            (row.get(0).unwrap(), row.get(1).unwrap())
        });
        self.databases.insert(mountpoint, db);
        for (path, hash) in nested.into_iter().filter(|(path, _)| path != b"/.cvmfs") {
            self.add(web_root, path, &hash);
        }
    }
}

fn rows<T>(db: &Connection, query: &str, read: impl Fn(&Row<'_>) -> T) -> Vec<T> {
    let mut statement = db.prepare(query).unwrap();
    statement.query_map([], |row| Ok(read(row))).unwrap().map(Result::unwrap).collect()
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Text(text) => text.into_bytes(),
        Value::Blob(bytes) => bytes,
        _ => Vec::new(),
    }
}

/// Publishes what the rows of official catalogs say, with contents read by a client.
struct Replay {
    catalogs: Catalogs,
    mount: Mounted,
}

const COLUMNS: &str = "CAST(name AS BLOB), mode, uid, gid, mtime, mtimens, size, CAST(symlink AS BLOB), xattr, \
    hardlinks, md5path_1, md5path_2, flags";

impl Replay {
    fn directory(&self, mountpoint: &[u8], path: &[u8], publication: &mut Publication<'_, '_>) -> Result<()> {
        let (first, second) = PathHash::of(path).columns();
        let db = &self.catalogs.databases[mountpoint];
        let query = format!(
            "SELECT {COLUMNS} FROM catalog WHERE parent_1 = {first} AND parent_2 = {second} AND CAST(name AS TEXT) <> '.cvmfs'
             ORDER BY name <> '.cvmfscatalog', name"
        );
        let mut groups: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        for (name, attributes, kind, hardlinks) in rows(db, &query, entry) {
            let below = [path, b"/", &name].concat();
            match kind {
                Kind::File(_) => match groups.get(&hardlinks).filter(|_| hardlinks >> 32 > 0) {
                    Some(first) => publication.hard_link(&below, first)?,
                    None => {
                        groups.insert(hardlinks, below.clone());
                        publication.file(vec![below.clone()], &attributes, &mut self.mount.node(&below)?.open()?)?;
                    }
                },
                Kind::Directory(_) => {
                    publication.entry(&below, &attributes, &kind)?;
                    let is_mount_point = self.catalogs.databases.contains_key(&below);
                    self.directory(if is_mount_point { &below } else { mountpoint }, &below, publication)?;
                }
                _ => publication.entry(&below, &attributes, &kind)?,
            }
        }
        Ok(())
    }
}

fn entry(row: &Row<'_>) -> (Vec<u8>, Attributes, Kind, i64) {
    let number = |column: usize| row.get::<_, Option<i64>>(column).unwrap().unwrap_or(0);
    let blob = |column: usize| bytes(row.get::<_, Value>(column).unwrap());
    let (mode, size) = (number(1) as u32, number(6) as u64);
    let packed = blob(8);
    let xattrs = xattr::unpack(&packed).into_iter().flatten().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    let attributes = Attributes {
        permissions: mode & 0o7777,
        uid: number(2) as u32,
        gid: number(3) as u32,
        mtime: number(4),
        mtime_ns: number(5) as u32,
        xattrs,
    };
    let kind = match mode & 0o170000 {
        0o040000 => Kind::Directory(size),
        0o120000 => Kind::Symlink(blob(7)),
        0o100000 => Kind::File(size),
        type_bits => Kind::Special(type_bits, size),
    };
    (blob(0), attributes, kind, number(9))
}

impl Source for Replay {
    fn read(&mut self, _: &[u8], publication: &mut Publication<'_, '_>) -> Result<()> {
        let root = format!("SELECT {COLUMNS} FROM catalog WHERE parent_1 = 0 AND parent_2 = 0");
        let (_, attributes, kind, _) = rows(&self.catalogs.databases[&b""[..]], &root, entry).remove(0);
        publication.entry(b"", &attributes, &kind)?;
        self.directory(b"", b"", publication)
    }
}

/// Rows as text, sorted.
fn dump(db: &Connection, query: &str) -> BTreeSet<String> {
    let columns = db.prepare(query).unwrap().column_count();
    rows(db, query, |row| (0..columns).map(|c| format!("{:?} ", row.get_ref(c).unwrap())).collect())
        .into_iter()
        .collect()
}

fn assert_equal(official: &Catalogs, ours: &Catalogs, has_snapshots: bool) {
    let names =
        |catalogs: &Catalogs| catalogs.databases.keys().map(|k| k.escape_ascii().to_string()).collect::<Vec<_>>();
    assert_eq!(names(ours), names(official), "mount points");
    for (mountpoint, official) in &official.databases {
        let ours = &ours.databases[mountpoint];
        let shown = mountpoint.escape_ascii();
        // No nanoseconds are NULL or 0, depending on an option of the official publisher.
        // The root directory has one directory less without `/.cvmfs`.
        let links = if has_snapshots && mountpoint.is_empty() { "hardlinks - (length(name) = 0)" } else { "hardlinks" };
        let catalog = |links: &str| {
            format!(
                "SELECT md5path_1, md5path_2, parent_1, parent_2, {links}, hash, size, mode, mtime, nullif(mtimens, 0), flags, name,
                 symlink, uid, gid, xattr FROM catalog WHERE name <> '.cvmfs'"
            )
        };
        let (left, right) = (dump(ours, &catalog("hardlinks")), dump(official, &catalog(links)));
        let differences: Vec<_> = left.symmetric_difference(&right).take(6).collect();
        assert!(differences.is_empty(), "rows of '{shown}': {differences:#?}");
        assert!(!left.is_empty());
        for query in [
            "SELECT * FROM chunks",
            "SELECT path FROM nested_catalogs WHERE path <> '/.cvmfs'",
            "SELECT * FROM bind_mountpoints",
            "SELECT key FROM properties",
            "SELECT * FROM properties WHERE key IN ('schema', 'schema_revision', 'TTL', 'root_prefix')",
        ] {
            assert_eq!(dump(ours, query), dump(official, query), "{query} of '{shown}'");
        }
        if !(has_snapshots && mountpoint.is_empty()) {
            let query = "SELECT * FROM statistics";
            assert_eq!(dump(ours, query), dump(official, query), "{query} of '{shown}'");
        }
        for table in ["catalog", "chunks", "nested_catalogs", "bind_mountpoints", "statistics", "properties"] {
            let query = format!("SELECT name, type FROM pragma_table_info('{table}')");
            let columns =
                |db| rows(db, &query, |row| (row.get::<_, String>(0).unwrap(), row.get::<_, String>(1).unwrap()));
            assert_eq!(columns(ours), columns(official), "columns of {table}");
        }
    }
}

fn objects(web_root: &Path, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for directory in std::fs::read_dir(web_root.join("data")).unwrap().map(Result::unwrap) {
        for file in std::fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
            let name = format!("{}/{}", directory.file_name().display(), file.file_name().display());
            if wanted(&name) {
                found.insert(name);
            }
        }
    }
    found
}

fn republish(fqrn: &str, hash: &str, compression: Compression, external: bool) {
    let fixture = fixtures::repository(fqrn);
    let external_url = format!("file://{}", fixtures::external_data().display());
    let mount = Mount::of(&fixture).option("CVMFS_EXTERNAL_URL", &external_url);
    let published = Published::new(&["--hash", hash]);
    let mut order = Order {
        sources: vec![Box::new(Replay { catalogs: Catalogs::of(&fixture.web_root), mount: mount.client() })],
        into: Vec::new(),
        replace: true,
        delete: Vec::new(),
        tag: None,
        force: false,
        branch: None,
        automatic_tag: None,
        automatic_catalogs: None,
    };
    let fqrn: libcvmfs::fqrn::Fqrn = FQRN.parse().unwrap();
    let keys = KeyFiles::new(&fqrn, &published.keys(), None);
    let repository = Repository::new(fqrn, common::text(&published.storage()), keys).unwrap();
    let settings = Settings {
        encoding: Encoding::new(Algorithm::Sha1, compression),
        chunks: Some(ChunkSizes::new(128 << 10, 256 << 10, 512 << 10).unwrap()),
        external,
        nanoseconds: true,
        threads: 2,
        trust_times: true,
        trust_times_before: None,
        now: unix_now(),
    };
    let outcome = publish(&repository, &mut order, settings, &mut |_| {}).unwrap();
    assert!(outcome.changed);
    published.check();
    let (official, ours) = (Catalogs::of(&fixture.web_root), Catalogs::of(&published.storage()));
    assert_equal(&official, &ours, fixture.fqrn == "small.test.example");

    // Contents end in a digit, or in P for chunks; all of ours must be among theirs, which has older revisions too.
    let content =
        |name: &str| name.ends_with('P') || name.ends_with(|c: char| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
    let ours = objects(&published.storage(), content);
    let theirs = objects(&fixture.web_root, content);
    assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(ours.is_empty(), external);
    for name in &ours {
        let read = |root: &Path| std::fs::read(root.join("data").join(name)).unwrap();
        assert!(read(&published.storage()) == read(&fixture.web_root), "bytes of {name}");
    }
}

#[test]
fn small() {
    republish("small.test.example", "sha1", Compression::Zlib, false);
}

#[test]
fn rmd160() {
    republish("rmd160.test.example", "rmd160", Compression::Zlib, false);
}

#[test]
fn shake128() {
    republish("shake128.test.example", "shake128", Compression::Zlib, false);
}

#[test]
fn uncompressed() {
    republish("nocomp.test.example", "sha1", Compression::None, false);
}

#[test]
fn external() {
    republish("external.test.example", "sha1", Compression::None, true);
}
