//! A real S3 server, which fails on demand.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by several tests")]

use cvmfs_server::storage::S3Storage;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const BUCKET: &str = "bucket";
const KEY: &str = "the-key";
const SECRET: &str = "the/secret+";

/// The server; dropping it ends it.
pub struct S3Server {
    process: Child,
    port: u16,
}

impl S3Server {
    /// Starts a server with an empty bucket that everybody may read; `None` (after a loud line) where it is not installed.
    pub fn start() -> Option<S3Server> {
        let Some(python) = python() else {
            cvmfs_tests::tools::skip("the S3 server is not installed: 'ci/pypi s3-server' does that");
            return None;
        };
        let mut command = Command::new(python);
        command.arg(script()).args(["serve", KEY, SECRET, BUCKET]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(S3Server { process, port: line.trim().parse().expect("the server tells its port") })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The address of a part of the bucket.
    pub fn place(&self, prefix: &str, options: &str) -> String {
        format!("s3://{BUCKET}/{prefix}?endpoint={}{options}", self.endpoint())
    }

    /// The URL at which everybody reads it.
    pub fn url(&self, prefix: &str) -> String {
        format!("{}/{BUCKET}/{prefix}", self.endpoint())
    }

    /// The variables with the right key.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("HOME", "/".to_owned()),
        ]
    }

    /// A part of the bucket, opened with the right key.
    pub fn open(&self, prefix: &str, options: &str) -> S3Storage {
        let environment = self.environment();
        let variable =
            |asked: &str| environment.iter().find(|(name, _)| *name == asked).map(|(_, value)| value.clone());
        S3Storage::open_with(&self.place(prefix, options), &variable).unwrap()
    }

    /// Lets every Nth request fail in some way; see the script.
    pub fn fail(&self, mode: &str, every: u32) {
        self.ask(&format!("/chaos?mode={mode}&every={every}"));
    }

    /// The requests so far.
    pub fn log(&self) -> Vec<String> {
        self.ask("/chaos?mode=log").lines().map(str::to_owned).collect()
    }

    /// What the server answers to an anonymous GET, with its headers.
    pub fn ask(&self, path: &str) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port)
            .unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Copies what lies below a prefix into a directory, with a client that shares no code with this project.
    pub fn dump(&self, prefix: &str, directory: &Path) {
        let _ = std::fs::remove_dir_all(directory);
        let mut command = Command::new(python().unwrap());
        command.arg(script()).args(["dump", &self.endpoint(), BUCKET, prefix]).arg(directory);
        cvmfs_tests::tools::output(&mut command);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/s3server.py")
}

/// The Python in which `ci/pypi s3-server` installed the server.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/s3-server/bin/python");
    python.exists().then_some(python)
}
