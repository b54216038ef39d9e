//! Which mode serves where: what nodes and container engines forbid, and what happens when a supervisor dies.
#![allow(clippy::unwrap_used, reason = "a test that cannot run its program fails")]

mod common;

use common::native::is_root;
use common::{DEMO, User, compile, output, program, text};
use std::process::Command;

fn demo() -> User {
    User::with(Vec::new())
}

/// `cvmfs-run` with these arguments, in a place where some system calls are forbidden.
fn denied(user: &User, calls: &[&str], arguments: &[&str]) -> Option<Command> {
    let deny = compile(user, "deny.c", &[])?;
    let mut command = user.command(&deny);
    command.args(calls).arg("--").arg(program()).args(arguments);
    Some(command)
}

const SCRIPT: &str = "cd /cvmfs/demo.example.org/bin && ./hello.sh";
const GREETING: &str = "Hello, world, from demo.example.org!\n";

/// "Where listener, memory or ptrace are not to be had, `auto` comes to the preload library."
#[test]
fn auto_takes_what_the_node_allows() {
    let user = demo();
    for calls in [&[][..], &["ptrace"], &["process_vm_readv", "process_vm_writev"], &["seccomp"], &["unshare"]] {
        let arguments = ["--verbose", "--demo", "--", "bash", "-c", SCRIPT];
        let Some(mut command) = denied(&user, calls, &arguments) else { return };
        let out = output(&mut command);
        assert_eq!(String::from_utf8_lossy(&out.stdout), GREETING, "without {calls:?}");
        let falls_back = calls.contains(&"ptrace") || calls.contains(&"seccomp");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(said.contains("using the preload library"), falls_back, "without {calls:?}: {said}");
    }
}

/// "A mode that is asked for by name is not replaced by another."
#[test]
fn a_named_mode_says_what_is_missing() {
    let user = demo();
    for mode in ["--mode=full", "--mode=shim"] {
        let Some(mut command) = denied(&user, &["seccomp"], &[mode, "--demo", "--", "true"]) else { return };
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(125));
        assert!(String::from_utf8_lossy(&out.stderr).contains("cvmfs-run probe"), "{out:?}");
    }
}

/// "Without ptrace the supervisor serves all but `chdir` and exec."
#[test]
fn without_ptrace_files_can_still_be_read() {
    let user = demo();
    let readme = format!("{DEMO}/README.txt");
    let Some(mut command) = denied(&user, &["ptrace"], &["--mode=full", "--demo", "--", "head", "-n1", &readme]) else {
        return;
    };
    assert_eq!(text(&mut command), "demo.example.org\n");
    let hello = format!("{DEMO}/bin/hello.sh");
    let Some(mut command) = denied(&user, &["ptrace"], &["--mode=full", "--demo", "--", &hello]) else { return };
    let out = command.output().unwrap();
    assert_eq!(out.status.code(), Some(126));
    assert!(String::from_utf8_lossy(&out.stderr).contains("ptrace is forbidden"), "{out:?}");
}

/// "A program that does not let itself be looked at goes on in the kernel, without `/cvmfs`."
#[test]
fn a_program_that_must_not_be_looked_at_is_left_alone() {
    let user = demo();
    std::fs::create_dir(user.home.path().join("kinds")).unwrap();
    let Some(program) = compile(&user, "kinds/seccomp.c", &[]) else { return };
    for mode in ["--mode=full", "--mode=shim"] {
        let mut command = if is_root() {
            // Root may look at everything.
            let run = user.open_to_others();
            let mut command = user.command(std::path::Path::new("setpriv"));
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(run);
            command.env_remove("CVMFS_RUN_LIBRARY").env_remove("CVMFS_RUN_PROGRAM");
            command
        } else {
            user.plain(&[])
        };
        let out = text(command.args([mode, "--demo", "--"]).arg(&program).args(["/etc/passwd", "/bin/true"]));
        assert!(out.contains("undumpable: 64 bytes, status 0"), "{mode}: {out}");
    }
}

#[test]
fn probe_says_what_auto_does() {
    let user = demo();
    for (calls, mode) in [(&[][..], "shim"), (&["ptrace"], "preload"), (&["seccomp"], "preload")] {
        let Some(mut command) = denied(&user, calls, &["--json", "probe"]) else { return };
        let found: serde_json::Value = serde_json::from_str(&text(&mut command)).unwrap();
        assert_eq!(found["mode"], mode, "without {calls:?}: {found:#}");
        let Some(mut command) = denied(&user, calls, &["probe"]) else { return };
        assert!(text(&mut command).contains(&format!("--mode={mode}")));
    }
}

/// "A run inside a run joins the outer one", whatever it asks for: there can be one listener only.
#[test]
fn a_run_inside_a_run_joins_it() {
    let user = demo();
    let inner = program();
    for mode in ["--mode=full", "--mode=shim", "--mode=auto"] {
        let mut command = user.plain(&[mode, "--demo", "--"]);
        let out = text(command.arg(inner).args(["--mode=full", "--demo", "--", "ls", &format!("{DEMO}/bin")]));
        assert_eq!(out, "hello.sh\n");
    }
}

/// "When the supervisor dies the launcher goes on in its place", also with what was being answered.
#[test]
fn programs_survive_the_death_of_their_supervisor() {
    let user = demo();
    let script = format!(
        "for i in $(seq 100); do cat {DEMO}/README.txt; [ $i = 20 ] && kill -9 $(ps -o ppid= -p $$); done | sort | uniq -c | awk '{{print $1}}' | sort -u; {DEMO}/bin/hello.sh; exit 3"
    );
    for mode in ["--mode=full", "--mode=shim"] {
        for _ in 0..3 {
            let mut command = user.plain(&[mode, "--demo", "--", "bash", "-c", &script]);
            let out = command.output().unwrap();
            assert_eq!(out.status.code(), Some(3), "{out:?}");
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            // Each line of the file as many times as it was read, or a multiple where lines repeat.
            let counts: Vec<u32> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
            assert!(!counts.is_empty() && counts.iter().all(|count| count % 100 == 0), "{said}");
            assert!(said.ends_with(GREETING), "{said}");
            assert!(String::from_utf8_lossy(&out.stderr).contains("supervisor process died"), "{out:?}");
        }
    }
}

/// "The supervisor holds nothing of the program's": a pipe ends when the program ends, though something of it lives on.
#[test]
fn what_stays_in_the_background_holds_no_pipe() {
    let user = demo();
    let script = format!("(exec >/dev/null 2>&1 </dev/null; setsid sleep 4; cat {DEMO}/README.txt) & echo started");
    let start = std::time::Instant::now();
    let out = text(&mut user.plain(&["--mode=shim", "--demo", "--", "bash", "-c", &script]));
    assert_eq!(out, "started\n");
    assert!(start.elapsed() < std::time::Duration::from_secs(4), "waited for the background");
}
