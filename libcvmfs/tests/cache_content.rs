//! What the cache serves, refuses, evicts and repairs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(target_os = "linux")]
mod skip;

use libcvmfs::cache::{
    Breadcrumb, Cache, CacheError, Damage, Expected, FetchError, Found, FsckOptions, Key, Mode, ReadData, Settings,
    Verdict,
};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::hash::{Algorithm, ContentHash, Hasher};
use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

fn content(n: u32, size: usize) -> Vec<u8> {
    n.to_le_bytes().iter().copied().cycle().enumerate().map(|(i, b)| b ^ (i >> 3) as u8).take(size).collect()
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn key_of(plain: &[u8]) -> Key {
    Key::Object(Hasher::hash(Algorithm::Sha1, &compressed(plain)))
}

fn settings(directory: &Path) -> Settings {
    Settings { directory: directory.into(), free_reserve_bytes: 0, quota_limit_bytes: None, ..Settings::default() }
}

fn put(cache: &Cache, plain: &[u8]) -> Key {
    let key = key_of(plain);
    cache.fetch::<io::Error>(&key, Expected::size(plain.len() as u64), |t| t.write_all(plain)).unwrap();
    key
}

fn path_of(cache: &Cache, key: &Key) -> PathBuf {
    cache.find(key, None).unwrap().unwrap().path
}

fn closed_directory() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("cache");
    (home, path)
}

/// Writes an object as the official client does.
fn plant(directory: &Path, key: &Key, bytes: &[u8]) -> PathBuf {
    let Key::Object(hash) = key else { panic!("objects only") };
    let name = hash.to_string();
    let path = directory.join(&name[..2]).join(&name[2..]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn check(cache: &Cache, options: FsckOptions<'_>) -> libcvmfs::cache::Report {
    cache.fsck(&FsckOptions { grace: Duration::ZERO, ..options }, &mut |_| {}).unwrap()
}

fn repair() -> FsckOptions<'static> {
    FsckOptions { repair: true, ..FsckOptions::default() }
}

fn damages(report: &libcvmfs::cache::Report) -> Vec<Damage> {
    report.damaged.iter().map(|d| d.damage).collect()
}

#[test]
fn an_object_is_fetched_once_and_lies_where_the_official_client_looks() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let plain = content(1, 100_000);
    let key = key_of(&plain);
    assert!(cache.find(&key, None).unwrap().is_none());
    let first = cache.fetch::<io::Error>(&key, Expected::size(100_000), |t| t.write_all(&plain)).unwrap();
    assert_eq!((first.found, first.size), (Found::Fetched, 100_000));
    let again = cache.fetch::<()>(&key, Expected::size(100_000), |_| panic!("it is there")).unwrap();
    assert_eq!(again.found, Found::Own);
    let mut bytes = Vec::new();
    (&again.file).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, plain);

    let Key::Object(hash) = key else { unreachable!() };
    let hex = hash.hex();
    let official = path.join(&hex[..2]).join(&hex[2..]);
    assert_eq!(again.path, official);
    assert_eq!(fs::metadata(&official).unwrap().mode() & 0o7777, 0o555);
    for directory in [path.clone(), official.parent().unwrap().into(), path.join("local"), path.join("txn")] {
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o700, "{}", directory.display());
    }
    assert_eq!(cache.verify(&key).unwrap(), Some(Verdict::Intact));
    assert!(again.file.try_clone().unwrap().write(b"x").is_err(), "opened read-only");
}

