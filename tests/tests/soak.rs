//! One client for a long time: servers that fail again and again, a cache that is always too small, new revisions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::forge::Forge;
use cvmfs_tests::mount::{Mount, Mounted, assert_clean};
use cvmfs_tests::server::{Behaviour, WebRoot};
use libcvmfs::repository::Refreshed;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const FQRN: &str = "soak.test.example";
const READERS: u64 = 6;
const FILES: u64 = 200;
/// All of them together are twice the quota.
const FILE_SIZE: usize = 20_000;
const QUOTA_MB: &str = "2";

fn content(number: u64) -> Vec<u8> {
    number.to_le_bytes().iter().cycle().enumerate().map(|(at, byte)| byte ^ (at >> 8) as u8).take(FILE_SIZE).collect()
}

fn path(number: u64) -> String {
    format!("/dir{}/file{number}", number % 10)
}

/// All revisions hold the same files; what differs is one file that says which it is.
fn revision(number: u64) -> Forge {
    let forge = Forge::new(FQRN).revision(number).timestamp(1_700_000_000 + number).nested("/dir3").nested("/dir7");
    let forge = (0..FILES).fold(forge, |forge, n| forge.file(path(n), content(n)));
    forge.file("/large", content(FILES)).chunks_of(7_000).file("/revision", number.to_string())
}

/// What grows when something leaks.
#[derive(Debug, Clone, Copy)]
struct Usage {
    descriptors: usize,
    threads: usize,
    resident_kb: usize,
}

fn usage() -> Usage {
    let entries = |directory: &str| std::fs::read_dir(directory).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kb = resident.trim().trim_end_matches(" kB").parse().unwrap();
    Usage { descriptors: entries("/proc/self/fd"), threads: entries("/proc/self/task"), resident_kb }
}

fn read_on(mounted: &Mounted, reader: u64, stop: &AtomicBool, reads: &AtomicU64) {
    let mut number = reader * 97;
    while !stop.load(Ordering::Relaxed) {
        number = (number * 5 + 3 + reader) % (FILES + 1);
        let path = if number == FILES { "/large".to_owned() } else { path(number) };
        let bytes = mounted.read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(bytes == content(number), "{path} is something else");
        if number.is_multiple_of(50) {
            let listed = mounted.list(format!("/dir{}", number % 10)).unwrap();
            assert_eq!(listed.iter().filter(|name| name.starts_with("file")).count() as u64, FILES / 10);
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn soak_bad_servers_small_cache_and_new_revisions() {
    let seconds = std::env::var("CVMFS_TESTS_SOAK_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(6);
    let duration = Duration::from_secs(seconds);
    let web_root = tempfile::tempdir().unwrap();
    let published = revision(1).publish(web_root.path());
    let bad = WebRoot::serve(FQRN, web_root.path());
    let good = WebRoot::serve(FQRN, web_root.path());
    bad.script(|request| match request.number % 60 {
        7 => Behaviour::CorruptByte(99),
        17 => Behaviour::Status(503),
        27 => Behaviour::Truncate(100),
        37 => Behaviour::Reset(10),
        47 => Behaviour::Close,
        57 => Behaviour::Garbage,
        _ => Behaviour::Normal,
    });
    let mounted = Mount::over(&published.repository(), &[&bad, &good])
        .option("CVMFS_TIMEOUT_DIRECT", "20")
        .option("CVMFS_HOST_RESET_AFTER", "1")
        .option("CVMFS_QUOTA_LIMIT", QUOTA_MB)
        .client();
    let repository = mounted.repository().unwrap();
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    let mut warm = None;
    let mut newest = 1;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (mounted, stop, reads) = (mounted.clone(), &stop, &reads);
                scope.spawn(move || read_on(&mounted, reader, stop, reads))
            })
            .collect();
        while begin.elapsed() < duration && !readers.iter().any(|reader| reader.is_finished()) {
            std::thread::sleep(Duration::from_secs(1));
            newest += 1;
            revision(newest).publish(web_root.path());
            let refreshed = repository.refresh().unwrap();
            assert!(matches!(refreshed, Refreshed::Newer { .. } | Refreshed::Offline { .. }), "{refreshed:?}");
            if matches!(refreshed, Refreshed::Newer { .. }) {
                assert_eq!(mounted.read("/revision").unwrap(), newest.to_string().as_bytes());
            }
            bad.forget_requests();
            good.forget_requests();
            if begin.elapsed() > duration / 3 {
                warm.get_or_insert_with(usage);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (warm, now) = (warm.unwrap(), usage());
    let reads = reads.into_inner();
    println!("{reads} reads, {newest} revisions, {warm:?} then {now:?}");
    assert!(reads > 100 * READERS);
    assert!(now.descriptors <= warm.descriptors + 100, "{warm:?} then {now:?}");
    assert!(now.threads <= warm.threads + 50, "{warm:?} then {now:?}");
    assert!(now.resident_kb <= warm.resident_kb + 64 * 1024, "{warm:?} then {now:?}");
    assert_clean(repository.cache());
    let used = repository.cache().status().unwrap().used.bytes;
    assert!(used <= (QUOTA_MB.parse::<u64>().unwrap() + 1) << 20, "{used} bytes are in use");
}
