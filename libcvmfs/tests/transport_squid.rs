//! A real Squid between us and a server.
#![allow(clippy::unwrap_used)]

mod skip;
mod transport_support;

use libcvmfs::transport::{Failure, Request, Settings, Transport};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use transport_support::{Collector, Server, dead_port, respond, settings};

const BODY: &[u8] = b"the object";

struct Squid {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Squid {
    /// Starts a Squid with a memory cache only; `None` if there is none on this machine.
    fn start() -> Option<Squid> {
        let binary =
            ["/usr/sbin/squid", "/usr/local/sbin/squid"].into_iter().find(|p| std::path::Path::new(p).exists());
        let Some(binary) = binary else {
            skip::skip("squid is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        // As root, Squid gives its rights away and must still reach its files.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        let port = dead_port();
        let d = dir.path().display();
        let config = format!(
            "http_port 127.0.0.1:{port}\nacl all_clients src all\nhttp_access allow all_clients\ncache_mem 16 MB\n\
             pid_filename {d}/squid.pid\ncache_log {d}/cache.log\naccess_log stdio:{d}/access.log\n\
             coredump_dir {d}\nshutdown_lifetime 0 seconds\nconnect_timeout 2 seconds\npinger_enable off\n\
             max_filedescriptors 1024\nvisible_hostname squid.test\nnetdb_filename none\n"
        );
        std::fs::write(dir.path().join("squid.conf"), config).unwrap();
        let mut child = Command::new(binary)
            // Others on this machine, and what a killed one left, have other names in shared memory.
            .args(["-N", "-n", &format!("port{port}"), "-f", dir.path().join("squid.conf").to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = std::fs::read_to_string(dir.path().join("cache.log")).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "squid ended: {log}");
            assert!(started.elapsed() < Duration::from_secs(30), "squid does not listen: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Squid { child, port, _dir: dir })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        self.kill();
    }
}

fn patient(hosts: &[String], proxies: &str) -> Settings {
    let timeout = Duration::from_secs(5);
    Settings { timeout, timeout_direct: timeout, ..settings(hosts, proxies) }
}

fn cacheable_origin() -> Server {
    Server::start(|seen, stream| {
        let body = if seen.target().ends_with("/missing") { None } else { Some(BODY) };
        match body {
            Some(body) => {
                // Squid reckons the age from the date.
                let date = httpdate::fmt_http_date(std::time::SystemTime::now());
                respond(stream, 200, &format!("Date: {date}\r\nCache-Control: max-age=3600\r\n"), body)
            }
            None => respond(stream, 404, "", b"no such object"),
        }
    })
}

#[test]
fn squid_serves_caches_and_keeps_connections() {
    let Some(squid) = Squid::start() else { return };
    let origin = cacheable_origin();
    let transport = Transport::new(patient(&[origin.url()], &squid.url())).unwrap();
    let get = |path: &str, fresh| {
        let request = Request { fresh, ..Request::new(path, 1000) };
        transport.fetch(&request, &mut Collector::expecting(BODY))
    };
    assert_eq!(get("/data/ab/cd", false).unwrap().proxy, Some(squid.url()));
    assert_eq!(origin.requests(), 1);
    assert!(origin.seen()[0].header("via").is_some(), "it came through the proxy");
    for _ in 0..3 {
        get("/data/ab/cd", false).unwrap();
    }
    assert_eq!(origin.requests(), 1, "a hit in the proxy's cache");
    get("/data/ab/cd", true).unwrap();
    assert_eq!(origin.requests(), 2, "no-cache goes past the proxy's cache");
    assert_eq!(transport.status().totals.connections, 1, "one connection for everything");

    // The host's 404 is the host's, and the proxy stays.
    assert!(get("/missing", false).unwrap_err().is_not_found());
    assert_eq!(transport.status().totals.proxy_switches, 0);
}

#[test]
fn squid_says_when_it_cannot_reach_a_host() {
    let Some(squid) = Squid::start() else { return };
    let origin = cacheable_origin();
    let dead = format!("http://127.0.0.1:{}/cvmfs/test.example", dead_port());
    let transport = Transport::new(patient(std::slice::from_ref(&dead), &squid.url())).unwrap();
    let error = transport.fetch(&Request::new("/x", 100), &mut Collector::default()).unwrap_err();
    assert_eq!(error.failure(), Failure::ProxyHttp, "{error}");
    // With another host the same proxy is used again.
    let transport = Transport::new(patient(&[dead, origin.url()], &squid.url())).unwrap();
    let fetched = transport.fetch(&Request::new("/x", 100), &mut Collector::expecting(BODY)).unwrap();
    assert_eq!((fetched.host, fetched.proxy), (origin.url(), Some(squid.url())));
}

#[test]
fn when_squid_dies_the_list_decides() {
    let Some(mut squid) = Squid::start() else { return };
    let origin = cacheable_origin();
    let strict = Transport::new(patient(&[origin.url()], &squid.url())).unwrap();
    let lenient = Transport::new(patient(&[origin.url()], &format!("{};DIRECT", squid.url()))).unwrap();
    let get =
        |transport: &Transport| transport.fetch(&Request::new("/data/ab/cd", 100), &mut Collector::expecting(BODY));
    assert_eq!(get(&strict).unwrap().proxy, Some(squid.url()));
    assert_eq!(get(&lenient).unwrap().proxy, Some(squid.url()));
    squid.kill();
    let before = origin.requests();
    assert_eq!(get(&strict).unwrap_err().failure(), Failure::ProxyConnection);
    assert_eq!(origin.requests(), before, "DIRECT is not in the list");
    assert_eq!(get(&lenient).unwrap().proxy, None);
}
