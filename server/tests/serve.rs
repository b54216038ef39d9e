//! Repositories over HTTP: what clients and caches are told, and what is not told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "common/http.rs"]
mod http;

use cvmfs_tests::fixtures::{self, RepositoryFixture};
use cvmfs_tests::mount::Mount;
use http::Service;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Shows a directory of repositories, or one.
fn serve(directory: &Path, options: &[&str]) -> Service {
    Service::start(&[&["serve", directory.to_str().unwrap()], options].concat())
}

const FQRN: &str = "small.test.example";
const BASE: &str = "/cvmfs/small.test.example";

fn small() -> (RepositoryFixture, Service) {
    let repository = fixtures::repository(FQRN);
    let server = serve(&repository.web_root, &[]);
    (repository, server)
}

fn an_object(repository: &RepositoryFixture) -> String {
    let manifest = std::fs::read(repository.web_root.join(".cvmfspublished")).unwrap();
    let fields = libcvmfs::trust::ManifestFields::parse(&manifest).unwrap();
    libcvmfs::object::ObjectName::new(fields.root_catalog, libcvmfs::object::ObjectKind::Catalog).path()
}

#[test]
fn clients_read_a_directory_of_repositories() {
    let server = serve(fixtures::root(), &[]);
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
    // The separator has a position as well: clients expect as many numbers as they sent words.
    assert_eq!(ask("x/a,b,+PXYSEP+,p,q").body, b"1,2,4,5,3\n");
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
    let server = serve(&directory.path().join("srv"), &[]);
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
    let server = serve(&repository.web_root, &["--connections", "1"]);
    let idle = TcpStream::connect(&server.address).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get(&format!("{BASE}/.cvmfspublished"), &[]).status);
        drop(idle);
        waiting.join().unwrap()
    });
    assert_eq!(waiting, 200);
}

#[test]
fn who_says_nothing_is_dropped() {
    let repository = fixtures::repository(FQRN);
    let server = serve(&repository.web_root, &["--idle", "1", "--connections", "1"]);
    let path = format!("{BASE}/.cvmfspublished");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for said in ["", "GET /cvmfs/ HTTP/1.1\r\nHost", &request] {
        let mut stream = server.connect();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        // Ends when the server hangs up; an error is that it never did.
        stream.read_to_end(&mut Vec::new()).unwrap_or_else(|error| panic!("after {said:?}: {error}"));
        assert_eq!(server.get(&path, &[]).status, 200, "the only connection is free again");
    }
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
