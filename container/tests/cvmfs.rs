//! Repositories inside: those that the host has mounted, and those that `cvmfs-run` shows.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{User, built, text};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::server::WebRoot;
use cvmfs_tests::tools::is_root;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const FQRN: &str = "fork.test.example";

/// Copies the libraries that a program needs into the tree, where the loader looks for them.
fn add_libraries(tree: &Path, program: &Path) {
    for word in text(Command::new("ldd").arg(program)).split_whitespace().filter(|word| word.starts_with('/')) {
        let to = tree.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        cvmfs_tests::tools::copy_program(word, to);
    }
}

/// "A repository that the host has not mounted is shown by `cvmfs-run`, which is brought in, on the cache of the user: what one instance
/// has fetched no other asks for."
#[test]
fn instances_share_one_cache() {
    let Some(user) = User::new() else { return };
    let program = built("cvmfs-run");
    cvmfs_tests::tools::copy_program(&program, user.home.path().join("bin/cvmfs-run"));
    add_libraries(&user.tree(), &program);
    let web = tempfile::tempdir().unwrap();
    let forge = Forge::new(FQRN)
        .file("/data/one", "one\n")
        .file("/data/two", "two\n")
        .file("/bin/exe", "#!/bin/sh\ncat /cvmfs/fork.test.example/data/$1\necho \"$0\"; exit 4\n")
        .mode(0o755);
    let published = forge.publish(web.path());
    let key = user.home.path().join("key.pub");
    fs::copy(&published.public_key, &key).unwrap();
    user.give(user.home.path());
    let server = WebRoot::serve(FQRN, web.path());
    let user = user.env("CVMFS_SERVER_URL", server.server_url()).env("CVMFS_HTTP_PROXY", "DIRECT");
    let key = format!("CVMFS_PUBLIC_KEY={}", key.display());
    let cvmfs = format!("--cvmfs={FQRN}");
    let run = |name: &str, more: &[&str]| {
        let out = user.new_instance(name, &[&["-o", &key, &cvmfs], more].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned(), said)
    };
    let exe = format!("--run=/cvmfs/{FQRN}/bin/exe");
    let (code, out, said) = run("a", &[&exe, "--", "one"]);
    assert_eq!((code, out.as_str()), (Some(4), "one\n/cvmfs/fork.test.example/bin/exe\n"), "{said}");
    // Another instance, at another time: only what is new is asked for.
    let (code, out, said) = run("b", &["--backend=userns", &exe, "--", "two"]);
    assert_eq!((code, out.as_str()), (Some(4), "two\n/cvmfs/fork.test.example/bin/exe\n"), "{said}");
    let mut asked: HashMap<String, usize> = HashMap::new();
    for path in server.paths().into_iter().filter(|path| path.contains("/data/")) {
        *asked.entry(path).or_default() += 1;
    }
    assert!(asked.len() >= 4 && asked.values().all(|times| *times == 1), "{asked:?}");
    // What is written below /cvmfs is refused; nothing of the cache lies in a layer.
    let (_, out, _) =
        run("c", &["--", "sh", "-c", "touch /cvmfs/fork.test.example/x 2>/dev/null || echo read-only; ls /cvmfs"]);
    assert_eq!(out, format!("read-only\n{FQRN}\n"));
    for layer in fs::read_dir(user.store().join(".layers")).unwrap() {
        let written: Vec<_> = fs::read_dir(layer.unwrap().path().join("fs")).unwrap().collect();
        assert!(written.is_empty(), "{written:?}");
    }
}

/// "A repository that the host has mounted is bound, read-only; it is touched first, so that an automounter mounts it."
#[test]
fn what_the_host_has_mounted_is_bound() {
    let Some(user) = User::new() else { return };
    // Only root can mount for the host.
    if !is_root() {
        return;
    }
    // A host of its own for this test: its mounts are nobody else's.
    let mounts = format!(
        "set -e; mount --make-rprivate /; mkdir -p /cvmfs 2>/dev/null; mount -t tmpfs host /cvmfs; mkdir -p /cvmfs/{FQRN}; \
         mount -t tmpfs repository /cvmfs/{FQRN}; echo host > /cvmfs/{FQRN}/file; chmod 777 /cvmfs/{FQRN}; exec \"$@\""
    );
    let looks = format!("cat /cvmfs/{FQRN}/file; touch /cvmfs/{FQRN}/x 2>/dev/null || echo read-only; ls /cvmfs");
    let cvmfs = format!("--cvmfs={FQRN}");
    let inner = user.new_instance("a", &[&cvmfs, "--", "sh", "-c", &looks]);
    let had = Path::new("/cvmfs").exists();
    let mut command = user.command("true");
    let environment: Vec<_> = command.get_envs().map(|(n, v)| (n.to_owned(), v.unwrap().to_owned())).collect();
    command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &mounts, "sh"]).arg(inner.get_program()).args(inner.get_args());
    let said = text(command.env_clear().envs(environment).current_dir("/"));
    if !had {
        fs::remove_dir("/cvmfs").unwrap();
    }
    assert_eq!(said, format!("host\nread-only\n{FQRN}\n"));
}

/// "Where neither is possible it is said what is missing."
#[test]
fn without_cvmfs_run_it_says_so() {
    let Some(user) = User::new() else { return };
    let said = user.refused(&["x", "--new", "--fast", "--root", "/usr", &format!("--cvmfs={FQRN}"), "--", "true"]);
    assert!(said.contains("neither beside cernvm-fork nor in PATH"), "{said}");
    assert!(user.refused(&["x", "--cvmfs=../x", "--new", "--fast"]).contains("../x"));
    assert!(user.refused(&["x", "--new", "--fast", "-o", "lxc.utsname=x"]).contains("no LXC"));
    assert!(user.refused(&["x", "--new", "--fast", &format!("--cvmfs={FQRN}"), "-o", "nonsense"]).contains("nonsense"));
}
