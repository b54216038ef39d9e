//! Instances without any namespace: what is particular to them. What they have in common with the others is tested there.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{INTERPOSER, User, built, complaint, listing, output, text};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::server::WebRoot;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const FQRN: &str = "os.test.example";

fn made(user: &User, name: &str, script: &str) -> String {
    text(&mut user.new_instance(name, &[INTERPOSER, "--", "sh", "-ec", script]))
}

/// "Programs see themselves as root: `getuid` and its like tell 0, and changing users succeeds and changes nothing. Owners and bits that
/// they give are told again, also after the next start; no real file gets them."
#[test]
fn programs_are_root() {
    let Some(user) = User::with_interposer() else { return };
    let script = "id -u; id -g; id -G; echo x > /etc/x; chown 33:44 /etc/x; chmod 4751 /etc/x; chown -h 5 /bin/sh; \
        chmod 1777 /var/lib; chown 7 /usr/share/doc/one; cp -p /etc/x /etc/y; chmod 000 /etc/y; cat /etc/y; stat -c %u /proc/self";
    assert_eq!(made(&user, "x", script), "0\n0\n0\nx\n0\n");
    let told = "stat -c '%u %g %a' /etc/x /etc/y /var/lib /usr/share/doc/one /usr/share/doc/two; cat /etc/y";
    let owner = "0 0 644";
    assert_eq!(user.sh("x", told), format!("33 44 4751\n33 44 0\n0 0 1777\n7 0 644\n{owner}\nx\n"));
    for layer in fs::read_dir(user.store().join(".layers")).unwrap() {
        let real = fs::metadata(layer.unwrap().path().join("fs/etc/x")).unwrap();
        assert_eq!(real.mode() & 0o6000, 0, "nobody outside runs it as somebody else");
    }
}

/// "Paths are followed as after `chroot`: `..` at the root stays there, and links with absolute targets lead to places inside. Names in
/// `/proc` are told as they are inside."
#[test]
fn names_are_those_inside() {
    let Some(user) = User::with_interposer() else { return };
    let secret = user.home.path().join("secret");
    fs::write(&secret, "outside").unwrap();
    symlink(&secret, user.tree().join("etc/out")).unwrap();
    symlink("../../../../../../../../../..", user.tree().join("usr/up")).unwrap();
    symlink("/usr/share", user.tree().join("shared")).unwrap();
    let script = format!(
        "cat /etc/out 2>/dev/null || echo nothing there; cat {0} 2>/dev/null || echo nor there; ls /usr/up/../.. | head -1; \
         cd /shared/doc; pwd -P; readlink /proc/self/cwd; readlink -f /proc/self/exe; readlink -f ../../../../../bin/sh; cat /proc/self/cwd/one; \
         exec 5< one; readlink /proc/self/fd/5; cat /proc/self/root/etc/passwd; cat < /dev/fd/5; mkdir /new; cd /new; pwd -P; rmdir /new; \
         busybox pwd 2>/dev/null || echo gone; ls -di / /.. /usr/up/ | sort -u -k1,1 | wc -l",
        secret.display()
    );
    let expected = "nothing there\nnor there\nbin\n/usr/share/doc\n/usr/share/doc\n/bin/busybox\n/bin/busybox\n1\n/usr/share/doc/one\n\
        root:x:0:0:root:/root:/bin/sh\n1\n/new\ngone\n1\n";
    assert_eq!(made(&user, "x", &script), expected);
}

/// "What needs a namespace is refused: `--net=none`, the operating system's init. What was written by this back-end the others cannot
/// read, nor the other way round."
#[test]
fn what_cannot_be_is_refused() {
    let Some(user) = User::with_interposer() else { return };
    let tree = user.tree().display().to_string();
    let refused: [(&[&str], &str); 2] = [(&["--fast", "--net=none"], "network namespace"), (&[], "process namespace")];
    for (options, why) in refused {
        let arguments = [&["x", "--new", INTERPOSER, "--root", &tree], options].concat();
        let said = complaint(&mut user.fork(&arguments), 125);
        assert!(said.contains(why), "{said}");
        assert_eq!(text(&mut user.fork(&["list"])), "", "nothing is made for nothing");
    }
    made(&user, "x", "true");
    user.made("y", "true");
    for (name, backend) in [("x", "--backend=userns"), ("y", INTERPOSER)] {
        let said = user.refused(&[name, "--fast", backend, "--", "true"]);
        assert!(said.contains("commit it"), "{said}");
    }
    assert_eq!(complaint(&mut user.fork(&["x", "--fast", "--", "/no/such"]), 127).lines().count(), 1);
}

