//! Tags, branches, the way back, differences, keys.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{FQRN, Published, text};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

fn tag_names(repository: &Published) -> Vec<String> {
    let listed = repository.ok("tag", &["list", "--json"]);
    let names = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut names: Vec<String> = names.map(|tag| tag["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn with_file(content: &str) -> (Published, std::path::PathBuf) {
    let repository = Published::new(&[]);
    let tree = repository.dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), content).unwrap();
    (repository, tree)
}

#[test]
fn tags_are_added_renamed_and_removed() {
    let (repository, tree) = with_file("1");
    repository.publish(&[text(&tree), "--tag", "v1", "--description", "the first"]);
    fs::write(tree.join("file"), "two").unwrap();
    repository.publish(&[text(&tree)]);
    repository.ok("tag", &["add", "v2"]);
    repository.ok("tag", &["add", "old", "--of", "v1"]);
    repository.ok("tag", &["rename", "v2", "release/2"]);
    assert_eq!(tag_names(&repository), ["old", "release/2", "trunk", "trunk-previous", "v1"]);
    let at = |tag: &str| {
        let mount = repository.mount().option("CVMFS_REPOSITORY_TAG", tag);
        String::from_utf8(mount.client().read("/file").unwrap()).unwrap()
    };
    assert_eq!([at("old"), at("release/2"), at("trunk"), at("trunk-previous")], ["1", "two", "two", "1"]);
    repository.ok("tag", &["remove", "old", "v1"]);
    assert_eq!(repository.check()["tags"], serde_json::json!(["release/2", "trunk", "trunk-previous"]));
    for (arguments, words) in [
        (&["add", "release/2"][..], "already"),
        (&["add", "with blank"], "no name of a tag"),
        (&["remove", "trunk"], "by publishing only"),
        (&["remove", "gone"], "no tag 'gone'"),
        (&["rename", "gone", "x"], "no tag 'gone'"),
        (&["add", "x", "--of", "gone"], "no tag 'gone'"),
    ] {
        let error = repository.fails("tag", arguments);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn whether_anybody_reads_what_is_said_changes_nothing() {
    let (repository, tree) = with_file("1");
    for (command, arguments) in [("publish", &[text(&tree)][..]), ("tag", &["list"]), ("check", &["--json"])] {
        for nobody_reads_errors in [false, true] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut run = repository.command(command, arguments);
            let errors = if nobody_reads_errors { writer.try_clone().unwrap().into() } else { Stdio::piped() };
            let output = run.stdout(writer).stderr(errors).spawn().unwrap().wait_with_output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
        }
    }
    assert_eq!(repository.check()["revision"], 2);
}

#[test]
fn the_way_back_is_a_new_revision() {
    let (repository, tree) = with_file("1");
    repository.publish(&[text(&tree), "--tag", "v1"]);
    fs::write(tree.join("file"), "two").unwrap();
    fs::write(tree.join("more"), "more").unwrap();
    repository.publish(&[text(&tree)]);
    let diff = repository.run("diff", &["v1", "trunk"]);
    assert_eq!(String::from_utf8(diff.stdout).unwrap(), "M / (time)\nM /file (content, size, time)\n+ /more\n");
    assert_eq!(diff.status.code(), Some(1));
    repository.ok("rollback", &["v1"]);
    assert_eq!(repository.check()["revision"], 4);
    assert_eq!(repository.mount().client().read("/file").unwrap(), b"1");
    repository.ok("rollback", &[]);
    assert_eq!(repository.mount().client().read("/file").unwrap(), b"two");
    assert!(repository.run("diff", &["trunk", "trunk"]).status.success());
}

#[test]
fn a_branch_leaves_the_trunk_alone() {
    let (repository, tree) = with_file("1");
    repository.publish(&[text(&tree), "--tag", "v1"]);
    fs::write(tree.join("file"), "two").unwrap();
    repository.publish(&[text(&tree), "--tag", "v2"]);
    let copy = repository.dir.path().join("copy");
    repository.ok("checkout", &["v1", "--branch", "fixes", "--chroot", text(&copy)]);
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"1");
    fs::write(copy.join("file"), "fixed").unwrap();
    let error = repository.fails("publish", &[text(&copy)]);
    assert!(error.contains("--tag"), "{error}");
    repository.publish(&[text(&copy), "--tag", "v1-fix1"]);
    fs::write(copy.join("file"), "fixed twice").unwrap();
    repository.publish(&[text(&copy), "--branch", "fixes", "--tag", "v1-fix2"]);
    let at = |tag: &str| repository.mount().option("CVMFS_REPOSITORY_TAG", tag).client().read("/file").unwrap();
    assert_eq!([at("v1-fix1"), at("v1-fix2"), at("trunk")], [&b"fixed"[..], b"fixed twice", b"two"]);
    assert_eq!(repository.mount().client().read("/file").unwrap(), b"two");
    let listed = repository.ok("tag", &["list", "--json"]);
    let fix2 = listed.lines().find(|line| line.contains("v1-fix2")).unwrap();
    let fix2: serde_json::Value = serde_json::from_str(fix2).unwrap();
    assert_eq!((&fix2["branch"], &fix2["revision"]), (&"fixes".into(), &4.into()));
    repository.check();
}