#[test]
fn what_fails_leaves_nothing_and_the_next_one_succeeds() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let plain = content(2, 5000);
    let key = key_of(&plain);
    let failed = cache.fetch(&key, Expected::size(5000), |t| {
        t.write_all(&plain[..300]).unwrap();
        Err("connection lost")
    });
    assert!(matches!(failed, Err(FetchError::Fill("connection lost"))));
    let short = cache.fetch::<io::Error>(&key, Expected::size(5000), |t| t.write_all(&plain[..300]));
    assert!(
        matches!(short, Err(FetchError::Cache(CacheError::WrongSize { expected: 5000, received: 300, .. }))),
        "{short:?}"
    );
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.fetch::<()>(&key, Expected::default(), |_| panic!("in the middle"))
    }));
    assert!(panicked.is_err());
    assert_eq!(fs::read_dir(path.join("txn")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(path.join("local/locks")).unwrap().count(), 0);
    assert!(cache.find(&key, None).unwrap().is_none());
    let whole = cache.fetch::<io::Error>(&key, Expected::size(5000), |t| {
        t.write_all(b"from a host that broke off")?;
        t.restart()?;
        t.write_all(&plain)
    });
    assert_eq!(whole.unwrap().size, 5000);
    assert_eq!(cache.verify(&key).unwrap(), Some(Verdict::Intact));
}

#[test]
fn threads_wait_for_the_one_that_fetches() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let fills = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for n in 0..20 {
                    let plain = content(n, 2000);
                    let file = cache.fetch::<io::Error>(&key_of(&plain), Expected::size(2000), |t| {
                        fills.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(2));
                        t.write_all(&plain)
                    });
                    let mut bytes = Vec::new();
                    (&file.unwrap().file).read_to_end(&mut bytes).unwrap();
                    assert_eq!(bytes, plain);
                }
            });
        }
    });
    assert_eq!(fills.into_inner(), 20);
}

#[test]
fn a_fetch_may_fetch_what_it_is_made_of() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let (a, b) = (content(1, 100), content(2, 100));
    let assembled = Key::Assembled(*blake3::hash(b"a, b").as_bytes());
    let whole = cache.fetch::<io::Error>(&assembled, Expected::size(200), |t| {
        for part in [&a, &b] {
            put(&cache, part);
            t.write_all(part)?;
        }
        Ok(())
    });
    assert_eq!(whole.unwrap().size, 200);
    let status = cache.status().unwrap();
    assert_eq!(status.used.bytes, 400);
    assert_eq!(status.by_namespace.values().map(|u| u.files).collect::<Vec<_>>(), [2, 0, 1]);
}

#[test]
fn what_cannot_be_right_is_not_served() {
    let (home, path) = closed_directory();
    let cache = Cache::open(&Settings { sample_every: Some(1), ..settings(&path) }).unwrap();
    let secret = home.path().join("secret");
    fs::write(&secret, content(9, 700)).unwrap();
    type Spoil<'a> = (&'static str, &'a dyn Fn(&Path));
    let spoil: [Spoil<'_>; 6] = [
        ("symbolic link", &|p| {
            fs::remove_file(p).unwrap();
            symlink(&secret, p).unwrap();
        }),
        ("directory", &|p| {
            fs::remove_file(p).unwrap();
            fs::create_dir(p).unwrap();
        }),
        ("fifo", &|p| {
            fs::remove_file(p).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(p).status().unwrap().success());
        }),
        ("truncated", &|p| File::options().write(true).open(writable(p)).unwrap().set_len(300).unwrap()),
        ("flipped byte", &flip),
        ("writable by others", &|p| fs::set_permissions(p, fs::Permissions::from_mode(0o666)).unwrap()),
    ];
    let plain = content(3, 700);
    for (name, spoil) in spoil {
        let key = put(&cache, &plain);
        spoil(&path_of(&cache, &key));
        assert!(cache.find(&key, Some(700)).unwrap().is_none(), "{name}");
        let again = cache.fetch::<io::Error>(&key, Expected::size(700), |t| t.write_all(&plain)).unwrap();
        assert_eq!(again.found, Found::Fetched, "{name}");
    }
    assert_eq!(fs::read(&secret).unwrap(), content(9, 700));
}

fn writable(path: &Path) -> &Path {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(writable(path), bytes).unwrap();
}

