//! What the commands print, and how they end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Bench, files};
use cvmfs_tests::fixtures::{self, FileType, Truth};
use cvmfs_tests::server::WebRoot;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Stdio;

const SMALL: &str = "small.test.example";

#[test]
fn cat_prints_files_and_goes_on_after_failures() {
    let bench = Bench::new(SMALL);
    let one = bench.ok(&["cat", &bench.path("added_in_v4")]);
    assert_eq!(one.len(), 3);
    let output = bench.run(&["cat", &bench.path("missing"), &bench.path("added_in_v4"), &bench.path("files")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, one.as_bytes());
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains("/missing: no such file or directory"), "{complaints}");
    assert!(complaints.contains("/files: is a directory"), "{complaints}");
}

#[test]
fn wrong_usage_and_unknown_repositories_end_with_2() {
    let bench = Bench::new(SMALL);
    for arguments in [&["bogus"][..], &["cat"], &["ls", "--bogus"], &["find", "/cvmfs", "-bogus"], &["find"]] {
        bench.fails(2, arguments);
    }
    let complaint = bench.fails(2, &["cat", "/cvmfs/other.test.example/x"]);
    assert!(complaint.contains("other.test.example"), "{complaint}");
    let complaint = bench.fails(1, &["ls", "/etc"]);
    assert!(complaint.contains("/cvmfs/REPOSITORY"), "{complaint}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let bench = Bench::new(SMALL);
    for arguments in [&["find", "/cvmfs/small.test.example"][..], &["ls", "-lR", "/cvmfs/small.test.example"]] {
        let mut child = bench.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut one = [0];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut one).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {:?}", output.status);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn ls_lists_a_repository_as_it_would_a_directory() {
    let bench = Bench::new(SMALL);
    let names = bench.ok(&["ls", "-A", &bench.path("symlinks")]);
    let inside = |truth: &Truth| {
        let rest = truth.path.strip_prefix(b"/symlinks/")?.to_vec();
        (!rest.contains(&b'/')).then_some(String::from_utf8(rest).unwrap())
    };
    let truth: Vec<String> = fixtures::truth(SMALL, None).filter_map(|truth| inside(&truth)).collect();
    assert_eq!(names.lines().collect::<Vec<_>>(), truth);
    let long = bench.ok(&["ls", "-l", &bench.path("symlinks/variant_plain"), &bench.path("special/blk_loop7")]);
    let lines: Vec<&str> = long.lines().collect();
    assert!(lines[0].starts_with("brw-r----- 1 root disk "), "{}", lines[0]);
    assert!(lines[0].contains(" 7, 7 "), "{}", lines[0]);
    assert!(lines[1].ends_with("/symlinks/variant_plain -> anchor_value"), "{}", lines[1]);
}

#[test]
fn stat_follows_links_when_asked() {
    let bench = Bench::new(SMALL);
    let link = fixtures::truth(SMALL, None).find(|truth| {
        truth.file_type == FileType::Lnk && truth.target.as_deref().is_some_and(|t| t.starts_with(b"../files/"))
    });
    let Some(link) = link else { return };
    let path = bench.path(std::str::from_utf8(&link.path[1..]).unwrap());
    assert_eq!(bench.ok(&["stat", "-c", "%F", &path]).trim(), "symbolic link");
    assert_eq!(bench.ok(&["stat", "-Lc", "%F", &path]).trim(), "regular file");
}

#[test]
fn facts_come_as_json() {
    let bench = Bench::new(SMALL);
    let value = |arguments: &[&str]| -> Vec<serde_json::Value> {
        bench.ok(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let info = &value(&["--json", "info", SMALL])[0];
    assert_eq!((info["revision"].as_u64(), info["signed"].as_bool()), (Some(9), Some(true)));
    assert_eq!(info["root_hash"], "073e8f52186124b22c195c432d6dcd95f5e7e9b7");
    assert_eq!((info["files"].as_u64(), info["catalogs"].as_u64()), (Some(2059), Some(17)));
    let tags = value(&["--json", "tags", &bench.root()]);
    let names: Vec<&str> = tags.iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for name in ["v1", "v5", "release-1.0", "v1-fix1"] {
        assert!(names.contains(&name), "{name}");
    }
    let stat = &value(&["--json", "stat", &bench.path("special/blk_loop7")])[0];
    assert_eq!(stat["rdev"], serde_json::json!([7, 7]));
    let status = &value(&["--json", "cache", "status"])[0];
    assert!(status["files"].as_u64().unwrap() > 0);
    let shown = value(&["--json", "config", "show", SMALL]);
    let proxy = shown.iter().find(|fact| fact["name"] == "CVMFS_HTTP_PROXY").unwrap();
    assert_eq!((proxy["value"].as_str(), proxy["source"].as_str()), (Some("DIRECT"), Some("command line")));
    let empty = bench.ok(&["--json", "config", "check", SMALL]);
    assert!(!empty.contains("\"error\""), "{empty}");
}

#[test]
fn config_check_fails_on_mistakes() {
    let mut bench = Bench::new(SMALL);
    bench.option("CVMFS_HTTP_PROXY", "");
    let output = bench.run(&["config", "check", SMALL]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("CVMFS_HTTP_PROXY"));
}

#[test]
fn diff_of_tags_is_the_difference_of_the_records() {
    let bench = Bench::new(SMALL);
    for (from, to) in [("v1", "v2"), ("v2", "v3"), ("v3", "v4"), ("v4", "v5"), ("v5", "v1"), ("v1", "v1")] {
        let record = |tag| -> BTreeMap<Vec<u8>, Truth> {
            let mut record: BTreeMap<_, _> =
                fixtures::truth(SMALL, Some(tag)).map(|truth| (truth.path.clone(), truth)).collect();
            for truth in record.values_mut() {
                (truth.ino, truth.magic) = (0, BTreeMap::new());
                if truth.path == b"/" {
                    truth.xattrs.clear();
                }
                if truth.file_type == FileType::Dir {
                    // Neither says anything about the directory itself.
                    (truth.size, truth.nlink) = (0, 0);
                }
            }
            record
        };
        let (old, new) = (record(from), record(to));
        let mut expected: Vec<String> = Vec::new();
        let text = |path: &[u8]| path.escape_ascii().to_string();
        for (path, before) in &old {
            match new.get(path) {
                None => expected.push(format!("- {}", text(path))),
                Some(after) if after.file_type != before.file_type => expected.push(format!("T {}", text(path))),
                Some(after) if after != before => expected.push(format!("M {}", text(path))),
                Some(_) => (),
            }
        }
        expected.extend(new.keys().filter(|path| !old.contains_key(*path)).map(|path| format!("+ {}", text(path))));
        expected.sort();
        let output = bench.run(&["diff", SMALL, from, to]);
        assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{from} {to}");
        let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mut ours: Vec<String> = lines
            .map(|line| {
                let fields = line.windows(2).rposition(|two| two == b" (");
                line[..fields.filter(|_| line.starts_with(b"M")).unwrap_or(line.len())].escape_ascii().to_string()
            })
            .collect();
        ours.sort();
        assert_eq!(ours, expected, "diff {from} {to}");
    }
}

#[test]
fn fsck_finds_and_repairs_damage() {
    let bench = Bench::new(SMALL);
    bench.ok(&["prefetch", &bench.path("files")]);
    bench.ok(&["fsck"]);
    let objects = |dir: &std::path::Path| -> Vec<_> {
        let in_folder = |path: &std::path::PathBuf| path.parent().unwrap().file_name().unwrap().len() == 2;
        files(dir).into_iter().filter(|path| in_folder(path) && !path.starts_with(dir.join("shared/local"))).collect()
    };
    let victim = objects(&bench.cache()).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&victim).unwrap();
    bytes[0] ^= 1;
    std::fs::remove_file(&victim).unwrap();
    std::fs::write(&victim, bytes).unwrap();
    let complaint = bench.run(&["fsck"]);
    assert_eq!(complaint.status.code(), Some(4), "{}", String::from_utf8_lossy(&complaint.stderr));
    assert!(String::from_utf8_lossy(&complaint.stdout).contains("wrong content (left)"));
    bench.fails(1, &["fsck", "--repair"]);
    assert!(!victim.exists());
    bench.ok(&["fsck"]);
    bench.ok(&["prefetch", &bench.path("files")]);
    bench.fails(8, &["fsck", "--part", "9/3"]);
}

#[test]
fn prefetch_with_verify_replaces_what_is_damaged() {
    let bench = Bench::new(SMALL);
    let file = bench.path("added_in_v4");
    bench.ok(&["prefetch", &file]);
    let content = bench.ok(&["cat", &file]);
    let victim =
        files(&bench.cache()).into_iter().find(|path| std::fs::read(path).unwrap() == content.as_bytes()).unwrap();
    std::fs::remove_file(&victim).unwrap();
    std::fs::write(&victim, "bad").unwrap();
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["--json", "prefetch", "--verify", &file])).unwrap();
    assert_eq!(json["replaced"], 1);
    assert_eq!(bench.ok(&["cat", &file]), content);
}

