//! Roots laid out by rules: with mounts in an instance, with links in a directory.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{BACKENDS, INTERPOSER, User, complaint, listing, output, text};
use std::fs;
use std::path::Path;

const RULES: &str = "\
# everything but
readonly /
copy /etc
writable /home /usr/share/doc /data
touch /etc/mtab
set COLOUR=blue
";

fn rules(user: &User, text: &str) -> String {
    let file = user.home.path().join("rules");
    fs::write(&file, text).unwrap();
    user.give(&file);
    file.display().to_string()
}

/// "With `--layout` the root of a new instance is laid out by rules: parts are the tree's and read-only, copied once, or empty. What is
/// written is there again at the next start, and the tree is only read."
#[test]
fn a_root_of_parts() {
    let Some(user) = User::new() else { return };
    let before = listing(&user.tree());
    let layout = rules(&user, RULES);
    for (name, backend) in ["one", "two"].into_iter().zip(BACKENDS) {
        let first = "test -z \"$(ls /usr/share/doc)$(ls /home)\"; test -f /etc/mtab; echo $COLOUR
            ! touch /usr/share/new 2>/dev/null; ! rm /bin/busybox 2>/dev/null; ! touch /bin/new 2>/dev/null
            echo mine > /usr/share/doc/mine; echo you:x:1:1::/:/bin/sh >> /etc/passwd; mkdir /data/d; rm /etc/mtab
            cat /usr/share/kept";
        let said = text(&mut user.new_instance(name, &[backend, "--layout", &layout, "--", "sh", "-ec", first]));
        assert_eq!(said, "blue\nkept\n");
        let again =
            "cat /usr/share/doc/mine; grep -c . /etc/passwd; test -d /data/d; test ! -e /etc/mtab; echo $COLOUR";
        assert_eq!(user.sh(name, again), "mine\n2\nblue\n");
    }
    assert!(user.sh("two", "ls -A /data; echo x > /data/d/x; ls /data/d") == "d\nx\n");
    assert_eq!(user.sh("one", "ls -A /data/d"), "", "the other one's");
    assert_eq!(listing(&user.tree()), before);
    for name in ["one", "two"] {
        output(&mut user.fork(&["destroy", name]));
    }
    assert!(fs::read_dir(user.store().join(".layers")).unwrap().next().is_none());
}

/// "It needs no overlayfs, so the tree may be the host's own root. There are no layers, so it can be neither forked nor committed."
#[test]
fn the_hosts_own_root_without_layers() {
    let Some(user) = User::with_interposer() else { return };
    let layout = rules(&user, "readonly /usr -/bin -/lib -/lib64 -/sbin\nwritable /etc\nimport /etc/passwd\n");
    let start = |name: &str, backend: &[&str], program: &[&str]| {
        let mut command = user.fork(&[name, "--new", "--fast", "--root", "/", "--layout", &layout]);
        command.args(backend).arg("--").args(program);
        command
    };
    let script = "echo x > /etc/x; ls -A /; test -s /etc/passwd; ! touch /usr/x 2>/dev/null";
    let seen = text(&mut start("host", &[], &["sh", "-ec", script]));
    assert!(
        seen.lines().any(|name| name == "usr") && !seen.lines().any(|name| name == "var" || name == "home"),
        "{seen}"
    );
    assert!(user.refused(&["other", "--fast", "--from", "host"]).contains("--new"));
    assert!(user.refused(&["commit", "host", "-"]).contains("rules"));
    assert!(complaint(&mut start("third", &[INTERPOSER], &["true"]), 125).contains("--layout"));
    let bad = rules(&user, "readonly /\nreadnoly /usr\n");
    let said = user.refused(&["fourth", "--new", "--fast", "--root", "/", "--layout", &bad]);
    assert!(said.contains("line 2: 'readnoly'"), "{said}");
    let missing = rules(&user, "readonly /usr/not/there\n");
    let said = user.refused(&["fifth", "--new", "--fast", "--root", "/", "--layout", &missing]);
    assert!(said.contains("/usr/not/there"), "{said}");
}

/// A program that puts a link into the place of a directory gets nothing of the host written or hidden at the next start.
#[test]
fn links_lead_to_places_inside() {
    let Some(user) = User::new() else { return };
    let outside = user.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    user.give(&outside);
    let layout = rules(&user, "readonly /bin /usr/share\nwritable /usr\nreadonly /usr/share\n");
    let target = outside.display();
    let script = format!("mv /usr /old; ln -s {target} /usr");
    text(&mut user.new_instance("i", &["--layout", &layout, "--", "sh", "-ec", &script]));
    assert!(user.refused(&["i", "--fast", "--", "true"]).contains("mounting upon /usr/share"));
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
}

/// A start that was interrupted while the root was laid out leaves nothing half made.
#[test]
fn an_interrupted_layout_is_begun_again() {
    let Some(user) = User::new() else { return };
    let layout = rules(&user, RULES);
    text(&mut user.new_instance("i", &["--layout", &layout, "--", "true"]));
    let layer = fs::read_dir(user.store().join(".layers")).unwrap().next().unwrap().unwrap().path();
    fs::rename(layer.join("fs"), layer.join("work/root")).unwrap();
    fs::remove_file(layer.join("work/root/etc/passwd")).unwrap();
    fs::write(layer.join("work/root/half"), "").unwrap();
    assert_eq!(user.sh("i", "test ! -e /half; cat /etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
}

/// "`cernvm-fork layout RULES DIR --root TREE` lays a root out in a directory, with links to the tree and copies of it. What is there
/// stays, and what was not made is said."
#[test]
fn a_root_of_links() {
    let Some(user) = User::new() else { return };
    let (layout, tree) = (rules(&user, RULES), user.tree().display().to_string());
    let target = user.home.path().join("target");
    fs::create_dir_all(target.join("bin")).unwrap();
    std::os::unix::fs::symlink("bin", user.tree().join("sbin")).unwrap();
    fs::write(target.join("sbin"), "a file").unwrap();
    user.give(&target);
    let target = target.display().to_string();
    let lay = || {
        let out = output(&mut user.fork(&["layout", &layout, &target, "--root", &tree]));
        String::from_utf8(out.stderr).unwrap()
    };
    let said = lay();
    assert!(said.contains(&format!("{target}/bin: something else is there")) && said.contains("COLOUR"), "{said}");
    assert!(said.contains(&format!("{target}/sbin: something else is there")), "a link of the tree: {said}");
    let made = listing(Path::new(&target));
    assert!(!lay().contains("/etc"), "copies are meant to be there");
    assert_eq!(listing(Path::new(&target)), made);
    fs::remove_dir(Path::new(&target).join("bin")).unwrap();
    lay();
    let bind = format!("{tree}:{tree}:ro");
    let script = "cat /usr/share/kept /etc/passwd; echo x > /usr/share/doc/x; test -L /usr/share/kept; test -d /data";
    let line = ["i", "--new", "--fast", "--root", &target, "--bind", &bind, "--", "sh", "-ec", script];
    assert_eq!(text(&mut user.fork(&line)), "kept\nroot:x:0:0:root:/root:/bin/sh\n");
    assert!(user.refused(&["layout", &layout, &target, "--root", "relative"]).contains("absolute"));
    assert!(user.refused(&["layout", "/not/there", &target, "--root", &tree]).contains("/not/there"));
}
