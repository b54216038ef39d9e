//! The test servers do what they say, seen through plain sockets and through Squid.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::server::{Behaviour, Squid, WebRoot};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const FQRN: &str = "a.test.example";

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    dir
}

fn connect(server: &WebRoot) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, target: &str, fields: &str) {
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").unwrap();
}

/// Everything until the server closes, as text.
fn get(server: &WebRoot, path: &str, fields: &str) -> String {
    let mut stream = connect(server);
    ask(&mut stream, path, &format!("Connection: close\r\n{fields}"));
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    String::from_utf8(reply).unwrap()
}

fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn files_ranges_and_absence() {
    let dir = directory(&[("x/data file", b"0123456789")]);
    let server = WebRoot::serve(FQRN, dir.path());
    let path = "/cvmfs/a.test.example/x/data%20file";
    assert_eq!(body(&get(&server, path, "")), "0123456789");
    let part = get(&server, path, "Range: bytes=3-5\r\n");
    assert!(part.starts_with("HTTP/1.1 206") && part.contains("Content-Range: bytes 3-5/10\r\n"), "{part}");
    assert_eq!(body(&part), "345");
    assert_eq!(body(&get(&server, path, "Range: bytes=8-\r\n")), "89");
    assert!(get(&server, "/cvmfs/a.test.example/nothing", "").starts_with("HTTP/1.1 404"));
    assert!(get(&server, "/cvmfs/a.test.example/../../etc/passwd", "").starts_with("HTTP/1.1 404"));
    assert_eq!(server.paths()[0], "/cvmfs/a.test.example/x/data file");
    assert_eq!(server.requests()[1].header("range"), Some("bytes=3-5"));
}

#[test]
fn one_connection_serves_many_requests() {
    let dir = directory(&[("f", b"abc")]);
    let server = WebRoot::serve(FQRN, dir.path());
    let mut stream = connect(&server);
    for _ in 0..3 {
        ask(&mut stream, "http://proxied.example/cvmfs/a.test.example/f", "");
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\nabc") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            reply.push(byte[0]);
        }
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 3));
    assert!(server.requests().iter().all(|request| request.connection == 0));
}

#[test]
fn contents_change_while_the_server_runs() {
    let (old, new) = (directory(&[("f", b"old")]), directory(&[("f", b"new")]));
    let server = WebRoot::serve(FQRN, old.path());
    assert_eq!(body(&get(&server, "/cvmfs/a.test.example/f", "")), "old");
    server.mount_repository(FQRN, new.path());
    assert_eq!(body(&get(&server, "/cvmfs/a.test.example/f", "")), "new");
    server.misbehave_times("/f", 1, Behaviour::Status(503));
    assert!(get(&server, "/cvmfs/a.test.example/f", "").starts_with("HTTP/1.1 503"));
    assert_eq!(body(&get(&server, "/cvmfs/a.test.example/f", "")), "new");
    assert!(get(&server, "/cvmfs/a.test.example/api/v1.0/geo/x/a,b", "").starts_with("HTTP/1.1 404"));
    server.set_geo(Some("2,1\n"));
    assert_eq!(body(&get(&server, "/cvmfs/a.test.example/api/v1.0/geo/x/a,b", "")), "2,1\n");
    server.set_delay(Duration::from_millis(120));
    let start = Instant::now();
    get(&server, "/cvmfs/a.test.example/f", "");
    assert!(start.elapsed() >= Duration::from_millis(120));
}

#[test]
fn a_stopped_server_refuses_and_comes_back_on_its_port() {
    let dir = directory(&[("f", b"abc")]);
    let server = WebRoot::serve(FQRN, dir.path());
    let mut idle = connect(&server);
    ask(&mut idle, "/cvmfs/a.test.example/f", "");
    let mut some = [0; 5];
    idle.read_exact(&mut some).unwrap();
    server.stop();
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    assert_eq!(TcpStream::connect(("127.0.0.1", server.port())).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(body(&get(&server, "/cvmfs/a.test.example/f", "")), "abc");
}

#[test]
fn every_bad_behaviour_is_bad_in_its_own_way() {
    let dir = directory(&[("f", &[b'a'; 1000])]);
    let server = WebRoot::serve(FQRN, dir.path());
    let path = "/cvmfs/a.test.example/f";
    let behave = |behaviour: Behaviour| {
        server.script(move |_| behaviour.clone());
        get(&server, path, "")
    };
    let truncated = behave(Behaviour::Truncate(10));
    assert!(truncated.contains("Content-Length: 1000\r\n") && body(&truncated).len() == 10);
    let long = behave(Behaviour::WrongLength(5));
    assert!(long.contains("Content-Length: 1005\r\n") && body(&long).len() == 1000);
    let corrupt = behave(Behaviour::CorruptByte(1007));
    assert_eq!(body(&corrupt).find('`'), Some(7));
    assert!(behave(Behaviour::Html).contains("text/html"));
    assert!(behave(Behaviour::RedirectLoop).contains(&format!("Location: {path}\r\n")));
    assert!(!behave(Behaviour::Garbage).starts_with("HTTP"));
    assert_eq!(behave(Behaviour::Close), "");
    assert_eq!(behave(Behaviour::Raw(b"x".to_vec())), "x");
    let start = Instant::now();
    let drip = behave(Behaviour::Drip { bytes: 100, pause: Duration::from_millis(20) });
    assert!(body(&drip).len() == 1000 && start.elapsed() >= Duration::from_millis(180));
}

#[test]
fn resets_silence_and_endless_bodies() {
    let dir = directory(&[("f", &[b'a'; 1000])]);
    let path = "/cvmfs/a.test.example/f";
    for after in [0, 10] {
        let server = WebRoot::hostile(FQRN, dir.path(), Behaviour::Reset(after));
        let mut stream = connect(&server);
        ask(&mut stream, path, "");
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let silent = WebRoot::hostile(FQRN, dir.path(), Behaviour::Silent);
    let mut stream = connect(&silent);
    ask(&mut stream, path, "");
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    for endless in [Behaviour::Endless, Behaviour::EndlessChunked, Behaviour::EndlessHeader] {
        let server = WebRoot::hostile(FQRN, dir.path(), endless);
        let mut stream = connect(&server);
        ask(&mut stream, path, "");
        let mut much = vec![0; 5_000_000];
        stream.read_exact(&mut much).unwrap();
    }
}

#[test]
fn squid_caches_and_dies() {
    let Some(mut squid) = Squid::start() else { return };
    let dir = directory(&[("data/f", b"abc")]);
    let server = WebRoot::serve(FQRN, dir.path());
    let url = format!("{}/cvmfs/a.test.example/data/f", server.url());
    let port: u16 = squid.url().rsplit(':').next().unwrap().parse().unwrap();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert_eq!(body(&reply), "abc", "{reply}");
    }
    assert_eq!(server.requests().len(), 1, "the second answer came out of the cache");
    let log = squid.wait_for_log(2);
    assert!(log[0].contains("TCP_MISS/200") && log[1].contains("HIT/200"), "{log:?}");
    squid.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
