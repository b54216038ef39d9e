//! Services of `cvmfs-server`, and requests as they are.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by several tests")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A service that listens on a port of its own.
pub struct Service {
    pub process: Child,
    pub address: String,
    pub output: BufReader<ChildStdout>,
}

/// What a service replied.
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body.escape_ascii()))
    }
}

impl Service {
    /// Runs `cvmfs-server ARGUMENTS --listen ... --json` and waits until it listens.
    pub fn start<A: AsRef<OsStr>>(arguments: &[A]) -> Service {
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.args(arguments).args(["--listen", "127.0.0.1:0", "--json"]);
        let mut process = run.stdout(Stdio::piped()).spawn().unwrap();
        let (mut output, mut line) = (BufReader::new(process.stdout.take().unwrap()), String::new());
        output.read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        Service { process, address: told["listening"].as_str().unwrap().to_owned(), output }
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Sends a request as it is and reads until the server closes.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // A server that refuses may close while the request is still on its way.
        let _ = stream.write_all(request);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        reply
    }

    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = match body.is_empty() && matches!(method, "GET" | "HEAD") {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}{headers}\r\n");
        parse(path, &self.raw(&[head.as_bytes(), body].concat()))
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        self.send(method, path, headers, b"")
    }

    pub fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, headers)
    }

    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Ends at once, as if the machine had been switched off.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends in an orderly way.
    pub fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.process.wait().unwrap().success());
    }
}

/// The parts of a reply.
pub fn parse(path: &str, reply: &[u8]) -> Reply {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("{path}: {reply:?}"));
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: reply[end + 4..].to_vec(),
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
