//! What a program finds that is traced by its supervisor, beside what all modes are tried with: threads, signals and
//! job control, which go through the tracer's hands.
#![allow(clippy::unwrap_used, reason = "a test that cannot run its program fails")]

mod common;

use common::modes::TRACE;
use common::{DEMO, User, compile, output, program, text};
use std::process::Command;

fn demo() -> User {
    User::with(Vec::new())
}

/// `cvmfs-run` with these arguments where somebody else has a listener already.
fn below_a_listener(user: &User, arguments: &[&str]) -> Option<Command> {
    let listen = compile(user, "listen.c", &[])?;
    let mut command = user.command(&listen);
    command.arg(program()).args(arguments);
    Some(command)
}

fn python(script: &str) {
    let Some(python) = cvmfs_tests::tools::require_tool("python3") else { return };
    let user = demo();
    let script =
        format!("import os, signal, subprocess, sys, threading, time\nDEMO = '{DEMO}'\n{script}\nprint('done')");
    let mut arguments = TRACE.arguments.to_vec();
    arguments.extend(["--demo", "--"]);
    let out = text(user.plain(&arguments).arg(python).args(["-c", &script]));
    assert!(out.ends_with("done\n"), "{out}");
}

/// "Where a listener is there already, `auto` traces": static programs are served, too.
#[test]
fn a_listener_of_somebody_else_is_no_obstacle() {
    let user = demo();
    let script = format!("busybox cat {DEMO}/README.txt | head -n 1; cd {DEMO}/bin && ./hello.sh");
    let Some(mut command) = below_a_listener(&user, &["--verbose", "--demo", "--", "bash", "-c", &script]) else {
        return;
    };
    let out = output(&mut command);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(said, "demo.example.org\nHello, world, from demo.example.org!\n");
    assert!(String::from_utf8_lossy(&out.stderr).contains("trying to trace"), "{out:?}");
    let Some(mut command) = below_a_listener(&user, &["--mode=full", "--demo", "--", "true"]) else { return };
    assert_eq!(command.output().unwrap().status.code(), Some(125));
    let Some(mut command) = below_a_listener(&user, &["--json", "probe"]) else { return };
    let found: serde_json::Value = serde_json::from_str(&text(&mut command)).unwrap();
    assert_eq!(found["mode"], "trace", "{found:#}");
}

#[test]
fn a_process_is_stopped_and_goes_on() {
    python(
        "child = subprocess.Popen(['sh', '-c', f'while :; do cat {DEMO}/README.txt; done'], stdout=subprocess.DEVNULL)\n\
         for _ in range(20):\n\
         \x20   os.kill(child.pid, signal.SIGSTOP)\n\
         \x20   _, status = os.waitpid(child.pid, os.WUNTRACED)\n\
         \x20   assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP, status\n\
         \x20   state = open(f'/proc/{child.pid}/stat').read().rsplit(')', 1)[1].split()[0]\n\
         \x20   assert state in 'tT', state\n\
         \x20   os.kill(child.pid, signal.SIGCONT)\n\
         \x20   _, status = os.waitpid(child.pid, os.WCONTINUED)\n\
         \x20   assert os.WIFCONTINUED(status), status\n\
         child.terminate()\n\
         assert child.wait() == -signal.SIGTERM",
    );
}

#[test]
fn any_thread_may_run_another_program() {
    python(
        "for _ in range(20):\n\
         \x20   pid = os.fork()\n\
         \x20   if pid == 0:\n\
         \x20       for _ in range(4):\n\
         \x20           threading.Thread(target=lambda: [os.stat(DEMO) for _ in range(10**9)], daemon=True).start()\n\
         \x20       threading.Thread(target=lambda: os.execv(f'{DEMO}/bin/hello.sh', ['hello.sh'])).start()\n\
         \x20       time.sleep(60)\n\
         \x20   assert os.waitpid(pid, 0)[1] == 0",
    );
}

#[test]
fn threads_and_processes_come_and_go_together() {
    python(
        "def work(n):\n\
         \x20   for _ in range(10):\n\
         \x20       assert 'hello.sh' in os.listdir(f'{DEMO}/bin')\n\
         \x20       assert open(f'{DEMO}/README.txt').read().startswith('demo')\n\
         \x20       assert subprocess.run([f'{DEMO}/bin/hello.sh'], stdout=subprocess.DEVNULL).returncode == 0\n\
         \x20       pid = os.posix_spawn(f'{DEMO}/bin/hello.sh', ['x'], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0)])\n\
         \x20       assert os.waitpid(pid, 0)[1] == 0\n\
         threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n\
         [t.start() for t in threads]\n\
         [t.join() for t in threads]",
    );
}

#[test]
fn signals_reach_their_handlers_and_calls_are_made_again() {
    python(
        "seen = 0\n\
         def handler(*_):\n\
         \x20   global seen\n\
         \x20   seen += 1\n\
         signal.signal(signal.SIGALRM, handler)\n\
         signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n\
         until = time.monotonic() + 1\n\
         while time.monotonic() < until or seen < 100:\n\
         \x20   os.chdir(f'{DEMO}/bin')\n\
         \x20   assert os.getcwd() == f'{DEMO}/bin'\n\
         \x20   os.close(os.open(f'{DEMO}/bin', os.O_PATH))\n\
         \x20   assert open(f'{DEMO}/README.txt').read(4) == 'demo'\n\
         signal.setitimer(signal.ITIMER_REAL, 0)",
    );
}

/// "A supervisor that traces takes the program with it when it is killed", and says so.
#[test]
fn the_death_of_the_supervisor_is_told() {
    let user = demo();
    let mut arguments = TRACE.arguments.to_vec();
    let script = format!("kill -9 $(ps -o ppid= -p $$); sleep 60; cat {DEMO}/README.txt");
    arguments.extend(["--demo", "--", "bash", "-c", &script]);
    let out = user.plain(&arguments).output().unwrap();
    assert_eq!(out.status.code(), Some(125), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("the supervisor process died"), "{out:?}");
}
