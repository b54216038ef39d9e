//! Runs the `cvmfs` program on recorded repositories.

#![allow(dead_code, reason = "each test program uses a part of this")]

use cvmfs_tests::fixtures::{self, RepositoryFixture, Truth};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A user with a home, an empty cache, and a repository.
pub(crate) struct Bench {
    pub(crate) fixture: RepositoryFixture,
    pub(crate) place: tempfile::TempDir,
    pub(crate) options: Vec<String>,
}

impl Bench {
    /// For a good repository.
    pub(crate) fn new(fqrn: &str) -> Bench {
        Bench::of(fixtures::repository(fqrn))
    }

    /// For any fixture.
    pub(crate) fn of(fixture: RepositoryFixture) -> Bench {
        let options = fixture.options().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let place = tempfile::tempdir().unwrap();
        Bench { fixture, place, options }
    }

    /// One more `-o`; later ones beat earlier ones.
    pub(crate) fn option(&mut self, name: &str, value: impl AsRef<str>) {
        self.options.push(format!("{name}={}", value.as_ref()));
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.place.path().join("cache")
    }

    /// The repository's path.
    pub(crate) fn root(&self) -> String {
        format!("/cvmfs/{}", self.fixture.fqrn)
    }

    /// A path inside the repository.
    pub(crate) fn path(&self, inside: &str) -> String {
        format!("{}/{inside}", self.root())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cvmfs"));
        command.env_clear().env("HOME", self.place.path()).env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
        command.env("CVMFS_ANCHOR_VAR", "anchor_value").current_dir(self.place.path());
        command.arg("-o").arg(format!("CVMFS_CACHE_BASE={}", self.cache().display()));
        command.args(["-o", "CVMFS_CLAIM_OWNERSHIP=no"]);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it, expects success without complaints, and returns what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaints.is_empty(),
            "cvmfs {arguments:?}: {:?}: {complaints}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs it and expects this exit status; returns what it complained.
    #[track_caller]
    pub(crate) fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "cvmfs {arguments:?}: {complaints}");
        complaints
    }
}

/// Reads lines of `cvmfs --json find`.
pub(crate) fn records(json: &[u8]) -> Vec<Truth> {
    let lines = json.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    // The record of the official client has inode numbers, which differ from mount to mount.
    let with_inode = |line: &[u8]| [b"{\"ino\": 0, ", &line[1..]].concat();
    lines
        .map(|line| {
            serde_json::from_slice(&with_inode(line)).unwrap_or_else(|e| panic!("{e}: {}", line.escape_ascii()))
        })
        .collect()
}

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(directory).unwrap() {
        let item = item.unwrap();
        match item.file_type().unwrap().is_dir() {
            true => files.extend(self::files(&item.path())),
            false => files.push(item.path()),
        }
    }
    files
}
