//! What is written in instances: it stays there, comes back, and is seen by nobody else.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{ALL, BACKENDS, INTERPOSER, User, listing, output, text};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Changes that every kind of program makes.
const CHANGES: &str = "echo new > /etc/new; echo more >> /etc/passwd; rm /usr/share/doc/one; mv /usr/share/kept /usr/kept; \
    chmod 600 /usr/share/doc/two; rm -r /var/lib; mkdir /var/lib; ln -s new /etc/link; ln /etc/new /etc/hard; \
    mkdir -p /opt/deep/er; rm -r /home; echo file > /home";

/// The view after `CHANGES`.
const VIEW: &str = "cat /etc/new /etc/passwd /etc/link /usr/kept /home; ls /usr/share/doc /usr/share /var/lib /opt/deep; \
    stat -c '%a %h' /usr/share/doc/two /etc/hard";

const SEEN: &str = "new\nroot:x:0:0:root:/root:/bin/sh\nmore\nnew\nkept\nfile\n/opt/deep:\ner\n\n/usr/share:\ndoc\n\n\
    /usr/share/doc:\ntwo\n\n/var/lib:\n600 1\n644 2\n";

/// "The tree of `--root` is only read. What is written, changed, renamed and deleted is there again when the instance is
/// started again."
#[test]
fn changes_stay_in_the_instance_and_come_back() {
    let Some(user) = User::with_interposer() else { return };
    let before = listing(&user.tree());
    for (name, backend) in ["a", "b", "c"].into_iter().zip(ALL) {
        output(&mut user.new_instance(name, &[backend, "--", "sh", "-ec", CHANGES]));
        for _ in 0..2 {
            let seen = text(&mut user.fork(&[name, "--fast", backend, "--", "sh", "-ec", VIEW]));
            assert_eq!(seen, SEEN, "{backend}");
        }
    }
    assert_eq!(listing(&user.tree()), before);
}

/// "Instances do not see what others write."
#[test]
fn two_instances_do_not_see_each_other() {
    let Some(user) = User::with_interposer() else { return };
    // Without namespaces /dev is the host's.
    for (backend, memory) in [(ALL[0], " /dev/shm/file"), (INTERPOSER, "")] {
        let made = |name, script: &str| text(&mut user.new_instance(name, &[backend, "--", "sh", "-ec", script]));
        made("a", &format!("echo a > /etc/mine; for f in /tmp/file /run/file{memory}; do echo secret > $f; done"));
        let other = format!(
            "! ls /etc/mine /tmp/file /run/file{memory} 2>/dev/null; cat /usr/share/doc/one; rm /usr/share/doc/one"
        );
        assert_eq!(made("b", &other), "1\n", "{backend}");
        assert_eq!(
            user.sh("a", "cat /etc/mine /usr/share/doc/one; ls /tmp; ls /run/file 2>/dev/null || echo empty"),
            "a\n1\nempty\n",
            "{backend}"
        );
        output(&mut user.fork(&["destroy", "a", "b"]));
    }
}

/// "Without `--new` a new instance begins where the current one is: `--from NAME`, or what `CERNVM_FORK` names. Layers are
/// stacked, nothing is copied, and what either of them writes later the other does not see."
#[test]
fn a_fork_of_a_fork_begins_where_its_parent_is() {
    let Some(user) = User::with_interposer() else { return };
    for backend in [ALL[0], INTERPOSER] {
        forks(&user, backend);
    }
}

fn forks(user: &User, backend: &str) {
    let first = "echo a > /a; echo a > /etc/passwd; rm -r /usr/share/doc; mkdir /usr/share/doc";
    text(&mut user.new_instance("a", &[backend, "--", "sh", "-ec", first]));
    text(&mut user.fork(&[
        "b",
        "--fast",
        "--from",
        "a",
        "--",
        "sh",
        "-ec",
        "cat /a; echo b > /b; rm /a; echo b > /usr/share/doc/b",
    ]));
    text(
        user.fork(&["c", "--fast", "--", "sh", "-ec", "cat /b; echo c >> /b; ls /usr/share/doc"])
            .env("CERNVM_FORK", "b"),
    );
    user.sh("a", "echo later >> /a");
    assert_eq!(
        user.sh("c", "cat /b; ls /a 2>/dev/null || echo no a; cat /etc/passwd; ls /usr/share/doc"),
        "b\nc\nno a\na\nb\n"
    );
    assert_eq!(user.sh("b", "cat /b; ls /a 2>/dev/null || echo no a"), "b\nno a\n");
    assert_eq!(user.sh("a", "cat /a; ls /b 2>/dev/null || echo no b; ls /usr/share/doc"), "a\nlater\nno b\n");
    // The parents can go: what a fork needs stays.
    output(&mut user.fork(&["destroy", "a", "b"]));
    assert_eq!(user.sh("c", "cat /b /etc/passwd"), "b\nc\na\n");
    output(&mut user.fork(&["destroy", "c"]));
    assert_eq!(fs::read_dir(user.store().join(".layers")).unwrap().count(), 0);
}

