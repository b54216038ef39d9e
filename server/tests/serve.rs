//! Repositories over HTTP: what clients and caches are told, and what is not told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, RepositoryFixture};
use cvmfs_tests::mount::Mount;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

struct Server {
    process: Child,
    address: String,
    output: BufReader<ChildStdout>,
}

struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    fn start(directory: &Path, options: &[&str]) -> Server {
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.arg("serve").arg(directory).args(["--listen", "127.0.0.1:0", "--json"]).args(options);
        let mut process = run.stdout(Stdio::piped()).spawn().unwrap();
        let (mut output, mut line) = (BufReader::new(process.stdout.take().unwrap()), String::new());
        output.read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        Server { process, address: told["listening"].as_str().unwrap().to_owned(), output }
    }

    /// Sends a request as it is and reads until the server closes.
    fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut reply = Vec::new();
        // A server that refuses may close while the request is still on its way.
        let _ = stream.read_to_end(&mut reply);
        reply
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let reply = self.raw(request.as_bytes());
        let end =
            reply.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("{path}: {reply:?}"));
        let head = String::from_utf8(reply[..end].to_vec()).unwrap();
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: reply[end + 4..].to_vec(),
        }
    }

    fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, headers)
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const FQRN: &str = "small.test.example";
const BASE: &str = "/cvmfs/small.test.example";

fn small() -> (RepositoryFixture, Server) {
    let repository = fixtures::repository(FQRN);
    let server = Server::start(&repository.web_root, &[]);
    (repository, server)
}

fn an_object(repository: &RepositoryFixture) -> String {
    let manifest = std::fs::read(repository.web_root.join(".cvmfspublished")).unwrap();
    let fields = libcvmfs::trust::ManifestFields::parse(&manifest).unwrap();
    libcvmfs::object::ObjectName::new(fields.root_catalog, libcvmfs::object::ObjectKind::Catalog).path()
}

#[test]
fn clients_read_a_directory_of_repositories() {
    let server = Server::start(fixtures::root(), &[]);
    for name in ["small.test.example", "nocomp.test.example", "shake128.test.example"] {
        let repository = fixtures::repository(name);
        let direct = Mount::of(&repository).client();
        let url = format!("http://{}/cvmfs/{name}", server.address);
        let served = Mount::of(&repository).option("CVMFS_SERVER_URL", &url).client();
        assert_eq!(served.list("/").unwrap(), direct.list("/").unwrap());
        assert_eq!(served.read("/files/large_random_3M.bin").ok(), direct.read("/files/large_random_3M.bin").ok());
    }
    let list: serde_json::Value =
        serde_json::from_slice(&server.get("/cvmfs/info/v1/repositories.json", &[]).body).unwrap();
    assert_eq!(list["schema"], 1);
    assert!(list["repositories"].as_array().unwrap().iter().any(|entry| entry["name"] == FQRN), "{list}");
}

#[test]
fn caches_are_told_what_may_change() {
    let (repository, server) = small();
    let object = an_object(&repository);
    let whole = std::fs::read(repository.web_root.join(object.trim_start_matches('/'))).unwrap();
    let path = format!("{BASE}{object}");
    let reply = server.get(&path, &[]);
    assert_eq!((reply.status, reply.body == whole), (200, true));
    assert!(reply.headers["cache-control"].contains("max-age=31536000, immutable"), "{:?}", reply.headers);
    assert_eq!(reply.headers["content-type"], "application/octet-stream");
    let (tag, modified) = (&reply.headers["etag"], &reply.headers["last-modified"]);
    for known in [
        format!("If-None-Match: {tag}"),
        format!("If-None-Match: \"x\", W/{tag}"),
        format!("If-Modified-Since: {modified}"),
    ] {
        let reply = server.get(&path, &[&known]);
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
    }
    assert_eq!(server.get(&path, &["If-None-Match: \"other\""]).status, 200);
    let head = server.ask("HEAD", &path, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], whole.len().to_string());

    for letter in [".cvmfspublished", ".cvmfswhitelist", ".cvmfsreflog"] {
        let reply = server.get(&format!("{BASE}/{letter}"), &[]);
        assert_eq!(reply.body, std::fs::read(repository.web_root.join(letter)).unwrap());
        assert_eq!(reply.headers["cache-control"], "public, max-age=61", "{letter}");
        assert_eq!(
            server.get(&format!("{BASE}/{letter}"), &[&format!("If-None-Match: {}", reply.headers["etag"])]).status,
            304
        );
    }
    let absent = server.get(&format!("{BASE}/data/00/{}", "0".repeat(38)), &[]);
    assert_eq!((absent.status, absent.headers["cache-control"].as_str()), (404, "public, max-age=15"));
}

