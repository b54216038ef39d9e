//! What the forge makes, checked with code that knows nothing of the forge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures;
use cvmfs_tests::forge::{Forge, Keys, Published, Stage};
use libcvmfs::hash::{Algorithm, ContentHash, Hasher, PathHash};
use libcvmfs::object::{Compression, ObjectKind, ObjectName};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use rusqlite::Connection;
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use tempfile::TempDir;
use x509_cert::der::{DecodePem as _, Encode as _};

const FQRN: &str = "forged.test.example";

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn object(root: &Path, hash: ContentHash, kind: ObjectKind) -> Vec<u8> {
    let stored = std::fs::read(root.join(&ObjectName::new(hash, kind).path()[1..])).unwrap();
    assert_eq!(Hasher::hash(hash.algorithm, &stored), hash, "an object is called by its hash");
    inflate(&stored)
}

/// Text, printed hash and signature of a letter whose hash was recomputed.
fn letter(bytes: &[u8]) -> (String, String, Vec<u8>) {
    let at = bytes.windows(4).position(|window| window == b"\n--\n").unwrap();
    let (text, rest) = (&bytes[..at + 1], &bytes[at + 4..]);
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
    let printed = String::from_utf8(rest[..end].to_vec()).unwrap();
    let hash: ContentHash = printed.parse().unwrap();
    assert_eq!(Hasher::hash(hash.algorithm, text), hash);
    (String::from_utf8(text.to_vec()).unwrap(), printed, rest[end + 1..].to_vec())
}

fn field(text: &str, letter: char) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix(letter))
}

/// The database of a catalog or history.
struct Database {
    db: Connection,
    size: u64,
    _file: tempfile::NamedTempFile,
}

fn database(root: &Path, hash: ContentHash, kind: ObjectKind) -> Database {
    let bytes = object(root, hash, kind);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    Database { db: Connection::open(file.path()).unwrap(), size: bytes.len() as u64, _file: file }
}

impl Database {
    fn number(&self, sql: &str) -> i64 {
        self.db.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    fn text(&self, sql: &str) -> String {
        self.db.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    fn of_path(&self, column: &str, path: &str) -> i64 {
        let (first, second) = PathHash::of(path.as_bytes()).columns();
        self.number(&format!("SELECT {column} FROM catalog WHERE md5path_1 = {first} AND md5path_2 = {second}"))
    }

    fn counter(&self, name: &str) -> i64 {
        self.number(&format!("SELECT value FROM statistics WHERE counter = '{name}'"))
    }
}

fn catalog(published: &Published, mountpoint: &str) -> Database {
    let (hash, size) = published.catalogs[mountpoint];
    let database = database(&published.web_root, hash, ObjectKind::Catalog);
    assert_eq!(database.size, size);
    database
}

fn everything() -> Forge {
    Forge::new(FQRN)
        .file("/dir/file", b"abc")
        .mode(0o4755)
        .owner(12, 34)
        .mtime(1_600_000_000)
        .mtime_ns(7)
        .xattr("user.a", b"1")
        .xattr("user.b", b"\0\xff")
        .file("/dir/empty", b"")
        .file(b"/dir/latin1_\xe9", b"x")
        .file("/dir/chunked", [7; 2500])
        .chunks_of(1000)
        .file("/dir/plain", b"as it is")
        .uncompressed()
        .file("/dir/outside", b"external bytes")
        .external()
        .hardlink("/dir/link1", "/dir/file")
        .hardlink("/dir/link2", "/dir/file")
        .symlink("/link", "$(VAR:-dir)/file")
        .special("/pipe", 0o010000, 0)
        .dir("/secret")
        .hidden()
        .nested("/sub")
        .file("/sub/a", b"a")
        .nested("/sub/deep/er")
        .file("/sub/deep/er/b", b"b")
        .meta_info("{}")
        .tag("v1")
}

#[test]
fn letters_verify_with_the_keys_and_only_with_them() {
    for algorithm in [Algorithm::Sha1, Algorithm::Rmd160, Algorithm::Shake128] {
        let dir = dir();
        let published = everything().algorithm(algorithm).publish(dir.path());
        let (text, printed, signature) = letter(&std::fs::read(dir.path().join(".cvmfspublished")).unwrap());
        assert_eq!(field(&text, 'N'), Some(FQRN));
        assert_eq!(field(&text, 'C'), Some(&*published.root_catalog.to_string()));
        let certificate = object(dir.path(), field(&text, 'X').unwrap().parse().unwrap(), ObjectKind::Certificate);
        let certificate = x509_cert::Certificate::from_pem(certificate).unwrap();
        let signer = certificate.tbs_certificate.subject_public_key_info.to_der().unwrap();
        let signer = RsaPublicKey::from_public_key_der(&signer).unwrap();
        let digest = Sha1::digest(printed.as_bytes());
        signer.verify(Pkcs1v15Sign::new::<Sha1>(), &digest, &signature).unwrap();

        let (text, printed, signature) = letter(&std::fs::read(dir.path().join(".cvmfswhitelist")).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0].len(), lines[1], &lines[2][1..]), (14, "E20560101000000", FQRN));
        let fingerprint = Sha1::digest(certificate.to_der().unwrap());
        let fingerprint: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(lines[3], fingerprint.join(":"));
        let pem = std::fs::read_to_string(&published.public_key).unwrap();
        let master = RsaPublicKey::from_public_key_pem(&pem).unwrap();
        master.verify(Pkcs1v15Sign::new_unprefixed(), printed.as_bytes(), &signature).unwrap();
        let stranger = RsaPublicKey::from_public_key_pem(&Keys::stranger().public_key()).unwrap();
        assert!(stranger.verify(Pkcs1v15Sign::new_unprefixed(), printed.as_bytes(), &signature).is_err());
    }
}

