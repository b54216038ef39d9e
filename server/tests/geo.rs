//! The Geo API with a database of places.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "common/http.rs"]
mod http;
#[path = "common/mmdb.rs"]
mod mmdb;

use cvmfs_tests::fixtures;
use http::Service;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const FQRN: &str = "small.test.example";

fn serve(database: &Path) -> Service {
    let repository = fixtures::repository(FQRN);
    let web_root = repository.web_root.to_str().unwrap();
    Service::start(&["serve", web_root, "--geo-db", database.to_str().unwrap()])
}

fn ask(server: &Service, question: &str, headers: &[&str]) -> String {
    let reply = server.get(&format!("/cvmfs/{FQRN}/api/v1.0/geo/{question}"), headers);
    assert_eq!(reply.status, 200, "{question}");
    String::from_utf8(reply.body).unwrap().trim_end().to_owned()
}

/// What the other implementation says.
fn expected(question: &serde_json::Value) -> Vec<Vec<usize>> {
    cvmfs_tests::tools::require_tool("python3").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/geo.py");
    let mut oracle = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    oracle.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = oracle.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn servers_are_ordered_as_another_implementation_orders_them() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut networks: Vec<mmdb::Network> = Vec::new();
    for number in 0..60 {
        let (address, length) = mmdb::network(number);
        let place = (random.f64() * 180.0 - 90.0, random.f64() * 360.0 - 180.0);
        // Some are known to be nowhere, and some are at the same place.
        let place = match number {
            0..8 => Some((46.2, 6.1)),
            8..12 => None,
            _ => Some(place),
        };
        networks.push((address, length, place));
    }
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("places.mmdb");
    std::fs::write(&database, mmdb::write(&networks)).unwrap();
    let server = serve(&database);

    let name = |random: &mut fastrand::Rng| match random.u8(0..70) {
        number @ 0..60 => match mmdb::network(number).0 {
            std::net::IpAddr::V4(address) => {
                std::net::Ipv4Addr::from(u32::from(address) + random.u32(0..1 << 24)).to_string()
            }
            std::net::IpAddr::V6(address) => {
                std::net::Ipv6Addr::from(u128::from(address) + random.u128(0..1 << 112)).to_string()
            }
        },
        // In no network, and not answered for by any name server.
        60..65 => "203.0.113.7".to_owned(),
        _ => "no-such-host.invalid".to_owned(),
    };
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let hosts: Vec<String> = (0..random.usize(1..12)).map(|_| name(&mut random)).collect();
        let proxies: Option<Vec<String>> =
            random.bool().then(|| (0..random.usize(1..5)).map(|_| name(&mut random)).collect());
        let (said, forwarded) = (name(&mut random), name(&mut random));
        let mut list = hosts.clone();
        if let Some(proxies) = &proxies {
            list.push("+PXYSEP+".to_owned());
            list.extend(proxies.iter().cloned());
        }
        let header = format!("X-Forwarded-For: 198.51.100.1, {forwarded}");
        let answer = ask(&server, &format!("{said}/{}", list.join(",")), &[&header]);
        answers.push(answer.split(',').map(|number| number.parse().unwrap()).collect::<Vec<usize>>());
        questions.push(json!([[said, forwarded, "127.0.0.1"], hosts, proxies]));
    }
    let networks: Vec<_> = networks
        .iter()
        .map(|(address, length, place)| {
            json!([format!("{address}/{length}"), place.map(|place| place.0), place.map(|place| place.1)])
        })
        .collect();
    let expected = expected(&json!({"networks": networks, "questions": questions}));
    for ((question, answer), expected) in questions.iter().zip(&answers).zip(&expected) {
        assert_eq!(answer, expected, "{question}");
    }
    assert!(answers.iter().any(|answer| !answer.is_sorted()));
}

