//! `--record` and `--prefetch`: what a program used, as a list, and that list fetched elsewhere.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::modes::{FULL, PRELOAD, SHIM};
use common::stage::Stage;
use common::{User, output, text};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::server::WebRoot;
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::prefetch::{Options, list, prefetch, starts};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FQRN: &str = "record.test.example";
const ROOT: &str = "/cvmfs/record.test.example";

fn revision(number: u64) -> Forge {
    // Each chunk different: equal ones would be one object.
    let large: Vec<u8> = (0..300_000_u32).map(|at| (at / 100_000) as u8).collect();
    Forge::new(FQRN)
        .revision(number)
        .ttl(3600)
        .file("/README", format!("read me {number}\n"))
        .file("/unused", "nobody reads this\n")
        .file("/dir/one", "1\n")
        .file("/dir/same", "1\n")
        .file("/dir/odd name\nof two lines \\", "odd\n")
        .file("/dir/script", format!("#!/bin/sh\ncat {ROOT}/dir/one\n"))
        .mode(0o755)
        .symlink("/dir/link", "one")
        .file("/dir/large", large)
        .chunks_of(100_000)
        .nested("/nested")
        .file("/nested/three", "3\n")
        .nested("/nested/deeper")
        .file("/nested/deeper/four", "4\n")
        .nested("/unseen")
        .file("/unseen/five", "5\n")
}

fn stage() -> Stage {
    Stage::of(FQRN, FQRN, revision(1))
}

/// Reads a file, a chunked one, one through a link, and runs a script; opens and leaves a nested catalog.
const USE: &str = "cd /cvmfs/record.test.example && cat README dir/link dir/odd* && wc -c < dir/large && dir/script && \
                   ls nested && stat -c %s nested/deeper/four && test ! -e absent";
const USED: &str = "read me 1\n1\nodd\n300000\n1\ndeeper\nthree\n2\n";

fn recording(user: &User, list: &Path, script: &str) -> Command {
    let mut command = user.run_with(&["--record", list.to_str().unwrap()], "bash");
    command.args(["-c", script]);
    command
}

/// What `cvmfs prefetch --from-list` does, into this user's cache; gives how much was fetched and what was not.
fn replay(stage: &Stage, user: &User, list: &Path) -> (u64, Vec<String>) {
    let mut options = stage.options();
    options.push(("CVMFS_CACHE_BASE".into(), user.home.path().join("cache/cvmfs").display().to_string()));
    let client = Client::new(ClientSettings { options, ..ClientSettings::default() }).unwrap();
    let lines = list::read(BufReader::new(std::fs::File::open(list).unwrap())).unwrap();
    let (starts, missing) = starts(&client, lines);
    let summary = prefetch(&client, starts, &Options::default(), &mut |_| {}).unwrap();
    let failures = missing.iter().chain(&summary.failures);
    (summary.progress.fetched, failures.map(|f| String::from_utf8_lossy(&f.what).into_owned()).collect())
}

/// "It names the catalogs and files that were used, whether they were in the cache or not, sorted and each once."
#[test]
fn the_list_has_what_was_used_and_does_not_depend_on_the_cache() {
    let stage = stage();
    let user = stage.user();
    let home = user.home.path().to_owned();
    let lists = ["cold", "warm", "view"].map(|name| {
        let list = home.join(name);
        assert_eq!(text(&mut recording(&user, &list, USE)), USED, "{name}");
        std::fs::read_to_string(&list).unwrap()
    });
    let expected = [
        format!("snapshot {FQRN} {} 1", stage.published.catalogs[""].0),
        format!("{ROOT}/dir/large"),
        format!("object {FQRN} {} 10 zlib {ROOT}/README", stage.object("/README")),
        format!("object {FQRN} {} 2 zlib {ROOT}/dir/one", stage.object("/dir/one")),
        format!(
            "object {FQRN} {} 4 zlib {ROOT}/dir/odd name\\x0aof two lines \\\\",
            stage.published.objects["/dir/odd name\nof two lines \\"][0]
        ),
    ];
    let lines: Vec<&str> = lists[0].lines().collect();
    for line in &expected {
        assert_eq!(lines.iter().filter(|found| *found == line).count(), 1, "{line}\n{}", lists[0]);
    }
    for used in
        [stage.object("/dir/script"), stage.catalog(""), stage.catalog("/nested"), stage.catalog("/nested/deeper")]
    {
        assert_eq!(lines.iter().filter(|line| line.contains(&used)).count(), 1, "{used}\n{}", lists[0]);
    }
    for unused in
        [stage.object("/unused"), stage.object("/nested/deeper/four"), stage.catalog("/unseen"), "same".into()]
    {
        assert!(!lists[0].contains(&unused), "{unused}\n{}", lists[0]);
    }
    assert_eq!(lines.len(), 2 + 1 + 3 + 4, "{}", lists[0]);
    let sorted = lines.get(2..).unwrap();
    assert!(sorted.is_sorted(), "{}", lists[0]);
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0], lists[2]);
    // Nothing is left beside it.
    let hidden = |name: &str| name.starts_with('.') && name.contains(".new-");
    assert!(!std::fs::read_dir(&home).unwrap().any(|entry| hidden(&entry.unwrap().file_name().to_string_lossy())));
}

