//! Manual pages and completions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

fn generate(what: &str, directory: &Path) {
    let run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server")).args(["generate", what]).arg(directory).status();
    assert!(run.unwrap().success());
}

#[test]
fn manual_pages_are_those_of_the_command_line() {
    let fresh = tempfile::tempdir().unwrap();
    generate("man", fresh.path());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/man");
    let mut pages = 0;
    for page in std::fs::read_dir(fresh.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = page.file_name().unwrap();
        let ours = std::fs::read_to_string(&page).unwrap();
        let theirs = std::fs::read_to_string(committed.join(name)).unwrap_or_default();
        assert!(ours == theirs, "{} is out of date: run 'cvmfs-server generate man doc/man'", name.display());
        pages += 1;
    }
    assert!(pages > 8, "{pages} pages");
    generate("completions", fresh.path());
    assert!(fresh.path().join("_cvmfs-server").is_file());
}
