//! Every damaged or hostile repository of the fixtures: what the official client refused is refused here too, what it
//! served is served the same, and where we are stricter a table says why.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, BadCase};
use cvmfs_tests::mount::{Mount, Mounted, assert_clean, sha256};
use cvmfs_tests::server::WebRoot;
use libcvmfs::Error;
use libcvmfs::error::Origin;
use std::collections::BTreeSet;

const EIO: i32 = 5;
const ENOENT: i32 = 2;

/// Refused as a whole by both clients: what the message must say about the document and the reason.
const REFUSALS: &[(&str, &[&str])] = &[
    ("whitelist_expired", &["whitelist of small.test.example", "expired"]),
    ("whitelist_bad_signature", &["whitelist of small.test.example", "invalid signature"]),
    ("whitelist_tampered_body", &["whitelist", "was altered"]),
    ("whitelist_tampered_rehashed", &["whitelist of small.test.example", "invalid signature"]),
    ("whitelist_wrong_name", &["whitelist is of repository 'other.test.example'"]),
    ("manifest_tampered_body", &["manifest", "was altered"]),
    ("manifest_tampered_rehashed", &["manifest of small.test.example", "invalid signature"]),
    ("manifest_wrong_name", &["manifest is of repository 'other.test.example'"]),
    ("manifest_missing", &["/.cvmfspublished", "404"]),
    ("manifest_empty", &["manifest is empty"]),
    ("manifest_garbage", &["manifest"]),
    ("manifest_unsigned", &["manifest is not signed"]),
    ("manifest_no_signature", &["manifest has no signature"]),
    ("manifest_missing_revision", &["manifest is incomplete: field S"]),
    ("cert_not_a_certificate", &["certificate is unusable"]),
    ("root_catalog_truncated", &["/data/07/3e8f52186124b22c195c432d6dcd95f5e7e9b7C", "corrupt"]),
    ("root_catalog_not_sqlite", &["catalog", "database"]),
];

/// Where the outcome of a probe differs from the official client's: case, probe, our outcome, reason.
const DIFFERENT: &[(&str, &str, &str, &str)] = &[
    (
        "nested_catalog_wrong_prefix",
        "ls /nested",
        "errno 5",
        "a catalog must have the size announced, and is mounted where its prefix says",
    ),
    ("nested_catalog_wrong_prefix", "cat /nested/file00", "errno 5", "nor is anything denied on its word"),
    ("nested_catalog_self", "ls /nested", "errno 5", "the root catalog is no nested catalog"),
    ("nested_catalog_self", "cat /nested/file00", "errno 5", "nor is anything denied on its word"),
    ("chunk_swapped", "head /files/large_random_3M.bin", "errno 5", "a file is handed out whole or not at all"),
    ("chunk_swapped", "tail /files/large_random_3M.bin", "errno 5", "a file is handed out whole or not at all"),
    ("name_empty_consistent", "ls /", "ok, 20 entries", "a row with an impossible name is left out, the rest is shown"),
    (
        "name_absolute_consistent",
        "ls /",
        "ok, 20 entries",
        "a row with an impossible name is left out, the rest is shown",
    ),
];

fn error_outcome(error: &Error) -> String {
    format!("errno {}", error.errno())
}

fn part(bytes: &[u8]) -> String {
    format!("ok, {} bytes, sha256 {}", bytes.len(), &sha256(bytes)[..16])
}

/// What we say to a probe, in the words of the record.
fn outcome(mounted: &Mounted, probe: &str) -> String {
    let (command, path) = probe.split_once(' ').unwrap();
    let content = || mounted.read(path);
    let outcome = match command {
        "ls" => mounted.list(path).map(|names| format!("ok, {} entries", names.len())),
        "stat" => mounted.node(path).map(|node| format!("ok, size {}", node.attributes().size)),
        "cat" => content().map(|bytes| part(&bytes)),
        "head" => content().map(|bytes| part(&bytes[..bytes.len().min(100)])),
        "tail" => content().map(|bytes| part(&bytes[bytes.len().saturating_sub(100)..])),
        other => panic!("unknown probe {other}"),
    };
    outcome.unwrap_or_else(|error| error_outcome(&error))
}