#[test]
fn a_folder_that_is_a_symbolic_link_is_not_followed() {
    let (home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let plain = content(4, 900);
    let key = put(&cache, &plain);
    let folder = path_of(&cache, &key).parent().unwrap().to_path_buf();
    let elsewhere = home.path().join("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    for repair_by_fsck in [true, false] {
        if repair_by_fsck {
            assert_eq!(check(&cache, repair()).repaired(), 1);
        } else {
            fs::remove_dir_all(&folder).unwrap();
            symlink(&elsewhere, &folder).unwrap();
            assert!(cache.find(&key, None).unwrap().is_none());
        }
        put(&cache, &plain);
        assert!(folder.symlink_metadata().unwrap().is_dir());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1, "nothing outside was touched");
    }
}

#[test]
fn fsck_finds_every_damage_and_repairs_it() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let keys: Vec<Key> = (0..6).map(|n| put(&cache, &content(n, 3000))).collect();
    let at = |n: usize| path_of(&cache, &keys[n]);
    let folder = at(0).parent().unwrap().to_path_buf();
    let (one, two, three) = (at(1), at(2), at(3));
    flip(&one);
    File::options().write(true).open(writable(&two)).unwrap().set_len(0).unwrap();
    fs::remove_file(&three).unwrap();
    symlink("/etc/passwd", &three).unwrap();
    fs::write(folder.join("no object's name"), b"?").unwrap();
    fs::write(path.join("txn/fetch.leftover"), b"?").unwrap();
    fs::write(path.join("local/locks/leftover"), b"").unwrap();
    // The official client's: one right, one wrong, one stored uncompressed, one empty.
    let (right, stored, wrong) = (content(50, 4000), content(51, 4000), content(52, 4000));
    plant(&path, &key_of(&right), &right);
    plant(&path, &Key::Object(Hasher::hash(Algorithm::Shake128, &stored)), &stored);
    plant(&path, &key_of(&wrong), &content(53, 4000));
    plant(&path, &key_of(&content(54, 1)), b"");

    let found = check(&cache, FsckOptions::default());
    let mut kinds = damages(&found);
    kinds.sort_by_key(|d| *d as u8);
    use Damage::*;
    assert_eq!(
        kinds,
        [NotRegular, BadName, WrongSize, WrongContent, Empty, StaleTemporary, StaleLock],
        "{:#?}",
        found.damaged
    );
    assert_eq!((found.repaired(), found.left()), (0, 7));
    assert_eq!((found.checked, found.verified, found.unverified), (11, 5, 1));
    assert!(one.exists(), "without repair nothing is touched");

    let repaired = check(&cache, repair());
    assert_eq!((repaired.repaired(), repaired.left()), (7, 0));
    assert!(!one.exists() && !two.exists());
    let last = check(&cache, FsckOptions { recompress: false, ..repair() });
    assert!(last.damaged.is_empty(), "{:?}", last.damaged);
    // What recompression proved is recorded.
    assert_eq!((last.verified, last.unverified), (5, 1));
    let strict = check(&cache, FsckOptions { remove_unverified: true, ..repair() });
    assert_eq!(strict.unverified_removed, 1);
    assert_eq!(check(&cache, FsckOptions::default()).unverified, 0);
}

#[test]
fn parts_of_a_check_add_up_to_the_whole() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    for n in 0..40 {
        put(&cache, &content(n, 500));
    }
    let parts = (1..=4).map(|part| {
        let report = check(&cache, FsckOptions { read_data: ReadData::Part { part, parts: 4 }, ..Default::default() });
        assert_eq!(report.verified + report.not_read, 40);
        report.verified
    });
    assert_eq!(parts.sum::<u64>(), 40);
    let none = check(&cache, FsckOptions { read_data: ReadData::None, ..Default::default() });
    assert_eq!((none.verified, none.bytes_read), (0, 0));
}

fn set_access_time(path: &Path, hours_ago: u64) {
    let time = SystemTime::now() - Duration::from_secs(3600 * hours_ago);
    File::open(path).unwrap().set_times(FileTimes::new().set_accessed(time)).unwrap();
}

