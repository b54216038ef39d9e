//! Many processes on one cache, processes that are killed, disks that are full.
//!
//! The test binary starts itself again: `child` is what those processes run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod skip;

use libcvmfs::cache::{
    Cache, CacheError, Damage, Expected, FetchError, FsckOptions, Key, Locks, Mode, Settings, Verdict,
};
use libcvmfs::hash::{Algorithm, ContentHash, Hasher};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROLE: &str = "CVMFS_CACHE_TEST_ROLE";
const DIRECTORY: &str = "CVMFS_CACHE_TEST_DIRECTORY";
const NUMBER: &str = "CVMFS_CACHE_TEST_NUMBER";
const KEYS: u32 = 500;

fn content(n: u32) -> Vec<u8> {
    let size = 1 + (n as usize * 7919) % 20_000;
    n.to_le_bytes().iter().copied().cycle().enumerate().map(|(i, b)| b ^ (i >> 3) as u8).take(size).collect()
}

fn key(n: u32) -> Key {
    let hash: ContentHash = Hasher::hash(Algorithm::Sha1, &n.to_le_bytes());
    match n % 10 {
        0 => Key::Index(hash),
        1 => Key::Assembled(*blake3::hash(&n.to_le_bytes()).as_bytes()),
        _ => Key::Object(hash),
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.join("cache"),
        free_reserve_bytes: 0,
        quota_limit_bytes: None,
        ..Settings::default()
    }
}

fn spawn(role: &str, directory: &Path, number: u32) -> Child {
    command(role, directory, number).spawn().unwrap()
}

fn command(role: &str, directory: &Path, number: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(DIRECTORY, directory).env(NUMBER, number.to_string()).stdout(Stdio::null());
    command
}

#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let number: u32 = std::env::var(NUMBER).unwrap().parse().unwrap();
    match role.as_str() {
        "fill" => fill_all(&settings(&directory), &directory, number),
        "fill without locks" => fill_all(&Settings { locks: Locks::Off, ..settings(&directory) }, &directory, number),
        "fill for ever" => fill_for_ever(&directory, number),
        "hold" => hold(&directory),
        "file size limit" => file_size_limit(&directory),
        "small disk" => small_disk(&directory),
        "filled disk" => filled_disk(&directory),
        "unprivileged" => unprivileged(&directory),
        other => panic!("no role {other}"),
    }
}

fn fill_all(settings: &Settings, directory: &Path, number: u32) {
    let cache = Cache::open(settings).unwrap();
    let mut log = File::options().append(true).create(true).open(directory.join("fills")).unwrap();
    for step in 0..KEYS {
        let n = (step + number % 4 * 50) % KEYS;
        let plain = content(n);
        let found = cache
            .fetch::<io::Error>(&key(n), Expected::size(plain.len() as u64), |t| {
                log.write_all(&n.to_le_bytes())?;
                let (first, second) = plain.split_at(plain.len() / 2);
                t.write_all(first)?;
                std::thread::sleep(Duration::from_millis(2));
                t.write_all(second)
            })
            .unwrap();
        let mut bytes = Vec::new();
        (&found.file).read_to_end(&mut bytes).unwrap();
        assert!(bytes == plain, "process {number} was served something else as {n}");
    }
}