#[test]
fn cache_is_trimmed_and_wiped() {
    let bench = Bench::new(SMALL);
    bench.ok(&["prefetch", &bench.path("files")]);
    bench.ok(&["cache", "trim", "1M"]);
    let used = |bench: &Bench| -> u64 {
        let status: serde_json::Value = serde_json::from_str(&bench.ok(&["--json", "cache", "status"])).unwrap();
        status["used"].as_u64().unwrap()
    };
    assert!(used(&bench) <= 1 << 20);
    bench.ok(&["cache", "wipe"]);
    assert_eq!(used(&bench), 0);
}

#[test]
fn probe_tells_routes_that_work_from_others() {
    let mut bench = Bench::new(SMALL);
    let server = WebRoot::serve(SMALL, &bench.fixture.web_root);
    let dead = WebRoot::new();
    dead.stop();
    bench.option("CVMFS_SERVER_URL", format!("{};{}", server.server_url(), dead.server_url()));
    let output = bench.run(&["--json", "probe", SMALL]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(facts.len(), 3);
    assert!(facts[0]["milliseconds"].as_f64().unwrap() > 0.0);
    assert!(facts[1]["error"].as_str().is_some(), "{}", facts[1]);
    assert_eq!((facts[2]["mounted"].as_bool(), facts[2]["revision"].as_u64()), (Some(true), Some(9)));
    server.stop();
    let mut alone = Bench::new(SMALL);
    alone.option("CVMFS_SERVER_URL", dead.server_url());
    alone.fails(2, &["probe", SMALL]);
}

#[test]
fn damaged_content_is_never_printed() {
    let truth: BTreeMap<_, _> = fixtures::truth(SMALL, None).map(|truth| (truth.path, truth.sha256)).collect();
    for case in ["data_corrupt", "data_truncated", "data_swapped", "data_not_zlib"] {
        let mut bench = Bench::of(fixtures::bad(case));
        bench.option("CVMFS_MAX_RETRIES", "0");
        let output = bench.run(&["--json", "find", "--sha256", &bench.root()]);
        assert_eq!(output.status.code(), Some(1), "{case}");
        for record in common::records(&output.stdout) {
            assert_eq!(Some(&record.sha256), truth.get(&record.path), "{case}: {}", record.path.escape_ascii());
        }
    }
}

#[test]
fn manual_pages_are_those_of_the_command_line() {
    let bench = Bench::new(SMALL);
    bench.ok(&["generate", "man", "man"]);
    bench.ok(&["generate", "completions", "completions"]);
    assert!(bench.place.path().join("completions/_cvmfs").is_file());
    let committed = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../doc/man");
    let mut pages = 0;
    for page in files(&bench.place.path().join("man")) {
        let name = page.file_name().unwrap();
        let ours = std::fs::read_to_string(&page).unwrap();
        let theirs = std::fs::read_to_string(committed.join(name)).unwrap_or_default();
        assert!(ours == theirs, "{} is out of date: run 'cvmfs generate man doc/man'", name.display());
        pages += 1;
    }
    assert!(pages > 12, "{pages} pages");
}