#[test]
fn the_quota_is_kept_and_the_least_recently_used_go_first() {
    let (_home, path) = closed_directory();
    let limit = 200_000;
    let cache = Cache::open(&Settings { quota_limit_bytes: Some(limit), ..settings(&path) }).unwrap();
    let evicted = Arc::new(AtomicU32::new(0));
    let counter = evicted.clone();
    assert!(cache.on_evict(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let keys: Vec<Key> = (0..19).map(|n| put(&cache, &content(n, 10_000))).collect();
    for (n, key) in keys.iter().enumerate() {
        set_access_time(&path_of(&cache, key), 100 - n as u64);
    }
    // A hit makes the oldest the youngest; a pin protects the next; an open file stays readable.
    let young = cache.find(&keys[0], None).unwrap().unwrap();
    set_access_time(&path_of(&cache, &keys[1]), 99);
    let pinned = cache.fetch::<()>(&keys[1], Expected { pin: true, ..Expected::default() }, |_| panic!()).unwrap();
    set_access_time(&pinned.path, 99);
    let mut reading = cache.find(&keys[2], None).unwrap().unwrap();
    set_access_time(&reading.path, 98);
    let volatile = content(100, 5_000);
    let expected = Expected { volatile: true, ..Expected::size(5_000) };
    cache.fetch::<io::Error>(&key_of(&volatile), expected, |t| t.write_all(&volatile)).unwrap();
    assert_eq!(evicted.load(Ordering::Relaxed), 0);
    assert_eq!(cache.status().unwrap().used.bytes, 195_000);

    let last = put(&cache, &content(20, 10_000));
    let status = cache.status().unwrap();
    assert_eq!(status.used.bytes, 110_000, "down to half, and the new one");
    assert_eq!(status.pinned.files, 1);
    assert_eq!(evicted.load(Ordering::Relaxed), 10);
    let there = |key: &Key| cache.find(key, None).unwrap().is_some();
    assert!(!there(&key_of(&volatile)), "volatile goes first although it was used last");
    assert!(there(&keys[0]) && there(&keys[1]) && there(&last));
    assert!(!there(&keys[2]) && !there(&keys[10]) && there(&keys[11]));
    let mut bytes = Vec::new();
    reading.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, content(2, 10_000));
    drop((young, pinned));

    let big = content(30, 150_000);
    let big = cache.fetch::<io::Error>(&key_of(&big), Expected::default(), |t| t.write_all(&big));
    assert!(matches!(big, Err(FetchError::Cache(CacheError::TooLarge { limit: 100_000, .. }))), "{big:?}");
    for n in 200..300 {
        put(&cache, &content(n, 9_000));
        assert!(cache.status().unwrap().used.bytes <= limit);
    }
    assert_eq!(cache.wipe().unwrap().remaining_bytes, 0);
    assert_eq!(cache.status().unwrap().used.files, 0);
}

/// What is made of chunks can be read whatever the quota, as by a client that reads chunk by chunk.
#[test]
fn a_file_of_chunks_may_be_larger_than_the_quota_while_it_is_used() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&Settings { quota_limit_bytes: Some(200_000), ..settings(&path) }).unwrap();
    let small: Vec<Key> = (0..10).map(|n| put(&cache, &content(n, 10_000))).collect();
    let key = Key::Assembled([7; 32]);
    let large = content(30, 500_000);
    let expected = Expected { pin: true, ..Expected::size(500_000) };
    let pinned = cache.fetch::<io::Error>(&key, expected, |t| t.write_all(&large)).unwrap();
    assert_eq!(std::fs::read(&pinned.path).unwrap(), large);
    assert!(small.iter().all(|key| cache.find(key, None).unwrap().is_none()), "everything else made room");
    let other = put(&cache, &content(40, 10_000));
    assert!(cache.find(&key, None).unwrap().is_some(), "it is in use");
    assert!(cache.find(&other, None).unwrap().is_some());
    drop(pinned);
    cache.trim(100_000).unwrap();
    assert!(cache.find(&key, None).unwrap().is_none(), "and goes with the next cleanup");
    assert!(cache.status().unwrap().used.bytes <= 200_000);
}