/// "Signals, status, terminal and the program's children are as under the other back-ends; what the program leaves behind ends with it."
#[test]
fn programs_end_as_they_do_elsewhere() {
    let Some(user) = User::with_interposer() else { return };
    let marker = format!("CERNVM_FORK_TEST=left-{}", user.home.path().display());
    made(&user, "x", "true");
    let traps =
        "trap 'echo got TERM; exit 5' TERM; (sleep 1000 <&- >&- 2>&- &); echo ready; while :; do sleep 0.05; done";
    let mut command = user.fork(&["x", "--fast", "--env", &marker, "--", "sh", "-c", traps]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    assert_eq!(lines.next().as_deref(), Some("ready"));
    output(user.command("kill").arg(child.id().to_string()));
    assert_eq!(lines.next().as_deref(), Some("got TERM"));
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let left = || {
        let all =
            fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.unwrap().path().join("environ")).ok());
        all.filter(|all| all.windows(marker.len()).any(|part| part == marker.as_bytes())).count()
    };
    // The process that ended them ends last.
    let start = Instant::now();
    while left() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "something goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(user.fork(&["x", "--fast", "--", "sh", "-c", "kill -9 $$"]).status().unwrap().code(), Some(137));
}

/// Many processes that write at once each find what they wrote, and nothing is lost.
#[test]
fn many_write_at_once() {
    let Some(user) = User::with_interposer() else { return };
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (mkdir /usr/share/doc/d$i; echo $i > /usr/share/doc/d$i/f; \
        mv /usr/share/doc/d$i /var/lib/m$i; echo $i >> /etc/passwd; ln -s $i /etc/l$i; rm /etc/l$i; test $(cat /var/lib/m$i/f) = $i) & done; wait; \
        ls /usr/share/doc; ls /var/lib | wc -l; wc -l < /etc/passwd; ls /etc";
    assert_eq!(made(&user, "x", script), "one\ntwo\n20\n21\npasswd\nresolv.conf\n");
    // Also to files that several make, or one takes away while another opens it.
    let script = "for i in 1 2 3 4 5 6 7 8; do (for n in $(seq 50); do echo $i >> /var/lib/log$n || echo failed; \
        echo $i >> /etc/lock || echo failed; rm -f /etc/lock 2>/dev/null || true; done) & done; wait; cat /var/lib/log* | wc -l";
    assert_eq!(made(&user, "y", script), "400\n");
}

/// The file system of the tree has bits and owners of its own, which root does not ask for.
#[test]
fn root_reads_what_is_closed() {
    let Some(user) = User::with_interposer() else { return };
    let forge = Forge::new(FQRN)
        .tree("/os", user.tree())
        .dir("/os/closed")
        .mode(0o700)
        .owner(0, 0)
        .file("/os/closed/file", "mine\n")
        .mode(0o600)
        .owner(0, 0);
    let web = user.home.path().join("web");
    let published = forge.publish(&web);
    user.give(&web);
    let key = format!("CVMFS_PUBLIC_KEY={}", published.public_key.display());
    let user = user
        .env("CVMFS_SERVER_URL", format!("file://{}", published.web_root.display()))
        .env("CVMFS_HTTP_PROXY", "DIRECT");
    let os = format!("{FQRN}/os");
    let script = "cd /closed; ls; cat file; echo more >> file; cat file; touch new; ls";
    let arguments = ["x", "--new", "--fast", INTERPOSER, "-o", &key, "--os", &os, "--", "sh", "-ec", script];
    assert_eq!(text(&mut user.fork(&arguments)), "file\nmine\nmine\nmore\nfile\nnew\n");
}

/// Where every call is traced, the first one whose answer takes memory is answered once.
#[test]
fn what_is_made_is_made_once() {
    let Some(user) = User::with_interposer() else { return };
    let layer = user.home.path().join("layer");
    fs::create_dir(&layer).unwrap();
    user.give(&layer);
    let mut command = user.command(user.home.path().join("bin/cvmfs-run"));
    command.arg("--mode=trace").arg("--root").arg(user.tree()).arg("--layer").arg(&layer);
    command.args(["--", "/bin/busybox", "sh", "-ec", "set -C; echo x > /new; cat /new"]);
    assert_eq!(text(&mut command), "x\n");
}

