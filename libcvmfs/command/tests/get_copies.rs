//! `cvmfs get` gives what the official client would have shown.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Bench;
use cvmfs_tests::fixtures::{self, FileType, Truth};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

const SMALL: &str = "small.test.example";

fn check(copy: &Path, truth: &Truth, links: &mut BTreeMap<u64, u64>) {
    let root = rustix::process::geteuid().is_root();
    let path = copy.join(OsStr::from_bytes(&truth.path[1..]));
    let shown = truth.path.escape_ascii();
    let found = path.symlink_metadata().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let kind = found.file_type();
    let same_kind = match truth.file_type {
        FileType::Reg => kind.is_file(),
        FileType::Dir => kind.is_dir(),
        FileType::Lnk => kind.is_symlink(),
        FileType::Fifo => kind.is_fifo(),
        FileType::Sock => kind.is_socket(),
        FileType::Blk => kind.is_block_device(),
        FileType::Chr => kind.is_char_device(),
    };
    assert!(same_kind, "{shown}: {kind:?}");
    let mtime = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    assert_eq!(mtime, truth.mtime_ns, "{shown}: time");
    if truth.file_type == FileType::Lnk {
        let target = std::fs::read_link(&path).unwrap();
        assert_eq!(Some(target.as_os_str().as_bytes()), truth.target.as_deref(), "{shown}: target");
    } else {
        assert_eq!(found.permissions().mode() & 0o7777, truth.mode, "{shown}: mode");
    }
    if root {
        assert_eq!((found.uid(), found.gid()), (truth.uid, truth.gid), "{shown}: owner");
    }
    if truth.file_type == FileType::Reg {
        assert_eq!(found.size(), truth.size, "{shown}: size");
        assert_eq!(found.nlink(), truth.nlink, "{shown}: links");
        // Members of a group in the repository, and no others, are one file here.
        let first = *links.entry(truth.ino).or_insert(found.ino());
        assert_eq!(first, found.ino(), "{shown}: hard link");
    }
}

#[test]
fn a_whole_repository_is_copied_with_everything() {
    let bench = Bench::new(SMALL);
    let device_files_allowed = rustix::process::geteuid().is_root();
    // Only root may make all of them; the others are told about each, and get the rest.
    let get = |arguments: &[&str]| {
        let out = bench.run(arguments);
        let complaints = String::from_utf8(out.stderr).unwrap();
        let about_devices = |line: &str| line.contains("making the special file: Operation not permitted");
        assert!(complaints.lines().all(|line| !device_files_allowed && about_devices(line)), "{complaints}");
        assert_eq!(out.status.success(), complaints.is_empty());
        String::from_utf8(out.stdout).unwrap()
    };
    get(&["get", "-r", &bench.root(), "copy"]);
    let copy = bench.place.path().join("copy");
    let mut links = BTreeMap::new();
    for truth in fixtures::truth(SMALL, None) {
        if truth.rdev.is_none() || device_files_allowed {
            check(&copy, &truth, &mut links);
        }
    }
    // Nothing is left of the work.
    assert!(!common::files(&copy).iter().any(|path| path.file_name().unwrap() == ".cvmfs-get-unfinished"));
    let again: serde_json::Value =
        serde_json::from_str(&get(&["--json", "get", "-r", &bench.root(), "copy/.."])).unwrap();
    assert!(again["copied"].as_u64().unwrap() > 1000, "a copy into a directory gets a new name below it");
}

#[test]
fn a_second_copy_writes_only_what_is_missing_or_changed() {
    let bench = Bench::new(SMALL);
    let source = bench.path("files");
    let counts = || -> (u64, u64) {
        let json: serde_json::Value =
            serde_json::from_str(&bench.ok(&["--json", "get", "-r", &source, "copy"])).unwrap();
        (json["copied"].as_u64().unwrap(), json["kept"].as_u64().unwrap())
    };
    let (all, 0) = counts() else { panic!("the first copy found something") };
    // The destination is a directory now: copies of it go below.
    std::fs::rename(bench.place.path().join("copy"), bench.place.path().join("files")).unwrap();
    let below = |json: &str| -> (u64, u64) {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        (json["copied"].as_u64().unwrap(), json["kept"].as_u64().unwrap())
    };
    let (copied, kept) = below(&bench.ok(&["--json", "get", "-r", &source, "."]));
    assert_eq!((copied, kept), (0, all));
    let victims: Vec<_> = common::files(&bench.place.path().join("files")).into_iter().take(2).collect();
    std::fs::remove_file(&victims[0]).unwrap();
    std::fs::write(&victims[1], "something else").unwrap();
    let (copied, _) = below(&bench.ok(&["--json", "get", "-r", &source, "."]));
    assert!((1..=2).contains(&copied), "{copied}");
}

#[test]
fn links_in_the_destination_are_not_followed() {
    let bench = Bench::new(SMALL);
    let outside = bench.place.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "precious").unwrap();
    let destination = bench.place.path().join("destination");
    std::fs::create_dir(&destination).unwrap();
    symlink(outside.join("precious"), destination.join("added_in_v4")).unwrap();
    symlink(&outside, destination.join("files")).unwrap();
    bench.ok(&["get", &bench.path("added_in_v4"), "destination"]);
    bench.ok(&["get", "-r", &bench.path("files"), "destination"]);
    assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "nothing was written through the link");
    assert!(destination.join("files").symlink_metadata().unwrap().is_dir());
}

#[test]
fn directories_need_r_and_a_failure_does_not_stop_the_rest() {
    let bench = Bench::new(SMALL);
    let complaint = bench.fails(1, &["get", &bench.path("files"), "."]);
    assert!(complaint.contains("-r"), "{complaint}");
    std::fs::create_dir(bench.place.path().join("d")).unwrap();
    bench.fails(1, &["get", &bench.path("missing"), &bench.path("added_in_v4"), "d"]);
    assert!(bench.place.path().join("d/added_in_v4").is_file());
    bench.fails(2, &["get", &bench.path("a"), &bench.path("b"), "no-directory"]);
}