#[test]
fn parts_are_served() {
    let (repository, server) = small();
    let object = an_object(&repository);
    let whole = std::fs::read(repository.web_root.join(object.trim_start_matches('/'))).unwrap();
    let path = format!("{BASE}{object}");
    for (range, expected) in [("0-9", &whole[..10]), ("100-", &whole[100..]), ("-7", &whole[whole.len() - 7..])] {
        let reply = server.get(&path, &[&format!("Range: bytes={range}")]);
        assert_eq!((reply.status, &reply.body[..]), (206, expected), "{range}");
    }
    assert_eq!(server.get(&path, &[&format!("Range: bytes={}-", whole.len())]).status, 416);
    let other = server.get(&path, &["Range: bytes=0-9", "If-Range: \"of something else\""]);
    assert_eq!((other.status, other.body.len()), (200, whole.len()));
}

#[test]
fn the_order_of_servers_is_that_of_the_question() {
    let (_, server) = small();
    let ask = |question: &str| server.get(&format!("{BASE}/api/v1.0/geo/{question}"), &[]);
    assert_eq!(ask("client.example/b.example,a.example,c.example").body, b"1,2,3\n");
    assert_eq!(ask("x/a,b,+PXYSEP+,p").body, b"1,2,3\n");
    assert_eq!(ask("x").status, 400);
    assert_eq!(server.get("/cvmfs/other.example/api/v1.0/geo/x/a", &[]).status, 404);
}

#[test]
fn nothing_else_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), b"secret").unwrap();
    let repository = directory.path().join("srv/a.example");
    std::fs::create_dir_all(repository.join("data/txn")).unwrap();
    for file in [".cvmfspublished", ".cvmfs_publisher", "data/txn/publish.1", "a.example.masterkey", "../secret"] {
        std::fs::write(repository.join(file), b"secret").unwrap();
    }
    let server = Server::start(&directory.path().join("srv"), &[]);
    assert_eq!(server.get("/cvmfs/a.example/.cvmfspublished", &[]).body, b"secret");
    for path in [
        "/",
        "/cvmfs",
        "/cvmfs/",
        "/cvmfs/a.example",
        "/cvmfs/a.example/",
        "/cvmfs/a.example/data",
        "/secret",
        "/cvmfs/a.example/.cvmfs_publisher",
        "/cvmfs/a.example/data/txn/publish.1",
        "/cvmfs/a.example/a.example.masterkey",
        "/cvmfs/../secret",
        "/cvmfs/a.example/../secret",
        "/cvmfs/a.example/data/../../secret",
        "/cvmfs/./secret",
        "/cvmfs/a.example/data/..%2f..%2fsecret",
        "/cvmfs/%2e%2e/secret",
        "/cvmfs/a.example/.cvmfsalt-/../../secret",
        "/cvmfs/a.example//../secret",
        "//cvmfs/a.example/.cvmfs_publisher",
        "/cvmfs/a.example/.cvmfspublished/../../secret",
    ] {
        let reply = server.get(path, &[]);
        assert!((400..500).contains(&reply.status) && !reply.body.starts_with(b"secret"), "{path}: {}", reply.status);
    }
    assert_eq!(server.ask("POST", "/cvmfs/a.example/.cvmfspublished", &[]).status, 405);
    assert_eq!(server.ask("DELETE", "/cvmfs/a.example/.cvmfspublished", &[]).status, 405);
}

#[test]
fn whatever_is_sent_the_server_goes_on() {
    let (_, server) = small();
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let input = (prop::collection::vec(any::<u8>(), 0..300), "/cvmfs/[a-z./%0-9]{0,60}");
    let outcome = TestRunner::new(config).run(&input, |(bytes, path)| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let _ = stream.read_to_end(&mut Vec::new());
        let reply = server.raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        prop_assert!(reply.starts_with(b"HTTP/1.1 4"), "{path}: {}", reply.escape_ascii());
        prop_assert_eq!(server.get(&format!("{BASE}/.cvmfspublished"), &[]).status, 200);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn numbers_are_shown() {
    let (_, server) = small();
    server.get(&format!("{BASE}/.cvmfspublished"), &[]);
    server.get(&format!("{BASE}/nothing"), &[]);
    let text = String::from_utf8(server.get("/metrics", &[]).body).unwrap();
    for line in [
        "cvmfs_server_replies_total{kind=\"letter\",status=\"200\"} 1",
        "cvmfs_server_replies_total{kind=\"other\",status=\"404\"} 1",
        "cvmfs_repository_revision{repository=\"small.test.example\"} 9",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn who_waits_for_a_connection_gets_one() {
    let repository = fixtures::repository(FQRN);
    let server = Server::start(&repository.web_root, &["--connections", "1"]);
    let idle = TcpStream::connect(&server.address).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get(&format!("{BASE}/.cvmfspublished"), &[]).status);
        drop(idle);
        waiting.join().unwrap()
    });
    assert_eq!(waiting, 200);
}

#[test]
fn replies_under_way_end_before_the_server_does() {
    let (repository, mut server) = small();
    let object = an_object(&repository);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET {BASE}{object} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    server.signal("-TERM");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let whole = std::fs::read(repository.web_root.join(object.trim_start_matches('/'))).unwrap();
    assert!(rest.ends_with(&whole));
    assert!(server.process.wait().unwrap().success());
    let mut told = String::new();
    server.output.read_to_string(&mut told).unwrap();
    assert_eq!(told, "");
}
