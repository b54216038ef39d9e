//! Mirrors are what their sources are, or what they were before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/failing.rs"]
mod failing;

use common::{FQRN, Published, text};
use cvmfs_server::check::{self, check};
use cvmfs_server::keys::KeyFiles;
use cvmfs_server::replicate::{Settings, Source, replicate};
use cvmfs_server::repository::Repository;
use cvmfs_server::storage::{LocalStorage, Storage};
use cvmfs_tests::fixtures::{self, RepositoryFixture};
use cvmfs_tests::server::{Behaviour, WebRoot};
use failing::{Failing, copy};
use libcvmfs::fqrn::Fqrn;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Runs `replicate --json`: whether it succeeded, and what it said.
fn run(source: &RepositoryFixture, url: &str, to: &Path, options: &[&str]) -> (bool, String) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
    run.args(["replicate", &source.fqrn, url]).arg(to).arg("--public-key").arg(&source.public_key);
    let output = run.arg("--json").args(options).output().unwrap();
    let told = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(told).unwrap())
}

fn succeeds(source: &RepositoryFixture, url: &str, to: &Path, options: &[&str]) -> serde_json::Value {
    let (good, told) = run(source, url, to, options);
    assert!(good, "{told}");
    serde_json::from_str(&told).unwrap()
}

fn opened(source: &RepositoryFixture, storage: Arc<dyn Storage>) -> Repository {
    let fqrn = Fqrn::new(&source.fqrn).unwrap();
    let keys = KeyFiles { public: source.public_key.clone(), ..KeyFiles::new(&fqrn, Path::new(""), None) };
    Repository { fqrn, storage, keys }
}

fn checked(source: &RepositoryFixture, directory: &Path) -> check::Report {
    let repository = opened(source, Arc::new(LocalStorage::open(directory).unwrap()));
    let settings = check::Settings { all_tags: true, read_data: true, threads: 2 };
    check(&repository, settings, &mut |_| {}).unwrap()
}

fn assert_good(source: &RepositoryFixture, directory: &Path) -> check::Report {
    let report = checked(source, directory);
    assert!(report.is_clean(), "{:#?}", report.findings);
    report
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    LocalStorage::open(directory)
        .unwrap()
        .list("", &mut |file| all.extend([(file.path.clone(), std::fs::read(directory.join(file.path)).unwrap())]))
        .unwrap();
    all
}

#[test]
fn mirrors_of_official_repositories_equal_their_sources() {
    for name in ["small", "rmd160", "shake128", "nocomp", "external"] {
        let source = fixtures::repository(&format!("{name}.test.example"));
        let server = WebRoot::serve(&source.fqrn, &source.web_root);
        let mirror = tempfile::tempdir().unwrap();
        let told = succeeds(&source, &server.server_url(), mirror.path(), &[]);
        assert_eq!(told["changed"], true, "{told}");
        let (original, copied) = (files(&source.web_root), files(mirror.path()));
        // What mirrors say about themselves is theirs.
        let own = [".cvmfs_last_snapshot", ".cvmfs_status.json", ".cvmfs_publisher"];
        for (path, bytes) in copied.iter().filter(|(path, _)| !own.contains(&path.as_str())) {
            assert_eq!(original.get(path), Some(bytes), "{name}: {path}");
        }
        // Histories of earlier revisions, and revisions without a tag, are of no use to readers.
        let missing: Vec<_> =
            original.keys().filter(|path| path.starts_with("data/") && !copied.contains_key(*path)).collect();
        let (of_source, of_mirror) = (assert_good(&source, &source.web_root), assert_good(&source, mirror.path()));
        assert_eq!(serde_json::to_value(of_source).unwrap(), serde_json::to_value(of_mirror).unwrap(), "{name}");
        let of_no_use = |path: &&&String| path.ends_with('H') || path.ends_with('C');
        // The publisher left objects of external files behind.
        assert!(name == "external" || missing.iter().all(|path| of_no_use(&path)), "{name}: {missing:?}");

        let asked = server.requests().len();
        let again = succeeds(&source, &server.server_url(), mirror.path(), &[]);
        assert_eq!((&again["changed"], &again["objects"]), (&false.into(), &0.into()), "{again}");
        assert_eq!(server.requests().len() - asked, 4, "manifest, whitelist, certificate, reflog");
    }
}

#[test]
fn what_was_lost_comes_back_when_everything_is_looked_at() {
    let source = fixtures::repository("small.test.example");
    let url = format!("file://{}", source.web_root.display());
    let mirror = tempfile::tempdir().unwrap();
    succeeds(&source, &url, mirror.path(), &[]);
    let lost = files(mirror.path()).into_keys().find(|path| path.ends_with('P')).unwrap();
    std::fs::remove_file(mirror.path().join(&lost)).unwrap();
    assert_eq!(succeeds(&source, &url, mirror.path(), &[])["objects"], 0, "catalogs are the proof");
    assert_eq!(succeeds(&source, &url, mirror.path(), &["--thorough"])["objects"], 1);
    assert_good(&source, mirror.path());
}

#[test]
fn a_part_is_a_part_and_says_so() {
    let source = fixtures::repository("small.test.example");
    let url = format!("file://{}", source.web_root.display());
    let (mirror, paths) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(paths.path(), "/files\n!/files/tiny.txt\n").unwrap();
    succeeds(&source, &url, mirror.path(), &["--paths", text(paths.path())]);
    let marker = mirror.path().join(".cvmfs_partial_replication");
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), "version 1\n/files\n!/files/tiny.txt\n");
    let part = RepositoryFixture { web_root: mirror.path().to_owned(), ..source.clone() };
    let client = cvmfs_tests::mount::Mount::of(&part).client();
    assert!(client.read("/files/dup_a").is_ok() && client.read("/files/tiny.txt").is_err());
    assert!(checked(&source, mirror.path()).findings.len() > 10, "most is missing");
    succeeds(&source, &url, mirror.path(), &[]);
    assert!(!marker.exists());
    assert_good(&source, mirror.path());
}