#[test]
fn databases_have_the_columns_of_the_official_ones() {
    let columns = |database: &Database| {
        let tables = "SELECT m.name, c.name, c.type, c.pk FROM sqlite_master m, pragma_table_info(m.name) c
                      WHERE m.type = 'table' ORDER BY m.name, c.cid";
        let mut statement = database.db.prepare(tables).unwrap();
        let rows = statement.query_map([], |row| {
            let (table, column, kind): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("{table}.{column} {kind} {}", row.get::<_, i64>(3)?))
        });
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let official = fixtures::repository("small.test.example").web_root;
    let (manifest, _, _) = letter(&std::fs::read(official.join(".cvmfspublished")).unwrap());
    let dir = dir();
    let forged = everything().publish(dir.path());
    for (letter, kind, hash) in
        [('C', ObjectKind::Catalog, forged.root_catalog), ('H', ObjectKind::History, forged.history.unwrap())]
    {
        let official = database(&official, field(&manifest, letter).unwrap().parse().unwrap(), kind);
        let forged = database(dir.path(), hash, kind);
        assert_eq!(columns(&forged), columns(&official));
        if kind == ObjectKind::Catalog {
            let names = "SELECT group_concat(counter) FROM (SELECT counter FROM statistics ORDER BY counter)";
            assert_eq!(forged.text(names), official.text(names));
        }
    }
}

#[test]
fn rows_say_what_was_described() {
    let dir = dir();
    let published = everything().publish(dir.path());
    let root = catalog(&published, "");
    assert_eq!(root.of_path("mode", "/dir/file"), 0o104755);
    assert_eq!(root.of_path("uid * 1000 + gid", "/dir/file"), 12_034);
    assert_eq!(root.of_path("mtime * 10 + mtimens", "/dir/file"), 16_000_000_007);
    assert_eq!(root.of_path("hardlinks", "/dir/file"), 1 << 32 | 3);
    let same = "SELECT count(DISTINCT hash || size || mode || uid || hardlinks) FROM catalog WHERE hardlinks > 1 << 32";
    assert_eq!(root.number(same), 1);
    assert_eq!(root.of_path("flags", "/dir/chunked"), 0x44);
    assert_eq!(root.of_path("hash IS NULL", "/dir/chunked"), 1);
    assert_eq!(root.of_path("flags", "/dir/plain"), 0x804);
    assert_eq!(root.of_path("flags", "/dir/outside"), 0x884);
    assert_eq!(root.of_path("flags", "/link"), 12);
    assert_eq!(root.of_path("flags", "/pipe"), 20);
    assert_eq!(root.of_path("flags", "/secret"), 0x8001);
    assert_eq!(root.of_path("flags", "/sub"), 3);
    assert_eq!(root.of_path("hardlinks", ""), 2 + 3);
    assert_eq!(root.of_path("parent_1 = 0 AND parent_2 = 0", ""), 1);
    assert_eq!(root.text("SELECT symlink FROM catalog WHERE name = 'link'"), "$(VAR:-dir)/file");
    assert_eq!(root.number("SELECT count(*) FROM catalog WHERE CAST(name AS BLOB) = x'6c6174696e315fe9'"), 1);
    assert_eq!(
        root.text("SELECT hex(xattr) FROM catalog WHERE name = 'file'"),
        "01020601757365722E61310602757365722E6200FF"
    );
    assert_eq!(root.counter("self_regular"), 8);
    assert_eq!(root.counter("self_chunks"), 3);
    assert_eq!(root.counter("self_external_file_size"), 14);
    assert_eq!(root.counter("subtree_regular"), 2);
    assert_eq!((root.counter("self_nested"), root.counter("subtree_nested")), (1, 1));
    let count = root.number("SELECT count(*) FROM catalog");
    assert_eq!(
        ["dir", "regular", "symlink", "special"].map(|c| root.counter(&format!("self_{c}"))).iter().sum::<i64>(),
        count
    );

    let sub = catalog(&published, "/sub");
    assert_eq!(sub.text("SELECT value FROM properties WHERE key = 'root_prefix'"), "/sub");
    assert_eq!(sub.of_path("flags", "/sub"), 33);
    assert_eq!(sub.of_path("flags", "/sub/deep"), 1);
    let link = "SELECT sha1 FROM nested_catalogs WHERE path = '/sub/deep/er'";
    assert_eq!(sub.text(link), published.catalogs["/sub/deep/er"].0.to_string());
    assert_eq!(catalog(&published, "/sub/deep/er").number("SELECT count(*) FROM catalog"), 2);
}

