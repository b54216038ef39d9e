//! What is asked from the server on a cold cache: exactly the objects of what was touched, and each once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::{Mode, modes};
use common::stage::Stage;
use common::text;
use cvmfs_tests::forge::{Forge, Published};
use libcvmfs::object::{ObjectKind, ObjectName};
use std::collections::BTreeSet;

const FQRN: &str = "cold.test.example";
const ROOT: &str = "/cvmfs/cold.test.example";

fn stage() -> Stage {
    // Each part different: equal ones would be one object.
    let large: Vec<u8> = (0..300_000_u32).map(|at| (at / 100_000) as u8).collect();
    let forge = Forge::new(FQRN)
        .file("/README", "read me\n")
        .file("/dir/one", "1\n")
        .file("/dir/two", "2\n")
        .file("/dir/script", "#!/bin/sh\ncat /cvmfs/cold.test.example/dir/one\n")
        .mode(0o755)
        .symlink("/dir/link", "two")
        .file("/dir/large", large)
        .chunks_of(100_000)
        .nested("/nested")
        .file("/nested/three", "3\n")
        .nested("/nested/deeper")
        .file("/nested/deeper/four", "4\n")
        .nested("/other")
        .file("/other/five", "5\n");
    Stage::of(FQRN, FQRN, forge)
}

/// Runs a shell script on a cold cache and gives its output, and what was asked for: `manifest`, `catalog /nested`,
/// `file /dir/one`.
fn asked(mode: Mode, stage: &Stage, script: &str) -> (String, BTreeSet<String>) {
    stage.server.forget_requests();
    let out = text(stage.user().run_in(mode, "bash").args(["-c", script]));
    let paths = stage.server.paths();
    let prefix = format!("/cvmfs/{FQRN}");
    let mut names = BTreeSet::new();
    for path in &paths {
        let path = path.strip_prefix(&prefix).unwrap();
        let name = name_of(&stage.published, path);
        assert!(names.insert(name.clone()), "--mode={}: {name} was asked for twice: {paths:?}", mode.name);
    }
    (out, names)
}

fn name_of(published: &Published, path: &str) -> String {
    let is = |object: ObjectName| object.path() == path;
    if path == "/.cvmfspublished" {
        return "manifest".into();
    }
    if path == "/.cvmfswhitelist" {
        return "whitelist".into();
    }
    if is(ObjectName::new(published.certificate, ObjectKind::Certificate)) {
        return "certificate".into();
    }
    for (mountpoint, (hash, _)) in &published.catalogs {
        if is(ObjectName::new(*hash, ObjectKind::Catalog)) {
            return format!("catalog {mountpoint}");
        }
    }
    for (file, objects) in &published.objects {
        if let Some(number) = objects.iter().position(|object| object.path() == path) {
            return if objects.len() == 1 { format!("file {file}") } else { format!("file {file} part {number}") };
        }
    }
    path.to_owned()
}

/// Whatever is touched, these come first.
const ALWAYS: [&str; 4] = ["manifest", "whitelist", "certificate", "catalog "];

#[test]
fn a_cold_cache_asks_for_what_is_touched_and_nothing_else() {
    let stage = stage();
    let large = ["file /dir/large part 0", "file /dir/large part 1", "file /dir/large part 2"];
    let cases: &[(&str, &str, &[&str])] = &[
        ("true", "", &[]),
        ("ls dir", "large\nlink\none\nscript\ntwo\n", &[]),
        ("ls -l dir | wc -l", "6\n", &[]),
        ("ls", "README\ndir\nnested\nother\n", &[]),
        ("cat dir/one", "1\n", &["file /dir/one"]),
        ("cat dir/link", "2\n", &["file /dir/two"]),
        ("readlink dir/link; test -f dir/one -a -r dir/two -a -x dir/script && echo yes", "two\nyes\n", &[]),
        ("cd dir; stat -c %s one two; echo *", "2\n2\nlarge link one script two\n", &[]),
        ("du -s dir >/dev/null; find dir -type f -size +100k", "dir/large\n", &[]),
        ("cat absent dir/absent 2>&1 | wc -l", "2\n", &[]),
        ("dir/script", "1\n", &["file /dir/one", "file /dir/script"]),
        ("ls nested", "deeper\nthree\n", &["catalog /nested"]),
        ("cat nested/deeper/four", "4\n", &["catalog /nested", "catalog /nested/deeper", "file /nested/deeper/four"]),
        ("find . -name five", "./other/five\n", &["catalog /nested", "catalog /nested/deeper", "catalog /other"]),
        ("wc -c < dir/large", "300000\n", &large),
        ("echo no > dir/one; rm dir/two; mkdir nested/x; chmod 700 dir; echo tried", "tried\n", &["catalog /nested"]),
    ];
    for mode in modes() {
        for (script, output, wanted) in cases {
            let mut expected: BTreeSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
            if *script != "true" {
                expected.extend(ALWAYS.map(str::to_owned));
            }
            let place = if *script == "true" { "/" } else { ROOT };
            let (out, asked) = asked(mode, &stage, &format!("cd {place} && {{ {script}; }} 2>/dev/null"));
            assert_eq!(out, *output, "--mode={}: {script}", mode.name);
            assert_eq!(asked, expected, "--mode={}: {script}", mode.name);
        }
    }
}