#[test]
fn lies_are_refused_and_the_mirror_stays_as_it_was() {
    let source = fixtures::repository("small.test.example");
    // What the publisher signed is copied, nonsense or not; of those cases one stands for all, for they copy everything.
    let copied_as_they_are = |case: &str| {
        let letters = ["good_control", "whitelist_multi_fingerprint", "whitelist_fingerprint_comment"];
        let content =
            ["manifest_unknown_fields", "data_size_", "data_not_zlib", "data_zip_bomb", "name_", "hash_short"];
        letters.iter().chain(&content).any(|begin| case.starts_with(begin))
    };
    let cases = fixtures::bad_cases().into_iter();
    for case in cases.filter(|case| case.case == "data_zip_bomb" || !copied_as_they_are(&case.case)) {
        let bad = fixtures::bad(&case.case);
        let url = format!("file://{}", bad.web_root.display());
        let mirror = tempfile::tempdir().unwrap();
        let (copied, told) = run(&source, &url, mirror.path(), &[]);
        let expected = copied_as_they_are(&case.case);
        assert_eq!(copied, expected, "{}: {told}", case.case);
        assert_eq!(mirror.path().join(".cvmfspublished").exists(), expected, "{}", case.case);
        for (path, bytes) in files(mirror.path()).iter().filter(|(path, _)| path.starts_with("data/")) {
            let name = cvmfs_server::storage::object_at(path).unwrap();
            assert_eq!(libcvmfs::hash::Hasher::hash(name.hash.algorithm, bytes), name.hash, "{}: {path}", case.case);
        }
    }
}

/// A mirror of the first revision of a repository that has two.
fn behind() -> (Published, PathBuf) {
    let published = Published::new(&[]);
    let tree = published.dir.path().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::write(tree.join("a/.cvmfscatalog"), b"").unwrap();
    std::fs::write(tree.join("a/b/.cvmfscatalog"), b"").unwrap();
    for name in ["one", "a/two", "a/b/three"] {
        std::fs::write(tree.join(name), name).unwrap();
    }
    published.publish(&[text(&tree)]);
    let mirror = published.dir.path().join("mirror");
    let url = format!("file://{}", published.storage().display());
    succeeds(&published.fixture(), &url, &mirror, &[]);
    for name in ["one", "a/two", "a/b/three", "a/b/four"] {
        std::fs::write(tree.join(name), format!("{name} is new")).unwrap();
    }
    published.publish(&[text(&tree), "--checksum", "--tag", "newer"]);
    (published, mirror)
}

#[test]
fn a_mirror_never_goes_back() {
    let (published, mirror) = behind();
    let source = published.fixture();
    let old = published.dir.path().join("old");
    copy(&mirror, &old);
    let url = |directory: &Path| format!("file://{}", directory.display());
    succeeds(&source, &url(&published.storage()), &mirror, &[]);
    let before = files(&mirror);
    let (good, told) = run(&source, &url(&old), &mirror, &[]);
    assert!(!good && told.contains("never goes back"), "{told}");
    assert_eq!(files(&mirror), before);
}

#[test]
fn a_source_that_breaks_in_the_middle_does_no_harm() {
    let (published, mirror) = behind();
    let source = published.fixture();
    let server = WebRoot::serve(FQRN, published.storage());
    let before = std::fs::read(mirror.join(".cvmfspublished")).unwrap();
    for wrong in ["H", "C", ".cvmfsreflog", ".cvmfswhitelist"] {
        server.misbehave(wrong, Behaviour::Status(404));
        let (good, told) = run(&source, &server.server_url(), &mirror, &[]);
        assert!(!good, "{wrong}: {told}");
        assert_eq!(std::fs::read(mirror.join(".cvmfspublished")).unwrap(), before, "{wrong}");
        assert!(!mirror.join(".cvmfs_is_snapshotting").exists());
        server.behave();
    }
    assert_eq!(succeeds(&source, &server.server_url(), &mirror, &[])["revision"], 3);
    assert_good(&source, &mirror);
}

#[test]
fn who_dies_at_any_point_goes_on_there() {
    let (published, mirror) = behind();
    let source = published.fixture();
    let settings = Settings { threads: 1, selection: None, thorough: false, now: 1_800_000_000 };
    let url = format!("file://{}", published.storage().display());
    let from = || Source::open(&Fqrn::new(FQRN).unwrap(), &url, "DIRECT", 1).unwrap();
    let mut done = false;
    for changes in 0.. {
        let place = tempfile::tempdir().unwrap();
        copy(&mirror, place.path());
        let failing = opened(&source, Arc::new(Failing::after(changes, place.path())));
        done = replicate(&failing, &from(), &settings, &mut |_| {}).is_ok();
        let found = checked(&source, place.path());
        let is_reflog = |finding: &check::Finding| finding.place == ".cvmfsreflog";
        assert!(found.findings.iter().all(is_reflog), "after {changes} changes: {:#?}", found.findings);
        let good = opened(&source, Arc::new(LocalStorage::open(place.path()).unwrap()));
        replicate(&good, &from(), &settings, &mut |_| {}).unwrap();
        assert_eq!(assert_good(&source, place.path()).revision, 3);
        if done {
            assert!(changes > 10, "{changes} changes are fewer than there is to copy");
            break;
        }
    }
    assert!(done);
}