/// The same after programs with the shim, which keep things open and warm.
#[test]
fn what_other_modes_have_warmed_is_recorded_too() {
    let stage = stage();
    let (cold, warm) = (stage.user(), stage.user());
    for mode in [SHIM, PRELOAD] {
        assert_eq!(text(warm.run_in(mode, "bash").args(["-c", USE])), USED);
    }
    let lists = [cold, warm].map(|user| {
        let list = user.home.path().join("list");
        output(&mut recording(&user, &list, USE));
        std::fs::read_to_string(list).unwrap()
    });
    assert_eq!(lists[0], lists[1]);
}

/// "What is listed is all that the program needs, on another machine and without a network."
#[test]
fn a_list_that_was_fetched_is_enough_without_a_server() {
    let stage = stage();
    let first = stage.user();
    let list = first.home.path().join("list");
    output(&mut recording(&first, &list, USE));
    let users = [FULL, SHIM, PRELOAD].map(|mode| (mode, stage.user()));
    for (_, user) in &users {
        let (fetched, missing) = replay(&stage, user, &list);
        // Nested catalogs, whole files, and the chunked one; the root catalog came with the mount.
        assert_eq!((fetched, missing), (2 + 4 + 1, Vec::new()));
        assert_eq!(replay(&stage, user, &list), (0, Vec::new()), "it is there already");
    }
    stage.server.stop();
    for (mode, user) in &users {
        assert_eq!(text(user.run_in(*mode, "bash").args(["-c", USE])), USED, "--mode={}", mode.name);
        let out = user.run_in(*mode, "cat").arg(format!("{ROOT}/unused")).output().unwrap();
        assert!(!out.status.success(), "the server is not stopped, so this says nothing");
    }
}

/// "Where the repository has changed since, it is looked up by path."
#[test]
fn an_older_list_fetches_what_is_at_its_paths_now() {
    let stage = stage();
    let first = stage.user();
    let list = first.home.path().join("list");
    output(&mut recording(&first, &list, USE));
    revision(2).remove("/dir/one").publish(stage.web.path());
    let user = stage.user();
    let (_, missing) = replay(&stage, &user, &list);
    assert_eq!(missing, [format!("{ROOT}/dir/one")]);
    stage.server.stop();
    assert_eq!(text(user.run("cat").arg(format!("{ROOT}/README"))), "read me 2\n");
}