fn fills_of(role: &str, processes: u32) -> Vec<u32> {
    let home = tempfile::tempdir().unwrap();
    let children: Vec<Child> = (0..processes).map(|number| spawn(role, home.path(), number)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut counts = vec![0u32; KEYS as usize];
    for n in fs::read(home.path().join("fills")).unwrap().chunks_exact(4) {
        counts[u32::from_le_bytes(n.try_into().unwrap()) as usize] += 1;
    }
    let cache = Cache::open(&settings(home.path())).unwrap();
    let options = FsckOptions { grace: Duration::ZERO, ..FsckOptions::default() };
    let report = cache.fsck(&options, &mut |_| {}).unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    assert_eq!((report.verified, report.unverified), (u64::from(KEYS), 0));
    counts
}

#[test]
fn sixty_four_processes_fetch_each_key_once() {
    let counts = fills_of("fill", 64);
    assert!(counts.iter().all(|n| *n == 1), "{counts:?}");
}

#[test]
fn without_locks_some_is_fetched_twice_and_all_is_right() {
    let counts = fills_of("fill without locks", 16);
    assert!(counts.iter().all(|n| *n >= 1));
    assert!(counts.iter().any(|n| *n > 1), "locks are in use although they are off");
}

fn fill_for_ever(directory: &Path, number: u32) {
    let cache = Cache::open(&Settings { quota_limit_bytes: Some(3_000_000), ..settings(directory) }).unwrap();
    let mut n = number * 131;
    loop {
        n = (n + 1) % KEYS;
        let plain = content(n);
        cache
            .fetch::<io::Error>(&key(n), Expected::size(plain.len() as u64), |t| {
                plain.chunks(700).try_for_each(|chunk| t.write_all(chunk))
            })
            .unwrap();
        if n % 50 == 49 {
            cache.evict(&key(n)).unwrap();
        }
    }
}

fn files(directory: &Path) -> u64 {
    Cache::open(&settings(directory)).unwrap().status().unwrap().used.files
}

#[test]
fn killed_processes_leave_nothing_that_is_wrong() {
    let rounds = std::env::var("CVMFS_TESTS_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let home = tempfile::tempdir().unwrap();
    let mut contents: HashMap<Key, Vec<u8>> = (0..KEYS).map(|n| (key(n), content(n))).collect();
    for round in 0..rounds {
        let mut children: Vec<Child> =
            (0..3).map(|number| spawn("fill for ever", home.path(), number + round)).collect();
        let started = Instant::now();
        while !home.path().join("cache/local").exists() && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // On a busy machine they may take their time to do anything at all.
        while round == 0 && files(home.path()) <= 100 && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_micros(20_000 + u64::from(round * 7919 % 60) * 1000));
        for child in &mut children {
            assert!(child.try_wait().unwrap().is_none(), "a child ended by itself");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let cache = Cache::open(&settings(home.path())).unwrap();
        let options = FsckOptions { grace: Duration::ZERO, ..FsckOptions::default() };
        let report = cache.fsck(&options, &mut |_| {}).unwrap();
        for found in &report.damaged {
            assert!(matches!(found.damage, Damage::StaleTemporary | Damage::StaleLock), "round {round}: {found:?}");
        }
        assert_eq!(report.unverified, 0, "every object has its digest");
        for (key, plain) in &mut contents {
            if let Some(found) = cache.find(key, None).unwrap() {
                let mut bytes = Vec::new();
                (&found.file).read_to_end(&mut bytes).unwrap();
                assert!(bytes == *plain, "round {round}: {key}");
            }
        }
        if round % 5 == 4 {
            let repaired = cache.fsck(&FsckOptions { repair: true, ..options }, &mut |_| {}).unwrap();
            assert_eq!(repaired.left(), 0);
            assert!(cache.fsck(&options, &mut |_| {}).unwrap().damaged.is_empty());
        }
    }
    assert!(files(home.path()) > 50, "the children did work");
}

fn hold(directory: &Path) {
    let cache = Cache::open(&settings(directory)).unwrap();
    let _ = cache.fetch::<()>(&key(2), Expected::default(), |_| {
        fs::write(directory.join("holding"), b"").unwrap();
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
}

#[test]
fn who_makes_no_progress_is_not_waited_for_and_who_dies_at_once_not() {
    let home = tempfile::tempdir().unwrap();
    let mut child = spawn("hold", home.path(), 0);
    while !home.path().join("holding").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let impatient = Settings { patience: Duration::from_millis(300), ..settings(home.path()) };
    let started = Instant::now();
    let fetch = |cache: &Cache| cache.fetch::<io::Error>(&key(2), Expected::default(), |t| t.write_all(b"2"));
    fetch(&Cache::open(&impatient).unwrap()).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));

    let patient = Cache::open(&settings(home.path())).unwrap();
    patient.evict(&key(2)).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fetch(&patient).map(|_| Instant::now()));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        child.kill().unwrap();
        let killed = Instant::now();
        let done = waiting.join().unwrap().unwrap();
        assert!(done.duration_since(killed) < Duration::from_secs(5));
    });
    child.wait().unwrap();
}

