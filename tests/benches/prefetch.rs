//! How much sooner many small files are there when they are prefetched than when they are fetched one after the other
//! from a distant server. Run with `cargo bench -p cvmfs-tests --bench prefetch [-- JOBS]`; fails below the goal.

use cvmfs_tests::forge::Forge;
use cvmfs_tests::mount::Mount;
use cvmfs_tests::server::WebRoot;
use libcvmfs::prefetch::{Options, Start, prefetch};
use std::time::{Duration, Instant};

const FQRN: &str = "bench.example.org";
const FILES: usize = 5000;
/// Of one request: a server at the other side of the continent.
const DELAY: Duration = Duration::from_millis(20);
/// Files fetched one after the other; what more of them would take follows from that.
const SAMPLE: usize = 500;
/// How many times faster prefetching has to be.
const GOAL: f64 = 20.0;

fn main() {
    let jobs = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(Options::default().jobs);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let published = Forge::new(FQRN).many_files("/many", FILES, 500, true).publish(directory.path());
    let repository = published.repository();
    let server = WebRoot::serve(FQRN, &repository.web_root);
    server.set_delay(DELAY);
    let mount = Mount::over(&repository, &[&server]);

    let one_by_one = mount.client();
    let mut files = Vec::new();
    let top = one_by_one.node("/many").expect("the directory is there");
    for group in &top.list().expect("it can be listed") {
        let group = top.child(&group.name).expect("its catalog is there").expect("it was listed");
        for file in &group.list().expect("it can be listed") {
            files.push(group.child(&file.name).expect("it can be looked up").expect("it was listed"));
        }
    }
    assert_eq!(files.len(), FILES);
    let started = Instant::now();
    for file in files.iter().take(SAMPLE) {
        file.open().expect("it can be fetched");
    }
    let one_after_the_other = started.elapsed() * u32::try_from(FILES / SAMPLE).expect("a small number");

    let fresh = mount.with_new_cache();
    let client = fresh.client();
    let start = Start::Tree(client.node("/many").expect("the directory is there"));
    let started = Instant::now();
    let options = Options { jobs, ..Options::default() };
    let summary = prefetch(client.client(), vec![start], &options, &mut |_| ()).expect("it can be mounted");
    let together = started.elapsed();
    assert_eq!((summary.progress.fetched, summary.failures.len()), (FILES as u64, 0));

    let times = one_after_the_other.as_secs_f64() / together.as_secs_f64();
    println!("one after the other: {one_after_the_other:.1?} (from {SAMPLE} of {FILES} files)");
    println!("prefetch, {jobs} jobs: {together:.1?}, {times:.1} times faster, {} connections", server.connections());
    assert!(times >= GOAL, "prefetch has to be {GOAL} times faster");
}