#[test]
fn a_damaged_gauge_is_set_right() {
    let (_home, path) = closed_directory();
    let with_quota = Settings { quota_limit_bytes: Some(100_000), ..settings(&path) };
    let cache = Cache::open(&with_quota).unwrap();
    for n in 0..9 {
        put(&cache, &content(n, 10_000));
    }
    fs::write(path.join("local/gauge"), b"damaged damaged damaged damaged").unwrap();
    put(&cache, &content(10, 10_000));
    put(&cache, &content(11, 10_000));
    assert_eq!(cache.status().unwrap().used.bytes, 60_000);
}

#[test]
fn a_preloaded_cache_is_read_and_never_written() {
    let (_home, path) = closed_directory();
    fs::create_dir(&path).unwrap();
    let plain = content(1, 4000);
    let key = key_of(&plain);
    plant(&path, &key, &plain);
    let fqrn = Fqrn::new("test.cern.ch").unwrap();
    let crumb = Breadcrumb {
        catalog: ContentHash::parse("2a695360ba25033e8899486a62c9dc7316650b56").unwrap(),
        timestamp: 1_500_000_000,
        revision: 0,
    };
    fs::write(path.join("cvmfschecksum.test.cern.ch"), format!("{}T1500000000", crumb.catalog)).unwrap();
    let before = listing(&path);

    let cache = Cache::open(&Settings { mode: Mode::ReadOnly, ..settings(&path) }).unwrap();
    assert_eq!(cache.find(&key, Some(4000)).unwrap().unwrap().found, Found::Foreign);
    assert!(cache.find(&key, Some(4001)).unwrap().is_none());
    let missing = cache.fetch::<()>(&key_of(b"missing"), Expected::default(), |_| panic!("nowhere to put it"));
    assert!(matches!(missing, Err(FetchError::Cache(CacheError::ReadOnly { .. }))), "{missing:?}");
    assert_eq!(&cache.map(&key).unwrap().unwrap()[..], &plain[..]);
    assert_eq!(cache.load_breadcrumb(&fqrn).unwrap(), Some(crumb));
    assert_eq!(check(&cache, repair()).verified, 1);
    assert!(!cache.capabilities().writable);
    assert_eq!(listing(&path), before);

    // Behind a private cache it fills in.
    let (_home2, upper) = closed_directory();
    let cache = Cache::open(&Settings { lower: vec![path.clone()], ..settings(&upper) }).unwrap();
    assert_eq!(cache.fetch::<()>(&key, Expected::size(4000), |_| panic!()).unwrap().found, Found::Foreign);
    assert_eq!(cache.load_breadcrumb(&fqrn).unwrap(), Some(crumb));
    let newer = Breadcrumb { revision: 7, timestamp: 1_600_000_000, ..crumb };
    cache.store_breadcrumb(&fqrn, &newer).unwrap();
    assert_eq!(cache.load_breadcrumb(&fqrn).unwrap(), Some(newer));
    put(&cache, &content(2, 100));
    assert_eq!(listing(&path), before);
}

