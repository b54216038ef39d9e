//! Proxies: good, dead, slow, hostile; names with several addresses; the Geo API.
#![allow(clippy::unwrap_used)]

mod transport_support;

use libcvmfs::transport::dns::{ResolveError, Resolved, Resolver};
use libcvmfs::transport::{Failure, Fetched, GeoSettings, ProxyList, Request, Settings, Transport, TransportError};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transport_support::{Collector, SILENCE, Seen, Server, TIMEOUT, dead_port, last, raw, respond, settings};

const BODY: &[u8] = b"the object";
const HOST: &str = "http://stratum1.invalid:8000/cvmfs/test.example";
const OTHER_HOST: &str = "http://other.invalid/cvmfs/test.example";

fn fetch(transport: &Transport) -> Result<Fetched, TransportError> {
    transport.fetch(&Request::new("/data/ab/cd", 1000), &mut Collector::expecting(BODY))
}

fn failure(result: Result<Fetched, TransportError>) -> Failure {
    result.unwrap_err().failure()
}

fn good_proxy() -> Server {
    Server::start(|_, stream| respond(stream, 200, "", BODY))
}

#[test]
fn a_proxy_gets_the_absolute_form_and_keeps_one_connection_for_all_hosts() {
    let proxy = good_proxy();
    let transport = Transport::new(settings(&[HOST.into(), OTHER_HOST.into()], &proxy.proxy())).unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&transport).unwrap().proxy, Some(proxy.proxy()));
    }
    transport.fetch_from(OTHER_HOST, &Request::new("/x", 100), &mut Collector::default()).unwrap();
    let seen = proxy.seen();
    assert_eq!(seen[0].line, format!("GET {HOST}/data/ab/cd HTTP/1.1"));
    assert_eq!(seen[0].header("host"), Some("stratum1.invalid:8000"));
    assert_eq!(seen[3].line, format!("GET {OTHER_HOST}/x HTTP/1.1"));
    assert_eq!(proxy.connections(), 1, "keep-alive through a proxy");
    assert_eq!(transport.status().proxy_list, format!("{}\n", proxy.proxy()));
}

#[test]
fn proxy_credentials_are_sent_and_not_shown() {
    let proxy = good_proxy();
    let list = format!("http://user:p%40ss@127.0.0.1:{}", proxy.port);
    let transport = Transport::new(settings(&[HOST.into()], &list)).unwrap();
    let fetched = fetch(&transport).unwrap();
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), Some("Basic dXNlcjpwQHNz"));
    assert!(!format!("{fetched:?} {:?}", transport.status()).contains("p%40ss"));
}

#[test]
fn a_dead_proxy_is_left_for_the_next_group() {
    let good = good_proxy();
    let list = format!("http://127.0.0.1:{};{}", dead_port(), good.proxy());
    let transport = Transport::new(settings(&[HOST.into()], &list)).unwrap();
    assert_eq!(fetch(&transport).unwrap().proxy, Some(good.proxy()));
    assert_eq!((transport.status().proxy, transport.status().proxy_group), (good.proxy(), 1));
    assert_eq!(fetch(&transport).unwrap().tries, 1);
}

#[test]
fn direct_is_used_when_listed_and_only_then() {
    let origin = Server::with_body("/data/ab/cd", BODY);
    let dead = format!("http://127.0.0.1:{}", dead_port());
    let transport = Transport::new(settings(&[origin.url()], &format!("{dead};DIRECT"))).unwrap();
    assert_eq!(fetch(&transport).unwrap().proxy, None);
    assert_eq!(transport.status().proxy, "DIRECT");

    let transport = Transport::new(settings(&[origin.url()], &dead)).unwrap();
    assert_eq!(failure(fetch(&transport)), Failure::ProxyConnection);
    // Fallback proxies remove DIRECT.
    let fallback = ProxyList::parse_fallback(&format!("http://127.0.0.1:{};DIRECT", dead_port())).unwrap();
    let with_fallback = Settings { fallback_proxies: fallback, ..settings(&[origin.url()], &format!("{dead};DIRECT")) };
    assert!(fetch(&Transport::new(with_fallback).unwrap()).is_err());
    assert_eq!(origin.requests(), 1);
}

