//! A real Squid of a site between clients and a server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, RepositoryFixture, Truth};
use cvmfs_tests::mount::{Mount, Mounted, assert_clean, read, sha256};
use cvmfs_tests::server::{Squid, WebRoot};
use libcvmfs::error::Origin;
use libcvmfs::namespace::{FileKind, Node};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const DIRECTORIES: [&str; 3] = ["/files", "/nested", "/names"];

struct Stage {
    server: WebRoot,
    mount: Mount,
    truth: BTreeMap<Vec<u8>, Truth>,
}

fn stage(proxies: &str) -> Stage {
    let small: RepositoryFixture = fixtures::repository("small.test.example");
    let server = WebRoot::serve(&small.fqrn, &small.web_root);
    let mount = Mount::over(&small, &[&server]).option("CVMFS_HTTP_PROXY", proxies).option("CVMFS_TIMEOUT", "3");
    let truth = fixtures::truth("small.test.example", None).map(|t| (t.path.clone(), t)).collect();
    Stage { server, mount, truth }
}

fn files_below(node: &Node, found: &mut Vec<Node>) {
    for item in &node.list().unwrap() {
        let child = node.child(&item.name).unwrap().unwrap();
        match child.kind() {
            FileKind::Directory => files_below(&child, found),
            FileKind::Regular => found.push(child),
            _ => {}
        }
    }
}

impl Stage {
    fn files(&self, mounted: &Mounted) -> Vec<Node> {
        let mut files = Vec::new();
        for directory in DIRECTORIES.iter().filter(|directory| self.truth.contains_key(directory.as_bytes())) {
            files_below(&mounted.node(directory).unwrap(), &mut files);
        }
        assert!(files.len() > 50, "{}", files.len());
        files
    }

    fn check(&self, file: &Node) {
        let content = read(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert_eq!(Some(sha256(&content)), self.truth[&file.inner_path()].sha256, "{file:?}");
    }

    fn objects_asked(&self) -> usize {
        self.server.paths().iter().filter(|path| path.contains("/data/")).count()
    }
}

#[test]
fn a_second_cold_client_costs_the_origin_nothing_but_letters() {
    let Some(squid) = Squid::start() else { return };
    let stage = stage(&squid.url());
    let first = stage.mount.client();
    stage.files(&first).iter().for_each(|file| stage.check(file));
    assert!(stage.objects_asked() > 50);
    let shown = String::from_utf8(first.node("").unwrap().get_xattr(b"user.proxy").unwrap()).unwrap();
    assert_eq!(shown, squid.url());

    stage.server.forget_requests();
    let other = stage.mount.with_new_cache();
    let second = other.client();
    stage.files(&second).iter().for_each(|file| stage.check(file));
    let beside_letters: Vec<String> = stage
        .server
        .paths()
        .into_iter()
        .filter(|p| !p.ends_with("/.cvmfspublished") && !p.ends_with("/.cvmfswhitelist"))
        .collect();
    assert!(beside_letters.is_empty(), "{beside_letters:?}");
    let log = squid.access_log();
    assert!(log.iter().filter(|line| line.contains("_HIT/200")).count() > 50, "{log:?}");
    assert!(!log.iter().any(|line| line.contains("CONNECT")), "plain requests, no tunnels");
}

#[test]
fn behind_a_dead_squid_the_list_goes_on_directly() {
    let Some(mut squid) = Squid::start() else { return };
    let stage = stage(&format!("{};DIRECT", squid.url()));
    let mounted = stage.mount.client();
    let files = stage.files(&mounted);
    let (before, after) = files.split_at(files.len() / 2);
    before.iter().for_each(|file| stage.check(file));
    squid.kill();
    after.iter().for_each(|file| stage.check(file));
    let shown = String::from_utf8(mounted.node("").unwrap().get_xattr(b"user.proxy").unwrap()).unwrap();
    assert_eq!(shown, "DIRECT");
    assert_clean(mounted.repository().unwrap().cache());
}

#[test]
fn behind_a_dead_squid_and_nothing_else_there_is_an_error_that_names_it() {
    let Some(mut squid) = Squid::start() else { return };
    let stage = stage(&squid.url());
    let mounted = stage.mount.client();
    let files = stage.files(&mounted);
    let (before, after) = files.split_at(files.len() / 2);
    before.iter().for_each(|file| stage.check(file));
    squid.kill();
    // Equal contents are one object, so the first ones may be there already.
    let error = after.iter().find_map(|file| read(file).err()).expect("objects are missing and cannot come");
    assert_eq!(error.errno(), libc::EIO);
    assert_eq!(error.origin(), Some(Origin::Proxy), "{error}");
    assert!(error.to_string().contains(squid.url().strip_prefix("http://").unwrap()), "{error}");
    // Never past the proxy: that is what the list says.
    let asked = stage.server.requests().len();
    before.iter().for_each(|file| stage.check(file));
    let _ = after.last().map(read);
    assert_eq!(stage.server.requests().len(), asked);
    // A cold process goes on with what the cache holds.
    let offline = stage.mount.client();
    stage.check(&offline.node(before[0].inner_path()).unwrap());
    let state = offline.repository().unwrap().state();
    assert!(state.offline.is_some_and(|reason| reason.contains(squid.url().strip_prefix("http://").unwrap())));
    assert_clean(mounted.repository().unwrap().cache());
}

#[test]
fn of_two_squids_the_living_one_takes_over() {
    let (Some(mut one), Some(mut two)) = (Squid::start(), Squid::start()) else { return };
    let stage = stage(&format!("{}|{}", one.url(), two.url()));
    let mounted = stage.mount.client();
    let files = stage.files(&mounted);
    let (before, after) = files.split_at(files.len() / 2);
    before.iter().for_each(|file| stage.check(file));
    let used = String::from_utf8(mounted.node("").unwrap().get_xattr(b"user.proxy").unwrap()).unwrap();
    let (dead, living) = if used == one.url() { (&mut one, &two) } else { (&mut two, &one) };
    dead.kill();
    after.iter().for_each(|file| stage.check(file));
    let shown = String::from_utf8(mounted.node("").unwrap().get_xattr(b"user.proxy").unwrap()).unwrap();
    assert_eq!(shown, living.url());
    assert!(!living.wait_for_log(1).is_empty());
    assert_clean(mounted.repository().unwrap().cache());
}

#[test]
fn a_proxy_that_is_dead_from_the_start_costs_no_time() {
    let Some(squid) = Squid::start() else { return };
    let dead = WebRoot::new();
    dead.stop();
    let stage = stage(&format!("{};{}", dead.url(), squid.url()));
    let start = Instant::now();
    let mounted = stage.mount.client();
    stage.check(&mounted.node("/files/tiny.txt").unwrap());
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}
