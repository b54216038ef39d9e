//! Commands that are killed at any moment leave nothing half done.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{User, output, text};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How often, unless `CVMFS_TESTS_KILL_ROUNDS` says so.
const ROUNDS: u64 = 60;

/// "A command that is killed, at whatever moment, leaves every instance as it was before or as it would have been after. What is left over goes
/// with the next command that makes, starts or destroys an instance."
#[test]
fn killed_commands_leave_nothing_half_done() {
    let Some(user) = User::new() else { return };
    let rounds = std::env::var("CVMFS_TESTS_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    user.made("base", "echo kept > /kept; rm -r /usr/share");
    let start = Instant::now();
    user.sh("base", "true");
    let mut longest = start.elapsed();
    let mut finished = 0;
    for round in 0..rounds {
        let (name, other) = (format!("i{}", round % 5), format!("i{}", (round + 3) % 5));
        let mut command = match round % 4 {
            0 => user.fork(&[&name, "--fast", "--from=base", "--", "sh", "-c", "mkdir -p /a/b/c; echo x > /a/b/c/d"]),
            1 => user.fork(&[&name, "--fast", "--from", &other, "--ephemeral", "--", "sh", "-c", "echo x > /x"]),
            2 => user.fork(&["base", "--fast", "--", "sh", "-c", "echo more >> /more"]),
            _ => user.fork(&["destroy", &name]),
        };
        let start = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // From the first moment to beyond the last one, in steps that have nothing to do with the commands.
        let moment = longest.mul_f64((round * 7 % 23) as f64 / 20.0);
        while start.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            longest = longest.max(start.elapsed());
            finished += 1;
        }
        let list = text(&mut user.fork(&["list"]));
        assert!(!list.contains("damaged") && list.contains("base"), "round {round}: {list}");
        while text(&mut user.fork(&["list"])).contains("running") {
            assert!(start.elapsed() < Duration::from_secs(60), "round {round}: the instance goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(user.sh("base", "cat /kept; ls /usr"), "kept\nbin\n", "round {round}");
    }
    assert!(finished < rounds, "nothing was killed");
    let list = text(&mut user.fork(&["list"]));
    let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    output(&mut user.fork(&[&["destroy"], &names[..]].concat()));
    assert_eq!(fs::read_dir(user.store()).unwrap().count(), 3, "the lock, layers, and what is gone");
    for inner in [".layers", ".gone"] {
        assert_eq!(fs::read_dir(user.store().join(inner)).unwrap().count(), 0, "{inner}");
    }
}
