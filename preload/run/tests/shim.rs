//! The supervisor and the shim together: whoever answers, the answer is the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::User;
use common::modes::{FULL, SHIM};
use cvmfs_tests::tools::{is_root, require_tool};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Everything that is told about some paths, three times over: the first time catalogs are attached one after another,
/// later the shim knows them.
const SCRIPT: &str = r#"
import os, random
root = '/cvmfs/small.test.example'
seen = []
for directory, names, files in os.walk(root):
    seen += [os.path.join(directory, name) for name in names + files]
assert len(seen) > 2000, len(seen)
seen.sort()
random.seed(SEED)
random.shuffle(seen)
def tell(path):
    s = os.lstat(path)
    link = os.readlink(path) if os.path.islink(path) else ''
    listing = sorted(os.listdir(path)) if os.path.isdir(path) else ''
    rights = [os.access(path, mode) for mode in (os.R_OK, os.W_OK, os.X_OK)]
    return s.st_mode, s.st_ino, s.st_size, s.st_nlink, s.st_mtime_ns, s.st_dev, s.st_uid, link, listing, rights
sample = [path for path in seen if '/nested' in path or '/software' in path or '/symlinks' in path] + seen[:300]
for path in sample:
    print(path, tell(path))
first = [tell(path) for path in sample]
assert first == [tell(path) for path in sample]
"#;

#[test]
fn the_shim_says_what_the_supervisor_says() {
    let Some(python) = require_tool("python3") else { return };
    let said = |mode, seed: u32| {
        // Nothing is attached when it starts: walking only the top first makes the order differ with the seed.
        let script = SCRIPT.replace("SEED", &seed.to_string());
        let user = User::of_small().env("CVMFS_ANCHOR_VAR", "anchor_value");
        common::text(user.run_in(mode, &python).args(["-c", &script]))
    };
    for seed in [1, 2] {
        assert!(said(SHIM, seed) == said(FULL, seed), "with seed {seed}");
    }
}

/// Deep paths first, then their neighbours: catalogs come in every order.
#[test]
fn catalogs_come_in_any_order() {
    let Some(python) = require_tool("python3") else { return };
    let script = r#"
import os, sys
root = '/cvmfs/small.test.example'
paths = ['/nested/a/b/c/deeper/f', '/nested/z/file00', '/software/gcc/v2', '/nested/a/file00', '/nested/plain/x',
    '/software/gcc/v1', '/nested/a/b/file03', '/software/python/v2', '/deep/l00', '/nested/a/b/c/file07', '/software/gcc/v3']
if sys.argv[1] == 'back': paths.reverse()
def tell(path):
    s = os.stat(root + path)
    return path, s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns, sorted(os.listdir(root + path)) if os.path.isdir(root + path) else ''
first = [tell(path) for path in paths]
assert first == [tell(path) for path in paths]
print(sorted(map(str, first)))
"#;
    let said = |mode, order| common::text(User::of_small().run_in(mode, &python).args(["-c", script, order]));
    let expected = said(FULL, "forth");
    assert_eq!(said(SHIM, "forth"), expected);
    assert_eq!(said(SHIM, "back"), expected);
}

/// Looks twice, and once more when it is told to.
const LOOK_AGAIN: &str = r#"
import os, sys
root = '/cvmfs/small.test.example'
paths = [root + '/files/tiny.txt', root + '/nested/a/b/file03', root + '/symlinks/relative']
def look():
    for path in paths:
        os.stat(path), os.lstat(path), os.access(path, os.R_OK)
        os.close(os.open(path, os.O_RDONLY))
    assert not os.path.exists(root + '/files/absent') and 'tiny.txt' in os.listdir(root + '/files')
for round in ('first', 'second', 'third'):
    look()
    print(round, flush=True)
    sys.stdin.readline()
"#;

/// "What is warm is answered without the supervisor, for every user."
#[test]
fn what_is_warm_needs_no_supervisor() {
    // One that everybody can start.
    let python = "/usr/bin/python3";
    if !std::path::Path::new(python).exists() {
        return cvmfs_tests::tools::skip("there is no /usr/bin/python3");
    }
    let checked = |mut command: Command| {
        let mut child = command.args(["-c", LOOK_AGAIN]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut lines = BufReader::new(output).lines().map(Result::unwrap);
        let mut go_on = || input.write_all(b"\n").unwrap();
        assert_eq!(lines.next().unwrap(), "first");
        go_on();
        assert_eq!(lines.next().unwrap(), "second");
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let supervisor: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        // SAFETY: a number of a process that is below ours until the end of this function.
        let send = move |signal| unsafe { libc::kill(supervisor, signal) };
        assert_eq!(send(libc::SIGSTOP), 0);
        let (answered, waited) = std::sync::mpsc::channel::<()>();
        let rescuer = std::thread::spawn(move || {
            let in_time = waited.recv_timeout(Duration::from_secs(60)) != Err(RecvTimeoutError::Timeout);
            send(libc::SIGCONT);
            in_time
        });
        go_on();
        assert_eq!(lines.next().unwrap(), "third");
        drop(answered);
        assert!(rescuer.join().unwrap(), "it had to ask");
        go_on();
        assert!(child.wait().unwrap().success());
    };
    let user = User::of_small();
    checked(user.run_in(SHIM, python));
    if is_root() {
        let user = User::of_small();
        checked(user.by_somebody_else(&user.run_in(SHIM, python)));
    }
}

/// "A library that the user preloads is asked before the shim."
#[test]
fn libraries_of_the_user_come_first() {
    let Some(_) = require_tool("cc") else { return };
    let user = User::of_small();
    let source = user.home.path().join("own.c");
    let library = user.home.path().join("own.so");
    std::fs::write(&source, "int access(const char *path, int mode) { return 77; }").unwrap();
    common::output(std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source));
    let Some(python) = require_tool("python3") else { return };
    let script = "import ctypes; print(ctypes.CDLL(None).access(b'/', 0))";
    let mut command = user.run_in(SHIM, python);
    command.env("LD_PRELOAD", &library).args(["-c", script]);
    assert_eq!(common::text(&mut command), "77\n");
}

/// Where the loader could not find the shim, everything works without it.
#[test]
fn a_cache_whose_path_has_a_space_does_without() {
    let user = User::of_small();
    let cache = user.home.path().join("a cache").display().to_string();
    let user = user.env("XDG_CACHE_HOME", cache);
    let tiny = "/cvmfs/small.test.example/files/tiny.txt";
    let out =
        common::output(user.run_with(&["--mode=auto"], "sh").args(["-c", &format!("cat {tiny}; echo $LD_PRELOAD")]));
    assert_eq!(String::from_utf8_lossy(&out.stdout), "hello cvmfs\n\n");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = user.run_with(&["--mode=shim"], "true").output().unwrap();
    assert_eq!(out.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&out.stderr).contains("space"));
}
