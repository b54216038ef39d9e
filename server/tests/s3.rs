//! Repositories in a bucket: everything that is done in a directory, against a server that may fail.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/s3.rs"]
mod s3;

use common::{FQRN, Published, text};
use cvmfs_server::storage::{Body, Put, S3Storage, Storage, StorageError, conformance, object_path, read_small};
use libcvmfs::hash::{Algorithm, Hasher};
use libcvmfs::object::{ObjectKind, ObjectName};
use s3::{BUCKET, S3Server};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Locks run out soon, and not because the machine is busy.
const IMPATIENT: &str = "&lease=3";

fn name(bytes: &[u8]) -> ObjectName {
    ObjectName::new(Hasher::hash(Algorithm::Sha1, bytes), ObjectKind::File)
}

fn listed(storage: &S3Storage, prefix: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    storage.list(prefix, &mut |file| assert!(all.insert(file.path))).unwrap();
    all
}

#[test]
fn a_bucket_does_what_a_storage_must() {
    let Some(server) = S3Server::start() else { return };
    conformance::check(&server.open("a/prefix", ""));
    conformance::check(&server.open("", ""));
    // Without conditions nobody decides a race.
    let alone = server.open("alone", "&conditional=no");
    assert!(alone.create("one", b"1").unwrap() && !alone.create("one", b"2").unwrap());
    drop(alone.lock("me").unwrap());
}

#[test]
fn a_bucket_does_so_though_every_other_request_fails() {
    let Some(server) = S3Server::start() else { return };
    server.fail("all", 2);
    conformance::check(&server.open("a/prefix", ""));
}

#[test]
fn objects_tell_caches_what_the_official_ones_do() {
    let Some(server) = S3Server::start() else { return };
    let storage = server.open("p", "");
    storage.put_object(&name(b"x"), Body::Bytes(b"x".to_vec())).unwrap();
    storage.put_pointer(".cvmfspublished", b"y").unwrap();
    let object = server.ask(&format!("/{BUCKET}/p/{}", object_path(&name(b"x")))).to_lowercase();
    let letter = server.ask(&format!("/{BUCKET}/p/.cvmfspublished")).to_lowercase();
    for (answer, age, kind) in [(object, "max-age=259200", "octet-stream"), (letter, "max-age=61", "x-cvmfs")] {
        assert!(answer.contains(&format!("cache-control: {age}\r\n")), "{answer}");
        assert!(answer.contains(&format!("content-type: application/{kind}\r\n")), "{answer}");
    }
}

#[test]
fn there_are_many_objects_and_large_ones() {
    let Some(server) = S3Server::start() else { return };
    let storage = server.open("many", "&part=5242880");
    let names: Vec<_> = (0..1100_u32).map(|number| name(&number.to_le_bytes())).collect();
    std::thread::scope(|scope| {
        for part in names.chunks(names.len() / 8) {
            let put = |name| assert_eq!(storage.put_object(name, Body::Bytes(vec![1])).unwrap(), Put::New);
            scope.spawn(move || part.iter().for_each(put));
        }
    });
    let paths: Vec<String> = names.iter().map(object_path).collect();
    assert_eq!(listed(&storage, "data/"), paths.iter().cloned().collect());
    storage.put_pointer("stays", b"").unwrap();
    storage.delete_all(&[&paths[..], &["was/never/there".to_owned()]].concat()).unwrap();
    assert_eq!(listed(&storage, ""), BTreeSet::from(["stays".to_owned()]));

    server.fail("all", 5);
    let large: Vec<u8> = (0..12_000_000_u32).map(|number| (number / 7) as u8).collect();
    let mut file = storage.staging().unwrap();
    file.write_all(&large).unwrap();
    assert_eq!(storage.put_object(&name(&large), Body::File(file)).unwrap(), Put::New);
    let path = object_path(&name(&large));
    assert_eq!(read_small(&storage, &path, large.len()).unwrap(), Some(large));
    assert!(server.log().iter().any(|line| line.starts_with("POST")), "it was sent in parts");
}