#[test]
fn contents_are_found_through_their_rows() {
    let dir = dir();
    let published = everything().publish(dir.path());
    let plain = &published.objects["/dir/plain"][0];
    assert_eq!(std::fs::read(published.object_file(plain)).unwrap(), b"as it is");
    assert_eq!(object(dir.path(), published.objects["/dir/file"][0].hash, ObjectKind::File), b"abc");
    assert_eq!(published.objects["/dir/empty"][0].hash.hex(), "e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78");
    assert_eq!(std::fs::read(dir.path().join("external/dir/outside")).unwrap(), b"external bytes");
    assert!(!published.object_file(&published.objects["/dir/outside"][0]).exists());
    let root = catalog(&published, "");
    let mut statement = root.db.prepare("SELECT offset, size, hash FROM chunks ORDER BY offset").unwrap();
    let chunks = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let chunks: Vec<(u64, u64, [u8; 20])> = chunks.unwrap().map(Result::unwrap).collect();
    assert_eq!(
        chunks.iter().map(|(offset, size, _)| (*offset, *size)).collect::<Vec<_>>(),
        [(0, 1000), (1000, 1000), (2000, 500)]
    );
    for (_, size, digest) in chunks {
        let bytes = object(dir.path(), ContentHash::new(Algorithm::Sha1, digest), ObjectKind::Partial);
        assert_eq!(bytes, vec![7; size as usize]);
    }
    let compressed = Forge::new(FQRN).compression(Compression::None).file("/f", b"abc").publish(dir.path());
    assert_eq!(std::fs::read(compressed.object_file(&compressed.objects["/f"][0])).unwrap(), b"abc");
}

#[test]
fn revisions_follow_each_other_and_go_back() {
    let dir = dir();
    let manifest = || letter(&std::fs::read(dir.path().join(".cvmfspublished")).unwrap()).0;
    let forge = Forge::new(FQRN).file("/f", b"one").tag("v1");
    let one = forge.publish(dir.path());
    let two =
        forge.clone().file("/f", b"two").revision(2).tag_of("v1", &one).tag("v2").previous(&one).publish(dir.path());
    assert_eq!((field(&manifest(), 'S'), field(&manifest(), 'C')), (Some("2"), Some(&*two.root_catalog.to_string())));
    let history = database(dir.path(), two.history.unwrap(), ObjectKind::History);
    assert_eq!(history.text("SELECT hash FROM tags WHERE name = 'v1'"), one.root_catalog.to_string());
    assert_eq!(history.text("SELECT hash FROM tags WHERE name = 'v2'"), two.root_catalog.to_string());
    assert_eq!(history.number("SELECT revision FROM tags WHERE name = 'v2'"), 2);
    assert_eq!(
        catalog(&two, "").text("SELECT value FROM properties WHERE key = 'previous_revision'"),
        one.root_catalog.to_string()
    );
    one.put_manifest();
    assert_eq!((field(&manifest(), 'S'), field(&manifest(), 'C')), (Some("1"), Some(&*one.root_catalog.to_string())));
    let other_two = forge.file("/f", b"another two").revision(2).publish(dir.path());
    assert_eq!(field(&manifest(), 'S'), Some("2"));
    assert_ne!(other_two.root_catalog, two.root_catalog);
    let bound = Forge::new(FQRN).bind("/.cvmfs/snapshots/v1", &one).revision(3).publish(dir.path());
    let root = catalog(&bound, "");
    assert_eq!(root.of_path("flags", "/.cvmfs/snapshots/v1"), 0x4001);
    assert_eq!(root.text("SELECT sha1 FROM bind_mountpoints"), one.root_catalog.to_string());
}

