//! Servers that misbehave: a typed error within the time that was configured, a clean cache, and no memory of it when
//! the server behaves again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, RepositoryFixture, Truth};
use cvmfs_tests::forge::{Forge, deflate};
use cvmfs_tests::mount::{Mount, Mounted, assert_clean, read, sha256};
use cvmfs_tests::server::{Behaviour, WebRoot};
use libcvmfs::Error;
use libcvmfs::error::{Origin, Retry};
use libcvmfs::namespace::{FileKind, Node};
use libcvmfs::object::{ObjectKind, ObjectName};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// 20 000 bytes, stored in 2672.
const FILE: &str = "/files/dup_a";
const FILE_SHA256: &str = "8d242fb8b3c118f8";
const FILE_OBJECT: &str = "710ebad01d279ac3c091565a62e638b4440d8e8e";
const ROOT_CATALOG: &str = "073e8f52186124b22c195c432d6dcd95f5e7e9b7C";

/// The time-out is three seconds; an answer that drips or goes on for ever is noticed within a few of them.
const PATIENCE: Duration = Duration::from_secs(40);

fn small() -> RepositoryFixture {
    fixtures::repository("small.test.example")
}

fn server() -> WebRoot {
    let small = small();
    WebRoot::serve(&small.fqrn, &small.web_root)
}

fn object_suffix(name: &str) -> String {
    format!("/data/{}/{}", &name[..2], &name[2..])
}

/// What a server may do to any answer, with those who may be blamed for it.
fn misbehaviours() -> Vec<(&'static str, Behaviour, &'static [Origin])> {
    use Origin::{Content, Host};
    let drip = Behaviour::Drip { bytes: 1, pause: Duration::from_millis(100) };
    let garbled = Behaviour::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc".to_vec());
    vec![
        ("truncated", Behaviour::Truncate(100), &[Host]),
        ("cut before the first byte", Behaviour::Truncate(0), &[Host]),
        ("announced longer", Behaviour::WrongLength(50), &[Host]),
        ("announced shorter", Behaviour::WrongLength(-50), &[Host, Content]),
        ("one bit flipped", Behaviour::CorruptByte(77), &[Content]),
        ("empty", Behaviour::Body(Vec::new()), &[Content]),
        ("another body", Behaviour::Body(b"hello".to_vec()), &[Content]),
        ("a login page", Behaviour::Html, &[Content]),
        ("endless", Behaviour::Endless, &[Content]),
        ("endless in chunks", Behaviour::EndlessChunked, &[Content]),
        ("endless header", Behaviour::EndlessHeader, &[Host]),
        ("drip", drip, &[Host]),
        ("silence", Behaviour::Silent, &[Host]),
        ("reset before the answer", Behaviour::Reset(0), &[Host]),
        ("reset in the body", Behaviour::Reset(200), &[Host]),
        ("closed", Behaviour::Close, &[Host]),
        ("no HTTP", Behaviour::Garbage, &[Host]),
        ("bad chunks", garbled, &[Host]),
        ("redirect loop", Behaviour::RedirectLoop, &[Host]),
        ("redirect to a file", Behaviour::Redirect("file:///etc/passwd".into()), &[Host]),
        ("403", Behaviour::Status(403), &[Host]),
        ("404", Behaviour::Status(404), &[Host]),
        ("500", Behaviour::Status(500), &[Host]),
        ("503", Behaviour::Status(503), &[Host]),
        ("204", Behaviour::Status(204), &[Host, Content]),
    ]
}

fn assert_typed(name: &str, error: &Error, origins: &[Origin], server: &WebRoot) {
    let message = error.to_string();
    assert_eq!(error.errno(), libc::EIO, "{name}: {message}");
    let origin = error.origin().unwrap_or_else(|| panic!("{name}: nobody is blamed: {message}"));
    assert!(origins.contains(&origin), "{name}: {origin} is blamed: {message}");
    assert!(message.contains(&server.port().to_string()), "{name}: no host in '{message}'");
    if origin == Origin::Host {
        assert_eq!(error.retry(), Retry::Later, "{name}: {message}");
    }
}

fn in_time<T>(name: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = act();
    assert!(start.elapsed() < PATIENCE, "{name} took {:?}", start.elapsed());
    value
}

