//! Direct connections: hosts that work, and hosts that do everything wrong.
#![allow(clippy::unwrap_used)]

mod transport_support;

use libcvmfs::error::{Origin, Retry};
use libcvmfs::transport::{Failure, Request, Settings, Transport, TransportError};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transport_support::{Collector, SILENCE, Seen, Server, TIMEOUT, dead_port, last, raw, respond, settings};

const BODY: &[u8] = b"the object";

fn fetch(transport: &Transport, receiver: &mut Collector) -> Result<libcvmfs::transport::Fetched, TransportError> {
    transport.fetch(&Request::new("/data/ab/cd", 1000), receiver)
}

fn failed(error: TransportError) -> libcvmfs::transport::FailedFetch {
    match error {
        TransportError::Failed(failed) => *failed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fetches_with_the_expected_request() {
    let server = Server::with_body("/data/ab/cd", BODY);
    let transport = Transport::new(settings(&[server.url()], "DIRECT")).unwrap();
    let mut receiver = Collector::expecting(BODY);
    let fetched = fetch(&transport, &mut receiver).unwrap();
    assert_eq!((fetched.host, fetched.proxy, fetched.bytes, fetched.tries), (server.url(), None, 10, 1));
    let seen = server.seen();
    assert_eq!(seen[0].line, "GET /cvmfs/test.example/data/ab/cd HTTP/1.1");
    assert_eq!(seen[0].header("host"), Some(format!("127.0.0.1:{}", server.port).as_str()));
    assert_eq!(seen[0].header("connection"), Some("Keep-Alive"));
    assert_eq!(seen[0].header("accept-encoding"), None);
    assert!(seen[0].header("user-agent").unwrap().starts_with("cvmfs libcvmfs "));
}

#[test]
fn paths_are_escaped() {
    let server = Server::with_body("x", BODY);
    let transport = Transport::new(settings(&[server.url()], "DIRECT")).unwrap();
    transport.fetch(&Request::new("/a b/ü%20~x", 1000), &mut Collector::default()).unwrap();
    assert_eq!(server.seen()[0].target(), "/cvmfs/test.example/a%20b/%C3%BC%2520~x");
}

#[test]
fn connections_are_kept_open() {
    let server = Server::with_body("/data/ab/cd", BODY);
    let transport = Transport::new(settings(&[server.url()], "DIRECT")).unwrap();
    for _ in 0..10 {
        fetch(&transport, &mut Collector::expecting(BODY)).unwrap();
    }
    assert!(transport.fetch(&Request::new("/missing", 10), &mut Collector::default()).unwrap_err().is_not_found());
    fetch(&transport, &mut Collector::expecting(BODY)).unwrap();
    assert_eq!((server.requests(), server.connections()), (12, 1));
    assert_eq!(transport.status().totals.connections, 1);
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_costs_no_retry() {
    // The server promises to keep the connection open and closes it after each answer.
    let server = Server::start(|_, stream| !respond(stream, 200, "", BODY));
    let transport = Transport::new(Settings { max_retries: 0, ..settings(&[server.url()], "DIRECT") }).unwrap();
    for _ in 0..5 {
        assert_eq!(fetch(&transport, &mut Collector::expecting(BODY)).unwrap().tries, 1);
    }
}

#[test]
fn parallel_fetches_use_several_connections_up_to_the_limit() {
    let server = Server::start(|_, stream| {
        std::thread::sleep(Duration::from_millis(50));
        respond(stream, 200, "", BODY)
    });
    let limited = Settings { max_connections: 4, ..settings(&[server.url()], "DIRECT") };
    let transport = Arc::new(Transport::new(limited).unwrap());
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let transport = Arc::clone(&transport);
            std::thread::spawn(move || {
                for _ in 0..3 {
                    fetch(&transport, &mut Collector::expecting(BODY)).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(server.requests(), 48);
    assert!((2..=4).contains(&server.connections()), "{}", server.connections());
}

/// What a hostile host does, the failure that is reported, and how many tries it gets.
type Misdeed = (&'static str, fn(&Seen, &mut TcpStream) -> bool, Failure, u32);

const MISDEEDS: &[Misdeed] = &[
    ("truncated", |_, s| last(s, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nthe"), Failure::HostShortTransfer, 2),
    (
        "truncated chunk",
        |_, s| last(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nthe"),
        Failure::HostShortTransfer,
        2,
    ),
    (
        "missing last chunk",
        |_, s| last(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nthe object\r\n"),
        Failure::HostShortTransfer,
        2,
    ),
    ("endless body", endless_body, Failure::TooBig, 1),
    ("endless chunks", endless_chunks, Failure::TooBig, 1),
    ("endless chunk size", endless_chunk_size, Failure::HostShortTransfer, 2),
    ("endless header", endless_header, Failure::Unknown, 1),
    (
        "announced too long",
        |_, s| raw(s, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        Failure::TooBig,
        1,
    ),
    ("header drip", header_drip, Failure::HostTooSlow, 2),
    ("body drip", body_drip, Failure::HostTooSlow, 2),
    ("silent", |_, _| silent(), Failure::HostTooSlow, 2),
    (
        "silent after the header",
        |_, s| raw(s, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") && silent(),
        Failure::HostTooSlow,
        2,
    ),
    ("reset", |_, _| false, Failure::HostShortTransfer, 2),
    ("garbage", |_, s| raw(s, b"\x16\x03\x01\x02garbage\r\n\r\n"), Failure::Unknown, 1),
    (
        "redirect loop",
        |seen, s| respond(s, 302, &format!("Location: {}\r\n", seen.target()), b""),
        Failure::HostHttp,
        1,
    ),
    ("html", |_, s| respond(s, 200, "Content-Type: text/html\r\n", b"<html>login here</html>"), Failure::Corrupt, 2),
    ("length too long for the object", |_, s| respond(s, 200, "", b"the object and more"), Failure::Corrupt, 2),
    ("compressed", |_, s| respond(s, 200, "Content-Encoding: gzip\r\n", BODY), Failure::Unknown, 1),
    ("500", |_, s| respond(s, 500, "", b"oops"), Failure::HostHttp, 1),
    ("503", |_, s| respond(s, 503, "", b"oops"), Failure::HostHttp, 1),
    ("403", |_, s| respond(s, 403, "", b"oops"), Failure::HostHttp, 1),
    ("404", |_, s| respond(s, 404, "", b"oops"), Failure::HostHttp, 1),
    ("429", |_, s| respond(s, 429, "", b"oops"), Failure::HostConnection, 2),
    (
        "contradicting lengths",
        |_, s| raw(s, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 3\r\n\r\nthe object"),
        Failure::Unknown,
        1,
    ),
];

fn silent() -> bool {
    std::thread::sleep(SILENCE);
    false
}

fn endless(s: &mut TcpStream, piece: &[u8]) -> bool {
    while s.write_all(piece).is_ok() {}
    false
}

fn endless_body(_: &Seen, s: &mut TcpStream) -> bool {
    raw(s, b"HTTP/1.1 200 OK\r\n\r\n") && endless(s, &[b'x'; 4096])
}

fn endless_chunks(_: &Seen, s: &mut TcpStream) -> bool {
    raw(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") && endless(s, b"5\r\nxxxxx\r\n")
}

fn endless_chunk_size(_: &Seen, s: &mut TcpStream) -> bool {
    raw(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") && endless(s, &[b'0'; 4096])
}

fn endless_header(_: &Seen, s: &mut TcpStream) -> bool {
    raw(s, b"HTTP/1.1 200 OK\r\nX: ") && endless(s, &[b'x'; 4096])
}

fn drip(s: &mut TcpStream, text: &[u8]) -> bool {
    for byte in text.iter().cycle().take(1500) {
        std::thread::sleep(Duration::from_millis(20));
        if s.write_all(&[*byte]).is_err() {
            return false;
        }
    }
    false
}

fn header_drip(_: &Seen, s: &mut TcpStream) -> bool {
    raw(s, b"HTTP/1.1 200 OK\r\n") && drip(s, b"X: y\r\n")
}

fn body_drip(_: &Seen, s: &mut TcpStream) -> bool {
    raw(s, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n") && drip(s, b"x")
}

#[test]
fn a_hostile_host_alone_is_reported_in_time() {
    std::thread::scope(|scope| {
        for (name, misdeed, failure, tries) in MISDEEDS {
            scope.spawn(move || {
                let server = Server::start(misdeed);
                let transport = Transport::new(settings(&[server.url()], "DIRECT")).unwrap();
                let started = Instant::now();
                let error = fetch(&transport, &mut Collector::expecting(BODY)).unwrap_err();
                assert!(started.elapsed() < 10 * TIMEOUT, "{name}: {:?}", started.elapsed());
                if *name == "404" {
                    assert!(error.is_not_found());
                    return;
                }
                assert!(!error.is_not_found(), "{name}");
                let failed = failed(error);
                assert_eq!((failed.failure, failed.tries), (*failure, *tries), "{name}: {failed}");
                assert_eq!(failed.proxy, None);
            });
        }
    });
}

#[test]
fn a_hostile_host_does_not_keep_the_object_from_us() {
    std::thread::scope(|scope| {
        for (name, misdeed, _, tries) in MISDEEDS {
            scope.spawn(move || {
                let (hostile, honest) = (Server::start(misdeed), Server::with_body("/data/ab/cd", BODY));
                let transport = Transport::new(settings(&[hostile.url(), honest.url()], "DIRECT")).unwrap();
                let mut receiver = Collector::expecting(BODY);
                let fetched = fetch(&transport, &mut receiver).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!((&fetched.host, fetched.tries), (&honest.url(), tries + 1), "{name}");
                assert_eq!(receiver.body, BODY, "{name}");
                assert_eq!(receiver.restarts as u32, *tries, "{name}");
                // One missing object is no reason to leave a host; everything else is.
                let current = if *name == "404" { hostile.url() } else { honest.url() };
                assert_eq!(transport.hosts()[0], current, "{name}");
            });
        }
    });
}

#[test]
fn a_dead_host_is_left() {
    let honest = Server::with_body("/data/ab/cd", BODY);
    let dead = format!("http://127.0.0.1:{}/cvmfs/test.example", dead_port());
    let transport = Transport::new(settings(&[dead.clone(), honest.url()], "DIRECT")).unwrap();
    assert_eq!(fetch(&transport, &mut Collector::expecting(BODY)).unwrap().host, honest.url());
    assert_eq!(transport.hosts(), [honest.url(), dead]);
}

#[test]
fn not_found_means_not_found_anywhere() {
    let (one, two) = (Server::with_body("/x", BODY), Server::with_body("/y", BODY));
    let dead = format!("http://127.0.0.1:{}/cvmfs/test.example", dead_port());
    let transport = Transport::new(settings(&[one.url(), two.url()], "DIRECT")).unwrap();
    let error = fetch(&transport, &mut Collector::default()).unwrap_err();
    assert!(error.is_not_found());
    assert_eq!((error.origin(), error.retry()), (Origin::Host, Retry::Later));
    assert_eq!((one.requests(), two.requests()), (1, 1));

    for hosts in [[dead.clone(), one.url()], [one.url(), dead]] {
        let transport = Transport::new(settings(&hosts, "DIRECT")).unwrap();
        assert!(!fetch(&transport, &mut Collector::default()).unwrap_err().is_not_found());
    }
}

#[test]
fn corrupt_bytes_are_asked_for_again_past_the_caches() {
    let server = Server::start(|seen, stream| {
        let fresh = seen.header("cache-control") == Some("no-cache") && seen.header("pragma") == Some("no-cache");
        respond(stream, 200, "", if fresh { BODY } else { b"stale data" })
    });
    let transport = Transport::new(settings(&[server.url()], "DIRECT")).unwrap();
    assert_eq!(fetch(&transport, &mut Collector::expecting(BODY)).unwrap().tries, 2);
    assert_eq!(server.seen()[0].header("cache-control"), None);
}

#[test]
fn a_full_disk_is_nobody_elses_fault() {
    let (one, two) = (Server::with_body("/data/ab/cd", BODY), Server::with_body("/data/ab/cd", BODY));
    let transport = Transport::new(settings(&[one.url(), two.url()], "DIRECT")).unwrap();
    let mut receiver = Collector { full_disk: true, ..Collector::default() };
    let error = fetch(&transport, &mut receiver).unwrap_err();
    assert_eq!((error.origin(), one.requests(), two.requests()), (Origin::Cache, 1, 0));
}

#[test]
fn the_deadline_of_a_request_holds() {
    let servers: Vec<_> = (0..4).map(|_| Server::start(|_, _| silent())).collect();
    let hosts: Vec<_> = servers.iter().map(Server::url).collect();
    let hurried = Settings { request_deadline: Some(Duration::from_millis(700)), ..settings(&hosts, "DIRECT") };
    let started = Instant::now();
    fetch(&Transport::new(hurried).unwrap(), &mut Collector::default()).unwrap_err();
    assert!(started.elapsed() < 3 * TIMEOUT, "{:?}", started.elapsed());
}

#[test]
fn a_large_steady_transfer_may_take_longer_than_the_timeout() {
    let server = Server::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 120000\r\n\r\n");
        (0..12).all(|_| {
            std::thread::sleep(TIMEOUT / 8);
            raw(stream, &[b'x'; 10_000])
        })
    });
    let transport = Transport::new(settings(&[server.url()], "DIRECT")).unwrap();
    let fetched = transport.fetch(&Request::new("/x", 120_000), &mut Collector::default()).unwrap();
    assert_eq!((fetched.tries, fetched.bytes), (1, 120_000));
}

#[test]
fn redirects_are_followed_on_request_only() {
    let target = Server::with_body("/elsewhere", BODY);
    let location = format!("Location: http://127.0.0.1:{}/elsewhere\r\n", target.port);
    let server = Server::start(move |_, stream| respond(stream, 302, &location, b"moved"));
    let strict = settings(&[server.url()], "DIRECT");
    let error = failed(fetch(&Transport::new(strict.clone()).unwrap(), &mut Collector::default()).unwrap_err());
    assert_eq!((error.failure, error.status, target.requests()), (Failure::HostHttp, Some(302), 0));
    let lenient = Settings { follow_redirects: true, ..strict };
    let fetched = fetch(&Transport::new(lenient).unwrap(), &mut Collector::expecting(BODY)).unwrap();
    assert_eq!((fetched.tries, target.requests()), (1, 1));
}

#[test]
fn a_redirect_loop_ends() {
    let server = Server::start(|seen, stream| respond(stream, 301, &format!("Location: {}x\r\n", seen.target()), b""));
    let lenient = Settings { follow_redirects: true, max_retries: 0, ..settings(&[server.url()], "DIRECT") };
    let error = failed(fetch(&Transport::new(lenient).unwrap(), &mut Collector::default()).unwrap_err());
    assert_eq!((error.failure, server.requests()), (Failure::HostConnection, 5));
}

#[test]
fn ranges() {
    let honours = Server::start(|seen, stream| {
        assert_eq!(seen.header("range"), Some("bytes=4-6"));
        respond(stream, 206, "Content-Range: bytes 4-6/10\r\n", b"obj")
    });
    let ignores = Server::with_body("/file", BODY);
    let request = Request { range: Some((4, 6)), ..Request::new("/file", 3) };
    for server in [&honours, &ignores] {
        let transport = Transport::new(settings(&[server.url()], "DIRECT")).unwrap();
        let mut receiver = Collector::expecting(b"obj");
        assert_eq!(transport.fetch(&request, &mut receiver).unwrap().bytes, 3);
    }
    let cheats = Server::start(|_, stream| respond(stream, 206, "Content-Range: bytes 0-2/10\r\n", b"the"));
    let transport = Transport::new(settings(&[cheats.url()], "DIRECT")).unwrap();
    assert!(transport.fetch(&request, &mut Collector::default()).is_err());
}

#[test]
fn hosts_can_be_directories() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("data/ab")).unwrap();
    std::fs::write(dir.path().join("data/ab/cd"), BODY).unwrap();
    let url = format!("file://{}", dir.path().display());
    // A proxy that nobody listens on does not matter.
    let transport = Transport::new(settings(&[url], &format!("http://127.0.0.1:{}", dead_port()))).unwrap();
    let fetched = fetch(&transport, &mut Collector::expecting(BODY)).unwrap();
    assert_eq!((fetched.proxy, fetched.tries), (None, 1));
    let request = Request { range: Some((4, 6)), ..Request::new("/data/ab/cd", 3) };
    transport.fetch(&request, &mut Collector::expecting(b"obj")).unwrap();
    let get = |path: &str, max| transport.fetch(&Request::new(path, max), &mut Collector::default()).unwrap_err();
    assert!(get("/data/zz/zz", 10).is_not_found());
    assert!(!get("/data", 10).is_not_found());
    assert!(!get("/../../etc/passwd", 10_000).is_not_found());
    assert_eq!(get("/data/ab/cd", 9).failure(), Failure::TooBig);
    assert_eq!(failed(fetch(&transport, &mut Collector::expecting(b"else")).unwrap_err()).failure, Failure::Corrupt);
}
