//! `check` says good of what is good, and finds what is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{FQRN, Published, text};
use cvmfs_server::commit::{self, Revision};
use cvmfs_server::keys::KeyFiles;
use cvmfs_server::repository::Repository;
use cvmfs_tests::fixtures::{self, RepositoryFixture};
use libcvmfs::catalog::Statistics;
use libcvmfs::catalog::write::{CatalogWriter, Row};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::hash::{Algorithm, PathHash};
use libcvmfs::object::ObjectKind;
use std::process::Command;

/// What `check --json` says.
fn check(repository: &RepositoryFixture, options: &[&str]) -> (bool, serde_json::Value) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
    run.arg("check").arg(&repository.fqrn).arg("--storage").arg(&repository.web_root);
    run.arg("--public-key").arg(&repository.public_key).arg("--json").args(options);
    let output = run.output().unwrap();
    let told = serde_json::from_slice(&output.stdout);
    let told = told.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), told)
}

#[test]
fn official_repositories_are_good() {
    for name in ["small", "rmd160", "shake128", "nocomp", "external"] {
        let repository = fixtures::repository(&format!("{name}.test.example"));
        let (good, told) = check(&repository, &["--all-tags", "--read-data"]);
        assert!(good && told["clean"] == true, "{name}: {told:#}");
        assert!(told["objects"].as_u64().unwrap() > 20 || name == "external", "{name}: {told}");
    }
}

#[test]
fn what_is_wrong_with_official_repositories_is_found() {
    // What the official client should take, too.
    let good =
        ["good_control", "whitelist_multi_fingerprint", "whitelist_fingerprint_comment", "manifest_unknown_fields"];
    // What shows only when content is read.
    let only_read = [
        "data_corrupt",
        "data_truncated",
        "data_trailing_garbage",
        "data_swapped",
        "chunk_swapped",
        "data_size_smaller",
        "data_size_larger",
        "data_not_zlib",
        "data_zip_bomb",
    ];
    for case in fixtures::bad_cases() {
        let repository = fixtures::bad(&case.case);
        let (clean, told) = check(&repository, &["--read-data"]);
        assert_eq!(clean, good.contains(&case.case.as_str()), "{}: {told:#}", case.case);
        if !clean {
            assert!(!told["findings"].as_array().unwrap().is_empty(), "{}: {told:#}", case.case);
            let (found, told) = check(&repository, &[]);
            assert!(!found || only_read.contains(&case.case.as_str()), "{}: {told:#}", case.case);
        }
    }
}

#[test]
fn what_is_published_is_good_until_something_is_lost() {
    let repository = Published::new(&["--hash", "shake128"]);
    let tree = repository.dir.path().join("tree");
    std::fs::create_dir_all(tree.join("nested/below")).unwrap();
    std::fs::write(tree.join("nested/.cvmfscatalog"), b"").unwrap();
    std::fs::write(tree.join("nested/below/file"), b"content").unwrap();
    std::fs::hard_link(tree.join("nested/below/file"), tree.join("nested/below/name")).unwrap();
    std::fs::write(tree.join("large"), vec![7; 1 << 20]).unwrap();
    repository.publish(&[text(&tree), "--chunks", "16384,65536,262144", "--tag", "first"]);
    std::fs::remove_file(tree.join("large")).unwrap();
    repository.publish(&[text(&tree)]);
    let fixture = repository.fixture();
    for options in [&["--all-tags", "--read-data"][..], &[]] {
        let (good, told) = check(&fixture, options);
        assert!(good, "{told:#}");
    }
    let status = fixture.web_root.join(".cvmfs_status.json");
    let noted = || -> serde_json::Value { serde_json::from_slice(&std::fs::read(&status).unwrap()).unwrap() };
    assert_eq!(noted()["check_status"], serde_json::Value::Null, "a check writes nothing unless it is told to");
    check(&fixture, &["--status"]);
    assert!(noted()["check_status"] == "succeeded" && noted()["last_check"].as_str().unwrap().contains(" UTC "));
    let chunk = files(&fixture).find(|path| path.ends_with('P')).unwrap();
    std::fs::remove_file(chunk).unwrap();
    assert!(check(&fixture, &[]).0, "the newest revision has no chunks");
    let (good, told) = check(&fixture, &["--all-tags", "--status"]);
    assert_eq!(noted()["check_status"], "failed");
    assert!(!good && told["findings"][0]["place"] == "/large", "{told:#}");
    std::fs::write(fixture.web_root.join(".cvmfsreflog"), b"something").unwrap();
    let (good, told) = check(&fixture, &[]);
    assert!(!good && told["findings"][0]["place"] == ".cvmfsreflog", "{told:#}");
}

