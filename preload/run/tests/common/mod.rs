//! Running programs under the `cvmfs-run` that was just built.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, in which what cannot be done fails")]

pub(crate) mod modes;
pub(crate) mod native;
pub(crate) mod stage;

use cvmfs_tests::fixtures::{self, RepositoryFixture};
pub(crate) use cvmfs_tests::tools::{SOMEBODY_ELSE, output};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The repository with every kind of entry.
pub(crate) const SMALL: &str = "/cvmfs/small.test.example";
/// The demo repository.
pub(crate) const DEMO: &str = "/cvmfs/demo.example.org";

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cvmfs-run"))
}

/// The preload library. Cargo builds the libraries of other packages only when asked to.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let profile = program().parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--package", "cvmfs-preload"])
            .arg("--target-dir")
            .arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the library does not build");
        profile.join("libcvmfs_preload.so")
    })
}

/// A user with an empty cache, and parameters.
pub(crate) struct User {
    /// Home, cache and sockets.
    pub(crate) home: TempDir,
    pub(crate) options: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    kept: Vec<TempDir>,
}

impl User {
    /// Somebody who uses this repository from disk.
    pub(crate) fn of(repository: &RepositoryFixture) -> User {
        User::with(repository.options())
    }

    /// Somebody who uses `small.test.example` from disk.
    pub(crate) fn of_small() -> User {
        User::of(&fixtures::repository("small.test.example"))
    }

    /// Somebody with these parameters.
    pub(crate) fn with(options: Vec<(String, String)>) -> User {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("run")).unwrap();
        User { home, options, environment: Vec::new(), kept: Vec::new() }
    }

    /// The same user with other parameters.
    pub(crate) fn using(self, repository: &RepositoryFixture) -> User {
        User { options: repository.options(), ..self }
    }

    /// Keeps a directory as long as the user.
    pub(crate) fn keeping(mut self, directory: TempDir) -> User {
        self.kept.push(directory);
        self
    }

    /// Adds a variable to the environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> User {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    fn settle(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CVMFS_") && name != "CVMFS_TESTS_REQUIRE_TOOLS" {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("XDG_RUNTIME_DIR", self.home.path().join("run"))
            .env("CVMFS_RUN_IDLE", "5")
            .env("CVMFS_RUN_LIBRARY", library())
            .env("CVMFS_RUN_PROGRAM", program())
            .env("LC_ALL", "C")
            .envs(self.environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::null());
    }

    /// `cvmfs-run` with these arguments, without any parameters.
    pub(crate) fn plain(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.settle(&mut command);
        command.args(arguments);
        command
    }

    /// Any program in this user's surroundings, without the library.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.settle(&mut command);
        command
    }

    /// A command in a place where some system calls are forbidden; `None` without a compiler.
    pub(crate) fn denied(&self, calls: &[&str], command: &Command) -> Option<Command> {
        let mut denied = self.command(&compile(self, "deny.c", &[])?);
        denied.args(calls).arg("--").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => denied.env(name, value),
                None => denied.env_remove(name),
            };
        }
        Some(denied)
    }

    /// A `cvmfs-run` command as user 65534 gives it; only root can do this.
    pub(crate) fn by_somebody_else(&self, run: &Command) -> Command {
        let mut command = self.command(Path::new(SOMEBODY_ELSE[0]));
        command.args(&SOMEBODY_ELSE[1..]).arg(self.open_to_others()).args(run.get_args());
        // Beside the program, where others can read it.
        command.env_remove("CVMFS_RUN_LIBRARY").env_remove("CVMFS_RUN_PROGRAM");
        command
    }

    /// Gives the home to user 65534 and copies what they need into it: the build directory may be closed to them.
    /// Gives their `cvmfs-run`.
    pub(crate) fn open_to_others(&self) -> PathBuf {
        let bin = self.home.path().join("others");
        if !bin.exists() {
            std::fs::create_dir(&bin).unwrap();
            cvmfs_tests::tools::copy_program(program(), bin.join("cvmfs-run"));
            std::fs::copy(library(), bin.join(library().file_name().unwrap())).unwrap();
            for name in [".", "run", "cache", "config", "others"] {
                let path = self.home.path().join(name);
                std::fs::create_dir_all(&path).unwrap();
                std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
            }
        }
        bin.join("cvmfs-run")
    }

    /// `cvmfs-run -o ... -- program`, to which arguments can be added.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>) -> Command {
        self.run_in(modes::current(), program)
    }

    /// The same with more arguments for `cvmfs-run`.
    pub(crate) fn run_with(&self, arguments: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = self.plain(arguments);
        for (name, value) in &self.options {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        command.arg("--").arg(program);
        if arguments.iter().any(|argument| ["--mode=full", "--bare"].contains(argument)) {
            // Tells the test programs that the kernel lists directories.
            command.env("KERNEL_LISTS", "1");
        }
        command
    }

    /// The program with nothing but the library preloaded and the parameters in the environment.
    pub(crate) fn preloaded(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.settle(&mut command);
        command.envs(self.options.iter().cloned()).env("LD_PRELOAD", library());
        command
    }

    /// Runs a shell script under `cvmfs-run` and gives what it prints.
    pub(crate) fn sh(&self, script: &str) -> String {
        text(self.run("bash").args(["-c", script]))
    }

    /// Runs a Python script under `cvmfs-run`; it must say `done`.
    pub(crate) fn python(&self, script: &str) {
        let Some(python) = cvmfs_tests::tools::require_tool("python3") else { return };
        let out = text(self.run(python).args(["-c", &format!("import os, sys\n{script}\nprint('done')")]));
        assert!(out.ends_with("done\n"), "{out}");
    }
}

/// Runs a command that must succeed and gives its standard output as text.
pub(crate) fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&output(command).stdout).into_owned()
}

/// Compiles a C program of `programs/` and gives the path of the executable, `None` without a compiler.
pub(crate) fn compile(user: &User, name: &str, flags: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
    let program = user.home.path().join(name.trim_end_matches(".c"));
    cvmfs_tests::tools::compile("cc", flags, &[source], &program).then_some(program)
}
