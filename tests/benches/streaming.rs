//! How fast one large object comes in, against the slower of what it cannot do without: inflating it, and getting its
//! bytes over loopback HTTP. Run with `cargo bench -p cvmfs-tests --bench streaming`.

use cvmfs_tests::forge::Forge;
use cvmfs_tests::measure::median;
use cvmfs_tests::server::WebRoot;
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::namespace::{LastLink, Resolved};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use zlib_rs::{Inflate, InflateFlush};

const FQRN: &str = "bench.example.org";
const SIZE: usize = 256 << 20;
const ROUNDS: usize = 15;

/// Text such as source code: repetitive, but not absurdly so.
fn text(len: usize) -> Vec<u8> {
    let words: Vec<String> =
        (0..4000u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 36)).collect();
    let mut bytes = Vec::with_capacity(len + 16);
    let mut state = 1u64;
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(words[(state >> 33) as usize % words.len()].as_bytes());
        bytes.push(b" \n"[usize::from(state >> 60 == 0)]);
    }
    bytes.truncate(len);
    bytes
}

fn inflate_alone(stored: &[u8]) -> Duration {
    let started = Instant::now();
    let mut inflate = Inflate::new(true, 15);
    let mut buffer = vec![0u8; 128 << 10];
    let mut at = 0;
    loop {
        let before = inflate.total_in();
        let status = inflate.decompress(&stored[at..], &mut buffer, InflateFlush::NoFlush).expect("a zlib stream");
        at += (inflate.total_in() - before) as usize;
        if status == zlib_rs::Status::StreamEnd {
            assert_eq!(inflate.total_out() as usize, SIZE);
            return started.elapsed();
        }
    }
}

fn loopback_alone(port: u16, path: &str, expected: usize) -> Duration {
    let started = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut buffer = vec![0u8; 128 << 10];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).expect("it answers") {
            0 => break,
            n => received += n,
        }
    }
    assert!(received > expected);
    started.elapsed()
}

fn fetch(server: &WebRoot, key: &str) -> Duration {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let options = vec![
        ("CVMFS_SERVER_URL".into(), server.server_url()),
        ("CVMFS_HTTP_PROXY".into(), "DIRECT".into()),
        ("CVMFS_PUBLIC_KEY".into(), key.into()),
        ("CVMFS_CACHE_BASE".into(), cache.path().display().to_string()),
    ];
    let settings = ClientSettings { options, config_roots: Some(Vec::new()), ..ClientSettings::default() };
    let client = Client::new(settings).expect("a client");
    let path = format!("/cvmfs/{FQRN}/large");
    let node = client.namespace().resolve(path.as_bytes(), LastLink::Follow).and_then(Resolved::node).expect("mounts");
    let started = Instant::now();
    let file = node.open().expect("arrives");
    let time = started.elapsed();
    assert_eq!(file.metadata().expect("open").len() as usize, SIZE);
    time
}

fn main() {
    let web_root = tempfile::tempdir().expect("a temporary directory");
    let published = Forge::new(FQRN).file("/large", text(SIZE)).publish(web_root.path());
    let repository = published.repository();
    let server = WebRoot::serve(FQRN, web_root.path());
    let object = published.objects["/large"].first().expect("one object");
    let stored = std::fs::read(published.object_file(object)).expect("published");
    let path = format!("/cvmfs/{FQRN}{}", object.path());
    let (mut inflating, mut loopback, mut fetching) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        inflating.push(inflate_alone(&stored));
        loopback.push(loopback_alone(server.port(), &path, stored.len()));
        fetching.push(fetch(&server, &repository.public_key.display().to_string()));
    }
    let (inflating, loopback, fetching) = (median(&mut inflating), median(&mut loopback), median(&mut fetching));
    let slower = inflating.max(loopback);
    let rate = |time: Duration| (SIZE >> 20) as f64 / time.as_secs_f64();
    println!("{} MiB plain, {} MiB stored, medians of {ROUNDS}", SIZE >> 20, stored.len() >> 20);
    println!("inflate alone   {:7.1} ms  {:6.0} MiB/s", inflating.as_secs_f64() * 1e3, rate(inflating));
    println!("loopback alone  {:7.1} ms  {:6.0} MiB/s", loopback.as_secs_f64() * 1e3, rate(loopback));
    println!("fetch           {:7.1} ms  {:6.0} MiB/s", fetching.as_secs_f64() * 1e3, rate(fetching));
    println!("fetch at {:.0} % of the slower of both", 100.0 * slower.as_secs_f64() / fetching.as_secs_f64());
}
