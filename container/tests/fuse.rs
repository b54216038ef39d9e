//! Operating systems and repositories that are mounted inside, through FUSE.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{User, built, output, text};
use cvmfs_tests::mount::parameters;
use cvmfs_tests::server::{Behaviour, WebRoot};
use cvmfs_tests::tools::{WITH_FUSE, is_root, require_tool};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const FQRN: &str = "os.test.example";

/// A Debian of packages that are installed here: those that every Debian has, apt, a C compiler and Python, and what they need.
fn debian(tree: &Path) {
    let script = r#"
        set -e -o pipefail
        packages=$(dpkg-query -W -f '${Essential} ${Package}\n' | sed -n 's/^yes //p'; echo apt debian-archive-keyring linux-libc-dev binutils gcc
            python=$(readlink -f /usr/bin/python3)
            for file in "$(gcc -print-prog-name=cc1)" "$(gcc -print-libgcc-file-name)" "$(gcc -print-file-name=crt1.o)" \
                /usr/bin/as /usr/bin/gcc "$python" "/usr/lib/$(basename "$python")/os.py"; do
                dpkg -S "$(realpath "$file")" | cut -d : -f 1
            done
            echo python3-minimal)
        programs='/bin/bash /bin/ls /bin/mv /usr/bin/id /usr/bin/perl /usr/bin/apt-get /usr/bin/dpkg /usr/bin/tar /usr/bin/find /usr/bin/mount'
        programs="$programs $(gcc -print-prog-name=cc1) $(gcc -print-prog-name=collect2) /usr/bin/as /usr/bin/ld /usr/bin/python3"
        {
            for package in $packages; do dpkg -L "$package"; done
            for program in $programs; do ldd "$(readlink -f $program)" | grep -o '/[^ ]*'; done
            for method in /usr/lib/x86_64-linux-gnu/libapt-p*.so.*; do echo "$method"; ldd "$method" | grep -o '/[^ ]*'; done
            printf '%s\n' /bin /lib /lib64 /sbin /etc/passwd /etc/group /var/lib/dpkg/status
        } | grep -v -e ^/usr/share/doc -e ^/usr/share/man -e ^/usr/share/locale -e ^/usr/share/info -e '/lto1$' |
            perl -MCwd=realpath -MFile::Basename -lne '
                # Names through links and behind them are two names of one file here.
                sub name { my $d = realpath(dirname($_[0])) // return; print ".", ($d eq "/" ? "" : $d), "/", basename($_[0]) }
                next if /^\/\.?$/ || !-e;
                name($_);
                name(realpath($_)) if -l;' | sort -u >"$1.names"
        mkdir -p "$1"
        tar -C / --no-recursion -c -T "$1.names" 2>/dev/null | tar -C "$1" -x
        chmod -R u+rwX "$1"
    "#;
    output(Command::new("bash").args(["-c", script, "debian"]).arg(tree));
}

/// The repository with the operating system at `/debian`, and a user who may use FUSE.
struct Site {
    user: User,
    server: WebRoot,
    options: Vec<String>,
}

impl Site {
    fn new() -> Option<Site> {
        require_tool("dpkg-query")?;
        let user = User::with_interposer()?;
        Site::publish(&user, "1", true);
        let storage = user.home.path().join("storage");
        let server = WebRoot::serve(FQRN, storage);
        let key = user.home.path().join("keys").join(format!("{FQRN}.pub"));
        let options = parameters(&server, &key, &user.home.path().join("cache"));
        let options = options.iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]).collect();
        Some(Site { user, server, options })
    }

    /// Publishes the tree, and gives all that to the user.
    fn publish(user: &User, version: &str, first: bool) {
        let at = |name: &str| user.home.path().join(name);
        let server = built("cvmfs-server");
        let keys = |command: &str| {
            let mut command_line = Command::new(&server);
            command_line.args([command, FQRN]);
            command_line
        };
        let places = |command: &mut Command| {
            command.arg("--storage").arg(at("storage")).arg("--keys").arg(at("keys"));
            output(command);
        };
        if first {
            debian(&at("debian"));
            places(&mut keys("mkfs"));
        }
        fs::write(at("debian/etc/version"), format!("{version}\n")).unwrap();
        if first {
            // What it leads to is there on the host, and in the repository it is not.
            std::os::unix::fs::symlink(at("debian"), at("debian/out")).unwrap();
        }
        places(keys("publish").arg(at("debian")).args(["--into", "/debian"]));
        user.give(&at("storage"));
        user.give(&at("keys"));
    }

    /// `cernvm-fork` with these arguments, by the user, where FUSE may be used.
    fn fork(&self, arguments: &[&str]) -> Command {
        let inner = self.user.fork(arguments);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", WITH_FUSE]).arg(self.user.home.path().join("device"));
        command.arg(inner.get_program()).args(inner.get_args());
        command.env_clear().current_dir("/").stdin(std::process::Stdio::null());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn run(&self, name: &str, more: &[&str], script: &str) -> Output {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let mut command =
            self.fork(&[&[name, "--fast"], options.as_slice(), more, &["--", "bash", "-ec", script]].concat());
        command.output().unwrap()
    }

    /// The same, which must work; gives what it prints.
    fn says(&self, name: &str, more: &[&str], script: &str) -> String {
        let out = self.run(name, more, script);
        assert!(out.status.success(), "{name}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Objects asked for so far.
    fn objects(&self) -> Vec<String> {
        self.server.paths().into_iter().filter(|path| path.contains("/data/")).collect()
    }
}

/// One site for all: making and publishing it takes longer than everything else.
#[test]
fn systems_and_repositories_through_fuse() {
    if !is_root() {
        return cvmfs_tests::tools::skip("only root can make a device for an ordinary user");
    }
    let Some(site) = Site::new() else { return };
    let said = text(&mut site.fork(&["probe"]));
    assert!(said.contains("yes  FUSE: "), "{said}");
    repositories_are_mounted_inside(&site);
    an_operating_system_out_of_a_repository(&site);
    site.server.restart();
    what_cannot_be_shown_is_said(&site);
}

/// "With `--os REPO/PATH` the operating system's tree is one of a repository, mounted inside through FUSE; it is fetched as it is used. The
/// instance stays at the snapshot with which it was made. All instances share one cache."
fn an_operating_system_out_of_a_repository(site: &Site) {
    let os = format!("--os={FQRN}/debian");
    let new = |backend: &'static str| ["--new", os.as_str(), backend].map(str::to_owned);
    let new_namespaces = new("--backend=namespaces");
    let new: Vec<&str> = new_namespaces.iter().map(String::as_str).collect();
    let works = "apt-get --version | head -n 1 | cut -d ' ' -f 1; perl -e 'print 6*7, \"\\n\"'; cat /etc/version; id -u; \
                 echo mine >/etc/mine; rm /usr/bin/tar; mv /etc/group /etc/group2; echo more >>/etc/version";
    let cached = site.objects();
    assert_eq!(site.says("a", &new, works), "apt\n42\n1\n0\n");
    assert!(site.objects().len() > cached.len());
    let first = site.objects();
    let distinct: BTreeSet<&String> = first.iter().collect();
    assert_eq!(first.len(), distinct.len(), "an object was fetched twice");
    // Far from all of it.
    let files =
        text(Command::new("find").arg(site.user.home.path().join("debian")).args(["-type", "f"])).lines().count();
    assert!(first.len() < files / 3, "{} objects for {files} files", first.len());
    // Another instance sees nothing of that, and asks for nothing that the first one fetched.
    let looks =
        "cat /etc/version; test ! -e /etc/mine; test -x /usr/bin/tar; apt-get --version | head -n 1 | cut -d ' ' -f 1";
    assert_eq!(site.says("b", &new, looks), "1\napt\n");
    assert_eq!(site.objects(), first, "everything was in the cache");
    // What was written is there again, over the same snapshot, also when there is a newer one.
    Site::publish(&site.user, "2", false);
    let again =
        "cat /etc/version /etc/mine; test ! -e /usr/bin/tar; test -e /etc/group2; test ! -e /etc/group; echo same";
    assert_eq!(site.says("a", &[], again), "1\nmore\nmine\nsame\n");
    assert_eq!(site.says("b", &["--backend=userns"], "cat /etc/version"), "1\n");
    assert_eq!(site.says("c", &new, "cat /etc/version"), "2\n");
    // Nobody inside, also not root, has a say in what the server outside does: this would name other name servers.
    let asks = format!(
        "perl -e 'sysopen(F, \"/cvmfs/{FQRN}\", 0) or die; my $b = \"127.0.0.1:53\" . \"\\0\" x 1012; \
         print ioctl(F, 0xC400CF03, $b) ? \"answered\" : $!{{ENOTTY}} ? \"refused\" : $!'"
    );
    let cvmfs = format!("--cvmfs={FQRN}");
    assert_eq!(site.says("b", &[&cvmfs, "--backend=namespaces"], &asks), "refused");
    // Forks stay where their parent is; without a network, too.
    assert_eq!(site.says("d", &["--from=a", "--net=none"], "cat /etc/version; perl -e 'print 1'"), "1\nmore\n1");
    programs_work_in_each_back_end(site, &os);
    packages_are_installed(site, &os);
    site.server.stop();
    assert_eq!(
        site.says("a", &[], "cat /etc/version; apt-get --version >/dev/null; echo offline"),
        "1\nmore\noffline\n"
    );
    let out = site.run("e", &["--new", &os, "--ephemeral"], "true");
    assert!(out.status.code().is_some(), "{out:?}");
    // Nothing is left that runs or is mounted.
    assert!(!fs::read_to_string("/proc/mounts").unwrap().contains("os.test.example"));
    let mut destroy = site.fork(&["destroy", "a", "b", "c", "d", "n", "i"]);
    assert!(destroy.output().unwrap().status.success());
}

/// A shell, a package manager, a compiler and what it made, and an interpreter; again in the next start, with what was written.
fn programs_work_in_each_back_end(site: &Site, os: &str) {
    let first = "apt-get --version | head -n 1 | cut -d ' ' -f 1; python3 -c 'import os; print(6*7, os.getuid())'; \
                 printf '#include <stdio.h>\nint main(void) { puts(\"compiled\"); }\n' >/root/x.c; gcc -o /root/x /root/x.c; /root/x; \
                 mkdir -p /usr/lib/python3/dist-packages; echo 'print(\"changed\")' >/usr/lib/python3/dist-packages/mine.py; mv /etc/host.conf /etc/host2.conf; rm /usr/bin/ld";
    let again = "/root/x; python3 -c 'import mine'; ls -d /etc/host*.conf; gcc -o /root/y /root/x.c 2>/dev/null || echo no linker";
    for backend in ["namespaces", "userns", "interposer"] {
        let option = format!("--backend={backend}");
        assert_eq!(site.says(backend, &["--new", os, &option], first), "apt\n42 0\ncompiled\n", "{backend}");
        let said = site.says(backend, &[&option], again);
        assert_eq!(said, "compiled\nchanged\n/etc/host2.conf\nno linker\n", "{backend}");
    }
    let mut destroy = site.fork(&["destroy", "namespaces", "userns", "interposer"]);
    assert!(destroy.output().unwrap().status.success());
}

/// "The operating system's own package manager installs and removes packages." Without namespaces, too.
fn packages_are_installed(site: &Site, os: &str) {
    let home = site.user.home.path();
    let package = home.join("package");
    fs::create_dir_all(package.join("DEBIAN")).unwrap();
    fs::create_dir_all(package.join("usr/bin")).unwrap();
    let control = "Package: hello-inside\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: says hello\n";
    fs::write(package.join("DEBIAN/control"), control).unwrap();
    fs::write(package.join("usr/bin/hello-inside"), "#!/bin/sh\necho hello\n").unwrap();
    output(Command::new("chmod").arg("755").arg(package.join("usr/bin/hello-inside")));
    let file = home.join("hello.deb");
    output(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&package).arg(&file));
    site.user.give(&file);
    let bind = format!("{}:/hello.deb:ro", file.display());
    let install = "mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers; dpkg -i /hello.deb >/dev/null; hello-inside; \
                   sed -i 's/^root:[^:]*:/root:x:/; s/:root:/:changed:/' /etc/passwd; mv /usr/bin/perl /usr/bin/perl5; rm /usr/bin/find";
    let later = "hello-inside; grep -c :changed: /etc/passwd; test ! -e /usr/bin/find; perl5 -e 'print 7'; \
                 dpkg -r hello-inside >/dev/null; test ! -e /usr/bin/hello-inside";
    for (name, backend) in [("n", "--backend=namespaces"), ("i", "--backend=interposer")] {
        assert_eq!(site.says(name, &["--new", os, backend, "--bind", &bind], install), "hello\n", "{backend}");
        assert_eq!(site.says(name, &[], later), "hello\n1\n7", "{backend}");
    }
}

/// "Under `namespaces` a repository that the host has not mounted is mounted inside, where the user may use FUSE."
fn repositories_are_mounted_inside(site: &Site) {
    let tree = site.user.tree().display().to_string();
    let cvmfs = format!("--cvmfs={FQRN}");
    let script = format!(
        "cat /cvmfs/{FQRN}/debian/etc/version; ls /cvmfs; touch /cvmfs/{FQRN}/x 2>/dev/null || echo read-only; \
         grep -c 'cvmfs2 /cvmfs/{FQRN} fuse ro' /proc/mounts"
    );
    let arguments = [&["x", "--fast"], site.options.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat();
    let run = |more: &[&str]| {
        let mut command = site.fork(&[arguments.as_slice(), more, &["--", "sh", "-c", &script]].concat());
        text(&mut command)
    };
    let expected = format!("1\n{FQRN}\nread-only\n1\n");
    assert_eq!(run(&["--new", "--root", &tree, &cvmfs, "--backend=namespaces"]), expected);
    assert_eq!(run(&[&cvmfs, "--net=none"]), expected);
}

/// Who waits for a server that says nothing can still be ended.
fn can_be_interrupted(site: &Site) {
    site.server.misbehave("", Behaviour::Silent);
    let options: Vec<&str> = site.options.iter().map(String::as_str).collect();
    let more = ["z", "--fast", "--new", "--ephemeral", "--os=os.test.example/debian", "-o", "CVMFS_TIMEOUT_DIRECT=600"];
    let cache = format!("CVMFS_CACHE_BASE={}", site.user.home.path().join("cold").display());
    let mut command = site.fork(&[&more, options.as_slice(), &["-o", &cache, "--", "true"]].concat());
    let asked = site.server.paths().len();
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while site.server.paths().len() == asked {
        assert!(Instant::now() < deadline, "the server is not asked");
        std::thread::sleep(Duration::from_millis(10));
    }
    output(Command::new("kill").arg(child.id().to_string()));
    let status = child.wait().unwrap();
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(status.code() == Some(125) && said.contains("ended by signal 15"), "{status}: {said}");
    site.server.behave();
}

/// "What cannot be shown is said, and the program is not started."
fn what_cannot_be_shown_is_said(site: &Site) {
    let refused = |os: &str, needle: &str| {
        let out = site.run("z", &["--new", os, "--ephemeral"], "echo started");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(125), &b""[..]), "{said}");
        assert!(said.contains(needle), "{os}: {said}");
    };
    refused("--os=os.test.example/no/such/tree", "no/such/tree");
    refused("--os=os.test.example/../x", "without '..'");
    refused("--os=os.test.example/debian/out", "debian/out");
    can_be_interrupted(site);
    // Without the cache that knows it.
    site.server.stop();
    fs::remove_dir_all(site.user.home.path().join("cache")).unwrap();
    refused("--os=os.test.example/debian", "cannot be shown");
    let mut without =
        site.user.fork(&["y", "--new", "--fast", "--backend=namespaces", "--os=os.test.example/debian", "--", "true"]);
    let device = fs::metadata("/dev/fuse").unwrap();
    if std::os::unix::fs::MetadataExt::mode(&device) & 0o006 == 0 {
        assert!(common::complaint(&mut without, 125).contains("/dev/fuse"));
    }
}