#[test]
fn the_copy_of_a_transaction_is_the_revision() {
    let (repository, tree) = with_file("1");
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    fs::create_dir(tree.join("opt")).unwrap();
    fs::write(tree.join("usr/bin/sh"), "a program").unwrap();
    fs::hard_link(tree.join("usr/bin/sh"), tree.join("usr/bin/dash")).unwrap();
    for (target, link) in [("usr/bin", "bin"), ("/nowhere", "dangling")] {
        std::os::unix::fs::symlink(target, tree.join(link)).unwrap();
    }
    repository.publish(&[text(&tree)]);
    let copy = repository.dir.path().join("copy");
    repository.ok("transaction", &["--chroot", text(&copy)]);
    let told = repository.publish(&[text(&copy)]);
    assert_eq!(told["changed"], false, "{told}: {}", repository.ok("diff", &[]));
}

#[test]
fn automatic_tags_come_and_go() {
    let (repository, tree) = with_file("1");
    repository.publish(&[text(&tree), "--auto-tag", "30"]);
    let names = tag_names(&repository);
    assert!(names[0].starts_with("generic-20") && names[0].ends_with('Z'), "{names:?}");
    let automatic = |repository: &Published| tag_names(repository).iter().filter(|n| n.starts_with("generic-")).count();
    // Its name is its second, so the second one may have taken its place; a week of no days keeps only the new one.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    repository.publish(&[text(&tree), "--auto-tag", "30", "--force"]);
    assert_eq!(automatic(&repository), 2);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    repository.publish(&[text(&tree), "--auto-tag", "0", "--force"]);
    assert_eq!(automatic(&repository), 1);
}

#[test]
fn keys_are_private_and_may_be_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let run = |command: &str, more: &[&str]| {
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.args([command, FQRN, "--storage", text(&place("storage")), "--keys", text(&place("keys"))]);
        run.args(more).output().unwrap()
    };
    let master = place("safe/master");
    assert!(run("mkfs", &["--master-key", text(&master)]).status.success());
    for (file, mode) in [
        (master.clone(), 0o600),
        (place("keys").join(format!("{FQRN}.key")), 0o600),
        (place("keys").join(format!("{FQRN}.pub")), 0o644),
        (place("storage").join(".cvmfswhitelist"), 0o644),
    ] {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, mode, "{}", file.display());
    }
    assert!(!place("keys").join(format!("{FQRN}.masterkey")).exists());
    let again = run("mkfs", &["--master-key", text(&master)]);
    assert!(String::from_utf8(again.stderr).unwrap().contains("already"));
    // Publishing needs no master key, signing the whitelist does.
    fs::create_dir(place("tree")).unwrap();
    assert!(run("publish", &[text(&place("tree"))]).status.success());
    let error = String::from_utf8(run("resign", &[]).stderr).unwrap();
    assert!(error.contains("masterkey"), "{error}");
    assert!(run("resign", &["--master-key", text(&master), "--days", "7"]).status.success());
    // A storage without a repository, and keys of another one.
    fs::remove_file(place("storage").join(".cvmfspublished")).unwrap();
    let error = String::from_utf8(run("publish", &[text(&place("tree"))]).stderr).unwrap();
    assert!(error.contains("mkfs"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let (repository, tree) = with_file("1");
    if rustix::process::geteuid().is_root() {
        // Root reads everything; a directory in the place of a source does not exist for anybody.
        let error = repository.fails("publish", &[text(&tree.join("gone"))]);
        assert!(error.contains("gone"), "{error}");
        return;
    }
    fs::set_permissions(tree.join("file"), fs::Permissions::from_mode(0o0)).unwrap();
    let error = repository.fails("publish", &[text(&tree)]);
    assert!(error.contains("tree/file cannot be read"), "{error}");
    let told = repository.publish(&[text(&tree), "--skip-unreadable"]);
    assert_eq!(told["summary"]["skipped"], 1, "{told}");
}