#[test]
fn one_publisher_writes_at_a_time() {
    let Some(server) = S3Server::start() else { return };
    let (first, second) = (server.open("p", IMPATIENT), server.open("p", ""));
    let lock = first.lock("the first").unwrap();
    // Much longer than it lasts without being renewed.
    std::thread::sleep(Duration::from_secs(7));
    assert!(
        matches!(second.lock("the second"), Err(StorageError::Locked { owner, .. }) if owner.contains("the first"))
    );
    first.put_pointer("x", b"first").unwrap();
    // The first one is thought to be dead.
    server.open("p", "").delete(".cvmfs_publisher").unwrap();
    let other = second.lock("the second").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    for attempt in [first.put_pointer("x", b"again"), first.delete("x").map(drop)] {
        assert!(matches!(attempt, Err(StorageError::LockLost { .. })), "{attempt:?}");
    }
    drop(lock);
    second.put_pointer("x", b"second").unwrap();
    assert!(second.size(".cvmfs_publisher").unwrap().is_some(), "a lost lock is not taken away from its owner");
    drop(other);
    assert_eq!(second.size(".cvmfs_publisher").unwrap(), None);
}

#[test]
fn of_those_who_find_a_dead_lock_one_gets_it() {
    let Some(server) = S3Server::start() else { return };
    let dead = "{\"owner\":\"the dead\",\"ticket\":\"0\",\"renewed\":0,\"lease\":1}";
    let prefixes = ["a", "b", "c", "d"];
    for prefix in prefixes {
        let storage = server.open(prefix, "");
        storage.put_pointer(".cvmfs_publisher", dead.as_bytes()).unwrap();
        assert!(matches!(storage.lock("me"), Err(StorageError::Locked { owner, .. }) if owner.contains("the dead")));
    }
    std::thread::sleep(Duration::from_secs(4));
    for (prefix, every) in prefixes.into_iter().zip([4, 4, 5, 7]) {
        // Somebody has seen the dead one, and writes after another one has it.
        server.fail("stall", every);
        let storages: Vec<_> = (0..every - 2).map(|_| server.open(prefix, "")).collect();
        let locks: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = storages.iter().map(|storage| scope.spawn(|| storage.lock("me").ok())).collect();
            tries.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(locks.len(), 1, "{every}");
    }
}

#[test]
fn who_does_not_keep_conditions_is_found_out() {
    let Some(server) = S3Server::start() else { return };
    server.fail("blind", 1);
    let storage = server.open("p", "");
    assert!(matches!(storage.create("x", b"1"), Err(StorageError::Unconditional { .. })));
    assert!(matches!(storage.lock("me"), Err(StorageError::Unconditional { .. })));
    assert_eq!(listed(&storage, ""), BTreeSet::new(), "nothing is left behind");
    let alone = server.open("p", "&conditional=no");
    let lock = alone.lock("the only one").unwrap();
    assert!(matches!(alone.lock("another"), Err(StorageError::Locked { .. })));
    drop(lock);
}

#[test]
fn errors_name_the_place_and_what_to_do() {
    let Some(server) = S3Server::start() else { return };
    let endpoint = server.endpoint();
    let fails = |place: &str, variables: &[(&str, &str)]| {
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.args(["mkfs", FQRN, "--keys", "/nonexistent", "--storage", place]);
        run.env_clear().envs(server.environment()).envs(variables.iter().copied());
        let output = run.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let here = |bucket: &str| format!("s3://{bucket}/p?endpoint={endpoint}");
    for (place, variables, words) in [
        (here("no-such-bucket"), &[][..], ["s3://no-such-bucket/p", "make the bucket"]),
        (here(BUCKET), &[("AWS_SECRET_ACCESS_KEY", "wrong")], ["s3://bucket/p", "AWS_SECRET_ACCESS_KEY"]),
        (here(BUCKET), &[("AWS_ACCESS_KEY_ID", "wrong")], ["s3://bucket/p", "AWS_ACCESS_KEY_ID"]),
        (here(BUCKET), &[("AWS_ACCESS_KEY_ID", "")], ["s3://bucket/p", "~/.aws/credentials"]),
        (here(BUCKET), &[("AWS_PROFILE", "gone")], ["profile", "gone"]),
        ("s3://bucket/p?endpoint=http://127.0.0.1:1".to_owned(), &[], ["http://127.0.0.1:1", "is the endpoint right"]),
        ("s3://bucket/p?endpoint=127.0.0.1".to_owned(), &[], ["127.0.0.1", "endpoint"]),
        ("gs://bucket".to_owned(), &[], ["gs://", "s3://BUCKET"]),
    ] {
        let error = fails(&place, variables);
        assert!(words.iter().all(|word| error.contains(word)), "{place} {variables:?}: {error}");
    }
}

/// A tree with nested catalogs and a chunked file.
fn tree(root: &Path, round: u64) {
    for number in 0..30_u64 {
        let directory = root.join(format!("d{}", number % 3));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(".cvmfscatalog"), b"").unwrap();
        let file = directory.join(format!("f{number}"));
        if number % 3 == round % 3 || !file.exists() {
            fs::write(file, format!("{round} {number} ").repeat(200)).unwrap();
        }
    }
    fs::write(root.join("large"), vec![round as u8; 300_000]).unwrap();
}