#[test]
fn the_same_description_gives_the_same_bytes() {
    let (first, second) = (dir(), dir());
    let (a, b) = (everything().publish(first.path()), everything().publish(second.path()));
    assert_eq!((a.manifest, a.whitelist, a.objects), (b.manifest, b.whitelist, b.objects));
}

#[test]
fn hooks_change_what_they_are_for_and_nothing_else() {
    let good = dir();
    let good = Forge::new(FQRN).file("/f", b"abc").publish(good.path());
    let make = |forge: Forge| {
        let dir = dir();
        let published = forge.file("/f", b"abc").publish(dir.path());
        (dir, published)
    };
    let (_dir, sql) = make(Forge::new(FQRN).catalog_sql("", "UPDATE catalog SET size = 99 WHERE name = 'f'"));
    assert_eq!(catalog(&sql, "").of_path("size", "/f"), 99);
    let (_dir, text) = make(Forge::new(FQRN).on_manifest_text(|text| text.replace("S1", "S18446744073709551615")));
    assert!(letter(&text.manifest).0.contains("\nS18446744073709551615\n"));
    let (_dir, fields) = make(Forge::new(FQRN).manifest_field('Z', "x").without_manifest_field('N'));
    let fields = letter(&fields.manifest).0;
    assert_eq!((field(&fields, 'Z'), field(&fields, 'N')), (Some("x"), None));
    let (_dir, sealed) = make(Forge::new(FQRN).on_manifest(|mut bytes| {
        bytes.truncate(50);
        bytes
    }));
    assert_eq!(sealed.manifest, good.manifest[..50]);
    let (_dir, whitelist) = make(Forge::new(FQRN).on_whitelist_text(|text| text + "# comment\n"));
    assert!(letter(&whitelist.whitelist).0.ends_with("# comment\n"));
    let (_dir, stranger) = make(Forge::new(FQRN).sign_manifest_with(Keys::stranger()));
    assert!(stranger.certificate != good.certificate && stranger.whitelist == good.whitelist);

    let (_dir, plain) =
        make(Forge::new(FQRN).on_object_of(Stage::Plain, ObjectKind::File, "/f", |_| Some(b"xyz".into())));
    assert_eq!(object(&plain.web_root, plain.objects["/f"][0].hash, ObjectKind::File), b"xyz");
    let (_dir, stored) =
        make(Forge::new(FQRN).on_object_of(Stage::Stored, ObjectKind::File, "/f", |_| Some(b"xyz".into())));
    assert_eq!(stored.objects["/f"][0].hash, Hasher::hash(Algorithm::Sha1, b"xyz"));
    let (_dir, written) =
        make(Forge::new(FQRN).on_object_of(Stage::Written, ObjectKind::File, "/f", |_| Some(b"xyz".into())));
    assert_eq!(written.objects, good.objects);
    assert_eq!(std::fs::read(written.object_file(&written.objects["/f"][0])).unwrap(), b"xyz");
    let (_dir, missing) = make(Forge::new(FQRN).on_object_of(Stage::Written, ObjectKind::Catalog, "", |_| None));
    assert!(!missing.object_file(&ObjectName::new(missing.root_catalog, ObjectKind::Catalog)).exists());
}

#[test]
fn alternative_copies_and_removal() {
    let dir = dir();
    let published = everything().alternative_paths().remove("/sub").publish(dir.path());
    assert_eq!(published.catalogs.keys().collect::<Vec<_>>(), [""]);
    assert!(dir.path().join(format!(".cvmfsalt-{}C", published.root_catalog)).is_file());
    assert!(letter(&published.manifest).0.contains("\nAyes\n"));
}

#[test]
fn large_trees() {
    let dir = dir();
    let many = Forge::new(FQRN).many_files("/many", 5000, 500, true).publish(dir.path());
    assert_eq!((many.objects.len(), many.catalogs.len()), (5000, 11));
    assert_eq!(catalog(&many, "").counter("subtree_regular"), 5000);
    let phantoms = Forge::new(FQRN).phantoms(20_000, 1000).publish(dir.path());
    let root = catalog(&phantoms, "");
    assert_eq!((root.counter("self_regular"), root.counter("self_dir")), (20_000, 22));
    let links: BTreeMap<&str, i64> = ["", "/phantoms"].map(|path| (path, root.of_path("hardlinks", path))).into();
    assert_eq!((links[""], links["/phantoms"]), (3, 22));
}