/// A message names the host, and an input/output error blames somebody.
fn assert_speaking(error: &Error, server: &WebRoot) {
    let message = error.to_string();
    let host = format!("127.0.0.1:{}", server.port());
    // What the publisher signed is no host's fault; then the place in the tree is named.
    let in_catalog = matches!(error, Error::Damaged { .. } | Error::Attach(_));
    assert!(message.contains(if in_catalog { "/" } else { &host }), "no place in '{message}'");
    assert!(error.origin().is_some(), "nobody is blamed: {message}");
}

fn check(name: &str) {
    let case = fixtures::bad_cases().into_iter().find(|case| case.case == name).unwrap();
    let repository = fixtures::bad(name);
    let server = WebRoot::serve(&repository.fqrn, &repository.web_root);
    let mount = Mount::over(&repository, &[&server]);
    let mounted = mount.client();
    match REFUSALS.iter().find(|(refused, _)| *refused == name) {
        Some((_, words)) => check_refused(&case, words, &mounted, &server),
        None => check_mounted(&case, &mounted, &server),
    }
    // Once more in a new process: a refusal is not forgotten, and nothing bad was kept.
    let again = mount.client();
    assert_eq!(again.repository().is_ok(), mounted.repository().is_ok());
    if let Ok(repository) = again.repository() {
        for (probe, _) in &case.probes {
            assert_eq!(outcome(&again, probe), outcome(&mounted, probe), "{probe} once more");
        }
        assert_clean(repository.cache());
    }
}

fn check_refused(case: &BadCase, words: &[&str], mounted: &Mounted, server: &WebRoot) {
    assert_ne!(case.mount_rc, 0, "the official client refuses it as well");
    let error = mounted.repository().map(|_| "mounted").unwrap_err();
    let message = error.to_string();
    assert_speaking(&error, server);
    for word in words {
        assert!(message.contains(word), "no '{word}' in '{message}'");
    }
    // "A repository that no server has is absent", as an automounter says. Of the others it cannot be told what exists.
    let (expected, errno) = match case.case.as_str() {
        "manifest_missing" => (Origin::Host, ENOENT),
        _ => (Origin::Content, EIO),
    };
    assert_eq!(error.origin(), Some(expected), "{message}");
    assert_eq!(error.errno(), EIO);
    assert_eq!(mounted.node("/files/tiny.txt").unwrap_err().errno(), errno);
    assert_eq!(mounted.node("/no/such/file").unwrap_err().errno(), errno);
}

fn check_mounted(case: &BadCase, mounted: &Mounted, server: &WebRoot) {
    assert_eq!(case.mount_rc, 0, "the official client mounts it as well");
    mounted.repository().unwrap_or_else(|error| panic!("{error}"));
    for (probe, official) in &case.probes {
        // The text in parentheses after an error number is the system's.
        let official = official.split(" (").next().unwrap();
        let ours = outcome(mounted, probe);
        match DIFFERENT.iter().find(|(name, different, ..)| *name == case.case && different == probe) {
            Some((_, _, expected, reason)) => {
                assert_ne!(official, *expected, "not different any more: {reason}");
                assert_eq!(ours, *expected, "{probe}: {reason}");
            }
            None => assert_eq!(ours, official, "{probe}"),
        }
        if ours == "errno 5" {
            let (_, path) = probe.split_once(' ').unwrap();
            let error = match probe.starts_with("ls") {
                true => mounted.list(path).unwrap_err(),
                false => mounted.read(path).unwrap_err(),
            };
            assert_speaking(&error, server);
        }
    }
    // What the damage does not touch is served as ever.
    let other = fixtures::truth("small.test.example", None).find(|t| t.path == b"/files/size_0004095.bin").unwrap();
    assert_eq!(Some(sha256(&mounted.read(&other.path).unwrap())), other.sha256);
}