fn file_size_limit(directory: &Path) {
    let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
    // SAFETY: plain calls that affect only this process, which was started for that.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    let cache = Cache::open(&settings(directory)).unwrap();
    let big = vec![7; 1 << 20];
    let failed = cache.fetch::<io::Error>(&key(2), Expected::size(1 << 20), |t| t.write_all(&big));
    match failed {
        Err(FetchError::Cache(CacheError::Io { action: "writing", source, .. })) => {
            assert_eq!(source.raw_os_error(), Some(libc::EFBIG))
        }
        other => panic!("{other:?}"),
    }
    cache.fetch::<io::Error>(&key(2), Expected::size(1 << 10), |t| t.write_all(&big[..1 << 10])).unwrap();
}

#[test]
fn a_write_that_fails_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    assert!(spawn("file size limit", home.path(), 0).wait().unwrap().success());
    assert_eq!(fs::read_dir(home.path().join("cache/txn")).unwrap().count(), 0);
    assert_eq!(Cache::open(&settings(home.path())).unwrap().verify(&key(2)).unwrap(), Some(Verdict::Intact));
}

fn small_disk(directory: &Path) {
    let unmanaged = Cache::open(&settings(directory)).unwrap();
    let megabyte = vec![7; 1 << 20];
    let fill = |cache: &Cache, n: u32, megabytes: usize| {
        cache.fetch::<io::Error>(&key(n), Expected::default(), |t| {
            (0..megabytes).try_for_each(|_| t.write_all(&megabyte))
        })
    };
    for n in [2, 3, 4, 5] {
        fill(&unmanaged, n, 1).unwrap();
    }
    let failed = fill(&unmanaged, 6, 6);
    let Err(FetchError::Cache(error @ CacheError::DiskFull { .. })) = failed else { panic!("{failed:?}") };
    assert!(error.to_string().contains("no space left for "), "{error}");
    let announced = unmanaged.fetch::<()>(&key(6), Expected::size(30 << 20), |_| panic!("it cannot fit"));
    assert!(matches!(announced, Err(FetchError::Cache(CacheError::DiskFull { .. }))), "{announced:?}");
    assert_eq!(fs::read_dir(directory.join("cache/txn")).unwrap().count(), 0);
    assert_eq!(unmanaged.status().unwrap().used.files, 4);

    // With a quota, old objects make way although the quota itself has not been reached.
    let managed = Cache::open(&Settings { quota_limit_bytes: Some(1 << 30), ..settings(directory) }).unwrap();
    fill(&managed, 6, 5).unwrap();
    assert_eq!(managed.verify(&key(6)).unwrap(), Some(Verdict::Intact));
    let report = managed.fsck(&FsckOptions::default(), &mut |_| {}).unwrap();
    assert!(report.damaged.is_empty() && report.unverified == 0, "{report:?}");
    fs::write(directory.join("passed"), b"").unwrap();
}

#[test]
fn a_full_disk_is_named_and_old_objects_make_way() {
    on_a_small_disk("small disk", "8m");
}