/// "With `--bind` a file or directory of the host is seen, by its own owner and bits; with `:ro` nobody writes to it inside."
#[test]
fn places_of_the_host() {
    let Some(user) = User::with_interposer() else { return };
    let shared = user.home.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "host\n").unwrap();
    user.give(&shared);
    let bind = |target: &str| format!("{}:{target}", shared.display());
    let script = "cat /data/in/file; echo more >> /data/in/file; mkdir /data/in/made; mv /data/in/made /data/in/moved; ls /data /data/in; \
        cd /data/in; pwd -P; cat ../../read/file; for c in 'touch /read/new' 'rm /read/file' 'mv /read/file /read/x' 'rmdir /data/in' \
        'chmod 600 /read/file' 'mv /data/in /data/out'; do $c 2>&1 | sed 's/.*: //'; done; mv /data/in/moved /etc/moved; ls -d /etc/moved";
    let arguments = [INTERPOSER, "--bind", &bind("/data/in"), "--bind", &bind("/read:ro"), "--", "sh", "-ec", script];
    let seen = text(&mut user.new_instance("x", &arguments));
    let refused = "Read-only file system\nRead-only file system\nRead-only file system\nDevice or resource busy\nRead-only file system\n\
        Device or resource busy\n";
    let expected = format!("host\n/data:\nin\n\n/data/in:\nfile\nmoved\n/data/in\nhost\nmore\n{refused}/etc/moved\n");
    assert_eq!(seen, expected);
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "host\nmore\n");
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 1);
}