/// "`--prefetch` fetches in the background, in every mode; the program does not wait for it."
#[test]
fn prefetch_runs_beside_the_program() {
    let stage = stage();
    let first = stage.user();
    let list = first.home.path().join("list");
    output(&mut recording(&first, &list, USE));
    for mode in [FULL, SHIM, PRELOAD] {
        let user = stage.user();
        stage.server.forget_requests();
        let arguments = [&format!("--mode={}", mode.name), "--prefetch", list.to_str().unwrap()];
        // It touches nothing of the repository, and stays until told to go.
        let mut child = user.run_with(&arguments, "cat").stdin(Stdio::piped()).spawn().unwrap();
        let wanted = stage.published.objects["/README"][0].path();
        let all = [wanted, stage.published.objects["/dir/large"][2].path()];
        let start = Instant::now();
        while !all.iter().all(|object| stage.server.paths().iter().any(|path| path.ends_with(object.as_str()))) {
            assert!(start.elapsed() < Duration::from_secs(30), "--mode={}: {:?}", mode.name, stage.server.paths());
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    // A run inside of another one.
    let user = stage.user();
    let inner = format!("{} --verbose --prefetch {} -- true; sleep 2", common::program().display(), list.display());
    let out = output(user.run_with(&["--mode=full"], "bash").args(["-c", &inner]));
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(message.contains("prefetch: 7 of 8 objects"), "{message}");
}

#[test]
fn a_list_is_written_when_the_run_is_interrupted() {
    let stage = stage();
    let user = stage.user();
    for signal in [libc::SIGTERM, libc::SIGUSR1] {
        let list = user.home.path().join(format!("list-{signal}"));
        let script = format!("cat {ROOT}/README; exec sleep 60");
        let mut child = recording(&user, &list, &script).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "read me 1\n");
        // SAFETY: a child that was not waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal));
        let list = std::fs::read_to_string(list).unwrap();
        assert!(list.contains(&format!(" {ROOT}/README\n")), "{list}");
    }
}

fn refused(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(125), 0), "{command:?}");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Nothing is started then, and it is said what is wrong.
#[test]
fn lists_and_files_that_are_none_are_refused() {
    let stage = stage();
    let user = stage.user();
    let file = |name: &str, bytes: &[u8]| {
        let path = user.home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = format!("object {FQRN} {} 10 zlib {ROOT}/README\n", stage.object("/README"));
    let cases = [
        (file("foreign", b"\x7fELF\x02\x01\n\0"), "line 1"),
        (file("cut", &[good.as_bytes(), &good.as_bytes()[..60]].concat()), "line 2"),
        (file("damaged", good.replace("zlib", "zlip").as_bytes()), "'zlip'"),
        (user.home.path().join("absent").to_str().unwrap().to_owned(), "No such file"),
        (user.home.path().to_str().unwrap().to_owned(), "directory"),
    ];
    for (list, reason) in cases {
        let message = refused(user.run_with(&["--prefetch", &list], "echo").arg("started"));
        assert!(message.contains(&list) && message.contains(reason), "{message}");
    }
    for (place, reason) in [("/absent/list", "No such file"), ("/", "regular file"), ("/dev/null", "regular file")] {
        let message = refused(user.run_with(&["--record", place], "echo").arg("started"));
        assert!(message.contains(place) && message.contains(reason), "{message}");
    }
    for mode in ["--mode=shim", "--mode=preload"] {
        let message = refused(user.run_with(&["--record", "list", mode], "echo").arg("started"));
        assert!(message.contains("--mode=full"), "{message}");
    }
    let inner = format!("{} --record list -- echo started", common::program().display());
    let message = refused(user.run_with(&["--mode=full"], "bash").args(["-c", &inner]));
    assert!(message.contains("outermost"), "{message}");
    // One of a repository that nobody knows: the program runs, and it is said what is missing.
    let list =
        file("stranger", format!("object stranger.test.example {} 10 zlib\n", stage.object("/README")).as_bytes());
    let out = output(user.run_with(&["--prefetch", &list], "sleep").arg("1"));
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(message.contains("stranger.test.example"), "{message}");
}

/// The same with a repository that the official tools wrote, and with all that is in it.
#[test]
fn a_whole_repository_is_recorded_and_replayed() {
    let fixture = cvmfs_tests::fixtures::repository("small.test.example");
    let server = WebRoot::serve("small.test.example", &fixture.web_root);
    let mut options = fixture.options();
    options.retain(|(name, _)| name != "CVMFS_SERVER_URL");
    options.push(("CVMFS_SERVER_URL".into(), server.server_url()));
    options.push(("CVMFS_MAX_RETRIES".into(), "0".into()));
    let (first, second) = (User::with(options.clone()), User::with(options.clone()));
    let list = first.home.path().join("list");
    let script = format!("cd {} && find . -type f -print0 | sort -z | xargs -0 md5sum 2>&1", common::SMALL);
    let recorded = text(&mut recording(&first, &list, &script));
    assert!(recorded.lines().count() > 1000, "{recorded}");
    options.push(("CVMFS_CACHE_BASE".into(), second.home.path().join("cache/cvmfs").display().to_string()));
    let client = Client::new(ClientSettings { options, ..ClientSettings::default() }).unwrap();
    let lines = list::read(BufReader::new(std::fs::File::open(&list).unwrap())).unwrap();
    let (starts, missing) = starts(&client, lines);
    let summary = prefetch(&client, starts, &Options::default(), &mut |_| {}).unwrap();
    assert!(missing.is_empty() && summary.failures.is_empty(), "{missing:?} {:?}", summary.failures);
    server.stop();
    let replayed = text(second.run_with(&["--mode=shim"], "bash").args(["-c", &script]));
    let different = recorded.lines().zip(replayed.lines()).find(|(recorded, replayed)| recorded != replayed);
    assert_eq!(different, None);
    assert_eq!(recorded.lines().count(), replayed.lines().count());
}
