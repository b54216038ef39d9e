//! What an instance changed as an archive, and what `cvmfs-server` makes of it.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{ALL, INTERPOSER, User, built, listing, output, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FQRN: &str = "os.test.example";

/// Every kind of change, over three layers.
const FIRST: &str = "echo new > /etc/new; echo more >> /etc/passwd; rm /usr/share/doc/one; mv /usr/share/kept /usr/kept; chmod 750 /var/lib; \
    mkdir -p /opt/a /opt/b; echo 1 > /opt/a/1; echo 1 > /opt/b/1; ln /etc/new /opt/hard; ln -s /etc/new /opt/link; mkfifo /opt/pipe; \
    echo x > /opt/gone; n=name-that-is-quite-long; mkdir -p /opt/$n/$n/$n/$n/$n/$n; echo long > /opt/$n/$n/$n/$n/$n/$n/file; \
    touch -d '2001-02-03 04:05:06' /opt/a/1; chmod 0 /opt/b/1; printf 'with\\nnewline' > \"/opt/a\nb\"";
const SECOND: &str = "rm -r /opt/a; mkdir /opt/a; echo 2 > /opt/a/2; rm -r /usr/share/doc; echo file > /usr/share/doc; rm /opt/gone; echo 2 >> /etc/new";
const THIRD: &str = "rm -r /home; ln -s root /home; rm -r /opt/b; rm -r /var/lib; mkdir -p /var/lib/fresh; chmod 700 /etc; rm /usr/share/doc; \
    mkdir /usr/share/doc; echo again > /usr/share/doc/three";

fn server(user: &User) -> impl Fn(&[&str]) {
    cvmfs_tests::tools::copy_program(built("cvmfs-server"), user.home.path().join("bin/cvmfs-server"));
    let home = user.home.path().display().to_string();
    let command = move |user: &User, arguments: &[&str]| {
        let mut command = user.command(user.home.path().join("bin/cvmfs-server"));
        let place = ["--storage", &format!("{home}/repository"), "--keys", &format!("{home}/keys")];
        command
            .arg(arguments[0])
            .arg(FQRN)
            .args(&arguments[1..])
            .args(place)
            .env("USER", "tester")
            .env("CVMFS_CHECK_PERMISSIONS", "no");
        command
    };
    move |arguments| drop(output(&mut command(user, arguments)))
}

/// Without fractions of seconds and the times of directories, which copying does not keep.
fn comparable(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = listing(directory);
    for (path, line) in &mut all {
        let mut parts: Vec<String> = line.splitn(4, ' ').map(str::to_owned).collect();
        let timeless =
            line.starts_with('4') || line.starts_with("12") || line.starts_with('1') && path.ends_with("pipe");
        parts[2] = if timeless { String::new() } else { parts[2].split('.').next().unwrap().to_owned() };
        if line.starts_with('4') {
            parts[1] = String::new();
        }
        *line = parts.join(" ");
    }
    all
}

/// "`commit` writes what all layers of an instance changed as one archive: `cvmfs-server publish --layer --into /` makes of the tree's
/// repository what programs in the instance see."
#[test]
fn a_committed_instance_is_what_was_seen_in_it() {
    let Some(user) = User::with_interposer() else { return };
    for backend in [ALL[0], INTERPOSER] {
        commit_and_publish(&user, backend);
    }
}

