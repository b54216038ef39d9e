//! Publishers, collectors and replicators that are killed, and publishers that meet.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/failing.rs"]
mod failing;

use common::{FQRN, Published, text};
use failing::copy;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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
    let started = Instant::now();
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

/// Some revisions, of which each replaced a part of the one before.
fn revisions(count: u64) -> Published {
    let repository = Published::new(&["--garbage-collectable"]);
    let root = repository.dir.path().join("tree");
    for round in 0..count {
        tree(&root, round);
        repository.publish(&[text(&root)]);
    }
    repository
}

/// What `check` finds wrong: a killed one may leave a reflog that is newer than the manifest, and nothing else.
fn findings(published: &Published, storage: &Path) -> (u64, Vec<String>) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
    check.args(["check", FQRN, "--json", "--all-tags", "--read-data", "--storage", text(storage)]);
    let output = check.arg("--keys").arg(published.keys()).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = told["findings"].as_array().unwrap().iter();
    let places = findings.map(|finding| finding["place"].as_str().unwrap().to_owned());
    (told["revision"].as_u64().unwrap(), places.collect())
}

/// Kills what `command` makes, at random points, in copies of `before`; what is left must be good and lead to the end.
fn killed(published: &Published, before: &Path, revisions: [u64; 2], command: impl Fn(&Path) -> Command) {
    let place = published.dir.path().join("place");
    let fresh = || {
        let _ = fs::remove_dir_all(&place);
        copy(before, &place);
    };
    let run = || cvmfs_tests::tools::output(&mut command(&place));
    fresh();
    let started = Instant::now();
    run();
    let whole = started.elapsed();
    let mut random = fastrand::Rng::with_seed(11);
    let mut unfinished = 0;
    for round in 0..kills() {
        fresh();
        let mut process = command(&place).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.u64(0..whole.as_micros() as u64)));
        process.kill().unwrap();
        unfinished += u64::from(!process.wait().unwrap().success());
        let (revision, wrong) = findings(published, &place);
        assert!(revisions.contains(&revision), "round {round}: revision {revision}");
        assert!(wrong.iter().all(|place| place == ".cvmfsreflog"), "round {round}: {wrong:?}");
        run();
        assert_eq!(findings(published, &place), (revisions[1], Vec::new()), "round {round}");
    }
    println!("{unfinished} of {} were killed before their end", kills());
    assert!(unfinished > 0, "none was killed in time");
}

#[test]
fn a_killed_collector_has_lost_nothing() {
    let published = revisions(6);
    let listed = |storage: &Path| {
        let mut all = std::collections::BTreeSet::new();
        let storage = cvmfs_server::storage::LocalStorage::open(storage).unwrap();
        cvmfs_server::storage::Storage::list(&storage, "data/", &mut |file| all.extend([file.path])).unwrap();
        all
    };
    killed(&published, &published.storage(), [7, 7], |place| {
        let mut gc = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        gc.args(["gc", FQRN, "--keep", "1", "--grace", "0", "--storage", text(place)]);
        gc.arg("--keys").arg(published.keys());
        gc
    });
    let left = listed(&published.dir.path().join("place"));
    assert!(left.len() + 50 < listed(&published.storage()).len(), "there was something to collect");
}

#[test]
fn a_killed_replicator_leaves_the_old_revision_or_the_new_one() {
    let published = revisions(1);
    let mirror = published.dir.path().join("mirror");
    let url = format!("file://{}", published.storage().display());
    let replicate = |place: &Path| {
        let mut replicate = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        replicate.args(["replicate", FQRN, &url, text(place), "--keys"]).arg(published.keys());
        replicate
    };
    cvmfs_tests::tools::output(&mut replicate(&mirror));
    let root = published.dir.path().join("tree");
    for round in 1..4 {
        tree(&root, round);
        published.publish(&[text(&root)]);
    }
    killed(&published, &mirror, [2, 5], replicate);
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
