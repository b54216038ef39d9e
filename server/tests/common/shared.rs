//! A repository that groups share, with the service through which they publish.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by several tests")]

use super::common::{FQRN, Published, text};
use super::http::{Reply, Service};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// The repository, and what the service needs.
pub struct Shared {
    pub published: Published,
}

impl Shared {
    /// A repository made with more options of `mkfs`.
    pub fn new(options: &[&str]) -> Shared {
        let published = Published::new(options);
        let directory = published.dir.path().join("srv");
        std::fs::create_dir(&directory).unwrap();
        std::os::unix::fs::symlink(published.storage(), directory.join(FQRN)).unwrap();
        Shared { published }
    }

    pub fn tokens(&self) -> PathBuf {
        self.published.dir.path().join("tokens.json")
    }

    /// A new token of a group; `rights` are options of `token add`.
    pub fn token(&self, group: &str, rights: &[&str]) -> String {
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.args(["token", "add", group]).args(rights).arg("--tokens").arg(self.tokens());
        let output = run.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A token that may publish a path of the repository.
    pub fn publisher(&self, group: &str, path: &str) -> String {
        self.token(group, &["--publish", &format!("{FQRN}:{path}")])
    }

    pub fn start(&self, options: &[&str]) -> Service {
        let directory = self.published.dir.path();
        let (srv, keys, tokens) = (directory.join("srv"), self.published.keys(), self.tokens());
        let state = directory.join("state");
        let arguments =
            ["manage", text(&srv), "--keys", text(&keys), "--tokens", text(&tokens), "--state", text(&state)];
        Service::start(&[&arguments, options].concat())
    }

    /// Starts the service for groups, each of which may publish its path.
    pub fn start_for<const N: usize>(&self, groups: [(&str, &str); N], options: &[&str]) -> (Service, [String; N]) {
        let tokens = groups.map(|(group, path)| self.publisher(group, path));
        (self.start(options), tokens)
    }

    /// The revision that is published, as the manifest says.
    pub fn revision(&self) -> u64 {
        let manifest = std::fs::read(self.published.storage().join(".cvmfspublished")).unwrap();
        libcvmfs::trust::ManifestFields::parse(&manifest).unwrap().revision
    }
}

/// Requests of one group.
pub struct Group<'s> {
    pub service: &'s Service,
    pub token: String,
}

impl<'s> Group<'s> {
    /// Those who have these tokens.
    pub fn all<const N: usize>(service: &'s Service, tokens: [String; N]) -> [Group<'s>; N] {
        tokens.map(|token| Group { service, token })
    }

    pub fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let headers = [format!("Authorization: Bearer {}", self.token), format!("Content-Type: {content_type}")];
        self.service.send(method, &format!("/api/v1{path}"), &[&headers[0], &headers[1]], body)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "text/plain", b"")
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, "text/plain", b"")
    }

    /// Calls a job off.
    pub fn cancel(&self, job: &str) -> Reply {
        self.send("POST", &format!("{job}/cancellation"), "text/plain", b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, "application/json", body.to_string().as_bytes())
    }

    pub fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send("PATCH", path, "application/json", body.to_string().as_bytes())
    }

    /// Asks for a lease of the repository.
    pub fn take(&self, path: &str, seconds: u64) -> Reply {
        self.post("/leases", &json!({"repository": FQRN, "path": path, "seconds": seconds}))
    }

    /// Takes a lease that must be had, and returns its name.
    pub fn lease(&self, path: &str) -> String {
        let reply = self.take(path, 600);
        assert_eq!(reply.status, 201, "{}", reply.body.escape_ascii());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Sends an archive, with a query.
    pub fn upload(&self, lease: &str, query: &str, archive: &[u8]) -> Reply {
        self.send("POST", &format!("/leases/{lease}/publications{query}"), "application/x-tar", archive)
    }

    /// Waits until a job has ended.
    pub fn wait(&self, job: &Reply) -> Value {
        assert_eq!(job.status, 202, "{}", job.body.escape_ascii());
        let id = job.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(job.headers["location"], format!("/api/v1/jobs/{id}"));
        loop {
            let job = self.get(&format!("/jobs/{id}?wait=60")).json();
            if !["queued", "running"].contains(&job["progress"].as_str().unwrap()) {
                return job;
            }
        }
    }

    /// Publishes an archive, which must be done.
    pub fn publish(&self, lease: &str, query: &str, archive: &[u8]) -> Value {
        let job = self.wait(&self.upload(lease, query, archive));
        assert_eq!(job["progress"], "done", "{job}");
        job["result"].clone()
    }
}

/// An archive, entry by entry. Names are written as they are, whatever they are.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn entry(mut self, kind: tar::EntryType, name: &str, target: &str, content: &[u8]) -> Tar {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_mtime(1_600_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Tar {
        self.entry(tar::EntryType::Regular, name, "", content.as_bytes())
    }

    pub fn bytes(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}
