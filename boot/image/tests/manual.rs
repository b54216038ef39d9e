//! The manual pages in `doc/man` are those of the program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::tools::output;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_manual_is_up_to_date_and_completions_are_written() {
    let fresh = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_ucernvm");
    output(Command::new(program).args(["generate", "man"]).arg(fresh.path()));
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../doc/man");
    let mut pages = 0;
    for page in fs::read_dir(fresh.path()).unwrap() {
        let page = page.unwrap();
        let same = fs::read(page.path()).unwrap() == fs::read(committed.join(page.file_name())).unwrap_or_default();
        assert!(same, "{:?} is out of date: run 'ucernvm generate man doc/man'", page.file_name());
        pages += 1;
    }
    assert_eq!(pages, 3);
    output(Command::new(program).args(["generate", "completions"]).arg(fresh.path()));
    assert!(fresh.path().join("_ucernvm").is_file());
}

#[test]
fn what_is_missing_is_said_before_anything_is_built() {
    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ucernvm")).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let build = ["build", "--kernel", "debian", "-o", "/nowhere/image.iso"];
    assert!(refused(&build).contains("without a public master key nothing can be trusted: --key FILE"));
    let elsewhere = [&build[..], &["--key", "/dev/null", "--path", "../x"]].concat();
    assert!(refused(&elsewhere).contains("--path leads out of the repository"));
}
