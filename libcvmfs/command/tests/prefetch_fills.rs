//! `cvmfs prefetch`: everything is there afterwards, also on a machine without a network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Bench, records};
use cvmfs_tests::fixtures::{self, FileType, Truth};
use cvmfs_tests::server::{Behaviour, WebRoot};
use std::collections::HashSet;

const SMALL: &str = "small.test.example";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn served() -> (Bench, WebRoot) {
    let mut bench = Bench::new(SMALL);
    let server = WebRoot::serve(SMALL, &bench.fixture.web_root);
    bench.option("CVMFS_SERVER_URL", server.server_url());
    (bench, server)
}

#[test]
fn every_file_is_fetched_once_and_nothing_the_second_time() {
    let (bench, server) = served();
    let planned = json(&bench.ok(&["--json", "prefetch", "--dry-run", &bench.root()]));
    let first = json(&bench.ok(&["--json", "prefetch", &bench.root()]));
    assert_eq!(first["fetched"], planned["fetched"]);
    assert_eq!(first["bytes"], planned["bytes"]);
    let regular = |truth: Truth| (truth.file_type == FileType::Reg).then_some(truth.sha256);
    let different: HashSet<_> = fixtures::truth(SMALL, None).filter_map(regular).collect();
    assert!(first["objects"].as_u64().unwrap() >= different.len() as u64);
    let paths = server.paths();
    // A chunk that is part of two files is fetched for each: what is kept is the files.
    let data: Vec<&String> = paths.iter().filter(|path| path.contains("/data/") && !path.ends_with('P')).collect();
    assert_eq!(data.iter().collect::<HashSet<_>>().len(), data.len(), "an object was fetched twice");
    server.forget_requests();
    let second = json(&bench.ok(&["--json", "prefetch", &bench.root()]));
    assert_eq!((second["fetched"].as_u64(), second["objects"].as_u64()), (Some(0), first["objects"].as_u64()));
    assert!(!server.paths().iter().any(|path| path.contains("/data/")), "{:?}", server.paths());
    // Without the server all is there.
    server.stop();
    let output = bench.run(&["--json", "find", "--sha256", &bench.root()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(records(&output.stdout).len(), fixtures::truth(SMALL, None).count());
}

#[test]
fn connections_are_kept() {
    let (bench, server) = served();
    bench.ok(&["prefetch", "--jobs", "8", &bench.path("bigdir2")]);
    let (requests, connections) = (server.requests().len(), server.connections());
    assert!(requests > 100 && connections <= 12, "{connections} connections for {requests} requests");
}

#[test]
fn a_directory_filled_for_elsewhere_is_enough_without_a_network() {
    let (bench, server) = served();
    bench.ok(&["prefetch", "--to", "preloaded", &bench.root()]);
    server.stop();
    let directory = bench.place.path().join("preloaded");
    // The layout of the official preloader: breadcrumb, objects under two digits.
    let breadcrumb = std::fs::read_to_string(directory.join(format!("cvmfschecksum.{SMALL}"))).unwrap();
    assert!(breadcrumb.starts_with("073e8f52186124b22c195c432d6dcd95f5e7e9b7T"), "{breadcrumb}");
    assert!(directory.join("07/3e8f52186124b22c195c432d6dcd95f5e7e9b7").is_file());
    // Somewhere else, with a name and a cache of its own.
    let moved = bench.place.path().join("elsewhere");
    std::fs::rename(&directory, &moved).unwrap();
    let mut other = Bench::new(SMALL);
    other.option("CVMFS_SERVER_URL", server.server_url());
    other.option("CVMFS_ALIEN_CACHE", moved.display().to_string());
    let output = other.run(&["--json", "find", "--sha256", &other.root()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ours = records(&output.stdout);
    for (ours, truth) in ours.iter().zip(fixtures::truth(SMALL, None)) {
        assert_eq!((&ours.path, &ours.sha256), (&truth.path, &truth.sha256));
    }
    let info = json(&String::from_utf8(other.run(&["--json", "info", SMALL]).stdout).unwrap());
    assert_eq!(info["signed"], true, "{info}");
    assert!(info["offline"].is_string(), "{info}");
    assert!(other.run(&["tags", SMALL]).status.success());
}

#[test]
fn a_preloaded_directory_is_verified_where_it_is_used() {
    let (bench, server) = served();
    bench.ok(&["prefetch", "--to", "preloaded", &bench.path("files")]);
    server.stop();
    let directory = bench.place.path().join("preloaded");
    let letters = common::files(&directory).into_iter().find(|path| path.ends_with(format!("{SMALL}/cvmfspublished")));
    let letters = letters.expect("the manifest is kept");
    let manifest = std::fs::read(&letters).unwrap();
    let position = manifest.iter().position(|&byte| byte == b'\n').unwrap() - 1;
    let mut forged = manifest;
    forged[position] = if forged[position] == b'0' { b'1' } else { b'0' };
    std::fs::remove_file(&letters).unwrap();
    std::fs::write(&letters, forged).unwrap();
    let mut other = Bench::new(SMALL);
    other.option("CVMFS_SERVER_URL", server.server_url());
    other.option("CVMFS_ALIEN_CACHE", directory.display().to_string());
    other.fails(2, &["cat", &other.path("added_in_v4")]);
}

#[test]
fn lists_name_files_trees_and_objects() {
    let bench = Bench::new(SMALL);
    let list = format!(
        "# what we need\n{root}/added_in_v4\n{root}/hardlinks/\n{root}/files\n\
         object {SMALL} 073e8f52186124b22c195c432d6dcd95f5e7e9b7C\n",
        root = bench.root()
    );
    std::fs::write(bench.place.path().join("list"), list).unwrap();
    let done = json(&bench.ok(&["--json", "prefetch", "--from-list", "list"]));
    let inside = |truth: &Truth| truth.path.starts_with(b"/hardlinks/") || truth.path == b"/added_in_v4";
    let regular = |truth: Truth| (truth.file_type == FileType::Reg && inside(&truth)).then_some(truth.sha256);
    let different: HashSet<_> = fixtures::truth(SMALL, None).filter_map(regular).collect();
    // One more: the catalog named as an object.
    assert_eq!(done["objects"].as_u64(), Some(different.len() as u64 + 1), "{done}");
    std::fs::write(bench.place.path().join("list"), "nonsense\n").unwrap();
    let complaint = bench.fails(2, &["prefetch", "--from-list", "list"]);
    assert!(complaint.contains("line 1"), "{complaint}");
}

/// An object of another snapshot is looked up by its path; of the mounted one it is fetched by its name.
#[test]
fn lists_of_another_snapshot_are_fetched_by_path() {
    let mut bench = Bench::new(SMALL);
    bench.option("CVMFS_MAX_RETRIES", "0");
    let list = |root: &str| {
        let absent = "1".repeat(40);
        let list = format!(
            "snapshot {SMALL} {root} 4\nobject {SMALL} {absent} 5 zlib {path}/added_in_v4\n",
            path = bench.root()
        );
        std::fs::write(bench.place.path().join("list"), list).unwrap();
    };
    list("073e8f52186124b22c195c432d6dcd95f5e7e9b7");
    assert!(bench.fails(1, &["prefetch", "--from-list", "list"]).contains("1111"));
    list(&"2".repeat(40));
    let done = json(&bench.ok(&["--json", "prefetch", "--from-list", "list"]));
    assert_eq!((done["objects"].as_u64(), done["fetched"].as_u64()), (Some(1), Some(1)), "{done}");
}

#[test]
fn what_cannot_be_fetched_is_told_and_the_rest_is_fetched() {
    let mut bench = Bench::of(fixtures::bad("data_missing"));
    bench.option("CVMFS_MAX_RETRIES", "0");
    let output = bench.run(&["--json", "prefetch", &bench.root()]);
    assert_eq!(output.status.code(), Some(1));
    let done = json(std::str::from_utf8(&output.stdout).unwrap());
    assert!(done["failed"].as_u64().unwrap() > 0, "{done}");
    assert!(done["fetched"].as_u64().unwrap() > 1000, "{done}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/cvmfs/small.test.example/"));
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let (bench, server) = served();
    server.script(|request| match request.number {
        0..500 => Behaviour::Normal,
        _ => Behaviour::Status(503),
    });
    let output = bench.run(&["prefetch", &bench.root()]);
    assert_eq!(output.status.code(), Some(1));
    server.behave();
    server.forget_requests();
    let all = json(&bench.ok(&["--json", "prefetch", &bench.root()]));
    let (objects, fetched) = (all["objects"].as_u64().unwrap(), all["fetched"].as_u64().unwrap());
    assert!(fetched > 0 && fetched + 300 < objects, "{fetched} of {objects}");
}
