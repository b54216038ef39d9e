//! Everything about every path, by ordinary programs, against what the official client said.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::in_every_mode;
use common::{SMALL, User, output};
use cvmfs_tests::fixtures::{self, FIND_FORMAT, FileType, Truth, found_by_find, truth};
use cvmfs_tests::server::WebRoot;
use cvmfs_tests::tools::is_root;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

fn user() -> User {
    User::of_small().env("CVMFS_ANCHOR_VAR", "anchor_value")
}

fn records() -> BTreeMap<Vec<u8>, Truth> {
    truth("small.test.example", None).map(|record| (record.path.clone(), record)).collect()
}

fn compare_with_find(user: &User) {
    let found = output(user.run("find").args([SMALL, "-printf", FIND_FORMAT]));
    let seen = found_by_find(&found.stdout);
    let expected: BTreeMap<Vec<u8>, String> =
        records().iter().map(|(path, r)| (path.clone(), r.as_find_prints())).collect();
    let name = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    for (path, facts) in &expected {
        assert_eq!(seen.get(path), Some(facts), "{}", name(path));
    }
    for path in seen.keys() {
        assert!(expected.contains_key(path), "{} should not be listed", name(path));
    }
}

/// "Type, permissions, owner, group, number of links, size, modification time to the nanosecond and link target are
/// those of the catalog."
#[test]
fn find_says_what_the_official_client_says() {
    in_every_mode(|| {
        compare_with_find(&user());
    });
}

#[test]
fn it_is_the_same_over_http() {
    in_every_mode(|| {
        let fixture = fixtures::repository("small.test.example");
        let server = WebRoot::serve("small.test.example", &fixture.web_root);
        let user = User::with(fixture.options_at(server.server_url())).env("CVMFS_ANCHOR_VAR", "anchor_value");
        compare_with_find(&user);
    });
}

/// "What a program reads is a file of the cache, by the kernel's own descriptor."
#[test]
fn contents_are_the_published_ones() {
    in_every_mode(|| {
        let user = user();
        let sums = output(user.run("find").args([SMALL, "-type", "f", "-exec", "sha256sum", "-z", "{}", "+"]));
        let mut seen = BTreeMap::new();
        for line in sums.stdout.split(|&b| b == 0).filter(|line| !line.is_empty()) {
            let (sum, path) = (&line[..64], &line[66 + SMALL.len()..]);
            seen.insert(path.to_vec(), String::from_utf8_lossy(sum).into_owned());
        }
        let expected: BTreeMap<Vec<u8>, String> =
            records().into_iter().filter_map(|(path, record)| Some((path, record.sha256?))).collect();
        assert!(expected.len() > 2000);
        assert_eq!(seen, expected);
    });
}

fn compare_with_copy(copy: &Path) {
    let records = records();
    let format = r"%P\0%y %m %s %T@ %l\0";
    let found = output(std::process::Command::new("find").arg(copy).args(["-printf", format]));
    let mut fields = found.stdout.split(|&b| b == 0);
    let mut count = 0;
    while let (Some(path), Some(facts)) = (fields.next(), fields.next()) {
        let record = &records[&[b"/", path].concat()];
        let facts = String::from_utf8_lossy(facts).into_owned();
        let expected = record.as_find_prints();
        let mut words: Vec<&str> = expected.splitn(8, ' ').collect();
        words.drain(2..5);
        let mut facts: Vec<&str> = facts.splitn(5, ' ').collect();
        if record.file_type == FileType::Dir {
            // A directory's own size is the file system's business.
            (words[2], facts[2]) = ("", "");
        }
        assert_eq!(facts, words, "{}", String::from_utf8_lossy(path));
        if let Some(sha256) = &record.sha256 {
            let bytes = std::fs::read(copy.join(std::ffi::OsStr::from_bytes(path))).unwrap();
            use sha2::Digest as _;
            let sum: String = sha2::Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(&sum, sha256, "{}", String::from_utf8_lossy(path));
        }
        count += 1;
    }
    assert!(count + 1 >= records.len(), "{count} of {} were copied", records.len());
}

#[test]
fn cp_copies_everything() {
    in_every_mode(|| {
        if !is_root() {
            return cvmfs_tests::tools::skip("only root can copy devices and owners");
        }
        let user = user();
        let copy = user.home.path().join("copy");
        output(user.run("cp").arg("-a").arg(SMALL).arg(&copy));
        compare_with_copy(&copy);
    });
}

