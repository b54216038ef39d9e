//! Publishers that are killed, and publishers that meet.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Published, text};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How often a publisher is killed.
fn kills() -> u64 {
    std::env::var("CVMFS_TESTS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

fn tree(root: &Path, round: u64) {
    for number in 0..120_u64 {
        let directory = root.join(format!("d{}", number % 7));
        fs::create_dir_all(&directory).unwrap();
        let name = directory.join(format!("f{number}"));
        if number % 7 == round % 7 || !name.exists() {
            fs::write(name, format!("{round} {number} ").repeat(2000)).unwrap();
        }
        fs::write(directory.join(".cvmfscatalog"), b"").unwrap();
    }
}

#[test]
fn a_killed_publisher_leaves_the_old_revision_or_the_new_one() {
    let repository = Published::new(&[]);
    let root = repository.dir.path().join("tree");
    tree(&root, 0);
    let started = std::time::Instant::now();
    repository.publish(&[text(&root)]);
    let whole = started.elapsed();
    let mut revision = 2;
    let mut unfinished = 0;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 1..=kills() {
        tree(&root, round);
        let mut publisher = repository.command("publish", &[text(&root), "-q"]).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.u64(0..whole.as_micros() as u64)));
        publisher.kill().unwrap();
        let finished = publisher.wait().unwrap().success();
        let found = repository.check_loosely()["revision"].as_u64().unwrap();
        assert!(found == revision || found == revision + 1, "{found} after {revision}");
        assert!(!finished || found == revision + 1);
        unfinished += u64::from(found == revision);
        revision = found;
    }
    assert!(unfinished > 0, "no publisher was killed in time");
    let told = repository.publish(&[text(&root), "--force"]);
    assert_eq!(told["revision"], revision + 1);
    repository.check();
    let staged = fs::read_dir(repository.storage().join("data/txn")).unwrap().count();
    assert_eq!(staged, 0, "temporary files of the killed ones are gone");
}

#[test]
fn the_second_of_two_publishers_is_told() {
    let repository = Published::new(&[]);
    let root = repository.dir.path().join("tree");
    tree(&root, 0);
    // An archive that never ends keeps the first one busy.
    let mut first =
        repository.command("publish", &["-", "--into", "/"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let lock = repository.storage().join(".cvmfs_publisher");
    while fs::read_to_string(&lock).unwrap_or_default().is_empty() {
        std::thread::yield_now();
    }
    let error = repository.fails("publish", &[text(&root)]);
    assert!(error.contains("another publisher") && error.contains(&first.id().to_string()), "{error}");
    drop(first.stdin.take());
    first.wait().unwrap();
    assert_eq!(repository.publish(&[text(&root), "--wait", "60"])["changed"], true);
}

#[test]
fn a_transaction_keeps_others_away() {
    let repository = Published::new(&[]);
    let root = repository.dir.path().join("tree");
    tree(&root, 0);
    repository.ok("transaction", &[]);
    let error = repository.fails("transaction", &[]);
    assert!(error.contains("a transaction is open"), "{error}");
    let other = |command: &str, arguments: &[&str]| {
        let run = repository.command(command, arguments).env("USER", "somebody-else").output().unwrap();
        (run.status.success(), String::from_utf8(run.stderr).unwrap())
    };
    for command in [&["publish", text(&root)][..], &["abort"], &["tag", "add", "x"]] {
        let (done, error) = other(command[0], &command[1..]);
        assert!(!done && error.contains("transaction open"), "{command:?}: {error}");
    }
    assert_eq!(repository.publish(&[text(&root)])["revision"], 2);
    repository.ok("transaction", &[]);
    repository.ok("abort", &[]);
    let error = repository.fails("abort", &[]);
    assert!(error.contains("no transaction"), "{error}");
    repository.ok("transaction", &[]);
    assert!(other("abort", &["--force"]).0);
}