#[test]
fn the_caller_is_who_it_says_or_who_connects() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("places.mmdb");
    let east = |address: &str, length, longitude| (address.parse().unwrap(), length, Some((0.0, longitude)));
    let places =
        [east("127.0.0.0", 8, 0.0), east("1.0.0.0", 8, 10.0), east("2.0.0.0", 8, 90.0), east("2001::", 16, 170.0)];
    std::fs::write(&database, mmdb::write(&places)).unwrap();
    let server = serve(&database);
    let ask =
        |caller: &str, headers: &[&str]| ask(&server, &format!("{caller}/2.0.0.1,[2001::1]:8000,1.0.0.1:80"), headers);
    let (near, middle, far) = ("3,1,2", "1,2,3", "2,1,3");
    assert_eq!(ask("x", &[]), near, "by the connection");
    assert_eq!(ask("2.0.0.9:3128", &[]), middle);
    assert_eq!(ask("2001::9", &["X-Forwarded-For: 1.0.0.1"]), far);
    assert_eq!(ask("x", &["X-Forwarded-For: 2.0.0.9, 2001::9"]), far, "the last one counts");
    assert_eq!(ask("x", &["X-Forwarded-For: 2001::9", "X-Forwarded-For: 2.0.0.9"]), middle);
    assert_eq!(ask("x", &["X-Forwarded-For: 2001::9", "CF-Connecting-IP: 2.0.0.9"]), middle);
    assert_eq!(ask("x", &["X-Forwarded-For: unknown"]), near);
    assert_eq!(ask("::ffff:2.0.0.9", &[]), middle, "IPv4 in IPv6");
    // A name of the machine itself.
    let reply = server.get(&format!("/cvmfs/{FQRN}/api/v1.0/geo/x/2.0.0.1,localhost"), &["X-Forwarded-For: 1.0.0.1"]);
    assert_eq!(reply.body, b"2,1\n");
    assert_eq!(reply.headers["cache-control"], "public, max-age=3600");
}

#[test]
fn who_is_nowhere_gets_the_order_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("places.mmdb");
    std::fs::write(&database, mmdb::write(&[("1.0.0.0".parse().unwrap(), 8, Some((0.0, 0.0)))])).unwrap();
    let server = serve(&database);
    let reply = server.get(&format!("/cvmfs/{FQRN}/api/v1.0/geo/x/9.9.9.9,1.0.0.1,8.8.8.8"), &[]);
    assert_eq!(
        (reply.body.as_slice(), reply.headers["cache-control"].as_str()),
        (&b"1,2,3\n"[..], "public, max-age=300")
    );
    assert_eq!(ask(&server, "1.0.0.1/9.9.9.9,1.0.0.1,8.8.8.8", &[]), "2,1,3", "unknown ones go last");
}

#[test]
fn the_database_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("places.mmdb");
    let write = |longitude: f64| {
        let place = |address: &str, longitude| (address.parse().unwrap(), 8, Some((0.0, longitude)));
        let bytes = mmdb::write(&[place("1.0.0.0", 0.0), place("2.0.0.0", longitude), place("3.0.0.0", 50.0)]);
        let new = directory.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(&new, &database).unwrap();
    };
    write(10.0);
    let server = serve(&database);
    let ask = || ask(&server, "1.0.0.1/3.0.0.1,2.0.0.1", &[]);
    assert_eq!(ask(), "2,1");
    write(100.0);
    assert_eq!(ask(), "1,2");
    std::fs::write(&database, b"this is no database").unwrap();
    assert_eq!(ask(), "1,2", "the one that was read before stays");
    std::fs::remove_file(&database).unwrap();
    assert_eq!(ask(), "1,2");
    write(10.0);
    server.signal("-HUP");
    assert_eq!(ask(), "2,1");
}

#[test]
fn a_database_that_cannot_be_read_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let repository = fixtures::repository(FQRN);
    let database = directory.path().join("places.mmdb");
    for content in [None, Some(&b"this is no database"[..])] {
        if let Some(content) = content {
            std::fs::write(&database, content).unwrap();
        }
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.arg("serve").arg(&repository.web_root).args(["--listen", "127.0.0.1:0", "--geo-db"]).arg(&database);
        let output = run.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains("the database of places"), "{told}");
    }
}
