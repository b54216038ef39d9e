//! Many processes on one cold cache.
//!
//! That locks which do not work cost downloads and never an error is tested where they can be switched off, in
//! `libcvmfs/tests/cache_processes.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::forge::Forge;
use cvmfs_tests::mount::{Mount, assert_clean};
use cvmfs_tests::server::{Behaviour, WebRoot};
use libcvmfs::namespace::{LastLink, Resolved};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

const FQRN: &str = "crowd.test.example";
/// Tells a child process what to do: options as `KEY=VALUE`, one a line.
const ROLE: &str = "CVMFS_TESTS_READER";
const PROCESSES: usize = 64;
const FILES: usize = 500;

fn path(number: usize) -> String {
    format!("/dir{}/file{number}", number % 10)
}

fn content(number: usize) -> Vec<u8> {
    format!("content of file {number}\n").repeat(1 + number % 7).into_bytes()
}

/// In four chunks.
fn large() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// The body of a child process; nothing in the process that runs the tests.
#[test]
fn reader() {
    let Some(client) = cvmfs_tests::mount::client_from_environment(ROLE) else { return };
    let read = |path: &str| {
        let path = format!("/cvmfs/{FQRN}{path}");
        let node = client.namespace().resolve(path.as_bytes(), LastLink::Follow).and_then(Resolved::node).unwrap();
        let mut bytes = Vec::new();
        node.open().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    // Everybody starts at another place and meets the others on the way.
    let start = std::process::id() as usize % FILES;
    for number in (start..FILES).chain(0..start) {
        assert_eq!(read(&path(number)), content(number), "{number}");
        if number % 100 == 0 {
            assert_eq!(read("/large"), large());
        }
    }
}

fn spawn(mount: &Mount) -> Child {
    let options: Vec<String> = mount.options().map(|(name, value)| format!("{name}={value}")).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "reader", "--nocapture"]).env(ROLE, options.join("\n")).stdout(Stdio::null());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

fn wait(children: Vec<Child>) {
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

struct Stage {
    server: WebRoot,
    mount: Mount,
    _web_root: tempfile::TempDir,
}

fn stage() -> Stage {
    let web_root = tempfile::tempdir().unwrap();
    let forge = (0..FILES).fold(Forge::new(FQRN).nested("/dir3"), |forge, n| forge.file(path(n), content(n)));
    let published = forge.file("/large", large()).chunks_of(100_000).publish(web_root.path());
    let server = WebRoot::serve(FQRN, web_root.path());
    let mount = Mount::over(&published.repository(), &[&server]).option("CVMFS_TIMEOUT_DIRECT", "20");
    Stage { server, mount, _web_root: web_root }
}

impl Stage {
    /// How often each object was asked for; letters, which everybody has to ask for, are left out.
    fn objects(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for path in self.server.paths().into_iter().filter(|path| path.contains("/data/")) {
            *counts.entry(path).or_default() += 1;
        }
        counts
    }
}

#[test]
fn a_crowd_fetches_everything_once() {
    let stage = stage();
    wait((0..PROCESSES).map(|_| spawn(&stage.mount)).collect());
    let objects = stage.objects();
    // Certificate, two catalogs, the files, and the chunks of the large one.
    assert_eq!(objects.len(), 1 + 2 + FILES + 4);
    let several: Vec<_> = objects.iter().filter(|(_, count)| **count > 1).collect();
    assert!(several.is_empty(), "asked for more than once: {several:?}");
    assert_clean(stage.mount.client().repository().unwrap().cache());
}

#[test]
fn processes_that_are_killed_leave_nothing_in_the_way() {
    const ROUNDS: u64 = 8;
    let wanted = std::env::var("CVMFS_TESTS_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    // After some rounds the cache is complete, and there is nothing left to be disturbed.
    for _ in 0..wanted.div_ceil(ROUNDS) {
        disturb_a_cold_cache(ROUNDS);
    }
}

fn disturb_a_cold_cache(rounds: u64) {
    let stage = stage();
    stage.server.script(|request| match request.number % 3 {
        0 => Behaviour::After(std::time::Duration::from_millis(5)),
        _ => Behaviour::Normal,
    });
    for round in 0..rounds {
        let mut victims: Vec<Child> = (0..2).map(|_| spawn(&stage.mount)).collect();
        std::thread::sleep(std::time::Duration::from_millis(50 + 40 * round));
        for victim in &mut victims {
            victim.kill().unwrap();
            victim.wait().unwrap();
        }
    }
    stage.server.behave();
    wait((0..4).map(|_| spawn(&stage.mount)).collect());
    let repository = stage.mount.client().repository().unwrap();
    // What the victims left half done is what a check with repair removes, and nothing of it is damage.
    let options = libcvmfs::cache::FsckOptions {
        repair: true,
        grace: std::time::Duration::ZERO,
        ..libcvmfs::cache::FsckOptions::default()
    };
    let report = repository.cache().fsck(&options, &mut |_| {}).unwrap();
    use libcvmfs::cache::Damage;
    let stale = |damage| matches!(damage, Damage::StaleTemporary | Damage::StaleLock);
    assert!(report.damaged.iter().all(|found| stale(found.damage) && found.removed), "{report:?}");
    assert_clean(repository.cache());
}
