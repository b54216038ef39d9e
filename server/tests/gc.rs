//! Garbage collection takes what nobody needs, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/failing.rs"]
mod failing;

use common::{FQRN, Published, text};
use cvmfs_server::check::{self, check};
use cvmfs_server::gc::{self, Settings};
use cvmfs_server::keys::KeyFiles;
use cvmfs_server::repository::Repository;
use cvmfs_server::storage::{LocalStorage, Storage};
use failing::{Failing, copy};
use libcvmfs::trust::unix_now;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Five revisions with content, each in a nested catalog, of which the second is called `second`.
fn published() -> Published {
    let repository = Published::new(&["--garbage-collectable"]);
    let tree = repository.dir.path().join("tree");
    std::fs::create_dir_all(tree.join("nested")).unwrap();
    std::fs::write(tree.join("nested/.cvmfscatalog"), b"").unwrap();
    std::fs::write(tree.join("always"), b"the same in all").unwrap();
    for number in 1..=5_u8 {
        std::fs::write(tree.join("nested/file"), format!("this is number {number}")).unwrap();
        std::fs::write(tree.join("nested/large"), vec![number; 300_000]).unwrap();
        let chunks = ["--chunks", "16384,65536,131072", "--checksum"];
        let tag: &[&str] = match number {
            1 => &["--auto-tag", "365"],
            2 => &["--tag", "second"],
            _ => &[],
        };
        repository.publish(&[&[text(&tree)], &chunks[..], tag].concat());
    }
    repository
}

fn objects(storage: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    LocalStorage::open(storage).unwrap().list("data/", &mut |file| all.extend([file.path])).unwrap();
    all
}

fn opened(published: &Published, storage: Arc<dyn Storage>) -> Repository {
    let fqrn = libcvmfs::fqrn::Fqrn::new(FQRN).unwrap();
    let keys = KeyFiles::new(&fqrn, &published.keys(), None);
    Repository { fqrn, storage, keys }
}

/// Everything that has a name is there, content and all.
fn assert_good(published: &Published, storage: &Path) {
    let repository = opened(published, Arc::new(LocalStorage::open(storage).unwrap()));
    let settings = check::Settings { all_tags: true, read_data: true, threads: 1 };
    let report = check(&repository, settings, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn what_no_tag_needs_goes() {
    let repository = published();
    let gc = |options: &[&str]| -> serde_json::Value {
        serde_json::from_str(&repository.ok("gc", &[options, &["--json"]].concat())).unwrap()
    };
    let nothing = gc(&[]);
    assert_eq!(nothing["kept_revisions"], 6, "all are younger than three days: {nothing}");
    let before = objects(&repository.storage());
    let planned = gc(&["--keep", "1", "--dry-run"]);
    assert_eq!(objects(&repository.storage()), before);
    let done = gc(&["--keep", "1"]);
    assert_eq!(done["kept_revisions"], 3, "the newest, the one before, and 'second': {done}");
    assert_eq!(done["removed_tags"].as_array().unwrap().len(), 1, "{done}");
    for key in ["removed_tags", "removed_objects", "removed_bytes", "kept_objects"] {
        assert_eq!(done[key], planned[key], "{key}: {done} {planned}");
    }
    // One came in: the history without the tag.
    let gone = 1 + before.len() - objects(&repository.storage()).len();
    assert_eq!(gone as u64, done["removed_objects"].as_u64().unwrap());
    assert_good(&repository, &repository.storage());
    assert_eq!(repository.mount().client().read("/nested/file").unwrap(), b"this is number 5");
    assert_eq!(gc(&["--keep", "1"])["removed_objects"], 1, "the history that named what went");
    assert_eq!(gc(&["--keep", "1"])["removed_objects"], 0);
    assert_good(&repository, &repository.storage());
    repository.publish(&[text(&repository.dir.path().join("tree")), "--force"]);
    assert_good(&repository, &repository.storage());
}

#[test]
fn who_did_not_agree_is_left_alone() {
    let repository = Published::new(&[]);
    let error = repository.fails("gc", &["--keep", "1"]);
    assert!(error.contains("does not allow garbage collection"), "{error}");
}

#[test]
fn what_a_publisher_may_be_about_to_publish_stays() {
    let repository = published();
    let directory = repository.storage().join("data/00");
    std::fs::create_dir_all(&directory).unwrap();
    let object = |digit: &str| directory.join(digit.repeat(38));
    for (digit, age) in [("1", -100_i64), ("2", 100_000)] {
        let now = i64::try_from(unix_now()).unwrap();
        std::fs::write(object(digit), b"nobody names this").unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(now - age).unwrap());
        let file = std::fs::File::options().write(true).open(object(digit)).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(time)).unwrap();
    }
    repository.ok("gc", &["--keep", "1"]);
    assert!(object("1").exists() && !object("2").exists());
    let storage = LocalStorage::open(&repository.storage()).unwrap();
    let _publisher = storage.lock("a publisher").unwrap();
    let error = repository.fails("gc", &["--keep", "1"]);
    assert!(error.contains("a publisher"), "{error}");
}