/// Runs every misbehaviour in a thread of its own: most of them consist of waiting.
fn for_all(check: impl Fn(&'static str, Behaviour, &'static [Origin]) + Sync) {
    std::thread::scope(|scope| {
        for (name, behaviour, origins) in misbehaviours() {
            let check = &check;
            scope.spawn(move || check(name, behaviour, origins));
        }
    });
}

#[test]
fn an_object_that_does_not_come_is_an_error_until_it_comes() {
    for_all(|name, behaviour, origins| {
        let server = server();
        let mounted = Mount::over(&small(), &[&server]).client();
        let repository = mounted.repository().unwrap();
        server.misbehave(&object_suffix(FILE_OBJECT), behaviour);
        let error = in_time(name, || mounted.read(FILE)).expect_err(name);
        assert_typed(name, &error, origins, &server);
        assert!(error.to_string().contains(&object_suffix(FILE_OBJECT)), "{name}: {error}");
        assert_clean(repository.cache());
        // Other objects come from the same server meanwhile.
        assert_eq!(mounted.read("/files/tiny.txt").unwrap().len(), 12, "{name}");
        server.behave();
        let content = mounted.read(FILE).unwrap_or_else(|error| panic!("after {name}: {error}"));
        assert_eq!(&sha256(&content)[..16], FILE_SHA256, "{name}");
        assert_clean(repository.cache());
    });
}

#[test]
fn a_catalog_that_does_not_come_is_an_error_until_it_comes() {
    for_all(|name, behaviour, origins| {
        let server = server();
        let mount = Mount::over(&small(), &[&server]);
        server.misbehave(&object_suffix(ROOT_CATALOG), behaviour);
        let error = in_time(name, || mount.client().repository().map(drop)).expect_err(name);
        assert_typed(name, &error, origins, &server);
        server.behave();
        let mounted = mount.client();
        let repository = mounted.repository().unwrap_or_else(|error| panic!("after {name}: {error}"));
        assert_eq!(&sha256(&mounted.read(FILE).unwrap())[..16], FILE_SHA256, "{name}");
        assert_clean(repository.cache());
    });
}

#[test]
fn letters_that_do_not_come_are_an_error_until_they_come() {
    for_all(|name, behaviour, origins| {
        for letter in ["/.cvmfspublished", "/.cvmfswhitelist"] {
            // A letter has no announced size: what is longer than allowed may be blamed on the host, too.
            let origins: Vec<Origin> = origins.iter().copied().chain([Origin::Content]).collect();
            let server = server();
            let mount = Mount::over(&small(), &[&server]);
            server.misbehave(letter, behaviour.clone());
            let error = in_time(name, || mount.client().repository().map(drop)).expect_err(name);
            assert_typed(name, &error, &origins, &server);
            server.behave();
            let mounted = mount.client();
            mounted.repository().unwrap_or_else(|error| panic!("after {name} for {letter}: {error}"));
            assert_eq!(&sha256(&mounted.read(FILE).unwrap())[..16], FILE_SHA256, "{name}");
            // A mounted repository lives on while its letters cannot be had, and so does a new process.
            server.misbehave(letter, behaviour.clone());
            let refreshed = in_time(name, || mounted.repository().unwrap().refresh());
            assert_eq!(mounted.repository().unwrap().snapshot().identity().revision, 9, "{name}: {refreshed:?}");
            let offline = mount.client();
            in_time(name, || offline.repository()).unwrap_or_else(|error| panic!("offline, {name}: {error}"));
            assert!(offline.repository().unwrap().state().offline.is_some(), "{name}");
            assert_eq!(&sha256(&offline.read(FILE).unwrap())[..16], FILE_SHA256, "{name}");
        }
    });
}