fn running(user: &User, name: &str, backend: &str, script: &str) -> Child {
    let script = format!("{script}; echo ready; exec sleep 1000");
    let mut child =
        user.new_instance(name, &[backend, "--", "sh", "-ec", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// "An instance that runs is not started again, forked, committed or destroyed: the refusal names the process to end."
#[test]
fn what_runs_is_left_alone() {
    let Some(user) = User::new() else { return };
    let mut child = running(&user, "a", BACKENDS[0], "echo a > /a");
    let commands: [&[&str]; 5] = [
        &["a", "--fast", "--", "true"],
        &["b", "--fast", "--from=a", "--", "true"],
        &["destroy", "a"],
        &["a", "--destroy"],
        &["commit", "a", "-"],
    ];
    for command in commands {
        let said = user.refused(command);
        assert!(said.contains("'a' is running (process "), "{command:?}: {said}");
    }
    let list = text(&mut user.fork(&["list"]));
    let process = list.split_whitespace().nth(2).unwrap();
    assert!(user.refused(&["destroy", "a"]).contains(&format!("process {process}")), "{list}");
    output(user.command("kill").arg(process));
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(user.sh("a", "cat /a"), "a\n");
    output(&mut user.fork(&["destroy", "a"]));
}

/// "When `cernvm-fork` is killed the instance ends with it, nothing is left mounted, and it can be started or destroyed at
/// once."
#[test]
fn a_killed_instance_leaves_nothing() {
    let Some(user) = User::with_interposer() else { return };
    for backend in ALL {
        let mut child = running(&user, "a", backend, "echo a > /a; (sleep 1000; true) & true");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains("cernvm-fork"), "{mounts}");
        // Ours is setpriv or cernvm-fork itself: it has executed itself away.
        child.kill().unwrap();
        child.wait().unwrap();
        let start = Instant::now();
        while !user.fork(&["destroy", "a"]).stderr(Stdio::null()).status().unwrap().success() {
            assert!(start.elapsed() < Duration::from_secs(60), "{backend}: the instance goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(fs::read_dir(user.store()).unwrap().count(), 3, "{backend}");
    }
}

/// "An instance with `--ephemeral` is destroyed when its program has ended, and, if `cernvm-fork` was killed, by the next
/// command."
#[test]
fn ephemeral_instances_go() {
    let Some(user) = User::new() else { return };
    text(
        &mut user.new_instance("a", &["--ephemeral", "--", "sh", "-c", "echo x > /x; mkdir -p /d/e; chmod 0 /d/e /d"]),
    );
    assert_eq!(text(&mut user.fork(&["list"])), "");
    assert_eq!(fs::read_dir(user.store().join(".layers")).unwrap().count(), 0);
    let mut command = user.new_instance("a", &["--ephemeral", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    while text(&mut user.fork(&["list"])).contains("running") {
        assert!(start.elapsed() < Duration::from_secs(60), "the instance goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    user.made("b", "true");
    assert_eq!(text(&mut user.fork(&["list"])).lines().count(), 1);
}

/// "`destroy` takes an instance away by one rename, and deletes then; directories without permissions and trees deeper than
/// any path go, too."
#[test]
fn everything_can_be_destroyed() {
    let Some(user) = User::new() else { return };
    let deep = "d=0; cd /root; while [ $d -lt 40 ]; do mkdir -p 0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789; \
        cd 0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789; d=$((d+1)); done";
    user.made("a", &format!("mkdir -p /x/y/z; touch /x/y/z/f; chmod 0 /x/y/z /x/y /x; rm -r /usr/share; {deep}"));
    output(&mut user.fork(&["destroy", "a"]));
    assert_eq!(fs::read_dir(user.store()).unwrap().count(), 3);
    for inner in [".layers", ".gone"] {
        assert_eq!(fs::read_dir(user.store().join(inner)).unwrap().count(), 0, "{inner}");
    }
}

/// Commands that meet do not disturb each other: of many that want to make the same instance one does.
#[test]
fn commands_on_one_instance_do_not_interleave() {
    let Some(user) = User::new() else { return };
    let children: Vec<Child> = (0..8)
        .map(|number| {
            let script = format!("echo {number} >> /made");
            user.new_instance("a", &["--", "sh", "-c", &script]).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let codes: Vec<_> = children.into_iter().map(|mut child| child.wait().unwrap().code().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 125).count(), 7, "{codes:?}");
    assert_eq!(user.sh("a", "wc -l < /made"), "1\n");
    let forks: Vec<Child> = (0..8)
        .map(|number| user.fork(&[&format!("f{number}"), "--fast", "--from=a", "--", "cat", "/made"]).spawn().unwrap())
        .collect();
    for mut fork in forks {
        assert!(fork.wait().unwrap().success());
    }
    assert_eq!(text(&mut user.fork(&["list"])).lines().count(), 9);
}