macro_rules! cases {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_case_of_the_record_is_checked() {
            let recorded: BTreeSet<String> = fixtures::bad_cases().into_iter().map(|case| case.case).collect();
            let checked = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            assert_eq!(recorded, checked);
        }
    };
}

cases! {
    cert_not_a_certificate chunk_swapped data_corrupt data_empty data_missing data_not_zlib data_size_larger
    data_size_smaller data_swapped data_trailing_garbage data_truncated data_zip_bomb good_control hash_short
    manifest_empty manifest_garbage manifest_missing manifest_missing_revision manifest_no_signature
    manifest_tampered_body manifest_tampered_rehashed manifest_unknown_fields manifest_unsigned manifest_wrong_name
    name_absolute_consistent name_dotdot name_dotdot_consistent name_empty name_empty_consistent name_slash
    nested_catalog_corrupt nested_catalog_missing nested_catalog_self nested_catalog_wrong_prefix
    root_catalog_not_sqlite root_catalog_truncated whitelist_bad_signature whitelist_expired
    whitelist_fingerprint_comment whitelist_multi_fingerprint whitelist_tampered_body whitelist_tampered_rehashed
    whitelist_wrong_name
}

/// Catalogs that no fixture has: correctly signed, and wrong.
mod forged {
    use super::*;
    use cvmfs_tests::forge::{Forge, Stage};
    use libcvmfs::object::ObjectKind;

    const FQRN: &str = "wrong.test.example";

    fn forge() -> Forge {
        Forge::new(FQRN).file("/good", "good").file("/chunked", vec![3; 5000]).chunks_of(1000)
    }

    fn mounted(forge: &Forge) -> (Mounted, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let published = forge.publish(directory.path());
        (Mount::of(&published.repository()).client(), directory)
    }

    #[test]
    fn chunks_that_do_not_cover_a_file_exactly_are_no_file() {
        for sql in [
            "UPDATE chunks SET offset = offset + 1 WHERE offset = 2000",
            "UPDATE chunks SET offset = offset - 500 WHERE offset = 2000",
            "UPDATE chunks SET size = 999 WHERE offset = 2000",
            "UPDATE chunks SET size = 1001 WHERE offset = 4000",
            "DELETE FROM chunks WHERE offset = 0",
            "DELETE FROM chunks WHERE offset = 3000",
            "DELETE FROM chunks WHERE offset = 4000",
            "DELETE FROM chunks",
            "UPDATE chunks SET size = -1 WHERE offset = 0",
            "UPDATE chunks SET offset = 9223372036854775807 WHERE offset = 4000",
            "UPDATE catalog SET size = 4999 WHERE name = 'chunked'",
            "UPDATE catalog SET size = 9223372036854775807 WHERE name = 'chunked'",
        ] {
            let (mounted, _directory) = mounted(&forge().catalog_sql("", sql));
            let error = mounted.read("/chunked").expect_err(sql);
            assert_eq!(error.errno(), EIO, "{sql}: {error}");
            assert!(error.to_string().contains("chunked"), "{sql}: {error}");
            assert_eq!(mounted.read("/good").unwrap(), b"good", "{sql}");
            assert_clean(mounted.repository().unwrap().cache());
        }
    }

    #[test]
    fn a_root_catalog_of_another_size_than_announced_is_refused() {
        for size in ["1", "99999999", "18446744073709551615"] {
            let (mounted, _directory) = mounted(&forge().manifest_field('B', size));
            let error = mounted.repository().map(drop).expect_err(size);
            assert_eq!((error.errno(), error.origin()), (EIO, Some(Origin::Content)), "{size}: {error}");
        }
    }