#[test]
fn a_mirror_deletes_files_and_signs_nothing() {
    let repository = published();
    let mirror = repository.dir.path().join("mirror");
    let replicate = || {
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        let url = format!("file://{}", repository.storage().display());
        run.args(["replicate", FQRN, &url]).arg(&mirror).arg("--public-key").arg(repository.fixture().public_key);
        cvmfs_tests::tools::output(&mut run);
    };
    replicate();
    let stale = objects(&mirror);
    repository.ok("tag", &["remove", "second"]);
    repository.publish(&[text(&repository.dir.path().join("tree")), "--force"]);
    replicate();
    // The signing key is elsewhere.
    let keys = repository.dir.path().join("public");
    std::fs::create_dir(&keys).unwrap();
    std::fs::copy(repository.fixture().public_key, keys.join(format!("{FQRN}.pub"))).unwrap();
    let letters =
        || [".cvmfspublished", ".cvmfswhitelist", ".cvmfsreflog"].map(|name| std::fs::read(mirror.join(name)).unwrap());
    let gc = |options: &[&str]| {
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.args(["gc", FQRN, "--json", "--keep", "1", "--storage"])
            .arg(&mirror)
            .arg("--keys")
            .arg(&keys)
            .args(options);
        run.output().unwrap()
    };
    let (before, all) = (letters(), objects(&mirror));
    assert!(!gc(&[]).status.success(), "who signs needs the key");
    assert_eq!((letters(), objects(&mirror)), (before.clone(), all.clone()));
    let output = gc(&["--mirror"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let left = objects(&mirror);
    assert_eq!(told["removed_objects"], all.len() - left.len(), "{told}");
    assert_eq!(told["removed_tags"], serde_json::json!([]), "they are the source's");
    assert!(left.is_subset(&all) && !stale.is_subset(&left), "what belonged to 'second' only is gone");
    assert_eq!(letters(), before);
    assert_good(&repository, &mirror);
    replicate();
    assert_eq!(letters(), before);
    assert_good(&repository, &mirror);
}

#[test]
fn who_dies_at_any_point_has_lost_nothing() {
    let published = published();
    let settings =
        Settings { keep: 1, keep_seconds: None, grace: 0, dry_run: false, mirror: false, now: unix_now() + 1000 };
    let mut done = false;
    for changes in 0.. {
        let place = tempfile::tempdir().unwrap();
        copy(&published.storage(), place.path());
        let failing = Arc::new(Failing::after(changes, place.path()));
        done = gc::collect(&opened(&published, failing), &settings, &mut |_| {}).is_ok();
        let storage = Arc::new(LocalStorage::open(place.path()).unwrap());
        // A new reflog without its manifest is the one state that a publisher leaves behind, too.
        let repository = opened(&published, storage);
        let found =
            check(&repository, check::Settings { all_tags: true, read_data: true, threads: 1 }, &mut |_| {}).unwrap();
        let is_reflog = |finding: &check::Finding| finding.place == ".cvmfsreflog";
        assert!(found.findings.iter().all(is_reflog), "after {changes} changes: {:#?}", found.findings);
        gc::collect(&repository, &settings, &mut |_| {}).unwrap();
        assert_good(&published, place.path());
        if done {
            assert!(changes > 15, "{changes} changes are fewer than there is to delete");
            break;
        }
    }
    assert!(done);
}
