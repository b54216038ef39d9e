//! Much at once, signals at every moment, servers that stall or are gone.
//!
//! Tests with `soak` in their names run longer with `CVMFS_TESTS_SOAK_SECONDS`, as in `ci/full`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::{FULL, Mode, SHIM, modes, modes_for_static};
use common::{User, compile, program, text};
use cvmfs_tests::forge::{Forge, Published};
use cvmfs_tests::server::{Behaviour, WebRoot};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FQRN: &str = "stress.test.example";
const ROOT: &str = "/cvmfs/stress.test.example";

/// Against a hang, nothing else.
const LONG: Duration = Duration::from_secs(120);

/// For each mode: together they take the time that is given.
fn seconds() -> u64 {
    let all: Option<u64> = std::env::var("CVMFS_TESTS_SOAK_SECONDS").ok().and_then(|s| s.parse().ok());
    all.map_or(2, |all| (all / modes().len().max(1) as u64).max(2))
}

fn publish() -> (TempDir, Published) {
    let web = tempfile::tempdir().unwrap();
    let mut forge = Forge::new(FQRN).file("/bin/script", "#!/bin/sh\nexit 0\n").mode(0o755);
    forge = forge.file("/bin/again", format!("#!/bin/sh\nexec {ROOT}/bin/again\n")).mode(0o755);
    for number in 0..200 {
        forge = forge.file(format!("/d{}/file{number}", number % 10), format!("content of file {number}\n"));
    }
    let noise: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let published = forge.file("/large", noise).publish(web.path());
    (web, published)
}

fn user_of(server: &WebRoot, published: &Published) -> User {
    user_who_waits(server, published, 2)
}

