//! The management API does what its description says, also when it is asked for nonsense. Another program asks: it makes requests
//! from the description, such that fit it and such that do not, and compares the replies with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/shared.rs"]
mod shared;

use common::FQRN;
use cvmfs_tests::tools::{output, skip};
use shared::Shared;
use std::path::Path;
use std::process::Command;

/// Seconds after which no further requests are made: CVMFS_TESTS_API_SECONDS.
const SECONDS: &str = "30";
/// Requests of each kind for each operation: CVMFS_TESTS_API_EXAMPLES.
const EXAMPLES: &str = "20";

#[test]
fn replies_are_as_described() {
    let schemathesis = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/schemathesis/bin/schemathesis");
    if !schemathesis.is_file() {
        return skip("schemathesis is not installed: 'ci/pypi schemathesis' does that");
    }
    let shared = Shared::new(&["--garbage-collectable"]);
    let all = "*.test.example";
    let token = shared.token(
        "everybody",
        &["--publish", &format!("{all}:/"), "--tag", all, "--collect", all, "--create", "*.new.test.example"],
    );
    let service = shared.start(&["--longest-lease", "31536000", "--leases", "100000"]);
    let or = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let mut run = Command::new(schemathesis);
    run.arg("--config-file").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis.toml"));
    run.arg("run").arg(format!("http://{}/openapi.json", service.address));
    run.args(["--max-time", &or("CVMFS_TESTS_API_SECONDS", SECONDS)]);
    run.args(["--max-examples", &or("CVMFS_TESTS_API_EXAMPLES", EXAMPLES)]);
    // Its caches belong nowhere else.
    run.current_dir(shared.published.dir.path()).env("TOKEN", token).env("REPOSITORY", FQRN).env("NO_COLOR", "1");
    let told = String::from_utf8(output(&mut run).stdout).unwrap();
    assert!(told.contains("16 selected / 16 total"), "not everything was tried:\n{told}");
    service.stop();
    shared.published.check();
}