/// Publishes a root catalog that `change` made wrong, and returns what `check` says about it.
fn wrong(published: &Published, change: impl FnOnce(&CatalogWriter)) -> String {
    let fqrn = Fqrn::new(FQRN).unwrap();
    let keys = KeyFiles::new(&fqrn, &published.keys(), None);
    let repository = Repository::new(fqrn, text(&published.storage()), keys).unwrap();
    let head = repository.head().unwrap();
    let file = published.dir.path().join("catalog");
    repository.fetch(&head.root_catalog(), &file).unwrap();
    let writer = CatalogWriter::open(&file).unwrap();
    change(&writer);
    let mut fields = head.fields().clone();
    fields.catalog_size = Some(writer.finish().unwrap());
    fields.root_catalog = repository.put_file(ObjectKind::Catalog, &file, Algorithm::Sha1).unwrap().hash;
    fields.revision += 1;
    let history = repository.history(&head).unwrap();
    commit::publish(&repository, Some(&head), Revision { fields, history }).unwrap();
    let (good, told) = check(&published.fixture(), &[]);
    assert!(!good, "{told}");
    told["findings"].to_string()
}

/// What is found, and what made it so.
type Wrong<'w> = (&'w str, &'w dyn Fn(&CatalogWriter));

#[test]
fn what_a_catalog_says_about_its_rows_is_compared_with_them() {
    let tree = |published: &Published| {
        let tree = published.dir.path().join("tree");
        std::fs::create_dir_all(tree.join("nested/below")).unwrap();
        std::fs::write(tree.join("nested/.cvmfscatalog"), b"").unwrap();
        std::fs::write(tree.join("file"), b"content").unwrap();
        published.publish(&[text(&tree)]);
    };
    let row = |writer: &CatalogWriter, path: &[u8]| writer.row(PathHash::of(path)).unwrap().unwrap();
    let cases: [Wrong<'_>; 5] = [
        ("wrong counters: ", &|writer| {
            let said = writer.statistics().unwrap();
            writer.set_statistics(&Statistics { own: said.own.plus(&said.own), ..said }).unwrap();
        }),
        ("wrong counters of all below", &|writer| {
            let said = writer.statistics().unwrap();
            writer.set_statistics(&Statistics { subtree: said.total(), ..said }).unwrap();
        }),
        ("subdirectories", &|writer| writer.put(&Row { links: 9, ..row(writer, b"") }).unwrap()),
        ("without other names", &|writer| writer.put(&Row { links: 2, ..row(writer, b"/file") }).unwrap()),
        ("in the one above", &|writer| writer.put(&Row { uid: 77, ..row(writer, b"/nested") }).unwrap()),
    ];
    for (expected, change) in cases {
        let published = Published::new(&[]);
        tree(&published);
        let found = wrong(&published, change);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

fn files(fixture: &RepositoryFixture) -> impl Iterator<Item = String> {
    let directories = std::fs::read_dir(fixture.web_root.join("data")).unwrap().map(|entry| entry.unwrap().path());
    let files = directories.flat_map(|directory| std::fs::read_dir(directory).unwrap());
    files.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
}
