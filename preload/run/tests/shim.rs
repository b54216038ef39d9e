//! The supervisor and the shim together: whoever answers, the answer is the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::User;
use common::modes::{FULL, SHIM};
use cvmfs_tests::tools::require_tool;

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