/// "The tree can be the host's own root (`--root /`), as far as the user may read it."
#[test]
fn a_layer_over_the_host() {
    let Some(user) = User::with_interposer() else { return };
    // Not in `/tmp`, which is empty inside.
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = place.path().join("note");
    fs::write(&file, "host\n").unwrap();
    user.give(place.path());
    let note = file.display();
    let script = format!(
        "cat {note}; echo more >> {note}; cat {note}; rm /etc/passwd; ls /etc/passwd 2>/dev/null || echo gone; echo new > /usr/bin/new; cat /usr/bin/new; \
         cd /usr/bin; pwd -P; readlink /proc/self/cwd; id -u; ls -A /tmp | wc -l; echo kept > /tmp/x; \
         for opened in /dev/null /proc/cpuinfo /etc/group /usr/bin/new; do test $(stat -c %d:%i $opened) = $(stat -c %d:%i - < $opened); done"
    );
    let arguments = ["x", "--new", "--fast", INTERPOSER, "--root", "/", "--", "sh", "-ec", &script];
    assert_eq!(text(&mut user.fork(&arguments)), "host\nhost\nmore\ngone\nnew\n/usr/bin\n/usr/bin\n0\n0\n");
    assert_eq!(user.sh("x", "cat /usr/bin/new; test ! -e /etc/passwd; ls -A /tmp | wc -l"), "new\n0\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "host\n");
    assert!(Path::new("/etc/passwd").exists() && !Path::new("/usr/bin/new").exists());
}

/// A program of the host finds its loader inside or nowhere, also where it is seen at its own path.
#[test]
fn loaders_are_those_inside() {
    let Some(user) = User::with_interposer() else { return };
    let place = user.home.path().join("place");
    fs::create_dir(&place).unwrap();
    cvmfs_tests::tools::copy_program("/usr/bin/env", place.join("env"));
    user.give(&place);
    let place = place.display().to_string();
    let mut command =
        user.new_instance("x", &[INTERPOSER, "--bind", &place, "--", "sh", "-c", &format!("{place}/env")]);
    let said = complaint(&mut command, 127);
    assert!(said.contains("not found") && !said.contains("shared libraries"), "{said}");
}

/// "The tree can be a directory of a repository: then what is not changed is read from the cache, which all instances share."
#[test]
fn an_operating_system_out_of_a_repository() {
    let Some(user) = User::with_interposer() else { return };
    let home = user.home.path().display().to_string();
    let server = built("cvmfs-server");
    let place = ["--storage", &format!("{home}/repository"), "--keys", &format!("{home}/keys")];
    for arguments in [vec!["mkfs", FQRN], vec!["publish", FQRN, &format!("{home}/tree"), "--into", "os/1"]] {
        output(user.command(&server).args(arguments).args(place).env("USER", "tester"));
    }
    let web = WebRoot::serve(FQRN, user.home.path().join("repository"));
    let key = format!("CVMFS_PUBLIC_KEY={home}/keys/{FQRN}.pub");
    let user = user.env("CVMFS_SERVER_URL", web.server_url()).env("CVMFS_HTTP_PROXY", "DIRECT");
    let os = format!("{FQRN}/os/1");
    let run = |name: &str, script: &str| {
        text(&mut user.fork(&[name, "--new", "--fast", INTERPOSER, "-o", &key, "--os", &os, "--", "sh", "-ec", script]))
    };
    let changes = "cat /usr/share/doc/one; echo more >> /etc/passwd; cat /etc/passwd; rm /usr/share/doc/two; mv /usr/share/kept /kept; ls / /usr/share/doc; \
        ls /cvmfs; touch /cvmfs/os.test.example/x 2>&1 | sed 's/.*: //'; ln /bin/busybox /bin/other; cmp /bin/busybox /bin/other && echo linked";
    let seen = run("a", changes);
    let names = "bin\ncvmfs\ndev\netc\nhome\nkept\nproc\nroot\nrun\nsys\ntmp\nusr\nvar";
    let expected = format!(
        "1\nroot:x:0:0:root:/root:/bin/sh\nmore\n/:\n{names}\n\n/usr/share/doc:\none\n{FQRN}\nRead-only file system\nlinked\n"
    );
    assert_eq!(seen, expected);
    // Another instance, at another time: only what is new is asked for.
    assert_eq!(
        run("b", "cat /etc/passwd /usr/share/doc/two /usr/share/kept"),
        "root:x:0:0:root:/root:/bin/sh\n2\nkept\n"
    );
    let mut asked: HashMap<String, usize> = HashMap::new();
    for path in web.paths().into_iter().filter(|path| path.contains("/data/")) {
        *asked.entry(path).or_default() += 1;
    }
    assert!(asked.len() >= 5 && asked.values().all(|times| *times == 1), "{asked:?}");
    // The first one again.
    let again = ["a", "--fast", "-o", &key, "--", "sh", "-ec", "cat /etc/passwd /kept; ls /usr/share/doc"];
    assert_eq!(text(&mut user.fork(&again)), "root:x:0:0:root:/root:/bin/sh\nmore\nkept\none\n");
    // "Both stay at the snapshot over which they were begun."
    fs::write(user.tree().join("usr/share/doc/one"), "newer\n").unwrap();
    fs::write(user.tree().join("usr/share/doc/three"), "newest\n").unwrap();
    let tree = user.tree().display().to_string();
    output(user.command(&server).args(["publish", FQRN, &tree, "--into", "os/1"]).args(place).env("USER", "tester"));
    let look = "cat /usr/share/doc/one; ls /usr/share/doc | wc -l";
    assert_eq!(text(&mut user.fork(&["b", "--fast", "-o", &key, "--", "sh", "-ec", look])), "1\n2\n");
    let forked = ["f", "--fast", "--from=b", "-o", &key, "--", "sh", "-ec", look];
    assert_eq!(text(&mut user.fork(&forked)), "1\n2\n");
    assert_eq!(run("n", look), "newer\n3\n");
    let archive = user.home.path().join("a.tar");
    output(&mut user.fork(&["commit", "a", &archive.display().to_string()]));
    let names = text(std::process::Command::new("tar").arg("-tf").arg(&archive));
    assert!(names.contains("usr/share/doc/.wh.two") && names.contains("etc/passwd"), "{names}");
    assert!(!names.contains("proc") && !names.contains("usr/share/doc/one"), "{names}");
}

/// The tree of the host is as it was, whatever is done.
#[test]
fn the_tree_is_only_read() {
    let Some(user) = User::with_interposer() else { return };
    let before = listing(&user.tree());
    let wild = "chmod 600 /etc/passwd; touch /usr/share/doc/one; exec 4<>/usr/share/kept; echo x >&4; : > /usr/share/doc/two; \
        rm -rf /home /var; truncate -s 5 /etc/resolv.conf 2>/dev/null || true; mv /root /toor; chown 9 /usr; ln /usr/share/kept /kept; echo y > /kept; \
        cat /usr/share/kept";
    assert_eq!(made(&user, "x", wild), "y\n");
    assert_eq!(listing(&user.tree()), before);
}
