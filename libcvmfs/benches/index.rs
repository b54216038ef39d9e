//! What an index costs and what it saves: lookups against `stat(2)` on a local tree of the same paths, and building.
//!
//! `cargo bench -p libcvmfs --bench index [-- ENTRIES]`; the large catalog has a million entries by default.

use libcvmfs::cache::Mapping;
use libcvmfs::catalog::{Index, SqliteCatalog, build_index};
use libcvmfs::hash::{ContentHash, PathHash};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// Depth of every file of the small tree.
const DEPTH: usize = 10;
const ROUNDS: usize = 41;

fn main() {
    let entries = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let hash = ContentHash::parse("2a695360ba25033e8899486a62c9dc7316650b56").expect("it is a hash");
    let directory = tempfile::tempdir().expect("a temporary directory");

    let paths = deep_paths(400);
    let catalog = directory.path().join("deep");
    write_catalog(&catalog, &paths);
    let image = built(&catalog, &hash);
    compare_with_stat(&Index::open_any(&image).expect("just built"), &paths, directory.path());

    small_catalogs(directory.path(), &hash);

    let catalog = directory.path().join("large");
    let paths = wide_paths(entries);
    write_catalog(&catalog, &paths);
    let start = Instant::now();
    let image = built(&catalog, &hash);
    let time = start.elapsed();
    let index = Index::open_any(&image).expect("just built");
    let names: usize = index.entries().map(|entry| entry.name().len()).sum();
    println!(
        "build: {} entries in {:.2} s, {:.1} bytes an entry (names of {:.1} bytes on average)",
        index.entry_count(),
        time.as_secs_f64(),
        image.len() as f64 / f64::from(index.entry_count()),
        names as f64 / f64::from(index.entry_count()),
    );
    let start = Instant::now();
    index.verify_checksum().expect("just built");
    println!("verify_checksum: {:.1} ms for {} MB", start.elapsed().as_secs_f64() * 1e3, image.len() / 1_000_000);
    let step = (paths.len() / 10_000).max(1);
    let sample: Vec<_> = paths.iter().step_by(step).collect();
    let found = median(|| {
        for path in &sample {
            black_box(index.find(black_box(path.as_bytes())));
        }
    });
    println!("lookup, {} scattered paths of the large catalog: {:.0} ns", sample.len(), nanos(found, sample.len()));
    memory_of_a_reader(directory.path(), &image, &sample);
}

/// What a process that maps an index and looks paths up in it has for itself: the mapped pages are shared.
fn memory_of_a_reader(directory: &Path, large: &[u8], paths: &[&String]) {
    let few = wide_paths(10_000);
    let catalog = directory.join("small");
    write_catalog(&catalog, &few);
    let small = built(&catalog, &ContentHash::parse("2a695360ba25033e8899486a62c9dc7316650b56").expect("it is a hash"));
    for (image, paths) in [(&small[..], few.iter().collect::<Vec<_>>()), (large, paths.to_vec())] {
        let file = directory.join("image");
        std::fs::write(&file, image).expect("a file");
        let before = anonymous_kib();
        let mapping = Mapping::of_own_file(&file).expect("it can be mapped");
        let index = Index::open_any(&mapping).expect("just built");
        let found = paths.iter().filter(|path| index.find(path.as_bytes()).is_some()).count();
        let own = anonymous_kib().saturating_sub(before);
        println!("memory of a reader: {own} KiB of its own for {} entries ({found} looked up)", index.entry_count());
    }
}

/// Private memory of this process.
fn anonymous_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells");
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("it is there");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

fn built(catalog: &Path, hash: &ContentHash) -> Vec<u8> {
    let catalog = SqliteCatalog::open(catalog).expect("just written");
    let (image, report) = build_index(&catalog, hash).expect("just written");
    assert!(report.is_clean(), "{report}");
    image
}