#[test]
fn the_same_client_mounts_what_could_not_be_mounted_before() {
    let server = server();
    let mounted = Mount::over(&small(), &[&server]).client();
    server.misbehave("/.cvmfspublished", Behaviour::Status(503));
    let first = mounted.repository().map(drop).unwrap_err();
    server.behave();
    // For a while it does not even ask.
    server.forget_requests();
    let second = mounted.repository().map(drop).unwrap_err();
    assert_eq!((server.requests().len(), second.to_string()), (0, first.to_string()));
    let end = Instant::now() + PATIENCE;
    while mounted.repository().is_err() {
        assert!(Instant::now() < end, "it never asks again");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(&sha256(&mounted.read(FILE).unwrap())[..16], FILE_SHA256);
}

#[test]
fn a_bad_host_is_left_for_a_good_one() {
    for_all(|name, behaviour, _| {
        let (bad, good) = (server(), server());
        bad.script(move |_| behaviour.clone());
        let mounted = Mount::over(&small(), &[&bad, &good]).client();
        let content = in_time(name, || mounted.read(FILE)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&sha256(&content)[..16], FILE_SHA256, "{name}");
        assert_clean(mounted.repository().unwrap().cache());
    });
}

#[test]
fn a_zip_bomb_is_cut_off_at_the_size_in_the_catalog() {
    let web_root = tempfile::tempdir().unwrap();
    let published = Forge::new("bomb.test.example")
        .file("/bomb", [1; 1000])
        .file("/good", "good")
        .on_object_of(cvmfs_tests::forge::Stage::Stored, ObjectKind::File, "/bomb", |_| {
            Some(deflate(&vec![0; 300 << 20]))
        })
        .publish(web_root.path());
    let server = WebRoot::serve("bomb.test.example", web_root.path());
    let mounted = Mount::over(&published.repository(), &[&server]).client();
    let error = in_time("zip bomb", || mounted.read("/bomb")).unwrap_err();
    assert_typed("zip bomb", &error, &[Origin::Content], &server);
    let [object] = &published.objects["/bomb"][..] else { panic!("one object") };
    assert!(error.to_string().contains(&object.path()), "{error}");
    let repository = mounted.repository().unwrap();
    assert_clean(repository.cache());
    assert!(repository.cache().status().unwrap().used.bytes < 1 << 20);
    assert_eq!(mounted.read("/good").unwrap(), b"good");
    // The same bytes in the place of a catalog, whose size the manifest tells.
    let name = ObjectName::new(published.root_catalog, ObjectKind::Catalog);
    server.misbehave(&name.path(), Behaviour::Body(deflate(&vec![0; 300 << 20])));
    let fresh = Mount::over(&published.repository(), &[&server]).client();
    let error = in_time("zip bomb", || fresh.repository().map(drop)).unwrap_err();
    assert_typed("zip bomb", &error, &[Origin::Content], &server);
}

/// A small generator of numbers that look random and are the same each time.
fn next(state: &AtomicU64) -> u64 {
    let mut x = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn walk(node: &Node, found: &mut Vec<Node>) {
    for item in &node.list().unwrap() {
        let child = node.child(&item.name).unwrap().unwrap();
        match child.kind() {
            FileKind::Directory => walk(&child, found),
            FileKind::Regular => found.push(child),
            _ => {}
        }
    }
}

#[test]
fn a_whole_tree_is_read_over_connections_that_break_at_random() {
    let servers = [server(), server()];
    for (seed, server) in servers.iter().enumerate() {
        let state = AtomicU64::new(seed as u64);
        // Now and then nothing comes for so long that the other one must help.
        server.script(move |request| match next(&state) % if request.number % 60 > 50 { 4 } else { 24 } {
            0 => Behaviour::Reset(0),
            1 => Behaviour::Reset(50),
            2 => Behaviour::Truncate(60),
            3 => Behaviour::Close,
            _ => Behaviour::Normal,
        });
    }
    let [one, two] = &servers;
    let mount = Mount::over(&small(), &[one, two]).option("CVMFS_MAX_RETRIES", "4").option("CVMFS_BACKOFF_INIT", "0");
    let mounted: Mounted = mount.client();
    let mut files = Vec::new();
    walk(&mounted.node("").unwrap(), &mut files);
    let truth: std::collections::BTreeMap<Vec<u8>, Truth> =
        fixtures::truth("small.test.example", None).map(|t| (t.path.clone(), t)).collect();
    assert!(files.len() > 1000, "{}", files.len());
    for file in files.iter().step_by(6) {
        let content = read(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert_eq!(Some(sha256(&content)), truth[&file.inner_path()].sha256, "{file:?}");
    }
    let connections = servers.iter().map(WebRoot::connections);
    assert!(connections.clone().all(|n| n > 0), "{:?}", connections.collect::<Vec<_>>());
    assert_clean(mounted.repository().unwrap().cache());
}