    #[test]
    fn catalogs_that_are_no_catalogs_are_errors_and_nothing_more() {
        let database = |change: fn(Vec<u8>) -> Vec<u8>| {
            forge().on_object_of(Stage::Plain, ObjectKind::Catalog, "", move |bytes| Some(change(bytes)))
        };
        for (name, forge) in [
            ("empty", database(|_| Vec::new())),
            ("text", database(|_| b"hello".to_vec())),
            ("header only", database(|bytes| bytes[..100].to_vec())),
            ("half", database(|bytes| bytes[..bytes.len() / 2].to_vec())),
            (
                "first page overwritten",
                database(|mut bytes| {
                    bytes[16..1024].fill(0xff);
                    bytes
                }),
            ),
            ("no table", forge().catalog_sql("", "DELETE FROM chunks; DROP TABLE catalog")),
            (
                "a view",
                forge().catalog_sql("", "ALTER TABLE catalog RENAME TO c; CREATE VIEW catalog AS SELECT * FROM c"),
            ),
            ("no root", forge().catalog_sql("", "DELETE FROM chunks; DELETE FROM catalog WHERE name = ''")),
            ("no properties", forge().catalog_sql("", "DROP TABLE properties")),
            (
                "schema from the future",
                forge().catalog_sql("", "UPDATE properties SET value = '9.9' WHERE key = 'schema'"),
            ),
            ("a prefix", forge().catalog_sql("", "INSERT INTO properties VALUES ('root_prefix', '/elsewhere')")),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let published = forge.publish(directory.path());
            let mounted = Mount::of(&published.repository()).client();
            let error = mounted.repository().map(drop).expect_err(name);
            assert_eq!((error.errno(), error.origin()), (EIO, Some(Origin::Content)), "{name}: {error}");
            assert_eq!(mounted.node("/good").unwrap_err().errno(), EIO, "{name}");
        }
    }

    #[test]
    fn catalogs_are_mounted_only_where_they_belong() {
        let tree = || forge().nested("/a").file("/a/file", "a").nested("/b").file("/b/file", "b");
        // Hash and size are right, so that nothing but the prefix tells.
        let foreign = "UPDATE nested_catalogs SET (sha1, size) =
            (SELECT sha1, size FROM nested_catalogs WHERE path = '/b') WHERE path = '/a'";
        let (mounted_foreign, _directory) = mounted(&tree().catalog_sql("", foreign));
        let directory = tempfile::tempdir().unwrap();
        let old = tree().publish(directory.path());
        let root = format!(
            "UPDATE nested_catalogs SET sha1 = '{}', size = {} WHERE path = '/a'",
            old.root_catalog, old.root_size
        );
        let published = tree().revision(2).catalog_sql("", &root).publish(directory.path());
        let mounted_root = Mount::of(&published.repository()).client();
        for mounted in [mounted_foreign, mounted_root] {
            for path in ["/a/file", "/a/none", "/a/b/file"] {
                let error = mounted.node(path).unwrap_err();
                assert_eq!((error.errno(), error.origin()), (EIO, Some(Origin::Content)), "{path}: {error}");
                assert!(error.to_string().contains("/a"), "{path}: {error}");
            }
            assert_eq!(mounted.list("/a").unwrap_err().errno(), EIO);
            assert_eq!(mounted.read("/b/file").unwrap(), b"b");
        }
    }

    #[test]
    fn circles_of_directories_and_catalogs_end() {
        // A directory that is its own parent, and one below its own child.
        let (mounted, _directory) = mounted(
            &forge()
                .file("/d/e/f", "")
                .catalog_sql("", "UPDATE catalog SET parent_1 = md5path_1, parent_2 = md5path_2 WHERE name = 'd'"),
        );
        let outcome = mounted.list("/d/d/d/d");
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!(mounted.read("/good").unwrap(), b"good");
    }
}
