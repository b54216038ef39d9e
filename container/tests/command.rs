//! The command line: what it understands, what it refuses and how, what it prints.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{User, complaint, output, text};
use cvmfs_tests::tools::is_root;
use std::fs;
use std::path::Path;
use std::process::Command;

/// "The exit status is that of the program, or 128 and the number of the signal that ended it. It is 125 if
/// `cernvm-fork` itself fails, 126 if the program is found but cannot be run, 127 if it is not found."
#[test]
fn exit_status() {
    let Some(user) = User::new() else { return };
    user.made("x", "true");
    for backend in common::BACKENDS {
        let status = |arguments: &[&str]| {
            user.fork(&[&["x", "--fast", backend], arguments].concat()).output().unwrap().status.code().unwrap()
        };
        for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
            assert_eq!(status(&["--", "sh", "-c", script]), expected, "{backend}: {script}");
        }
        assert_eq!(status(&["--", "no-such-program"]), 127);
        assert_eq!(status(&["--run=/no/such/program"]), 127);
        assert_eq!(status(&["--run=/usr/share/kept"]), 126);
        assert_eq!(status(&["--run=/etc"]), 126);
    }
    assert_eq!(user.fork(&["x", "--no-such-option"]).output().unwrap().status.code(), Some(125));
    output(&mut user.fork(&["--help"]));
}

/// "A name is a letter or digit, then letters, digits, `_`, `.` and `-`, at most 63 in all. Anything else is refused before
/// any path is made from it."
#[test]
fn hostile_names_make_nothing() {
    let Some(user) = User::new() else { return };
    fs::create_dir(user.home.path().join("victim")).unwrap();
    fs::write(user.home.path().join("victim/file"), "").unwrap();
    user.give(&user.home.path().join("victim"));
    let victim = user.home.path().join("victim").display().to_string();
    let tree = user.tree().display().to_string();
    for name in ["../../victim", &victim, "..", ".", ".layers", ".gone", "a/../../x", "", "x\n", "list", "-x"] {
        user.refused(&[name, "--new", "--fast", "--root", &tree, "--", "true"]);
        user.refused(&["destroy", name]);
        user.refused(&[name, "--destroy"]);
        user.refused(&["commit", name, "-"]);
        user.refused(&["x", "--fast", "--from", name, "--", "true"]);
    }
    assert!(user.home.path().join("victim/file").exists());
    assert!(!user.store().exists());
}

/// "What only root can do is refused with the reason."
#[test]
fn options_of_the_original_that_need_root() {
    let Some(user) = User::new() else { return };
    for (option, word) in [
        ("--daemon", "background"),
        ("--tty=3", "terminal"),
        ("--admin=me", "privileges"),
        ("--ip=192.168.25.7", "root"),
        ("--log=x", "--verbose"),
    ] {
        let said = user.refused(&["x", "--new", "--fast", option, "--", "true"]);
        assert!(said.contains(word), "{option}: {said}");
    }
    assert!(!user.store().exists());
}

/// "An instance that is there is not made again, and one that is not there is not made by mistake."
#[test]
fn what_is_there_and_what_is_not() {
    let Some(user) = User::new() else { return };
    let tree = user.tree().display().to_string();
    user.made("x", "true");
    let new = ["x", "--new", "--fast", "--root", &tree, "--", "true"];
    assert!(user.refused(&new).contains("there is an instance 'x' already"));
    assert!(
        user.refused(&["x", "--fast", "--root", "/usr", "--", "true"]).contains("another tree needs a new instance")
    );
    assert!(user.refused(&["y", "--fast", "--", "true"]).contains("there is no instance 'y'"));
    assert!(user.refused(&["y", "--fast", "--from=z", "--", "true"]).contains("there is no instance 'z'"));
    assert!(user.refused(&["y", "--new", "--fast", "--", "true"]).contains("--root DIR"));
    assert!(user.refused(&["y", "--new", "--fast", "--root", "/no/such"]).contains("/no/such"));
    assert!(user.refused(&["y", "--new", "--root", &tree, "--", "true"]).contains("--fast"));
    assert!(user.refused(&["destroy", "y"]).contains("there is no instance 'y'"));
    assert!(user.refused(&["commit", "y", "-"]).contains("there is no instance 'y'"));
    assert_eq!(text(&mut user.fork(&["list"])).lines().count(), 1);
}

/// "A layer cannot lie in the tree over which it is laid."
#[test]
fn the_tree_that_holds_the_instances_is_refused() {
    let Some(user) = User::new() else { return };
    let home = user.home.path().display().to_string();
    let said = user.refused(&["x", "--new", "--fast", "--root", &home, "--", "true"]);
    assert!(said.contains("XDG_STATE_HOME"), "{said}");
    assert_eq!(text(&mut user.fork(&["list"])), "");
}

