//! `check` says good of what is good, and finds what is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Published, text};
use cvmfs_tests::fixtures::{self, RepositoryFixture};
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
    let chunk = files(&fixture).find(|path| path.ends_with('P')).unwrap();
    std::fs::remove_file(chunk).unwrap();
    assert!(check(&fixture, &[]).0, "the newest revision has no chunks");
    let (good, told) = check(&fixture, &["--all-tags"]);
    assert!(!good && told["findings"][0]["place"] == "/large", "{told:#}");
    std::fs::write(fixture.web_root.join(".cvmfsreflog"), b"something").unwrap();
    let (good, told) = check(&fixture, &[]);
    assert!(!good && told["findings"][0]["place"] == ".cvmfsreflog", "{told:#}");
}

fn files(fixture: &RepositoryFixture) -> impl Iterator<Item = String> {
    let directories = std::fs::read_dir(fixture.web_root.join("data")).unwrap().map(|entry| entry.unwrap().path());
    let files = directories.flat_map(|directory| std::fs::read_dir(directory).unwrap());
    files.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
}