fn commit_and_publish(user: &User, backend: &str) {
    let server = server(user);
    let home = user.home.path().display().to_string();
    server(&["mkfs"]);
    server(&["publish", &format!("{home}/tree")]);
    text(&mut user.new_instance("one", &[backend, "--", "sh", "-ec", FIRST]));
    // The name servers are mounted upon a file in /etc otherwise.
    let net = if backend == INTERPOSER { "--net=host" } else { "--net=none" };
    text(&mut user.fork(&["two", "--fast", "--from=one", net, "--", "sh", "-ec", SECOND]));
    text(&mut user.fork(&["three", "--fast", "--from=two", net, "--", "sh", "-ec", THIRD]));
    output(&mut user.fork(&["commit", "three", &format!("{home}/changes.tar")]));
    server(&["publish", &format!("{home}/changes.tar"), "--layer", "--into", "/"]);
    server(&["transaction", "--chroot", &format!("{home}/published")]);
    // The view from inside, without what is mounted upon it.
    fs::create_dir(user.home.path().join("seen")).unwrap();
    user.give(&user.home.path().join("seen"));
    let copy = "cd /; for f in *; do case $f in proc|sys|dev|run|tmp|cvmfs) ;; *) cp -a $f /tmp/seen/;; esac; done";
    let bind = format!("{home}/seen:/tmp/seen");
    text(&mut user.fork(&["three", "--fast", net, "--bind", &bind, "--", "sh", "-ec", copy]));
    // Readable for the comparison, in both.
    let (seen, published) = (user.home.path().join("seen"), user.home.path().join("published"));
    let (mut seen, mut published) = (comparable(&seen), comparable(&published));
    if backend == INTERPOSER {
        // That of the host lies upon it.
        seen.remove(Path::new("etc/resolv.conf"));
        published.remove(Path::new("etc/resolv.conf"));
    }
    assert!(seen.len() > 200, "{}", seen.len());
    assert!(seen.contains_key(Path::new("opt/a/2")) && !seen.contains_key(Path::new("opt/a/1")));
    for (path, line) in &seen {
        assert_eq!(published.get(path), Some(line), "{}", path.display());
    }
    assert_eq!(published.keys().find(|path| !seen.contains_key(*path)), None);
    output(&mut user.fork(&["destroy", "one", "two", "three"]));
    output(
        user.command("rm")
            .arg("-rf")
            .args(["seen", "published", "repository", "keys"].map(|name| format!("{home}/{name}"))),
    );
}

/// "What is gone is `.wh.NAME`, a directory that hides what was in it has `.wh..wh..opq`, as in layers of container images."
#[test]
fn the_archive_is_a_layer() {
    let Some(user) = User::new() else { return };
    let home = user.home.path().display().to_string();
    let changes = "rm /usr/share/doc/one; rm -r /var/lib; mkdir /var/lib; echo new > /etc/new; ln /etc/new /etc/second";
    user.made("x", changes);
    output(&mut user.fork(&["x", "--commit", &format!("{home}/x.tar")]));
    let names = text(Command::new("tar").args(["-tf", &format!("{home}/x.tar")]));
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    let expected = [
        "etc",
        "etc/new",
        "etc/second",
        "usr",
        "usr/share",
        "usr/share/doc",
        "usr/share/doc/.wh.one",
        "var",
        "var/lib",
        "var/lib/.wh..wh..opq",
    ];
    assert_eq!(names, expected);
    // To the standard output it is the same.
    let streamed = output(&mut user.fork(&["commit", "x", "-"])).stdout;
    assert!(streamed == fs::read(format!("{home}/x.tar")).unwrap());
    let listed = text(Command::new("tar").args(["-tvf", &format!("{home}/x.tar"), "etc/second"]));
    assert!(listed.starts_with('h') && listed.contains("etc/second link to etc/new"), "{listed}");
}

/// "An archive that could not be finished is not there."
#[test]
fn an_archive_is_whole_or_not_there() {
    let Some(user) = User::new() else { return };
    user.made("x", "head -c 200000 /dev/zero > /zeros");
    let archive = user.home.path().join("x.tar");
    let limited = format!("ulimit -f 100; exec {} commit x {}", user.program().display(), archive.display());
    let out = user.command("sh").args(["-c", &format!("trap '' XFSZ; {limited}")]).output().unwrap();
    assert_eq!(out.status.code(), Some(125), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!archive.exists() && !user.home.path().join("x.tar.unfinished").exists());
    assert_eq!(common::complaint(&mut user.fork(&["commit", "x", "/no/such/dir/x.tar"]), 125).lines().count(), 1);
}