fn compare_with_stat(index: &Index<'_>, paths: &[String], directory: &Path) {
    let base = directory.join("tree");
    let local: Vec<_> = paths.iter().map(|path| base.join(path.trim_start_matches('/'))).collect();
    for (path, local) in paths.iter().zip(&local) {
        if is_directory(path) {
            std::fs::create_dir_all(local).expect("a directory");
        } else {
            std::fs::write(local, b"").expect("a file");
        }
    }
    let files: Vec<_> = (0..paths.len()).filter(|&at| !is_directory(&paths[at])).collect();
    let found = median(|| {
        for &at in &files {
            let entry = index.find(black_box(paths[at].as_bytes())).expect("it is there");
            black_box((entry.mode(), entry.size(), entry.mtime(), entry.ino()));
        }
    });
    let absent: Vec<_> = files.iter().map(|&at| format!("{}x", paths[at])).collect();
    let missed = median(|| {
        for path in &absent {
            black_box(index.find(black_box(path.as_bytes())).is_none());
        }
    });
    let native = median(|| {
        for &at in &files {
            black_box(std::fs::symlink_metadata(black_box(&local[at])).expect("it is there"));
        }
    });
    let (found, missed, native) = (nanos(found, files.len()), nanos(missed, files.len()), nanos(native, files.len()));
    println!("lookup, {DEPTH} components: found {found:.0} ns, absent {missed:.0} ns");
    println!("stat(2) on the local tree: {native:.0} ns, {:.1} times as long", native / found);
}

fn small_catalogs(directory: &Path, hash: &ContentHash) {
    for entries in [10, 100, 2000] {
        let catalog = directory.join(format!("small{entries}"));
        write_catalog(&catalog, &wide_paths(entries));
        let time = median(|| {
            black_box(built(&catalog, hash));
        });
        println!("open and build, {entries} entries: {:.2} ms", time.as_secs_f64() * 1e3);
    }
}

fn median(mut job: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            job();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn nanos(time: Duration, jobs: usize) -> f64 {
    time.as_nanos() as f64 / jobs as f64
}

fn is_directory(path: &str) -> bool {
    !path.ends_with(".so")
}

/// Chains of directories with ten files each at the end.
fn deep_paths(files: usize) -> Vec<String> {
    let mut paths = vec![String::new()];
    for chain in 0..files / 10 {
        let mut path = String::new();
        for level in 1..DEPTH {
            path += &format!("/{}{chain}", ["software", "x86_64-el9", "gcc13", "lib", "python3.11"][level % 5]);
            paths.push(path.clone());
        }
        paths.extend((0..10).map(|file| format!("{path}/libmodule_{file}.so")));
    }
    paths
}

/// Directories of directories of files, a hundred each.
fn wide_paths(entries: usize) -> Vec<String> {
    let mut paths = vec![String::new()];
    for file in 0.. {
        let (top, middle) = (file / 10_000, file / 100 % 100);
        if file % 10_000 == 0 {
            paths.push(format!("/software_release_{top:03}"));
        }
        if file % 100 == 0 {
            paths.push(format!("/software_release_{top:03}/package_directory_{middle:02}"));
        }
        paths.push(format!("/software_release_{top:03}/package_directory_{middle:02}/libmodule_name_{file:07}.so"));
        if paths.len() >= entries {
            return paths;
        }
    }
    paths
}

fn write_catalog(file: &Path, paths: &[String]) {
    let mut connection = rusqlite::Connection::open(file).expect("a new file");
    connection
        .execute_batch(
            "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;
             CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
             INSERT INTO properties VALUES ('schema', '2.5'), ('schema_revision', '7');
             CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER,
                hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER,
                flags INTEGER, name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB,
                CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2));
             CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB);
             CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, size INTEGER);
             CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER);
             CREATE TABLE statistics (counter TEXT, value INTEGER);",
        )
        .expect("tables");
    let transaction = connection.transaction().expect("a transaction");
    {
        let mut insert = transaction
            .prepare(
                "INSERT INTO catalog VALUES (?1, ?2, ?3, ?4, 1, ?5, 4096, ?6, 1700000000, NULL, ?7, ?8, '', 0, 0, NULL)",
            )
            .expect("a statement");
        for path in paths {
            let own = PathHash::of(path.as_bytes());
            let (parent, name) = path
                .rsplit_once('/')
                .map_or(((0, 0), ""), |(parent, name)| (PathHash::of(parent.as_bytes()).columns(), name));
            let digest = [own.0, own.0].concat();
            let (mode, flags, hash) =
                if is_directory(path) { (0o40755, 1, None) } else { (0o100644, 4, Some(&digest[..20])) };
            let (first, second) = own.columns();
            insert.execute((first, second, parent.0, parent.1, hash, mode, flags, name)).expect("a row");
        }
    }
    transaction.commit().expect("rows");
}
