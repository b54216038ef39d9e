//! `cvmfs --json find --sha256` says of every path of every recorded repository what the official client says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Bench, records};
use cvmfs_tests::fixtures::{self, Truth};

fn compare(fqrn: &str, tag: Option<&str>, change: impl FnOnce(&mut Bench)) {
    let mut bench = Bench::new(fqrn);
    if let Some(tag) = tag {
        bench.option("CVMFS_REPOSITORY_TAG", tag);
    }
    change(&mut bench);
    let output = bench.run(&["--json", "find", "--sha256", &bench.root()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ours = records(&output.stdout);
    let truth: Vec<Truth> = fixtures::truth(fqrn, tag).collect();
    assert_eq!(ours.len(), truth.len());
    for (mut ours, mut truth) in ours.into_iter().zip(truth) {
        truth.ino = 0;
        truth.magic.clear();
        if truth.path == b"/" {
            // Attributes of the root tell about the running client; these do not.
            for name in ["user.fqrn", "user.revision", "user.root_hash", "user.tag", "user.repo_counters"] {
                assert_eq!(ours.xattrs.get(name), truth.xattrs.get(name), "{name}");
            }
            ours.xattrs.clear();
            truth.xattrs.clear();
        }
        assert_eq!(ours, truth, "{}", truth.path.escape_ascii());
    }
}

#[test]
fn sha1_and_every_kind_of_entry() {
    compare("small.test.example", None, |_| ());
}

#[test]
fn rmd160() {
    compare("rmd160.test.example", None, |_| ());
}

#[test]
fn shake128() {
    compare("shake128.test.example", None, |_| ());
}

#[test]
fn uncompressed() {
    compare("nocomp.test.example", None, |_| ());
}

#[test]
fn external_data() {
    compare("external.test.example", None, |bench| {
        bench.option("CVMFS_EXTERNAL_URL", format!("file://{}", fixtures::external_data().display()));
    });
}

#[test]
fn every_tag() {
    for tag in ["v1", "v2", "v3", "v4", "v5", "release-1.0", "v1-fix1"] {
        compare("small.test.example", Some(tag), |_| ());
    }
}

#[test]
fn a_part_of_the_tree_has_the_same_paths() {
    let bench = Bench::new("small.test.example");
    let output = bench.run(&["--json", "find", &bench.path("symlinks")]);
    let ours: Vec<Vec<u8>> = records(&output.stdout).into_iter().map(|record| record.path).collect();
    let inside = |truth: &Truth| truth.path.starts_with(b"/symlinks/") || truth.path == b"/symlinks";
    let truth: Vec<Vec<u8>> = fixtures::truth("small.test.example", None).filter(inside).map(|t| t.path).collect();
    assert_eq!(ours, truth);
}

#[test]
fn without_sha256_nothing_but_catalogs_is_fetched() {
    let bench = Bench::new("small.test.example");
    bench.ok(&["--json", "find", &bench.path("files")]);
    let cached = common::files(&bench.cache()).len();
    assert!(cached < 40, "{cached} files in the cache");
}