fn listing(path: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        found.push((entry.path(), entry.metadata().unwrap().len()));
        if entry.file_type().unwrap().is_dir() {
            found.extend(listing(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn an_alien_cache_has_the_official_permissions_and_no_quota() {
    let (home, path) = closed_directory();
    let alien = Settings {
        mode: Mode::Alien,
        workspace: Some(home.path().join("workspace")),
        quota_limit_bytes: Some(1000),
        ..settings(&path)
    };
    let cache = Cache::open(&alien).unwrap();
    let key = put(&cache, &content(1, 4000));
    let object = path_of(&cache, &key);
    let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o7777;
    assert_eq!((mode(&object), mode(object.parent().unwrap()), mode(&path.join("txn"))), (0o660, 0o770, 0o770));
    assert!(!path.join("local").exists());
    assert_eq!(&cache.map(&key).unwrap().unwrap()[..], &content(1, 4000)[..]);
    assert_eq!(cache.verify(&key).unwrap(), Some(Verdict::Intact), "our own digest, in our own workspace");
    let other = Cache::open(&settings(&path));
    assert!(other.is_ok() || matches!(other, Err(CacheError::WritableByOthers { .. })));
}

#[test]
fn directories_that_are_no_cache_of_ours_are_refused() {
    let (_home, path) = closed_directory();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("cvmfscatalog.cache"), b"").unwrap();
    assert!(matches!(Cache::open(&settings(&path)), Err(CacheError::NotACache { .. })));

    fs::remove_file(path.join("cvmfscatalog.cache")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(path.join("ab")).unwrap();
    assert!(matches!(Cache::open(&settings(&path)), Err(CacheError::WritableByOthers { mode: 0o777, .. })));
    fs::remove_dir(path.join("ab")).unwrap();
    Cache::open(&settings(&path)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700, "an empty one is closed");

    fs::write(path.join("cachedb"), b"").unwrap();
    assert_eq!(Cache::open(&settings(&path)).unwrap().mode(), Mode::ReadOnly);

    fs::write(path.join("file"), b"").unwrap();
    assert!(Cache::open(&settings(&path.join("file"))).is_err());
}

#[test]
fn letters_are_kept_by_repository_and_name() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let (a, b) = (Fqrn::new("a.cern.ch").unwrap(), Fqrn::new("b.cern.ch").unwrap());
    cache.store_letter(&a, "manifest", b"first").unwrap();
    cache.store_letter(&a, "manifest", b"second").unwrap();
    assert_eq!(cache.load_letter(&a, "manifest").unwrap().unwrap(), b"second");
    assert_eq!(cache.load_letter(&b, "manifest").unwrap(), None);
    for bad in ["", ".hidden", "../manifest", "a/b", "a\0b"] {
        assert!(matches!(cache.store_letter(&a, bad, b""), Err(CacheError::BadLetterName(_))), "{bad:?}");
    }
    cache.wipe().unwrap();
    assert_eq!(cache.load_letter(&a, "manifest").unwrap().unwrap(), b"second");
}

#[test]
fn an_index_is_mapped_and_outlives_its_eviction() {
    let (_home, path) = closed_directory();
    let cache = Cache::open(&settings(&path)).unwrap();
    let key = Key::Index(ContentHash::parse("c39d29452241b9e1688065b86833c2489b5df41c-rmd160").unwrap());
    assert!(cache.map(&key).unwrap().is_none());
    let bytes = content(1, 123_456);
    cache.fetch::<io::Error>(&key, Expected::default(), |t| t.write_all(&bytes)).unwrap();
    let mapping = cache.map(&key).unwrap().unwrap();
    assert_eq!(cache.trim(0).unwrap().removed.files, 1, "a mapping pins nothing");
    assert!(!cache.evict(&key).unwrap());
    assert_eq!(&mapping[..], &bytes[..]);
    let empty = put(&cache, b"");
    assert!(cache.map(&empty).unwrap().unwrap().is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_cache_of_somebody_else_needs_trust() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skip::skip("only root can give a directory away");
    }
    let (_home, path) = closed_directory();
    Cache::open(&settings(&path)).unwrap();
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    let read_only = Settings { mode: Mode::ReadOnly, ..settings(&path) };
    for refused in [&settings(&path), &read_only] {
        assert!(matches!(Cache::open(refused), Err(CacheError::ForeignOwner { owner: 12345, .. })));
    }
    Cache::open(&Settings { trusted_owners: vec![12345], ..read_only }).unwrap();
    let trusted = Settings { trusted_owners: vec![12345], ..settings(&path) };
    assert!(matches!(Cache::open(&trusted), Err(CacheError::ForeignOwner { .. })), "trusted is not ours to write");
}
