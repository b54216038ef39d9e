//! How long a rebase takes when the overlay has many files, against copying that overlay, in one interleaved run.
//!
//! `cargo bench -p ucernvm-init --bench rebase`; as root, for both snapshots are mounted.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on fails, and tells what it found"
)]

use cvmfs_tests::forge::Forge;
use cvmfs_tests::measure::{forget, median};
use cvmfs_tests::mount::parameters;
use cvmfs_tests::server::WebRoot;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use ucernvm_update::journal::{self, UPPER};
use ucernvm_update::plan::Trees;
use ucernvm_update::state::Pin;

const ROUNDS: usize = 5;
const DIRECTORIES: usize = 200;
const FILES: usize = 100;

/// What a file holds in one of the trees: the user changes two of three, the new system every second.
fn content(file: usize, is_changed: bool) -> String {
    format!("{file} {is_changed}\n").repeat(60)
}

/// Half of them are configuration, the other half belongs to the system.
fn paths() -> impl Iterator<Item = (usize, String)> {
    (0..DIRECTORIES * FILES).map(|number| {
        let (directory, file) = (number / FILES, number % FILES);
        let place = if directory % 2 == 0 { "etc" } else { "usr/share" };
        (number, format!("{place}/d{directory:03}/file{file:02}"))
    })
}

struct Snapshot {
    fqrn: &'static str,
    server: WebRoot,
    key: PathBuf,
}

impl Snapshot {
    fn publish(home: &Path, fqrn: &'static str, is_new: bool) -> Snapshot {
        let mut forge = Forge::new(fqrn);
        for (number, path) in paths() {
            forge = forge.file(format!("/{path}").as_str(), content(number, is_new && number % 2 == 0).into_bytes());
        }
        let web = home.join("web").join(fqrn);
        let published = forge.publish(&web);
        Snapshot { fqrn, server: WebRoot::serve(fqrn, web), key: published.public_key }
    }

    fn mount(&self, program: &Path, cache: &Path, place: &Path) {
        fs::create_dir_all(place).unwrap();
        let mut command = Command::new(program);
        for (parameter, value) in parameters(&self.server, &self.key, cache) {
            command.arg("-o").arg(format!("{parameter}={value}"));
        }
        command.args(["--pin", "--log=stderr", self.fqrn]).arg(place).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "cvmfs-mount {}", self.fqrn);
    }
}

fn overlay(upper: &Path) {
    for (number, path) in paths() {
        let file = upper.join(path);
        if number % FILES == 0 {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        fs::write(file, content(number, number % 3 != 0)).unwrap();
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed(), result)
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    assert!(Command::new("sync").arg("-f").arg(to).status().unwrap().success());
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let program = home.join("cvmfs-mount");
    symlink(env!("CARGO_BIN_EXE_ucernvm-init"), &program).unwrap();
    let (old, new) =
        (Snapshot::publish(home, "old.example.org", false), Snapshot::publish(home, "new.example.org", true));
    let mut seconds = vec![Vec::new(); 5];
    for round in 0..ROUNDS {
        let place = |name: &str| home.join(format!("{round}")).join(name);
        let (base, wanted) = (place("base"), place("new"));
        for cache in ["empty cache", "warm cache"] {
            let scratch = place(cache);
            overlay(&scratch.join(UPPER));
            old.mount(&program, &place("caches/old"), &base);
            new.mount(&program, &place("caches/new"), &wanted);
            forget();
            if cache == "empty cache" {
                seconds[0].push(timed(|| copy(&scratch.join(UPPER), &place("copy"))).0);
                forget();
            }
            let upper = scratch.join(UPPER);
            let trees = Trees { base: Some(&base), new: &wanted, upper: &upper };
            let pin = Pin { root_hash: "a".repeat(40), tag: None };
            let (decided, report) = timed(|| journal::prepare(&trees, &scratch, &pin).unwrap());
            let (done, pinned) = timed(|| journal::finish(&scratch).unwrap());
            assert_eq!(pinned, Some(pin));
            let at = if cache == "empty cache" { 1 } else { 3 };
            seconds[at].push(decided);
            seconds[at + 1].push(done);
            if round == 0 {
                println!("{cache}: {} steps, {} conflicts", report.steps, report.conflicts);
            }
            for place in [&base, &wanted] {
                assert!(Command::new(&program).args(["--unmount", "--lazy"]).arg(place).status().unwrap().success());
            }
        }
        fs::remove_dir_all(home.join(format!("{round}"))).unwrap();
    }
    let names = [
        "cp -a of the overlay, synced",
        "decide, empty cache",
        "do it, empty cache",
        "decide, warm cache",
        "do it, warm cache",
    ];
    let medians: Vec<f64> = seconds.iter_mut().map(|times| median(times).as_secs_f64()).collect();
    for (name, median) in names.iter().zip(&medians) {
        println!("{name:30} {median:8.2} s {:8.2}", median / medians[0]);
    }
    println!("load: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
}
