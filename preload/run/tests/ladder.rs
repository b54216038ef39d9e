//! Which mode serves where: what nodes and container engines forbid, and what happens when a supervisor dies.
#![allow(clippy::unwrap_used, reason = "a test that cannot run its program fails")]

mod common;

use common::{DEMO, User, compile, output, program, text};
use cvmfs_tests::tools::is_root;
use std::process::Command;

fn demo() -> User {
    User::with(Vec::new())
}

/// `cvmfs-run` with these arguments, in a place where some system calls are forbidden.
fn denied(user: &User, calls: &[&str], arguments: &[&str]) -> Option<Command> {
    user.denied(calls, &user.plain(arguments))
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

/// A program under `--mode=full` that nobody may trace: by a rule, or because `strace` does.
fn untraceable(user: &User, strace: bool, arguments: &[&str]) -> Option<Command> {
    if !strace {
        return denied(user, &["ptrace"], &[&["--mode=full", "--demo", "--"], arguments].concat());
    }
    let strace = cvmfs_tests::tools::require_tool("strace")?;
    let mut command = user.plain(&["--mode=full", "--demo", "--"]);
    command.arg(strace).args(["-f", "-qq", "-o", "/dev/null"]).args(arguments);
    Some(command)
}

/// "Where a thread may not be traced, the path of the call is changed in place": to change directories, to run programs,
/// to open what is only a path. With the next call at the latest the program finds its own path again.
#[test]
fn without_ptrace_paths_are_changed_in_place() {
    let user = demo();
    let script = format!(
        "for i in 1 2 3; do cd {DEMO}/lib && cd {DEMO}/bin; done; ls; ./hello.sh; cd /; cat {DEMO}/README.txt | head -n 1; \
         {DEMO}/bin/hello.sh; cd {DEMO}/data/../bin && ls {DEMO}/releases/v1/bin"
    );
    let expected = format!("hello.sh\n{GREETING}demo.example.org\n{GREETING}demo-version\n");
    for strace in [false, true] {
        let Some(mut command) = untraceable(&user, strace, &["bash", "-c", &script]) else { return };
        assert_eq!(text(&mut command), expected, "strace: {strace}");
        let Some(python) = cvmfs_tests::tools::require_tool("python3") else { return };
        let script = format!(
            "import ctypes, os\n\
             here = '{DEMO}/bin'\n\
             for i in range(50):\n\
             \x20   os.chdir('{DEMO}')\n\
             \x20   os.chdir(here)\n\
             \x20   assert os.getcwd() == here, os.getcwd()\n\
             \x20   fd = os.open('{DEMO}/README.txt', os.O_PATH)\n\
             \x20   assert os.readlink(f'/proc/self/fd/{{fd}}') == '{DEMO}/README.txt'\n\
             \x20   os.close(fd)\n\
             buffer = ctypes.create_string_buffer(here.encode())\n\
             for i in range(50):\n\
             \x20   assert ctypes.CDLL(None).chdir(buffer) == 0\n\
             \x20   os.stat('/')\n\
             \x20   assert buffer.value == here.encode(), buffer.value\n\
             pid = os.fork()\n\
             if pid == 0:\n\
             \x20   os.execv(here + '/hello.sh', ['hello.sh'])\n\
             assert os.waitpid(pid, 0)[1] == 0"
        );
        let python = python.to_string_lossy().into_owned();
        let Some(mut command) = untraceable(&user, strace, &[&python, "-c", &script]) else { return };
        assert_eq!(text(&mut command), GREETING, "strace: {strace}");
    }
}

/// "Memory that a `vfork` shares is not changed", nor a path that is too short: these fail, and it is said why.
#[test]
fn what_cannot_be_changed_in_place_is_refused() {
    let user = demo();
    let Some(python) = cvmfs_tests::tools::require_tool("python3") else { return };
    let python = python.to_string_lossy().into_owned();
    let vfork = format!("import os\nos.posix_spawn('{DEMO}/bin/hello.sh', ['hello.sh'], {{}})");
    let short = format!(
        "import os\nos.chdir('/tmp'); os.symlink('{DEMO}', 'c-{0}')\ntry: os.chdir('c-{0}')\nfinally: os.unlink('c-{0}')",
        std::process::id()
    );
    for script in [vfork, short] {
        let Some(mut command) = untraceable(&user, false, &[&python, "-c", &script]) else { return };
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(said.contains("PermissionError") && said.contains("vfork"), "{said}");
    }
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
            user.by_somebody_else(&user.plain(&[]))
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
        let advice = text(&mut command);
        assert!(advice.contains(&format!("--mode={mode}")));
        assert_eq!(advice.contains("in the program's own memory"), calls == ["ptrace"], "{advice}");
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
    let script = format!("(exec >/dev/null 2>&1 </dev/null; setsid sleep 20; cat {DEMO}/README.txt) & echo started");
    let start = std::time::Instant::now();
    let out = text(&mut user.plain(&["--mode=shim", "--demo", "--", "bash", "-c", &script]));
    assert_eq!(out, "started\n");
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "waited for the background");
}
