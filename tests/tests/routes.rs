//! The way to the bytes: proxies, hosts, the Geo API, and data that lies elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, FileType, RepositoryFixture, Truth};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::mount::{Mount, Mounted, assert_clean, read, sha256};
use cvmfs_tests::server::{Behaviour, WebRoot};
use libcvmfs::error::Origin;
use std::time::{Duration, Instant};

const FQRN: &str = "routes.test.example";

struct Stage {
    repository: RepositoryFixture,
    _web_root: tempfile::TempDir,
}

/// Files `/0` to `/19`, each with its own content.
fn stage() -> Stage {
    let web_root = tempfile::tempdir().unwrap();
    let forge = (0..20).fold(Forge::new(FQRN), |forge, n| forge.file(format!("/{n}"), format!("content {n}")));
    let repository = forge.publish(web_root.path()).repository();
    Stage { repository, _web_root: web_root }
}

impl Stage {
    fn server(&self) -> WebRoot {
        WebRoot::serve(FQRN, &self.repository.web_root)
    }

    fn dead(&self) -> WebRoot {
        let server = self.server();
        server.stop();
        server
    }
}

fn check(mounted: &Mounted, n: usize) {
    let content = mounted.read(format!("/{n}")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(content, format!("content {n}").as_bytes());
}

fn attribute(mounted: &Mounted, name: &str) -> String {
    String::from_utf8(mounted.node("").unwrap().get_xattr(name.as_bytes()).unwrap()).unwrap()
}

fn timed(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

#[test]
fn requests_go_through_the_proxy_whole_and_in_plain() {
    let stage = stage();
    let (origin, proxy) = (stage.server(), stage.server());
    let mount = Mount::over(&stage.repository, &[&origin]).option("CVMFS_HTTP_PROXY", &proxy.url());
    check(&mount.client(), 1);
    assert!(origin.requests().is_empty(), "the proxy answered all of it");
    let requests = proxy.requests();
    assert!(requests.len() >= 5);
    let prefix = format!("{}/cvmfs/{FQRN}/", origin.url());
    assert!(requests.iter().all(|request| request.method == "GET" && request.target.starts_with(&prefix)));
}

#[test]
fn dead_proxies_are_passed_over_and_remembered() {
    let stage = stage();
    let (origin, living) = (stage.server(), stage.server());
    let (dead, dead2) = (stage.dead(), stage.dead());
    let list = format!("{}|{};{}", dead.url(), dead2.url(), living.url());
    let mount = Mount::over(&stage.repository, &[&origin]).option("CVMFS_HTTP_PROXY", &list);
    let mounted = mount.client();
    let time = timed(|| (0..20).for_each(|n| check(&mounted, n)));
    assert!(time < Duration::from_secs(15), "refused connections cost no time: {time:?}");
    assert_eq!(attribute(&mounted, "user.proxy"), living.url());
    assert!(origin.requests().is_empty());
    // The fall-back comes last.
    let fallback = mount.with_new_cache().option("CVMFS_HTTP_PROXY", &format!("{}|{}", dead.url(), dead2.url()));
    let fallback = fallback.option("CVMFS_FALLBACK_PROXY", &living.url()).client();
    check(&fallback, 2);
    assert_eq!(attribute(&fallback, "user.proxy"), living.url());
}

#[test]
fn a_silent_or_slow_proxy_costs_its_time_out_once() {
    let stage = stage();
    let drip = Behaviour::Drip { bytes: 1, pause: Duration::from_millis(150) };
    for (behaviour, separator) in [(Behaviour::Silent, ";"), (Behaviour::Silent, "|"), (drip.clone(), "|")] {
        let (origin, slow, good) = (stage.server(), stage.server(), stage.server());
        slow.script(move |_| behaviour.clone());
        let list = format!("{}{separator}{}", slow.url(), good.url());
        let mounted = Mount::over(&stage.repository, &[&origin]).option("CVMFS_HTTP_PROXY", &list).client();
        let time = timed(|| check(&mounted, 0));
        assert!(time < Duration::from_secs(20), "{time:?}");
        slow.forget_requests();
        let time = timed(|| (1..20).for_each(|n| check(&mounted, n)));
        assert!(time < Duration::from_secs(20), "{time:?}");
        assert_eq!(slow.requests().len(), 0, "it is not asked again");
        assert_clean(mounted.repository().unwrap().cache());
    }
    // Slow is not dead: as with the official client no other group takes over, and the message names the proxy.
    let (origin, slow, good) = (stage.server(), stage.server(), stage.server());
    slow.script(move |_| drip.clone());
    let list = format!("{};{}", slow.url(), good.url());
    let mounted = Mount::over(&stage.repository, &[&origin]).option("CVMFS_HTTP_PROXY", &list).client();
    let error = mounted.repository().map(drop).unwrap_err();
    assert_eq!((error.errno(), error.origin()), (libc::EIO, Some(Origin::Proxy)), "{error}");
    assert!(error.to_string().contains(slow.url().strip_prefix("http://").unwrap()), "{error}");
}

#[test]
fn after_a_while_the_first_proxies_get_another_chance() {
    let stage = stage();
    let (origin, first, second) = (stage.server(), stage.dead(), stage.server());
    let mount = Mount::over(&stage.repository, &[&origin]).option("CVMFS_PROXY_RESET_AFTER", "1");
    let mounted = mount.option("CVMFS_HTTP_PROXY", &format!("{};{}", first.url(), second.url())).client();
    check(&mounted, 0);
    assert_eq!(attribute(&mounted, "user.proxy"), second.url());
    first.restart();
    std::thread::sleep(Duration::from_millis(1200));
    check(&mounted, 1);
    check(&mounted, 2);
    assert_eq!(attribute(&mounted, "user.proxy"), first.url());
}

#[test]
fn a_proxy_list_that_cannot_be_meant_is_a_loud_error() {
    let stage = stage();
    let origin = stage.server();
    let mount = Mount::over(&stage.repository, &[&origin]);
    for list in
        ["", ";DIRECT", "http://a.example:3128;;DIRECT", "direct", "http://a.example:99999", "ftp://a:1", "a|auto"]
    {
        let client = mount.clone().option("CVMFS_HTTP_PROXY", list).client();
        let error = client.repository().map(drop).expect_err(list);
        assert!(error.to_string().contains("CVMFS_HTTP_PROXY"), "'{list}': {error}");
        assert_eq!(error.origin(), Some(Origin::Config), "'{list}': {error}");
        assert_eq!(client.node("/0").unwrap_err().errno(), libc::EIO, "'{list}'");
    }
    let error = mount.without_option("CVMFS_HTTP_PROXY").client().repository().map(drop).unwrap_err();
    assert!(error.to_string().contains("CVMFS_HTTP_PROXY"), "{error}");
    assert!(origin.requests().is_empty(), "nobody is asked past a proxy that may have been meant");
}

#[test]
fn dead_and_incomplete_hosts_are_passed_over() {
    let stage = stage();
    let (dead, partial, complete) = (stage.dead(), stage.server(), stage.server());
    let mounted = Mount::over(&stage.repository, &[&dead, &partial, &complete]).client();
    check(&mounted, 0);
    assert_eq!(complete.requests().len(), 0);
    partial.script(|request| if request.path.contains("/data/") { Behaviour::Status(404) } else { Behaviour::Normal });
    check(&mounted, 1);
    assert!(!complete.requests().is_empty());
    assert!(attribute(&mounted, "user.host_list").contains(&dead.url()));
    // Nobody has it, and all of them were asked.
    complete.script(|_| Behaviour::Status(404));
    let error = mounted.read("/2").unwrap_err();
    assert_eq!((error.errno(), error.origin()), (libc::EIO, Some(Origin::Host)), "{error}");
}

#[test]
fn the_geo_api_orders_hosts() {
    let stage = stage();
    let servers = [stage.server(), stage.server(), stage.server()];
    let [a, b, c] = &servers;
    let mount = Mount::over(&stage.repository, &[a, b, c]).option("CVMFS_USE_GEOAPI", "yes");
    let order = |mounted: &Mounted| -> Vec<usize> {
        let hosts = mounted.repository().unwrap().transport().hosts();
        let number = |host: &String| servers.iter().position(|server| host.starts_with(&server.url())).unwrap();
        hosts.iter().map(number).collect()
    };
    servers.iter().for_each(|server| server.set_geo(Some("3,1,2\n")));
    let mounted = mount.with_new_cache().client();
    check(&mounted, 0);
    assert_eq!(order(&mounted), [2, 0, 1]);
    let objects = |server: &WebRoot| server.paths().iter().filter(|path| path.contains("/data/")).count();
    assert_eq!((objects(a), objects(b)), (0, 0));
    assert!(objects(c) > 0);
    let limited = mount.with_new_cache().option("CVMFS_MAX_SERVERS", "2").client();
    check(&limited, 0);
    assert_eq!(order(&limited), [2, 0]);
    // One answer is enough, and nonsense is none.
    a.set_geo(None);
    b.set_geo(Some("1,1,2\n"));
    let mounted = mount.with_new_cache().client();
    check(&mounted, 0);
    assert_eq!(order(&mounted), [2, 0, 1]);
    for nonsense in ["", "1,2\n", "0,1,2\n", "1,2,4\n", "<html>", "3,2,1,4\n", "3;2;1\n", "99999999999999999999,1,2\n"]
    {
        servers.iter().for_each(|server| server.set_geo(Some(nonsense)));
        let mounted = mount.with_new_cache().client();
        check(&mounted, 0);
        assert_eq!(order(&mounted), [0, 1, 2], "{nonsense:?}");
    }
    // Servers that know nothing of it do not stand in the way; those that are silent cost their time-out.
    servers.iter().for_each(|server| server.set_geo(None));
    let mounted = mount.with_new_cache().client();
    check(&mounted, 0);
    assert_eq!(order(&mounted), [0, 1, 2]);
    servers.iter().for_each(WebRoot::forget_requests);
    let off = mount.with_new_cache().option("CVMFS_USE_GEOAPI", "no").client();
    check(&off, 0);
    assert!(!servers.iter().any(|server| server.paths().iter().any(|path| path.contains("/geo/"))));
}

struct External {
    server: WebRoot,
    data: WebRoot,
    mount: Mount,
    truth: Vec<Truth>,
}

fn external() -> External {
    let repository = fixtures::repository("external.test.example");
    let server = WebRoot::serve(&repository.fqrn, &repository.web_root);
    let data = WebRoot::new();
    data.mount("/external", fixtures::external_data());
    let mount = Mount::over(&repository, &[&server]).option("CVMFS_EXTERNAL_URL", &format!("{}/external", data.url()));
    // The test server knows only names that are text.
    let truth = fixtures::truth("external.test.example", None);
    let truth = truth.filter(|t| t.file_type == FileType::Reg && std::str::from_utf8(&t.path).is_ok()).collect();
    External { server, data, mount, truth }
}

#[test]
fn external_files_come_from_their_own_server() {
    let stage = external();
    let mounted = stage.mount.client();
    for truth in &stage.truth {
        let node = mounted.node(&truth.path).unwrap();
        let content = read(&node).unwrap_or_else(|error| panic!("{node:?}: {error}"));
        assert_eq!(Some(sha256(&content)), truth.sha256, "{node:?}");
    }
    let external = |path: &str| mounted.node(path).unwrap().get_xattr(b"user.external_file").unwrap() == b"1";
    assert!(external("/files/large_random_3M.bin") && external("/files/tiny.txt"));
    let of_large = |server: &WebRoot| {
        let requests = server.requests().into_iter();
        requests.filter(|request| request.path.ends_with("/files/large_random_3M.bin")).collect::<Vec<_>>()
    };
    // Ten chunks, each asked for by its range, exactly once, and together everything.
    let mut ranges: Vec<(u64, u64)> = of_large(&stage.data)
        .iter()
        .map(|request| {
            let range = request.header("range").expect("chunks are ranges").strip_prefix("bytes=").unwrap();
            let (first, last) = range.split_once('-').unwrap();
            (first.parse().unwrap(), last.parse().unwrap())
        })
        .collect();
    ranges.sort_unstable();
    assert_eq!(ranges.len(), 10);
    assert_eq!((ranges[0].0, ranges[9].1), (0, 3_145_745 - 1));
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    assert!(of_large(&stage.server).is_empty());
    assert_clean(mounted.repository().unwrap().cache());
    stage.data.forget_requests();
    let again = stage.mount.client();
    again.read("/files/large_random_3M.bin").unwrap();
    assert!(stage.data.requests().is_empty());
}

#[test]
fn external_bytes_that_are_not_those_published_are_refused() {
    let stage = external();
    let mounted = stage.mount.client();
    let (chunked, whole) = ("/files/large_random_3M.bin", "/files/tiny.txt");
    let cases = [
        ("another file", Behaviour::Body(b"hello world!".to_vec())),
        ("one bit", Behaviour::CorruptByte(5)),
        ("cut", Behaviour::Truncate(5)),
        ("the whole in place of a range", Behaviour::Body(vec![7; 3_145_745])),
        ("404", Behaviour::Status(404)),
        ("login page", Behaviour::Html),
        ("reset", Behaviour::Reset(3)),
    ];
    for (name, behaviour) in cases {
        for path in [chunked, whole] {
            stage.data.misbehave(path, behaviour.clone());
            let error = mounted.read(path).expect_err(name);
            assert_eq!(error.errno(), libc::EIO, "{name}: {error}");
            let message = error.to_string();
            assert!(message.contains(&stage.data.port().to_string()) && message.contains(path), "{name}: {message}");
        }
        assert_clean(mounted.repository().unwrap().cache());
    }
    stage.data.stop();
    let error = mounted.read(whole).unwrap_err();
    assert!(error.to_string().contains(&stage.data.port().to_string()), "{error}");
    assert_eq!(error.errno(), libc::EIO);
    stage.data.restart();
    stage.data.behave();
    assert_eq!(mounted.read(whole).unwrap().len(), 12);
    assert_eq!(mounted.read(chunked).unwrap().len(), 3_145_745);
    // Nobody said where the data is.
    let lost = stage.mount.with_new_cache().without_option("CVMFS_EXTERNAL_URL").client();
    let error = lost.read(whole).unwrap_err();
    assert!(error.to_string().contains("CVMFS_EXTERNAL_URL"), "{error}");
    assert_eq!((error.errno(), error.origin()), (libc::EIO, Some(Origin::Config)));
    assert!(lost.read("/new_repository").is_ok() || lost.node("/new_repository").is_ok());
}

#[test]
fn external_servers_and_proxies_are_their_own() {
    let stage = external();
    let other = WebRoot::new();
    other.mount("/external", fixtures::external_data());
    let dead = WebRoot::new();
    dead.stop();
    let urls = format!("{}/external;{}/external", dead.url(), other.url());
    let proxy = WebRoot::new();
    proxy.mount("/external", fixtures::external_data());
    let mount = stage.mount.clone().option("CVMFS_EXTERNAL_URL", &urls);
    assert_eq!(mount.with_new_cache().client().read("/files/tiny.txt").unwrap().len(), 12);
    assert!(!other.requests().is_empty(), "the next server of the list");
    other.forget_requests();
    let mount = mount.option("CVMFS_EXTERNAL_HTTP_PROXY", &proxy.url());
    let mount = mount.option("CVMFS_EXTERNAL_URL", &format!("{}/external", other.url()));
    let mounted = mount.with_new_cache().client();
    assert_eq!(mounted.read("/files/tiny.txt").unwrap().len(), 12);
    assert_eq!((other.requests().len(), proxy.requests().len()), (0, 1));
    assert!(proxy.requests()[0].target.starts_with(&other.url()));
}
