//! An ordinary user with a small operating system, who starts instances.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, in which what cannot be done fails")]

pub(crate) use cvmfs_tests::tools::output;
use cvmfs_tests::tools::{SOMEBODY_ELSE, is_root, require_tool};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Both ways to isolate.
pub(crate) const BACKENDS: [&str; 2] = ["--backend=namespaces", "--backend=userns"];

/// All ways; what the last one writes, the others cannot read.
pub(crate) const ALL: [&str; 3] = ["--backend=namespaces", "--backend=userns", INTERPOSER];

/// The way without namespaces.
pub(crate) const INTERPOSER: &str = "--backend=interposer";

/// A user who is not root, with a home of his own.
pub(crate) struct User {
    pub(crate) home: TempDir,
    environment: Vec<(String, String)>,
}

impl User {
    /// A user whose tree has nothing but busybox; `None` without one.
    pub(crate) fn new() -> Option<User> {
        let busybox = require_tool("busybox")?;
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        for directory in ["bin", "etc", "home", "root", "usr/bin", "usr/share/doc", "var/lib"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        cvmfs_tests::tools::copy_program(&busybox, tree.join("bin/busybox"));
        let applets = String::from_utf8(output(Command::new(&busybox).arg("--list")).stdout).unwrap();
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        for (file, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/resolv.conf", "nameserver 192.0.2.1\n"),
            ("usr/share/doc/one", "1\n"),
            ("usr/share/doc/two", "2\n"),
            ("usr/share/kept", "kept\n"),
        ] {
            fs::write(tree.join(file), text).unwrap();
        }
        fs::create_dir(home.path().join("bin")).unwrap();
        cvmfs_tests::tools::copy_program(env!("CARGO_BIN_EXE_cernvm-fork"), home.path().join("bin/cernvm-fork"));
        let user = User { home, environment: Vec::new() };
        user.give(user.home.path());
        Some(user)
    }

    /// A user who can do without namespaces, too: `cvmfs-run` is there.
    pub(crate) fn with_interposer() -> Option<User> {
        let user = User::new()?;
        cvmfs_tests::tools::copy_program(built("cvmfs-run"), user.home.path().join("bin/cvmfs-run"));
        Some(user)
    }

    /// Sets a variable for all commands.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> User {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Makes everything below a path the user's.
    pub(crate) fn give(&self, path: &Path) {
        if is_root() {
            output(Command::new("chown").args(["-hR", "65534:65534"]).arg(path));
        }
    }

    /// The operating system.
    pub(crate) fn tree(&self) -> PathBuf {
        self.home.path().join("tree")
    }

    /// Where instances are.
    pub(crate) fn store(&self) -> PathBuf {
        self.home.path().join("state/cernvm-fork")
    }

    /// Any program as this user.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(if is_root() { OsStr::new(SOMEBODY_ELSE[0]) } else { program.as_ref() });
        if is_root() {
            command.args(&SOMEBODY_ELSE[1..]).arg(program.as_ref());
        }
        command.env_clear().current_dir("/").stdin(Stdio::null());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.home.path());
        command.env("XDG_STATE_HOME", self.home.path().join("state")).env("LC_ALL", "C");
        command.envs(self.environment.iter().cloned());
        command
    }

    /// The program under test.
    pub(crate) fn program(&self) -> PathBuf {
        self.home.path().join("bin/cernvm-fork")
    }

    /// `cernvm-fork` with these arguments.
    pub(crate) fn fork(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(self.program());
        command.args(arguments);
        command
    }

    /// `cernvm-fork NAME --new --fast --root TREE`, and more arguments.
    pub(crate) fn new_instance(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.fork(&[name, "--new", "--fast", "--root"]);
        command.arg(self.tree()).args(arguments);
        command
    }

    /// Makes an instance in which this script has run, and gives what it printed.
    pub(crate) fn made(&self, name: &str, script: &str) -> String {
        text(&mut self.new_instance(name, &["--", "sh", "-ec", script]))
    }

    /// Runs a script in an instance that exists and gives what it printed.
    pub(crate) fn sh(&self, name: &str, script: &str) -> String {
        text(&mut self.fork(&[name, "--fast", "--", "sh", "-ec", script]))
    }

    /// A command that fails with status 125; gives its complaint.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        complaint(&mut self.fork(arguments), 125)
    }
}

/// Runs a command that must succeed and gives its standard output as text.
pub(crate) fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&output(command).stdout).into_owned()
}

/// Runs a command that must end with this status, and gives what it complained.
pub(crate) fn complaint(command: &mut Command, status: i32) -> String {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(status), "{command:?}: {said}{}", String::from_utf8_lossy(&out.stdout));
    said
}

/// Everything below a directory: path, mode, size or link target, time, content.
pub(crate) fn listing(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let content = match () {
                () if about.is_symlink() => format!("{}", fs::read_link(&path).unwrap().display()),
                () if about.is_file() && about.len() < 10_000 => fs::read_to_string(&path).unwrap(),
                () => String::new(),
            };
            if about.is_dir() {
                directories.push(path.clone());
            }
            let line = format!("{:o} {} {}.{} {content}", about.mode(), about.len(), about.mtime(), about.mtime_nsec());
            found.insert(path.strip_prefix(directory).unwrap().to_owned(), line);
        }
    }
    found
}

/// Makes a file that can be run.
pub(crate) fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Another program of this project as it was built with the workspace; it is built now if it was not.
pub(crate) fn built(name: &str) -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_cernvm-fork")).parent().unwrap();
    let program = profile.join(name);
    if !program.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", name, "--target-dir"]).arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        output(&mut cargo);
    }
    program
}
