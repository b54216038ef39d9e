//! What is mounted when, and what becomes of it when the repository changes during the run.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::{FULL, Mode, PRELOAD, SHIM, in_every_mode};
use common::stage::Stage;
use common::{User, output, program, text};
use cvmfs_tests::forge::Forge;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

const FQRN: &str = "changing.test.example";
const ROOT: &str = "/cvmfs/changing.test.example";
const MODES: [Mode; 3] = [PRELOAD, FULL, SHIM];

fn revision(number: u64) -> Forge {
    Forge::new(FQRN)
        .revision(number)
        .ttl(1)
        .file("/dir/version", format!("revision {number}\n"))
        .file(format!("/dir/only{number}"), "")
        .nested("/nested")
        .file("/nested/version", format!("nested {number}\n"))
}

fn stage() -> Stage {
    Stage::of(FQRN, "changing.test.example,other.test.example", revision(1))
}

/// A shell under `cvmfs-run` that is told what to do line by line.
struct Shell {
    arguments: String,
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    fn start(user: &User, arguments: &[&str]) -> Shell {
        let mut command = user.run_with(arguments, "bash");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Shell { arguments: arguments.join(" "), child, answers }
    }

    /// The answer in one line.
    fn does(&mut self, script: &str) -> String {
        let line = format!("{{ {script}; }} 2>&1 | tr '\\n' ' '; echo\n");
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        self.answers.next().unwrap().unwrap().trim_end().to_owned()
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    /// Enters the repository and holds a file and a directory.
    fn settle(&mut self) {
        let line = format!("cd {ROOT}/dir; exec 3<version; exec 4<{ROOT}/dir\n");
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        assert_eq!(self.does("cat version"), "revision 1");
        assert_eq!(self.does(&format!("cat {ROOT}/nested/version")), "nested 1");
    }

    fn looks_until(&mut self, file: &str, content: &str) {
        let script = format!("for i in $(seq 200); do [ \"$(cat {file})\" = '{content}' ] && break; sleep 0.1; done");
        self.does(&script);
        assert_eq!(self.does(&format!("cat {file}")), content, "{:?}", self.arguments);
    }
}

/// "A newer revision is looked for when the time to live of the root catalog is over. What is open, and every node
/// found before, stays on the revision in which it was found."
#[test]
fn a_new_revision_appears_while_what_is_held_stays() {
    for mode in MODES {
        let stage = stage();
        let user = stage.user();
        let mut shell = Shell::start(&user, &[&format!("--mode={}", mode.name)]);
        shell.settle();
        revision(2).publish(stage.web.path());
        shell.looks_until(&format!("{ROOT}/dir/version"), "revision 2");
        assert_eq!(shell.does(&format!("cat {ROOT}/nested/version; ls {ROOT}/dir")), "nested 2 only2 version");
        // What is open is the old one, and so is the working directory.
        assert_eq!(shell.does("cat <&3"), "revision 1", "{}", mode.name);
        assert_eq!(shell.does("pwd; /bin/pwd"), format!("{ROOT}/dir {ROOT}/dir"), "{}", mode.name);
        let in_it = shell.does("ls; ls /proc/self/fd/4/; cat version; cat ../nested/version");
        // "Under the preload library a program that starts later finds the newest revision in a directory that was
        // entered or opened before."
        let expected = match mode == PRELOAD {
            true => "only2 version only2 version revision 2 nested 2",
            false => "only1 version only1 version revision 1 nested 1",
        };
        assert_eq!(in_it, expected, "{}", mode.name);
        // Until it is entered anew.
        assert_eq!(shell.does(&format!("cd {ROOT}/dir; cat version")), "revision 2", "{}", mode.name);
        shell.end();
    }
}

/// "With `--pin` each repository stays at the snapshot that was mounted first, also for programs that start later."
#[test]
fn a_pinned_run_sees_one_snapshot() {
    for mode in MODES {
        let stage = stage();
        let user = stage.user();
        let mode = format!("--mode={}", mode.name);
        let mut shell = Shell::start(&user, &["--pin", &mode]);
        shell.settle();
        revision(2).publish(stage.web.path());
        // Long enough for the time to live, as the test above shows.
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(
            shell.does(&format!("cat {ROOT}/dir/version; ls {ROOT}/dir; cat version")),
            "revision 1 only1 version revision 1",
            "{mode}"
        );
        assert_eq!(stage.looks(), 1, "{mode}");
        // Another run at the same time is at the snapshot that is the newest when it starts, and stays there.
        let mut other = Shell::start(&user, &["--pin", &mode]);
        assert_eq!(other.does(&format!("cat {ROOT}/dir/version")), "revision 2", "{mode}");
        revision(3).publish(stage.web.path());
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(other.does(&format!("cat {ROOT}/dir/version")), "revision 2", "{mode}");
        assert_eq!(shell.does(&format!("cat {ROOT}/dir/version")), "revision 1", "{mode}");
        let inner = format!("{} --pin {mode} -- cat {ROOT}/dir/version", program().display());
        assert_eq!(shell.does(&inner), "revision 1", "{mode}");
        shell.end();
        other.end();
        assert_eq!(text(user.run_with(&[&mode], "cat").arg(format!("{ROOT}/dir/version"))), "revision 3\n", "{mode}");
    }
}

/// "`/cvmfs` lists the repositories that are configured or mounted; the first touch mounts."
#[test]
fn the_first_touch_mounts() {
    in_every_mode(|| {
        let stage = stage();
        let user = stage.user();
        assert_eq!(
            user.sh("ls /cvmfs; cd /cvmfs; echo *"),
            format!("{FQRN}\nother.test.example\n{FQRN} other.test.example\n")
        );
        assert_eq!(stage.server.paths(), Vec::<String>::new());
        assert_eq!(user.sh(&format!("stat -c %F {ROOT}")), "directory\n");
        assert!(stage.looks() > 0);
    });
}

/// "A `cvmfs-run` inside of another one joins it."
#[test]
fn a_run_inside_of_another_joins_it() {
    for outer in MODES {
        let stage = stage();
        let user = stage.user();
        let (own, file) = (program().display(), format!("{ROOT}/dir/version"));
        let mut shell = Shell::start(&user, &[&format!("--mode={}", outer.name)]);
        assert_eq!(shell.does(&format!("cat {file}")), "revision 1");
        let before = stage.looks();
        for inner in ["", "--mode=auto", "--mode=preload"] {
            assert_eq!(
                shell.does(&format!("{own} {inner} -- {own} -- cat {file}")),
                "revision 1",
                "{outer:?}: {inner}"
            );
            assert_eq!(
                shell.does(&format!("{own} {inner} -- sh -c 'cd {ROOT}/dir && pwd && ls'")),
                format!("{ROOT}/dir only1 version")
            );
            assert_eq!(
                shell
                    .does(&format!("{own} {inner} -- no-such-program || echo $?; {own} -- sh -c 'exit 7' || echo $?"))
                    .rsplit_once("127 7")
                    .map(|(_, rest)| rest),
                Some(""),
                "{outer:?}: {inner}"
            );
        }
        // Looks come by time, but not one for each of them.
        assert!(stage.looks() - before < 9, "{outer:?}: {} looks", stage.looks() - before);
        let refused = shell.does(&format!("{own} --pin -- echo started"));
        assert!(refused.contains("outermost") && !refused.contains("started"), "{outer:?}: {refused}");
        shell.end();
    }
}

/// "Runs at the same time share the cache: what one has fetched no other asks for."
#[test]
fn runs_at_the_same_time_share_the_cache() {
    in_every_mode(|| {
        let stage = stage();
        let user = stage.user();
        let script = format!("cat {ROOT}/dir/version {ROOT}/nested/version; ls {ROOT}");
        let start = |_| user.run("bash").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let runs: Vec<Child> = (0..8).map(start).collect();
        for run in runs {
            let out = run.wait_with_output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "revision 1\nnested 1\ndir\nnested\n");
        }
        let mut objects = stage.server.paths();
        objects.retain(|path| path.contains("/data/"));
        let asked = objects.len();
        objects.sort();
        objects.dedup();
        assert_eq!(objects.len(), asked, "an object was fetched twice: {:?}", stage.server.paths());
        output(user.run("cat").arg(format!("{ROOT}/dir/version")));
    });
}
