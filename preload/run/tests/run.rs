//! `cvmfs-run` itself: exit status, signals, environment, helper, and the bare library.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{DEMO, SMALL, User, output, program, text};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn code(command: &mut std::process::Command) -> i32 {
    command.stderr(Stdio::null()).status().unwrap().code().unwrap()
}

/// "The exit status is that of the program, or 128 and the number of the signal that ended it. It is 125 if `cvmfs-run`
/// itself fails, 126 if the program is found but cannot be run, 127 if it is not found."
#[test]
fn exit_status() {
    let user = User::with(Vec::new());
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        assert_eq!(code(user.plain(&["--demo", "--", "sh", "-c", script]).stdin(Stdio::null())), expected, "{script}");
    }
    assert_eq!(code(&mut user.plain(&["--demo", "--", "no-such-program"])), 127);
    assert_eq!(code(&mut user.plain(&["--demo", "--", "/no/such/program"])), 127);
    assert_eq!(code(&mut user.plain(&["--demo", "--", &format!("{DEMO}/absent")])), 127);
    assert_eq!(code(&mut user.plain(&["--demo", "--", "/etc/passwd"])), 126);
    assert_eq!(code(&mut user.plain(&["--demo", "--", &format!("{DEMO}/README.txt")])), 126);
    assert_eq!(code(&mut user.plain(&["--demo", "--", "/"])), 126);
    assert_eq!(code(&mut user.plain(&[])), 125);
    assert_eq!(code(&mut user.plain(&["--no-such-option", "--", "true"])), 125);
    assert_eq!(code(&mut user.plain(&["-o", "nonsense", "--", "true"])), 125);
    assert_eq!(code(user.plain(&["--demo", "--", "true"]).env("CVMFS_RUN_LIBRARY", "").env("PATH", "/bin")), 0);
    assert_eq!(code(user.plain(&["--help"]).stdout(Stdio::null())), 0);
}

#[test]
fn an_unknown_mode_lists_those_that_exist() {
    let user = User::with(Vec::new());
    let out = user.plain(&["--mode=telepathy", "--", "true"]).output().unwrap();
    assert_eq!(out.status.code(), Some(125));
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(message.contains("telepathy") && message.contains("auto") && message.contains("preload"), "{message}");
    for mode in ["auto", "preload"] {
        output(&mut user.plain(&["--demo", &format!("--mode={mode}"), "--", "ls", DEMO]));
    }
}

/// "`--demo` needs no network, no configuration and no rights."
#[test]
fn the_demo_runs_from_nothing() {
    let user = User::with(Vec::new());
    let listing = text(&mut user.plain(&["--demo", "--", "ls", "-R", "/cvmfs"]));
    assert!(listing.starts_with("/cvmfs:\ndemo.example.org\n"), "{listing}");
    let out = text(&mut user.plain(&["--demo", "--", &format!("{DEMO}/bin/hello.sh"), "you"]));
    assert_eq!(out, "Hello, you, from demo.example.org!\n");
}

/// "Signals sent to `cvmfs-run` go on to the program."
#[test]
fn signals_reach_the_program() {
    let user = User::with(Vec::new());
    let script =
        "trap 'echo got TERM; exit 5' TERM; trap 'echo got USR1' USR1; echo ready; while :; do sleep 0.05; done";
    let mut child = user.plain(&["--demo", "--", "bash", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    assert_eq!(lines.next().as_deref(), Some("ready"));
    for (signal, answer) in [(libc::SIGUSR1, "got USR1"), (libc::SIGTERM, "got TERM")] {
        // SAFETY: a child that was not waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        assert_eq!(lines.next().as_deref(), Some(answer));
    }
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(5), None));
}

/// "The library alone is enough: on the first touch of `/cvmfs` it starts its own helper."
#[test]
fn the_library_alone_is_enough() {
    let user = User::of_small();
    let listing = text(user.preloaded("ls").arg(SMALL));
    assert!(listing.lines().count() > 5, "{listing}");
    let script = format!("cd {SMALL} && pwd && /bin/pwd && env -i PATH=$PATH bash -c 'ls {SMALL} | wc -l'");
    let out = text(user.preloaded("bash").args(["-c", &script]));
    assert_eq!(out, format!("{SMALL}\n{SMALL}\n{}\n", listing.lines().count()));
}

