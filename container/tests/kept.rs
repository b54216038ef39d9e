//! What is kept with an instance, and working in one that runs.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{ALL, BACKENDS, INTERPOSER, User, complaint, text};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

/// "What `--bind`, `--cvmfs`, `--env`, `--net` and `-o` said when an instance was made holds again at each start, and in its forks. What is
/// given again wins: `--bind` and `--cvmfs` as a whole, `--env` and `-o` name by name."
#[test]
fn options_are_kept_and_what_is_given_again_wins() {
    let Some(user) = User::with_interposer() else { return };
    for name in ["first", "second"] {
        fs::create_dir(user.home.path().join(name)).unwrap();
        fs::write(user.home.path().join(name).join("file"), name).unwrap();
    }
    user.give(user.home.path());
    let bind = |name: &str| format!("--bind={}:/data:ro", user.home.path().join(name).display());
    for (number, backend) in ALL.into_iter().enumerate() {
        let (name, fork) = (format!("x{number}"), format!("fork{number}"));
        let (first, second) = (bind("first"), bind("second"));
        let told = ["--fast", "--", "sh", "-ec", "cat /data/file; echo \" $ONE $TWO\""];
        let again = |name: &str, more: &[&str]| text(&mut user.fork(&[&[name], more, &told].concat()));
        let made = [backend, &first, "--env=ONE=1", "--env=TWO=2"];
        assert_eq!(text(&mut user.new_instance(&name, &[&made[..], &told[1..]].concat())), "first 1 2\n");
        assert_eq!(again(&name, &[]), "first 1 2\n", "{backend}");
        assert_eq!(again(&name, &[&second, "--env=TWO=zwei"]), "second 1 zwei\n", "{backend}");
        assert_eq!(again(&name, &[]), "first 1 2\n", "{backend}: for one start");
        assert_eq!(again(&fork, &["--from", &name, "--env=ONE=uno"]), "first uno 2\n", "{backend}");
        assert_eq!(again(&fork, &[]), "first uno 2\n", "{backend}: kept with the fork");
    }
}

/// As above, for the network and for repositories.
#[test]
fn the_network_is_kept() {
    let Some(user) = User::new() else { return };
    let devices = ["--fast", "--", "sh", "-c", "ls /sys/class/net"];
    assert_eq!(text(&mut user.new_instance("x", &[&["--net=none"], &devices[1..]].concat())), "lo\n");
    assert_eq!(text(&mut user.fork(&[&["x"], &devices[..]].concat())), "lo\n");
    let host = fs::read_dir("/sys/class/net").unwrap().count();
    let seen = text(&mut user.fork(&[&["x", "--net=host"], &devices[..]].concat()));
    assert_eq!(seen.lines().count(), host, "{seen}");
    assert_eq!(text(&mut user.fork(&[&["x"], &devices[..]].concat())), "lo\n");
}

/// An instance in which something runs until its standard input ends.
fn running(user: &User, name: &str, backend: &str) -> Child {
    let script = "echo mine > /tmp/mark; echo ready; read x || true; exit 3";
    let mut command = user.fork(&[name, "--fast", backend, "--", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// "`--console` is a login shell in an instance, or the program that is named. Where one runs under `namespaces` it is entered: the same files,
/// processes, host name and network; what is started so ends with the instance."
#[test]
fn what_runs_can_be_entered() {
    let Some(user) = User::new() else { return };
    user.made("x", "true");
    let mut child = running(&user, "x", BACKENDS[0]);
    let console = |script: &str| user.fork(&["x", "--console", "--", "sh", "-c", script]);
    let script = "cat /tmp/mark; hostname; echo $CERNVM_FORK; id -u; cat /proc/1/comm; grep NoNewPrivs /proc/self/status; unshare -m true 2>/dev/null || echo closed";
    assert_eq!(text(&mut console(script)), "mine\nx\nx\n0\ncernvm-fork\nNoNewPrivs:\t1\nclosed\n");
    assert_eq!(console("exit 7").output().unwrap().status.code(), Some(7));
    assert_eq!(complaint(&mut user.fork(&["x", "--console", "--", "/no/such"]), 127).lines().count(), 1);
    console("echo x > /etc/written").output().unwrap();
    let mut second = console("echo ready; sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(second.stdout.take().unwrap()).read_line(&mut line).unwrap();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3), "nobody else's end is the program's");
    assert_eq!(second.wait().unwrap().code(), Some(128 + 9));
    assert_eq!(user.sh("x", "cat /etc/written"), "x\n");
}

/// "Elsewhere it is said why it is not entered. An instance that does not run is started."
#[test]
fn consoles_where_nothing_can_be_entered() {
    let Some(user) = User::with_interposer() else { return };
    for (backend, why) in [(BACKENDS[1], "process namespace"), (INTERPOSER, "without namespaces")] {
        let name = &backend["--backend=".len()..];
        text(&mut user.new_instance(name, &[backend, "--", "sh", "-c", "echo 'export LOGIN=yes' > /etc/profile"]));
        let mut child = running(&user, name, backend);
        let said = user.refused(&[name, "--console"]);
        assert!(said.contains(why), "{said}");
        drop(child.stdin.take());
        child.wait().unwrap();
        let mut command = user.fork(&[name, "--console"]);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(b"echo $LOGIN\nexit 4\n").unwrap();
        let out = shell.wait_with_output().unwrap();
        assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stdout).as_ref()), (Some(4), "yes\n"));
    }
    assert!(user.refused(&["nobody", "--console"]).contains("no instance"));
    let tree = user.tree().display().to_string();
    user.refused(&["nobody", "--console", "--new", "--root", &tree]);
}