/// One who waits so many seconds for an answer.
fn user_who_waits(server: &WebRoot, published: &Published, seconds: u32) -> User {
    let options = [
        ("CVMFS_SERVER_URL", server.server_url()),
        ("CVMFS_HTTP_PROXY", "DIRECT".into()),
        ("CVMFS_PUBLIC_KEY", published.public_key.display().to_string()),
        ("CVMFS_TIMEOUT", seconds.to_string()),
        ("CVMFS_TIMEOUT_DIRECT", seconds.to_string()),
        ("CVMFS_MAX_RETRIES", "1".into()),
        ("CVMFS_BACKOFF_INIT", "1".into()),
        ("CVMFS_BACKOFF_MAX", "1".into()),
    ];
    User::with(options.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// Waits, but not for ever.
fn ended(child: &mut Child, what: &str) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > LONG + Duration::from_secs(seconds()) {
            let _ = child.kill();
            panic!("{what} hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the C program in these modes on a cold cache, where these system calls are forbidden.
fn stress_without(calls: &[&str], what: &str, modes: impl IntoIterator<Item = Mode>) {
    let (_web, published) = publish();
    for mode in modes {
        let server = WebRoot::serve(FQRN, &published.web_root);
        let user = user_of(&server, &published);
        let Some(probe) = compile(&user, "stress.c", &[]) else { return };
        let mut command = user.run_in(mode, probe);
        command.args([what, &seconds().to_string()]);
        let mut command = if calls.is_empty() { command } else { user.denied(calls, &command).unwrap() };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let status = ended(&mut child, what);
        let out = child.wait_with_output().unwrap();
        let [said, errors] = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        println!("--mode={}: {errors}", mode.name);
        assert!(status.success() && said.is_empty(), "{what}, --mode={}: {status}\n{said}{errors}", mode.name);
        assert!(!errors.contains("redirect"), "{what}, --mode={}: {errors}", mode.name);
    }
}

/// Runs the C program in every mode on a cold cache.
fn stress(what: &str) {
    stress_without(&[], what, modes());
}

#[test]
fn soak_threads_look_while_others_start_programs() {
    stress("threads");
}

#[test]
fn soak_calls_are_restarted_after_signals() {
    stress("restart");
}

#[test]
fn soak_calls_are_interrupted_and_nothing_is_lost() {
    stress("interrupt");
}

/// Before Linux 5.19 signals come also between a call's arrival and its answer: it is made once more, and neither what was
/// given for the first one is lost nor the thread that is held for it.
#[test]
fn soak_calls_come_again_while_they_are_answered() {
    for what in ["restart", "interrupt"] {
        stress_without(&["wait-killable"], what, modes().into_iter().filter(|mode| [FULL, SHIM].contains(mode)));
    }
}

/// "A supervisor that is stopped and goes on, with all of a job that is suspended or by itself, is slow for that long and
/// nothing else."
#[test]
fn soak_the_supervisor_is_stopped_again_and_again() {
    let (_web, published) = publish();
    for mode in modes().into_iter().filter(|mode| [FULL, SHIM].contains(mode)) {
        let server = WebRoot::serve(FQRN, &published.web_root);
        let user = user_who_waits(&server, &published, 60);
        let Some(probe) = compile(&user, "stress.c", &[]) else { return };
        let mut command = user.run_in(mode, probe);
        command.args(["calmly", &seconds().to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let supervisor = || std::fs::read_to_string(&children).ok()?.trim().parse::<i32>().ok();
        let mut stops = 0;
        while child.try_wait().unwrap().is_none() {
            // The program starts no others.
            if let Some(supervisor) = supervisor() {
                for signal in [libc::SIGSTOP, libc::SIGCONT] {
                    // SAFETY: a number of a process that is below the program, which has not been waited for.
                    unsafe { libc::kill(supervisor, signal) };
                }
                stops += 1;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(
            out.status.success() && said.is_empty(),
            "--mode={}: {}
{said}",
            mode.name,
            out.status
        );
        assert!(stops > 20, "--mode={}: stopped only {stops} times", mode.name);
    }
}

#[test]
fn five_hundred_programs_at_once() {
    let (_web, published) = publish();
    for mode in modes() {
        let number = if mode.name == "auto" || seconds() > 2 { 500 } else { 100 };
        let server = WebRoot::serve(FQRN, &published.web_root);
        let script = format!(
            "cd {ROOT}; for i in $(seq {number}); do (cd d$((i % 10)) && cat file$((i % 200)) && ls | wc -l && {ROOT}/bin/script || echo failed) > $W/$i 2>&1 & done; wait"
        );
        let user = user_of(&server, &published);
        let results = user.home.path().join("results");
        std::fs::create_dir(&results).unwrap();
        let mut command = user.run_in(mode, "bash");
        assert_eq!(text(command.args(["-c", &script]).env("W", &results)), "", "--mode={}", mode.name);
        for number in 1..=number {
            let result = std::fs::read_to_string(results.join(number.to_string())).unwrap();
            assert_eq!(result, format!("content of file {}\n20\n", number % 200), "{number}, --mode={}", mode.name);
        }
    }
}

/// "What is no file at the end of such a link, a pipe or a device, the program opens by itself, and what it makes there has
/// its own umask."
#[test]
fn a_pipe_of_the_host_keeps_only_its_reader_waiting() {
    let host = tempfile::tempdir().unwrap();
    let web = tempfile::tempdir().unwrap();
    let at = host.path().display();
    let published = Forge::new(FQRN)
        .symlink("/pipe", format!("{at}/pipe"))
        .symlink("/made", format!("{at}/made"))
        .file("/file", "still here\n")
        .publish(web.path());
    for mode in modes() {
        let server = WebRoot::serve(FQRN, &published.web_root);
        let user = user_of(&server, &published);
        let script = format!(
            "rm -f {at}/*; mkfifo {at}/pipe; test -p {ROOT}/pipe; (read line < {ROOT}/pipe; echo $line) & sleep 0.2; \
             cat {ROOT}/file; echo through > {at}/pipe; wait; umask 077; echo > {ROOT}/made; stat -c %a {at}/made"
        );
        let mut command = user.run_in(mode, "bash");
        let mut child = command.args(["-ec", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let status = ended(&mut child, mode.name);
        let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(0), "still here\nthrough\n600\n"), "--mode={}", mode.name);
    }
}

/// What is asked right after such a pipe was opened is answered as ever.
#[test]
fn calls_after_a_pipe_was_opened_are_seen() {
    let host = tempfile::tempdir().unwrap();
    let web = tempfile::tempdir().unwrap();
    let pipe = host.path().join("pipe");
    let published =
        Forge::new(FQRN).symlink("/pipe", pipe.display().to_string()).file("/file", "x").publish(web.path());
    for mode in modes_for_static() {
        let server = WebRoot::serve(FQRN, &published.web_root);
        let user = user_of(&server, &published);
        let Some(program) = compile(&user, "after_pipe.c", &[]) else { return };
        let script = format!(
            "rm -f {0}; mkfifo {0}; (sleep 0.3; echo > {0}) & exec {1} {ROOT}/pipe {ROOT}/file",
            pipe.display(),
            program.display()
        );
        let mut child = user.run_in(mode, "sh").args(["-ec", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let status = ended(&mut child, mode.name);
        let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(0), "0\n"), "--mode={}", mode.name);
    }
}

/// The processes of `cvmfs-run` that serve this user.
fn servants(user: &User) -> Vec<u32> {
    let home = format!("HOME={}", user.home.path().display());
    let mine = |pid: &u32| {
        let process = std::path::PathBuf::from(format!("/proc/{pid}"));
        let ours = std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program());
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        ours && environment.split(|&byte| byte == 0).any(|variable| variable == home.as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).filter(mine).collect()
}

/// Open descriptors and resident kilobytes of all of them.
fn used(user: &User) -> (usize, usize) {
    let mut sum = (0, 0);
    for pid in servants(user) {
        sum.0 += std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count());
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<usize>().ok());
        sum.1 += resident.unwrap_or(0);
    }
    sum
}

#[test]
fn soak_neither_descriptors_nor_memory_grow() {
    let (_web, published) = publish();
    for mode in modes() {
        let server = WebRoot::serve(FQRN, &published.web_root);
        let user = user_of(&server, &published);
        let Some(probe) = compile(&user, "stress.c", &[]) else { return };
        let mut child =
            user.run_in(mode, probe).arg("rounds").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut round = || {
            input.write_all(b"go\n").unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), "done", "--mode={}", mode.name);
        };
        (0..3).for_each(|_| round());
        let before = used(&user);
        assert!(before.0 > 3, "who serves? {before:?}");
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < 6 || start.elapsed() < Duration::from_secs(seconds()) {
            round();
            rounds += 1;
        }
        let after = used(&user);
        println!("--mode={}: {rounds} rounds, {before:?} became {after:?}", mode.name);
        // Connections of workers come and go; a leak of one descriptor per thousand files would be more.
        assert!(after.0 <= before.0 + 10, "--mode={}: descriptors: {before:?} became {after:?}", mode.name);
        assert!(after.1 <= before.1 + 30_000, "--mode={}: kilobytes: {before:?} became {after:?}", mode.name);
        drop(input);
        assert!(ended(&mut child, "the program").success());
    }
}

/// Waits until the server was asked for an object of `/large`.
fn wait_for_request(server: &WebRoot, published: &Published) {
    let wanted = published.objects["/large"][0].path();
    let start = Instant::now();
    while !server.paths().iter().any(|path| path.ends_with(&wanted)) {
        assert!(start.elapsed() < LONG, "it was never asked for");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn started(user: &User, mode: Mode, script: &str) -> Child {
    let mut command = user.run_in(mode, "bash");
    // Who runs the tests in the background of a script ignores what Ctrl-C sends, and so would the program.
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    // SAFETY: a child that was not waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
}

/// "A signal that ends a program ends it at once, also while it waits for a download."
#[test]
fn a_program_that_waits_for_a_download_can_be_interrupted() {
    let (_web, published) = publish();
    for mode in modes() {
        for behaviour in [Behaviour::Silent, Behaviour::Drip { bytes: 10, pause: Duration::from_millis(100) }] {
            let server = WebRoot::serve(FQRN, &published.web_root);
            server.misbehave(&published.objects["/large"][0].path(), behaviour.clone());
            // Longer than the test waits for its end.
            let user = user_who_waits(&server, &published, 2 * LONG.as_secs() as u32);
            let mut child = started(&user, mode, &format!("exec cat {ROOT}/large"));
            wait_for_request(&server, &published);
            interrupt(&child);
            let status = ended(&mut child, "an interrupted program");
            assert_eq!(status.code(), Some(130), "--mode={}, {behaviour:?}", mode.name);
            // The others go on: the same user, another file.
            let out = text(user.run_in(mode, "cat").arg(format!("{ROOT}/d7/file7")));
            assert_eq!(out, "content of file 7\n", "--mode={}, {behaviour:?}", mode.name);
        }
    }
}

/// Runs a script that must end, and gives output, errors and status.
fn result(user: &User, mode: Mode, script: &str) -> (String, String, Option<i32>) {
    let mut child = started(user, mode, script);
    let status = ended(&mut child, script);
    let out = child.wait_with_output().unwrap();
    let [out, errors] = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (out, errors, status.code())
}

/// "What the helper cannot get is an input/output error, never an absent file."
#[test]
fn without_a_network_it_is_an_error_and_not_absent() {
    let (_web, published) = publish();
    for mode in modes() {
        let server = WebRoot::serve(FQRN, &published.web_root);
        let user = user_of(&server, &published);
        let name = mode.name;
        text(user.run_in(mode, "cat").arg(format!("{ROOT}/d1/file1")));
        server.stop();
        // What was fetched is there, what was not is an error, and what never was is absent.
        let script = format!("cd {ROOT}/d1 && cat file1 && ls | wc -l && cat file11 /cvmfs/{FQRN}/d2/absent");
        let (out, errors, code) = result(&user, mode, &script);
        assert_eq!((out.as_str(), code), ("content of file 1\n20\n", Some(1)), "--mode={name}: {errors}");
        assert!(errors.contains("file11: Input/output error"), "--mode={name}: {errors}");
        assert!(errors.contains("absent: No such file"), "--mode={name}: {errors}");
        assert!(!errors.contains("file11: No such file"), "--mode={name}: {errors}");
        let cannot_start = result(&user, mode, &format!("{ROOT}/bin/script"));
        assert!(matches!(cannot_start.2, Some(126 | 127)), "--mode={name}: {cannot_start:?}");
        assert!(cannot_start.1.contains("Input/output error"), "--mode={name}: {cannot_start:?}");
        let logged = logs(&user);
        let told = format!("{errors}{logged}");
        assert!(told.contains("/d1/file11: ") && told.contains("refused"), "--mode={name}: {told}");

        // Nobody has ever seen this repository.
        let stranger = user_of(&server, &published);
        let (out, errors, code) = result(&stranger, mode, &format!("ls {ROOT}; cat {ROOT}/d1/file1; cd {ROOT}"));
        assert_eq!(out, "", "--mode={name}");
        assert_eq!(errors.matches("Input/output error").count(), 3, "--mode={name}: {code:?} {errors}");
        assert!(!errors.contains("No such file"), "--mode={name}: {errors}");

        server.restart();
        assert_eq!(text(user.run_in(mode, "cat").arg(format!("{ROOT}/d1/file11"))), "content of file 11\n");
    }
}

/// "Whether anybody reads what `cvmfs-run` says changes nothing."
#[test]
fn complaints_that_nobody_reads_stop_nothing() {
    let (_web, published) = publish();
    for mode in modes() {
        let server = WebRoot::serve(FQRN, &published.web_root);
        let user = user_of(&server, &published);
        text(user.run_in(mode, "cat").arg(format!("{ROOT}/d1/file1")));
        server.stop();
        let script = format!("exec 2>/dev/null; for n in 11 21 31; do cat {ROOT}/d1/file$n || echo none; done");
        let mut child = started(&user, mode, &script);
        drop(child.stderr.take());
        assert!(ended(&mut child, "a program whose errors nobody reads").success());
        let out = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "none\nnone\nnone\n", "--mode={}", mode.name);
    }
}

/// All logs of a user's helpers.
fn logs(user: &User) -> String {
    let mut command = Command::new("find");
    text(command.arg(user.home.path().join("run")).args(["-type", "f", "-exec", "cat", "{}", "+"]))
}

/// "The exit status is that of the program", also if it is killed while one of its calls is made again with another path.
#[test]
fn who_is_killed_in_the_middle_of_an_exec_is_told_as_killed() {
    let (web, published) = publish();
    let server = WebRoot::serve(FQRN, web.path());
    let user = user_of(&server, &published);
    for mode in modes() {
        for round in 0..8_u64 {
            let script = format!("echo $$; exec {ROOT}/bin/again");
            let mut run = user.run_in(mode, "sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
            // The time of an exec is some hundred microseconds: another part of it in each round.
            std::thread::sleep(Duration::from_micros(20_000 + 137 * round));
            assert!(Command::new("kill").args(["-9", line.trim()]).status().unwrap().success());
            let status = ended(&mut run, "a killed program");
            assert_eq!(status.code(), Some(137), "--mode={}, round {round}", mode.name);
        }
    }
}