const CHUNKS: [&str; 2] = ["--chunks", "16384,65536,131072"];

/// A repository in the bucket.
struct InBucket {
    server: S3Server,
    published: Published,
    prefix: &'static str,
}

impl InBucket {
    fn new(lease: &str, options: &[&str]) -> Option<InBucket> {
        let (server, prefix) = (S3Server::start()?, "cvmfs/published");
        let published = Published::at(server.place(prefix, lease), server.environment(), options);
        Some(InBucket { server, published, prefix })
    }

    fn root(&self) -> std::path::PathBuf {
        self.published.dir.path().join("tree")
    }

    fn publish(&self, round: u64, options: &[&str]) -> serde_json::Value {
        tree(&self.root(), round);
        self.published.publish(&[&[text(&self.root())], &CHUNKS[..], options].concat())
    }

    /// A client that reads over HTTP, without a key.
    fn client(&self) -> cvmfs_tests::mount::Mounted {
        self.published.mount().option("CVMFS_SERVER_URL", &self.server.url(self.prefix)).client()
    }

    /// All that is there, checked by the command, and by a program that shares no code with this project.
    fn assert_good(&self) {
        self.published.ok("check", &["--all-tags", "--read-data"]);
        self.server.dump(self.prefix, &self.published.storage());
        self.published.check();
    }
}

#[test]
fn a_repository_lives_in_a_bucket() {
    let Some(bucket) = InBucket::new("", &["--garbage-collectable"]) else { return };
    let published = &bucket.published;
    assert_eq!(bucket.publish(1, &["--tag", "one"])["revision"], 2);
    assert_eq!(bucket.publish(2, &[])["revision"], 3);
    let again = published.publish(&[&[text(&bucket.root()), "--force"], &CHUNKS[..]].concat());
    assert_eq!(again["summary"]["objects_stored"], 0, "{again}");
    bucket.assert_good();
    assert_eq!(bucket.client().read("/large").unwrap(), vec![2; 300_000]);
    assert_eq!(bucket.client().read("/d1/f1").unwrap(), fs::read(bucket.root().join("d1/f1")).unwrap());

    published.ok("tag", &["add", "three", "--of", "trunk"]);
    let differences = published.run("diff", &["one", "three"]);
    assert!(String::from_utf8(differences.stdout).unwrap().contains("/large"));
    let copy = published.dir.path().join("copy");
    published.ok("transaction", &["--chroot", text(&copy)]);
    assert_eq!(fs::read(copy.join("large")).unwrap(), vec![2; 300_000]);
    published.ok("abort", &[]);
    published.ok("rollback", &["one"]);
    assert_eq!(bucket.client().read("/large").unwrap(), vec![1; 300_000]);
    published.ok("resign", &["--days", "7"]);

    published.ok("tag", &["remove", "one", "three"]);
    for round in 4..7 {
        bucket.publish(round, &[]);
    }
    let before = listed(&bucket.server.open(bucket.prefix, ""), "data/").len();
    let collected: serde_json::Value = serde_json::from_str(&published.ok("gc", &["--keep", "1", "--json"])).unwrap();
    assert!(collected["removed_objects"].as_u64().unwrap() > 20, "{collected}");
    let after = listed(&bucket.server.open(bucket.prefix, ""), "data/").len();
    assert_eq!(before - after, collected["removed_objects"].as_u64().unwrap() as usize);
    bucket.assert_good();
    assert_eq!(bucket.client().read("/large").unwrap(), vec![6; 300_000]);
}