#[test]
fn a_mistyped_list_is_a_loud_error() {
    for list in ["", "http://a:1;;DIRECT", "http://a:1 DIRECT", "direct", "https://a:1"] {
        assert!(ProxyList::parse(list).is_err(), "{list}");
    }
    assert!(Transport::new(Settings { hosts: vec![HOST.into()], ..Settings::default() }).is_err());
}

/// What the proxy does; whether a later group of proxies, and then DIRECT, may be used; the failure when it is alone.
type Case = (&'static str, fn(&Seen, &mut TcpStream) -> bool, bool, bool, Failure);

fn sleepy() -> bool {
    std::thread::sleep(SILENCE);
    false
}

fn drip(stream: &mut TcpStream) -> bool {
    raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    BODY.iter().all(|byte| {
        std::thread::sleep(TIMEOUT / 4);
        raw(stream, &[*byte])
    })
}

const CASES: &[Case] = &[
    ("drip", |_, s| drip(s), false, false, Failure::ProxyTooSlow),
    (
        "cut",
        |_, s| last(s, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nthe"),
        false,
        false,
        Failure::ProxyShortTransfer,
    ),
    ("silent", |_, _| sleepy(), true, false, Failure::ProxyTooSlow),
    ("closes at once", |_, _| false, true, true, Failure::ProxyShortTransfer),
    ("not http", |_, s| last(s, b"SSH-2.0-OpenSSH_9\r\n\r\n"), true, true, Failure::Unknown),
    ("403", |_, s| respond(s, 403, "", b"denied"), true, true, Failure::ProxyHttp),
    ("407", |_, s| respond(s, 407, "", b"denied"), true, true, Failure::ProxyHttp),
    (
        "squid error",
        |_, s| respond(s, 503, "X-Squid-Error: ERR_CONNECT_FAIL 111\r\n", b""),
        true,
        true,
        Failure::ProxyHttp,
    ),
    ("squid 404", |_, s| respond(s, 404, "X-Squid-Error: ERR_X 0\r\n", b""), true, true, Failure::ProxyHttp),
    (
        "proxy-status",
        |_, s| respond(s, 502, "Proxy-Status: p; error=dns_error\r\n", b""),
        true,
        true,
        Failure::ProxyHttp,
    ),
    ("host 500", |_, s| respond(s, 500, "", b""), false, false, Failure::HostHttp),
    ("corrupt", |_, s| respond(s, 200, "", b"login page"), true, true, Failure::Corrupt),
];

#[test]
fn blame_decides_who_is_asked_next() {
    std::thread::scope(|scope| {
        for (name, misdeed, other_proxy, direct, alone) in CASES {
            scope.spawn(move || {
                let started = Instant::now();
                let bad = Server::start(misdeed);
                let transport = Transport::new(settings(&[HOST.into()], &bad.proxy())).unwrap();
                assert_eq!(failure(fetch(&transport)), *alone, "{name}");

                let good = good_proxy();
                let list = format!("{};{}", bad.proxy(), good.proxy());
                let result = fetch(&Transport::new(settings(&[HOST.into()], &list)).unwrap());
                assert_eq!(result.is_ok(), *other_proxy, "{name}: {result:?}");
                assert_eq!(good.requests() > 0, *other_proxy, "{name}");

                let origin = Server::with_body("/data/ab/cd", BODY);
                let list = format!("{};DIRECT", bad.proxy());
                let result = fetch(&Transport::new(settings(&[origin.url()], &list)).unwrap());
                assert_eq!(origin.requests() > 0, *direct, "{name}: {result:?}");
                assert!(started.elapsed() < 15 * TIMEOUT, "{name}: {:?}", started.elapsed());
            });
        }
    });
}

#[test]
fn a_slow_proxy_is_tried_with_another_host_and_a_fast_member() {
    // Slow for the first host only: it is the host.
    let proxy =
        Server::start(
            |seen, stream| {
                if seen.target().contains("stratum1") { sleepy() } else { respond(stream, 200, "", BODY) }
            },
        );
    let transport =
        Transport::new(settings(&[HOST.into(), OTHER_HOST.into()], &format!("{};DIRECT", proxy.proxy()))).unwrap();
    let fetched = fetch(&transport).unwrap();
    assert_eq!((fetched.host.as_str(), fetched.proxy), (OTHER_HOST, Some(proxy.proxy())));

    let (slow, fast) = (Server::start(|_, s| drip(s)), good_proxy());
    for seed in 0..4 {
        let list = format!("{}|{}", slow.proxy(), fast.proxy());
        let chosen = Settings { random_seed: Some(seed), ..settings(&[HOST.into()], &list) };
        assert_eq!(fetch(&Transport::new(chosen).unwrap()).unwrap().proxy, Some(fast.proxy()));
    }
}

#[test]
fn corruption_in_a_proxy_cache_is_healed_by_asking_past_it() {
    let proxy = Server::start(|seen, stream| {
        respond(stream, 200, "", if seen.header("pragma") == Some("no-cache") { BODY } else { b"rotten" })
    });
    let transport = Transport::new(settings(&[HOST.into()], &format!("{};DIRECT", proxy.proxy()))).unwrap();
    let fetched = fetch(&transport).unwrap();
    assert_eq!((fetched.tries, fetched.proxy), (2, Some(proxy.proxy())));
    assert_eq!(transport.status().totals.proxy_switches, 0);
}

struct Table(&'static [(&'static str, &'static [[u8; 4]])]);

impl Resolver for Table {
    fn resolve(&self, name: &str) -> Result<Resolved, ResolveError> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        let (_, addresses) = found.ok_or_else(|| ResolveError::NoAddress(name.to_owned()))?;
        Ok(Resolved { addresses: addresses.iter().map(|a| (*a).into()).collect(), ttl: None })
    }
}

#[test]
fn every_address_of_a_proxy_name_is_a_member() {
    let proxy = good_proxy();
    // The server listens on 127.0.0.1 only; the other addresses refuse.
    let table = Table(&[("squid.site", &[[127, 0, 0, 3], [127, 0, 0, 1], [127, 0, 0, 2]])]);
    let list = format!("http://squid.site:{};http://nowhere.site:3128", proxy.port);
    let base = Settings { resolver: Some(Arc::new(table)), ..settings(&[HOST.into()], &list) };
    let transport = Transport::new(base.clone()).unwrap();
    let status = transport.status();
    assert_eq!(status.proxy_list.lines().count(), 4);
    assert_eq!(status.proxy_list.lines().last(), Some("http://nowhere.site:3128"));
    assert_eq!(fetch(&transport).unwrap().proxy, Some(proxy.proxy()));
    assert_eq!(proxy.seen()[0].target(), format!("{HOST}/data/ab/cd"));

    let capped = Transport::new(Settings { max_ipaddr_per_proxy: 1, ..base }).unwrap();
    assert_eq!(capped.status().proxy_list.lines().count(), 2);
}

#[test]
fn an_unresolvable_proxy_is_a_proxy_failure_and_a_host_a_host_failure() {
    let table = Arc::new(Table(&[]));
    let one = Settings { resolver: Some(table.clone()), ..settings(&[HOST.into()], "http://nowhere.site:3128") };
    assert_eq!(failure(fetch(&Transport::new(one).unwrap())), Failure::ProxyResolve);
    let direct = Settings { resolver: Some(table), ..settings(&[HOST.into()], "DIRECT") };
    assert_eq!(failure(fetch(&Transport::new(direct).unwrap())), Failure::HostResolve);
}

#[test]
fn the_proxy_comes_back_after_the_reset_delay() {
    let origin = Server::with_body("/data/ab/cd", BODY);
    let proxy =
        Server::start(
            |seen, stream| {
                if seen.number == 0 { respond(stream, 403, "", b"") } else { respond(stream, 200, "", BODY) }
            },
        );
    let list = format!("{};DIRECT", proxy.proxy());
    let reset = Settings { proxy_reset_after: Duration::from_secs(3), ..settings(&[origin.url()], &list) };
    let transport = Transport::new(reset).unwrap();
    assert_eq!(fetch(&transport).unwrap().proxy, None);
    assert_eq!(fetch(&transport).unwrap().proxy, None);
    std::thread::sleep(Duration::from_millis(3200));
    assert_eq!(fetch(&transport).unwrap().proxy, Some(proxy.proxy()));
}

#[test]
fn sharding_sends_an_object_always_to_the_same_member() {
    let proxies: Vec<_> = (0..4).map(|_| good_proxy()).collect();
    let list = proxies.iter().map(Server::proxy).collect::<Vec<_>>().join("|");
    let sharded = Settings { proxy_shard: true, ..settings(&[HOST.into()], &list) };
    let (one, two) = (Transport::new(sharded.clone()).unwrap(), Transport::new(sharded).unwrap());
    let mut used = std::collections::HashSet::new();
    for n in 1..40u8 {
        let hash = libcvmfs::hash::ContentHash::new(libcvmfs::hash::Algorithm::Sha1, [n.wrapping_mul(37); 20]);
        let request = Request::new("/x", 100).with_hash(&hash);
        let via = |t: &Transport| t.fetch(&request, &mut Collector::default()).unwrap().proxy;
        assert_eq!(via(&one), via(&two));
        used.insert(via(&one));
    }
    assert!(used.len() >= 3, "{used:?}");
}

#[test]
fn hosts_are_ordered_by_distance() {
    let geo = |reply: &'static str| {
        Server::start(move |seen, stream| {
            if seen.target().contains("/api/v1.0/geo/") {
                respond(stream, 200, "", reply.as_bytes())
            } else {
                respond(stream, 200, "", BODY)
            }
        })
    };
    let hosts = ["http://c.invalid/x", "http://a.invalid/x", "http://b.invalid/x"].map(str::to_owned);
    let ordered = |reply, max_servers| {
        let proxy = geo(reply);
        let geo = GeoSettings { enabled: true, max_servers, ..GeoSettings::default() };
        let transport = Transport::new(Settings { geo, ..settings(&hosts, &proxy.proxy()) }).unwrap();
        let changed = transport.order_hosts();
        let target = proxy.seen()[0].target().to_owned();
        assert!(target.ends_with(".invalid/x/api/v1.0/geo/127.0.0.1/a.invalid,b.invalid,c.invalid"), "{target}");
        (changed, transport.hosts().iter().map(|host| host[7..8].to_owned()).collect::<String>())
    };
    assert_eq!(ordered("2,3,1\n", 0), (true, "bca".into()));
    assert_eq!(ordered("2,3,1\n", 2), (true, "bc".into()));
    assert_eq!(ordered("2,3,3\n", 0), (false, "cab".into()));
    assert_eq!(ordered("<html>", 2), (false, "ca".into()));
}

#[test]
fn hosts_are_ordered_by_speed() {
    let fast = Server::start(|_, stream| respond(stream, 200, "", BODY));
    let slow = Server::start(|_, stream| {
        std::thread::sleep(TIMEOUT / 2);
        respond(stream, 200, "", BODY)
    });
    let dead = format!("http://127.0.0.1:{}/cvmfs/test.example", dead_port());
    let transport = Transport::new(settings(&[dead.clone(), slow.url(), fast.url()], "DIRECT")).unwrap();
    let measured = transport.probe_hosts();
    assert_eq!(transport.hosts(), [fast.url(), slow.url(), dead]);
    assert!(measured[0].1.is_ok() && measured[2].1.is_err());
}
