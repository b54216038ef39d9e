//! Repositories made by the commands themselves.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several tests, in which what cannot be done fails"
)]

pub mod tree;

use cvmfs_tests::fixtures::RepositoryFixture;
use cvmfs_tests::mount::Mount;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub const FQRN: &str = "published.test.example";

/// A repository with its keys in a directory of its own.
pub struct Published {
    pub dir: TempDir,
    /// What commands are told about its storage, if it is not in that directory.
    place: Option<String>,
    environment: Vec<(&'static str, String)>,
}

impl Published {
    /// A new repository, made with more options of `mkfs`.
    pub fn new(options: &[&str]) -> Published {
        Published::made(None, Vec::new(), options)
    }

    /// The same with its storage at some other place, which is found with these variables.
    pub fn at(place: String, environment: Vec<(&'static str, String)>, options: &[&str]) -> Published {
        Published::made(Some(place), environment, options)
    }

    fn made(place: Option<String>, environment: Vec<(&'static str, String)>, options: &[&str]) -> Published {
        let published = Published { dir: tempfile::tempdir().unwrap(), place, environment };
        // Making keys takes seconds.
        let keys = [
            ("masterkey", include_str!("../../../tests/src/forge/keys/standard-master.pem")),
            ("key", include_str!("../../../tests/src/forge/keys/standard-signer.pem")),
            ("crt", include_str!("../../../tests/src/forge/keys/standard-certificate.pem")),
        ];
        std::fs::create_dir(published.keys()).unwrap();
        for (suffix, pem) in keys {
            let file = published.keys().join(format!("{FQRN}.{suffix}"));
            std::fs::write(&file, pem).unwrap();
            std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        published.ok("mkfs", options);
        published
    }

    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    pub fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// `cvmfs-server COMMAND FQRN --storage ... --keys ...`, before it is run.
    pub fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        let place = self.place.clone().map_or_else(|| self.storage().into_os_string(), OsString::from);
        run.arg(command).arg(FQRN).arg("--storage").arg(place).arg("--keys").arg(self.keys()).args(arguments);
        run.envs(self.environment.iter().cloned());
        run
    }

    pub fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(command, arguments).output().unwrap()
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command} {arguments:?}: {out}{err}");
        out.into_owned()
    }

    /// Runs a command that must fail, and returns what it says.
    pub fn fails(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        assert!(!output.status.success(), "{command} {arguments:?} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Publishes and returns what `--json` says.
    pub fn publish(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.ok("publish", &[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap()
    }

    pub fn fixture(&self) -> RepositoryFixture {
        RepositoryFixture {
            web_root: self.storage(),
            fqrn: FQRN.to_owned(),
            public_key: self.keys().join(format!("{FQRN}.pub")),
        }
    }

    /// A client that reads straight from the storage, whoever may.
    pub fn mount(&self) -> Mount {
        Mount::of(&self.fixture()).option("CVMFS_CHECK_PERMISSIONS", "no")
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Published {
    /// Lets a program that shares no code with this project look at everything; returns what it found.
    pub fn check(&self) -> serde_json::Value {
        self.check_with(&[])
    }

    /// The same after a publisher was killed: the reflog may know more than the manifest says.
    pub fn check_loosely(&self) -> serde_json::Value {
        self.check_with(&["any-revision", "reflog-may-be-newer"])
    }

    fn check_with(&self, more: &[&str]) -> serde_json::Value {
        for tool in ["python3", "openssl"] {
            cvmfs_tests::tools::require_tool(tool).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check.py");
        let public_key = self.fixture().public_key;
        let run = Command::new("python3")
            .arg(script)
            .args([FQRN.as_ref(), self.storage().as_path(), &public_key])
            .args(more)
            .output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        serde_json::from_slice(&run.stdout).unwrap()
    }
}