#[test]
fn mirrors_go_in_and_out() {
    let Some(bucket) = InBucket::new("", &[]) else { return };
    bucket.publish(1, &["--tag", "one"]);
    let fixture = bucket.published.fixture();
    let replicate = |from: &str, to: &str| {
        let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
        run.args(["replicate", FQRN, from, to, "--json", "--public-key", text(&fixture.public_key)]);
        let output = cvmfs_tests::tools::output(run.envs(bucket.server.environment()));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let local = bucket.published.dir.path().join("mirror");
    let out = replicate(&bucket.server.url(bucket.prefix), text(&local));
    let other = bucket.server.place("mirrors/other", "");
    let back = replicate(&format!("file://{}", local.display()), &other);
    assert_eq!((&out["revision"], &out["objects"]), (&back["revision"], &back["objects"]));
    assert_eq!(replicate(&format!("file://{}", local.display()), &other)["objects"], 0);
    let mirror = bucket.published.mount().option("CVMFS_SERVER_URL", &bucket.server.url("mirrors/other"));
    assert_eq!(mirror.client().read("/large").unwrap(), vec![1; 300_000]);
}

#[test]
fn a_publisher_gets_along_with_a_server_that_fails() {
    let Some(bucket) = InBucket::new("", &[]) else { return };
    for (round, mode) in ["busy", "cut", "lost", "short", "all"].into_iter().enumerate() {
        bucket.server.fail(mode, 3);
        assert_eq!(bucket.publish(round as u64 + 1, &[])["revision"], round as u64 + 2, "{mode}");
        bucket.server.fail("none", 1);
        assert_eq!(bucket.client().read("/large").unwrap(), vec![round as u8 + 1; 300_000], "{mode}");
    }
    bucket.assert_good();
}

#[test]
fn a_publisher_whose_server_stays_away_leaves_the_old_revision() {
    let Some(bucket) = InBucket::new(IMPATIENT, &[]) else { return };
    bucket.publish(1, &[]);
    for mode in ["busy", "cut"] {
        tree(&bucket.root(), 2);
        let mut publisher = bucket.published.command("publish", &[text(&bucket.root())]);
        let publisher = publisher.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let asked = bucket.server.log().len();
        while bucket.server.log().len() < asked + 20 {
            std::thread::yield_now();
        }
        bucket.server.fail(mode, 1);
        let output = publisher.wait_with_output().unwrap();
        bucket.server.fail("none", 1);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("s3://bucket/cvmfs/published/"), "{mode}: {error}");
        assert_eq!(bucket.client().read("/large").unwrap(), vec![1; 300_000], "{mode}");
        bucket.published.ok("check", &["--read-data"]);
    }
    assert_eq!(bucket.publish(2, &["--wait", "20"])["revision"], 3);
    bucket.assert_good();
}

#[test]
fn a_killed_publisher_keeps_nobody_away_for_long() {
    let Some(bucket) = InBucket::new(IMPATIENT, &[]) else { return };
    let rounds: Option<u64> = std::env::var("CVMFS_TESTS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok());
    // Each time the lock of the killed one has to run out.
    let rounds = rounds.map_or(4, |rounds| (rounds / 10).max(4));
    tree(&bucket.root(), 0);
    let begin = std::time::Instant::now();
    let mut revision = bucket.publish(0, &[])["revision"].as_u64().unwrap();
    let whole = begin.elapsed();
    let mut random = fastrand::Rng::with_seed(3);
    let mut unfinished = 0;
    for round in 1..=rounds {
        tree(&bucket.root(), round);
        let root = bucket.root();
        let arguments = [&[text(&root), "-q", "--wait", "20"], &CHUNKS[..]].concat();
        let mut publisher = bucket.published.command("publish", &arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.u64(0..whole.as_micros() as u64)));
        publisher.kill().unwrap();
        publisher.wait().unwrap();
        let told: serde_json::Value =
            serde_json::from_str(&bucket.published.ok("publish", &["--force", "--wait", "20", "--json"])).unwrap();
        let found = told["revision"].as_u64().unwrap();
        assert!(found == revision + 1 || found == revision + 2, "{found} after {revision}");
        unfinished += u64::from(found == revision + 1);
        revision = found;
        bucket.published.ok("check", &["--read-data"]);
    }
    assert!(unfinished > 0, "no publisher was killed in time");
    bucket.assert_good();
}