/// Plays `role` with a file system of that size as its home.
fn on_a_small_disk(role: &str, size: &str) {
    let home = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={size} none \"$1\" || exit 77; shift; \"$@\" && test -e \"$0/passed\" || exit 99"
    );
    let inner = command(role, home.path(), 0);
    let mut outer = Command::new("unshare");
    outer.args(["-m", "--propagation", "private", "sh", "-c", &script]).arg(home.path()).arg(home.path());
    outer.arg(inner.get_program()).args(inner.get_args()).stdout(Stdio::null());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    skip_unless(outer.status().ok().and_then(|s| s.code()), "mounting a file system in an own name space");
}

fn filled_disk(directory: &Path) {
    // A twentieth of the disk is 2 MiB.
    let sizes = Settings { quota_limit_bytes: Some(20 << 20), free_reserve_bytes: u64::MAX, ..settings(directory) };
    let cache = Cache::open(&sizes).unwrap();
    let object = vec![7; 900 << 10];
    let fetch = |n: u32| cache.fetch::<io::Error>(&key(n), Expected::default(), |t| t.write_all(&object));
    let in_use = [fetch(2).unwrap(), fetch(3).unwrap()];
    fetch(4).unwrap();
    let mut others = fs::File::create(directory.join("others")).unwrap();
    while others.write(&[1; 4096]).is_ok() {}
    // What is in use gives no room when it goes.
    fetch(5).unwrap();
    drop(in_use);
    fetch(6).unwrap();
    // Somebody takes at once what is given up.
    for n in 7..20 {
        fetch(n).unwrap();
        while others.write(&[1; 4096]).is_ok() {}
        let kept = [n - 1, n].map(|n| cache.find(&key(n), None).unwrap().is_some());
        assert_eq!(kept, [true, true], "{n}");
    }
    fs::write(directory.join("passed"), b"").unwrap_or_else(|_| {
        fs::remove_file(directory.join("others")).unwrap();
        fs::write(directory.join("passed"), b"").unwrap();
    });
}

#[test]
fn a_cache_lives_on_a_disk_that_others_have_filled() {
    on_a_small_disk("filled disk", "40m");
}

fn unprivileged(directory: &Path) {
    // SAFETY: a plain call that affects only this process, which was started for that.
    assert_eq!(unsafe { libc::setuid(65534) }, 0);
    let private = Cache::open(&settings(directory));
    assert!(matches!(private, Err(CacheError::PermissionDenied { .. })), "{private:?}");
    let read_only = Cache::open(&Settings { mode: Mode::ReadOnly, ..settings(directory) }).unwrap();
    assert!(read_only.find(&key(2), None).unwrap().is_some());
    // A hit in an alien cache that cannot be written, and a miss that says why it fails.
    let alien = Cache::open(&Settings { mode: Mode::Alien, ..settings(directory) }).unwrap();
    assert!(alien.find(&key(2), None).unwrap().is_some());
    let missing = alien.fetch::<io::Error>(&key(3), Expected::default(), |t| t.write_all(b"3"));
    assert!(matches!(missing, Err(FetchError::Cache(CacheError::PermissionDenied { .. }))), "{missing:?}");
}

#[test]
fn a_directory_that_cannot_be_written_is_read() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let cache = Cache::open(&settings(home.path())).unwrap();
    let found = cache.fetch::<io::Error>(&key(2), Expected::default(), |t| t.write_all(b"2")).unwrap();
    let path = home.path().join("cache");
    if chown(&path, Some(65534), None).is_err() {
        return skip_unless(None, "giving a directory away");
    }
    for name in ["local", "txn", "quarantaine"] {
        fs::remove_dir_all(path.join(name)).unwrap();
    }
    for path in [&path, found.path.parent().unwrap()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    assert!(spawn("unprivileged", home.path(), 0).wait().unwrap().success());
}

fn skip_unless(code: Option<i32>, need: &str) {
    match code {
        Some(0) => {}
        // No unshare program, unshare refused, mount refused.
        None | Some(1) | Some(77) => skip::skip(&format!("{need} is not possible here")),
        Some(other) => panic!("the child ended with {other}"),
    }
}