#[test]
fn tar_packs_everything() {
    in_every_mode(|| {
        if !is_root() {
            return cvmfs_tests::tools::skip("only root can unpack devices and owners");
        }
        let user = user();
        let copy = user.home.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        let script = format!("set -o pipefail; tar -C {SMALL} -c --format=posix . | tar -C {} -x -p", copy.display());
        user.sh(&script);
        compare_with_copy(&copy);
    });
}

/// "Extended attributes are listed and read as the official client does."
#[test]
fn extended_attributes_are_those_of_the_catalog() {
    in_every_mode(|| {
        let mut script = String::from("import json\ndef check(path, xattrs):\n    path = os.fsencode('");
        script.push_str(SMALL);
        script.push_str(
        "') + bytes(path)\n    names = os.listxattr(path, follow_symlinks=False)\n    assert sorted(names) == sorted(xattrs), (path, names)\n    for name, value in xattrs.items():\n        assert os.getxattr(path, name, follow_symlinks=False) == bytes(value), (path, name)\n",
    );
        let mut count = 0;
        for record in records().values().filter(|record| record.path != b"/" && !record.xattrs.is_empty()) {
            script.push_str(&format!("check({:?}, {{", record.path));
            for (name, value) in &record.xattrs {
                script.push_str(&format!("{name:?}: {value:?}, "));
            }
            script.push_str("})\n");
            count += 1;
        }
        assert!(count > 1);
        user().python(&script);
    });
}

/// "Read, write and search permission is judged from the catalog for the effective user."
#[test]
fn others_read_only_what_they_may() {
    in_every_mode(|| {
        const NOBODY: u32 = 65534;
        let records = records();
        let may = |record: &Truth, wanted: u32| {
            let shift = if record.uid == NOBODY {
                6
            } else if record.gid == NOBODY {
                3
            } else {
                0
            };
            record.mode >> shift & wanted == wanted
        };
        let mut expected = String::new();
        let mut denied = 0;
        for (path, record) in records.iter().filter(|(_, r)| matches!(r.file_type, FileType::Reg | FileType::Dir)) {
            let mut way = path.as_slice();
            let mut open = true;
            while way.len() > 1 {
                way = &way[..way.iter().rposition(|&b| b == b'/').unwrap().max(1)];
                open &= may(&records[way], 1);
            }
            let readable = open && may(record, 4);
            denied += u32::from(!readable);
            expected.push_str(&format!("    ({path:?}, {}),\n", if readable { "0" } else { "13" }));
        }
        assert!(denied > 3);
        if !is_root() {
            return cvmfs_tests::tools::skip("only root can become somebody else");
        }
        let user = user();
        let script = format!(
            "import os\nfor path, expected in [\n{expected}]:\n    try:\n        os.close(os.open(b'{SMALL}' + bytes(path), os.O_RDONLY)); got = 0\n    except OSError as e:\n        got = e.errno\n    assert got == expected, (bytes(path), got)\nprint('done')\n"
        );
        std::fs::write(user.home.path().join("script.py"), script).unwrap();
        let mut command = user.by_somebody_else(&user.run("/usr/bin/python3"));
        command.arg(user.home.path().join("script.py"));
        assert_eq!(common::text(&mut command), "done\n");
    });
}

/// "With `CVMFS_CHECK_PERMISSIONS=no` everybody may do what root may."
#[test]
fn everybody_reads_everything_where_permissions_are_not_checked() {
    in_every_mode(|| {
        let mut options = fixtures::repository("small.test.example").options();
        options.push(("CVMFS_CHECK_PERMISSIONS".into(), "no".into()));
        let user = User::with(options);
        let run = user.run("bash");
        let mut command = if is_root() { user.by_somebody_else(&run) } else { run };
        let script = "set -e -o pipefail; cd /cvmfs/small.test.example
            find . -type f -print0 | xargs -0 cat >/dev/null
            ls modes/d_0700 >/dev/null; cd modes/d_0700; cd ..
            test -r f_0000 && test -r f_0640 && ! test -x f_0640 && ! test -w f_0777; echo done";
        assert_eq!(common::text(command.args(["-c", script])), "done\n");
    });
}