/// "If the program that would be the helper is not found, it is said once how to help."
#[test]
fn without_a_helper_it_says_what_to_do() {
    let user = User::of_small();
    let alone = user.home.path().join("alone/libcvmfs_preload.so");
    std::fs::create_dir(alone.parent().unwrap()).unwrap();
    std::fs::copy(common::library(), &alone).unwrap();
    let command = &mut user.preloaded("ls");
    let out = command.args([SMALL, SMALL]).env("LD_PRELOAD", &alone).env_remove("CVMFS_RUN_PROGRAM").output().unwrap();
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(message.matches("cvmfs-run was not found beside").count(), 1, "{message}");
    assert!(message.contains("CVMFS_RUN_PROGRAM") && message.contains("Input/output error"), "{message}");
    assert!(text(user.preloaded("ls").arg("/etc").env("LD_PRELOAD", &alone)).contains("passwd"));
}

/// "An `LD_PRELOAD` that was there is kept."
#[test]
fn another_preload_list_is_kept() {
    let user = User::with(Vec::new());
    let other = "/lib/x86_64-linux-gnu/libdl.so.2";
    let mut command = user.plain(&["--mode=preload", "--demo", "--", "bash", "-c", "echo $LD_PRELOAD"]);
    let list = text(command.env("LD_PRELOAD", other));
    assert!(list.trim_end().ends_with(&format!("libcvmfs_preload.so:{other}")), "{list}");
}

/// "The helper ends by itself."
#[test]
fn the_helper_comes_and_goes() {
    let user = User::with(Vec::new());
    output(&mut user.plain(&["--mode=preload", "--demo", "--", "ls", DEMO]));
    let sockets = || {
        let all = std::fs::read_dir(user.home.path().join("run/cvmfs-run")).unwrap();
        all.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().contains('.')).count()
    };
    assert_eq!(sockets(), 1);
    let start = Instant::now();
    while sockets() != 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "the helper stays");
        std::thread::sleep(Duration::from_millis(100));
    }
    output(&mut user.plain(&["--mode=preload", "--demo", "--", "cat", &format!("{DEMO}/README.txt")]));
}

/// "A program goes on when its helper has died: the next question starts another."
#[test]
fn a_dead_helper_is_replaced() {
    let user = User::of_small();
    let script = format!(
        "ls {SMALL} > /dev/null; p=$(sed -n 's/^[0-9]*: FLOCK *ADVISORY *WRITE *\\([0-9]*\\).*:'$(stat -c %i $CVMFS_RUN_SOCKET.lock)' .*/\\1/p' /proc/locks); \
         [ -n \"$p\" ] && kill -9 $p; find {SMALL} -type f | head -n 50 | xargs cat | wc -c"
    );
    let bytes: u64 = user.sh(&script).trim().parse().unwrap();
    assert!(bytes > 0);
}

#[test]
fn many_programs_share_one_helper() {
    let user = User::of_small();
    let script =
        format!("for i in $(seq 20); do find {SMALL} -maxdepth 2 -type f -exec cat {{}} + | md5sum & done; wait");
    let out = user.sh(&script);
    let mut sums: Vec<&str> = out.lines().collect();
    assert_eq!(sums.len(), 20);
    sums.dedup();
    assert_eq!(sums.len(), 1, "{out}");
}

/// "When everything is in the cache, nothing is asked from any server."
#[test]
fn warm_files_need_no_server() {
    let fixture = cvmfs_tests::fixtures::repository("small.test.example");
    let server = cvmfs_tests::server::WebRoot::serve("small.test.example", &fixture.web_root);
    let user = User::with(fixture.options_at(server.server_url()));
    let script = format!("find {SMALL} -maxdepth 2 -type f -exec md5sum {{}} +");
    let cold = user.sh(&script);
    server.stop();
    assert_eq!(user.sh(&script), cold);
}

/// The manual page and completions in the repository are those of this program.
#[test]
fn the_manual_page_is_up_to_date() {
    let fresh = tempfile::tempdir().unwrap();
    output(std::process::Command::new(program()).arg("--generate").arg(fresh.path()));
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../doc/man");
    for entry in std::fs::read_dir(fresh.path()).unwrap() {
        let entry = entry.unwrap();
        let there = std::fs::read_to_string(kept.join(entry.file_name())).unwrap_or_default();
        let name = entry.file_name();
        let up_to_date = std::fs::read_to_string(entry.path()).unwrap() == there;
        assert!(up_to_date, "{name:?} is old: run `cargo run -p cvmfs-run -- --generate doc/man`");
    }
}
