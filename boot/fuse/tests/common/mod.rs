//! Repositories that are really mounted, by `cvmfs-mount` as it was just built.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, in which what cannot be done fails")]

pub(crate) mod mapped;
pub(crate) mod stage;

use cvmfs_tests::tools::{SOMEBODY_ELSE, WITH_FUSE, is_root};
pub(crate) use cvmfs_tests::tools::{output, require_fuse};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The repository with every kind of entry.
pub(crate) const SMALL: &str = "small.test.example";

/// Somebody with an empty cache, and parameters.
pub(crate) struct User {
    pub(crate) home: Arc<TempDir>,
    pub(crate) options: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

/// A mounted repository; unmounted when dropped.
pub(crate) struct Mount {
    pub(crate) place: PathBuf,
    /// Stays as long as it is mounted: the cache lies there.
    pub(crate) home: Arc<TempDir>,
}

impl User {
    pub(crate) fn with(options: Vec<(String, String)>) -> User {
        let home = Arc::new(tempfile::tempdir().unwrap());
        fs::create_dir(home.path().join("mount")).unwrap();
        let mut user = User { home, options, environment: Vec::new() };
        let cache = user.path("cache").display().to_string();
        user.options.push(("CVMFS_CACHE_BASE".into(), cache));
        user.options.push(("CVMFS_MAX_RETRIES".into(), "0".into()));
        user.options.push(("CVMFS_TIMEOUT_DIRECT".into(), "2".into()));
        user
    }

    /// Somebody who uses `small.test.example` from disk; `None` where he may not use FUSE.
    pub(crate) fn of_small() -> Option<User> {
        require_fuse().then(|| User::with(cvmfs_tests::fixtures::repository(SMALL).options()))
    }

    pub(crate) fn option(mut self, name: &str, value: &str) -> User {
        self.options.retain(|(known, _)| known != name);
        self.options.push((name.into(), value.into()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> User {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where it is mounted.
    pub(crate) fn place(&self) -> PathBuf {
        self.path("mount")
    }

    /// What was logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Any program in this user's surroundings.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CVMFS_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.home.path()).env("LC_ALL", "C").envs(self.environment.iter().cloned());
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// The arguments that mount `fqrn`.
    pub(crate) fn arguments(&self, more: &[&str], fqrn: &str) -> Vec<String> {
        let mut arguments: Vec<String> = more.iter().map(|argument| (*argument).to_owned()).collect();
        for (name, value) in &self.options {
            arguments.extend(["-o".to_owned(), format!("{name}={value}")]);
        }
        if !more.iter().any(|argument| argument.starts_with("--log")) {
            arguments.extend(["--log".to_owned(), self.path("log").display().to_string()]);
        }
        arguments.extend([fqrn.to_owned(), self.place().display().to_string()]);
        arguments
    }

    /// Mounts `fqrn`; it must work.
    pub(crate) fn mount(&self, fqrn: &str) -> Mount {
        self.mount_with(&[], fqrn)
    }

    pub(crate) fn mount_with(&self, more: &[&str], fqrn: &str) -> Mount {
        output(self.command(program()).args(self.arguments(more, fqrn)));
        self.mounted()
    }

    /// What is mounted already.
    pub(crate) fn mounted(&self) -> Mount {
        Mount { place: self.place(), home: self.home.clone() }
    }

    /// Runs a shell script as a user who is not root and who may open `/dev/fuse`; `$mount` mounts `fqrn`, `$dir` is where.
    /// With `before`, the script runs below this command (`unshare ...`).
    pub(crate) fn as_somebody(&self, before: &[&str], fqrn: &str, script: &str) -> Command {
        let program = self.path("cvmfs-mount");
        cvmfs_tests::tools::copy_program(self::program(), &program);
        let mount: Vec<String> = self.arguments(&[], fqrn).iter().map(|a| format!("'{a}'")).collect();
        let script = format!(
            "set -e; program={}; dir={}; mount() {{ $program {}; }}; {script}",
            program.display(),
            self.place().display(),
            mount.join(" ")
        );
        if is_root() {
            output(Command::new("chown").arg("-R").arg("65534:65534").arg(self.home.path()));
            let mut command = self.command("unshare");
            command.args(["--mount", "sh", "-c", WITH_FUSE]).arg(self.path("device"));
            command.args(SOMEBODY_ELSE).args(before).args(["bash", "-c", &script]);
            return command;
        }
        let mut command = self.command(before.first().unwrap_or(&"bash"));
        let rest = if before.is_empty() { vec!["-c"] } else { [&before[1..], &["bash", "-c"]].concat() };
        command.args(rest).arg(script);
        command
    }
}

impl Mount {
    /// The path of something in it.
    pub(crate) fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.place.join(inside)
    }

    pub(crate) fn read(&self, inside: &str) -> std::io::Result<String> {
        fs::read_to_string(self.path(inside))
    }

    /// Asks what is mounted there.
    pub(crate) fn ask(&self, question: &str) -> Command {
        let mut command = Command::new(program());
        command.arg(question).arg(&self.place);
        command
    }

    /// The process that serves it.
    pub(crate) fn server(&self) -> u32 {
        let pid = rustix_xattr(&self.place, "user.pid");
        String::from_utf8(pid).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log: {}", fs::read_to_string(self.place.with_file_name("log")).unwrap_or_default());
        }
        let _ = Command::new(program()).args(["--unmount", "--lazy"]).arg(&self.place).output();
    }
}

/// The value of an extended attribute.
pub(crate) fn rustix_xattr(path: &Path, name: &str) -> Vec<u8> {
    try_xattr(path, name).unwrap_or_else(|error| panic!("{name} of {}: {error}", path.display()))
}

/// The same where it may fail.
pub(crate) fn try_xattr(path: &Path, name: &str) -> std::io::Result<Vec<u8>> {
    let mut value = vec![0; 65536];
    let length = rustix::fs::lgetxattr(path, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cvmfs-mount"))
}

/// Runs a command that must succeed and gives its standard output as text.
pub(crate) fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&output(command).stdout).into_owned()
}

/// Runs a command that must fail and gives what it complained.
pub(crate) fn complaint(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(!out.status.success(), "{command:?} should fail");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