/// "Nothing may be mounted below it: the kernel takes no such tree from an ordinary user."
#[test]
fn a_tree_with_mounts_below_it_is_refused() {
    let Some(user) = User::new() else { return };
    let said = user.refused(&["x", "--new", "--fast", "--root", "/", "--", "true"]);
    assert!(said.contains("XDG_STATE_HOME") || said.contains("mounted below"), "{said}");
    user.made("x", "true");
    let mounts = format!("mount -t tmpfs none {}/usr/share; exec \"$@\"", user.tree().display());
    for command in [user.fork(&["x", "--fast", "--", "true"]), user.new_instance("y", &["--", "true"])] {
        let mut whole = Command::new("unshare");
        whole.args(if is_root() { &["--mount"][..] } else { &["--mount", "--user", "--map-root-user"] });
        whole.args(["sh", "-ec", &mounts, "sh"]).arg(command.get_program()).args(command.get_args()).current_dir("/");
        whole.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = complaint(&mut whole, 125);
        assert!(said.contains("usr/share is mounted below the tree"), "{said}");
    }
    assert_eq!(text(&mut user.fork(&["list"])).lines().count(), 1);
}

/// "`cernvm-fork list` tells which instances there are and which of them run, with `--json` as a list of objects."
#[test]
fn lists() {
    let Some(user) = User::new() else { return };
    user.made("one", "touch /x");
    text(&mut user.fork(&["two", "--fast", "--from=one", "--", "true"]));
    let inside = text(&mut user.fork(&["list"]));
    assert!(inside.lines().count() == 2 && inside.contains("stopped"), "{inside}");
    let json: serde_json::Value = serde_json::from_str(&text(&mut user.fork(&["list", "--json"]))).unwrap();
    assert_eq!(json[0]["name"], "one");
    assert_eq!(json[1]["layers"], 2);
    assert_eq!(json[1]["state"], "stopped");
    assert_eq!(json[1]["root"], fs::canonicalize(user.tree()).unwrap().display().to_string());
    assert!(json[1]["created"].as_i64().unwrap() > 1_700_000_000);
    // Nobody has to read to the end.
    let script = format!("{} list | true", user.program().display());
    output(user.command("sh").args(["-c", &script]));
}

/// "`cernvm-fork probe` tries what the node allows, says which back-end is used and what is missing for the others."
#[test]
fn probe_explains() {
    let Some(user) = User::new() else { return };
    let said = text(&mut user.fork(&["probe"]));
    assert!(said.contains("yes  overlayfs") && said.contains("--backend=namespaces."), "{said}");
    let json: serde_json::Value = serde_json::from_str(&text(&mut user.fork(&["probe", "--json"]))).unwrap();
    assert_eq!(json["backend"], "namespaces");
    // The attempt leaves nothing.
    assert_eq!(fs::read_dir(user.store().join(".layers")).map_or(0, Iterator::count), 0);
    // Without one more user namespace nothing works, and it says what to look for.
    let script = format!("echo 0 > /proc/sys/user/max_user_namespaces && exec {} probe", user.program().display());
    let said = text(user.command("unshare").args(["--user", "--map-root-user", "sh", "-c", &script]));
    assert!(said.contains("no   user namespace") && said.contains("user.max_user_namespaces"), "{said}");
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces; exec {} x --new --fast --root {} -- true",
        user.program().display(),
        user.tree().display()
    );
    let said = complaint(user.command("unshare").args(["--user", "--map-root-user", "sh", "-c", &script]), 125);
    assert!(said.contains("cernvm-fork probe"), "{said}");
}

/// "Without the option it is `namespaces`, or `userns` where the node refuses a `/proc` of its own."
#[test]
fn where_proc_is_hidden_the_other_back_end_is_used() {
    let Some(user) = User::new() else { return };
    // As container engines do it.
    let hidden = |command: &Command| {
        let mut whole = Command::new("unshare");
        whole.args(if is_root() { &["--mount"][..] } else { &["--mount", "--user", "--map-root-user"] });
        whole.args(["sh", "-ec", "mount -t tmpfs none /proc/irq; exec \"$@\"", "sh"]);
        whole.arg(command.get_program()).args(command.get_args()).current_dir("/");
        whole.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        whole
    };
    let said = text(&mut hidden(&user.fork(&["probe"])));
    assert!(said.contains("no   process namespace") && said.contains("--backend=userns."), "{said}");
    let looks = "echo $$; cat /usr/share/kept; echo x > /x";
    let said = text(&mut hidden(&user.new_instance("x", &["--", "sh", "-ec", looks])));
    assert!(said.ends_with("\nkept\n") && !said.starts_with("2\n"), "{said}");
    let said = complaint(&mut hidden(&user.fork(&["x", "--fast", "--backend=namespaces", "--", "true"])), 125);
    assert!(said.contains("--backend=userns"), "{said}");
    // Not outside of it: for an ordinary user the test's own user namespace gave the numbers of the instance's users.
    assert_eq!(text(&mut hidden(&user.fork(&["x", "--fast", "--", "cat", "/x"]))), "x\n");
}

#[test]
fn manual_pages_are_those_of_the_command_line() {
    let program = env!("CARGO_BIN_EXE_cernvm-fork");
    let fresh = tempfile::tempdir().unwrap();
    output(Command::new(program).args(["generate", "man"]).arg(fresh.path()));
    let mut pages = 0;
    for page in fs::read_dir(fresh.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = page.file_name().unwrap();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/man").join(name);
        let same = fs::read(&page).unwrap() == fs::read(committed).unwrap_or_default();
        assert!(same, "{} is out of date: run 'cernvm-fork generate man doc/man'", name.display());
        pages += 1;
    }
    assert_eq!(pages, 7);
    output(Command::new(program).args(["generate", "completions"]).arg(fresh.path()));
    assert!(fresh.path().join("_cernvm-fork").is_file());
}
