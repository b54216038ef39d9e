//! What a mounted repository costs, against the same tree on the local disk, in one interleaved run.
//!
//! `cargo bench -p cvmfs-fuse --bench mounted`; as root, for the kernel is made to forget what it knows between rounds.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use cvmfs_tests::forge::Forge;
use cvmfs_tests::measure::{forget, median};
use cvmfs_tests::mount::parameters;
use cvmfs_tests::server::WebRoot;
use libcvmfs::object::Compression;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FQRN: &str = "bench.example.org";
const ROUNDS: usize = 7;

/// A name, a script in which `$R` is the tree, and whether the kernel has to have forgotten the tree.
const CASES: &[(&str, &str, bool)] = &[
    ("find with stat, 5000 files, kernel knows nothing", "find $R/many -printf '%s %m\\n' >/dev/null", true),
    (
        "find with stat, 5000 files, 4 times, warm",
        "for i in 1 2 3 4; do find $R/many -printf '%s %m\\n'; done >/dev/null",
        false,
    ),
    ("cat of 5000 small files, kernel knows nothing", "cat $R/many/*/* >/dev/null", true),
    ("cat of 5000 small files, warm", "cat $R/many/*/* >/dev/null", false),
    ("read 256 MiB, kernel knows nothing", "cat $R/big >/dev/null", true),
    ("read 256 MiB, 8 times, warm", "b=$R/big; cat $b $b $b $b $b $b $b $b >/dev/null", false),
    ("300 times exec of a program there, warm", "i=0; while [ $i -lt 300 ]; do $R/bin/true; i=$((i+1)); done", false),
];

fn tree(home: &Path) -> PathBuf {
    let plain = home.join("plain");
    for directory in 0..50 {
        let many = plain.join(format!("many/d{directory:02}"));
        std::fs::create_dir_all(&many).unwrap();
        for file in 0..100 {
            std::fs::write(many.join(format!("file{file:02}")), format!("{directory} {file}\n").repeat(200)).unwrap();
        }
    }
    let big: Vec<u8> = (0u32..64 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(plain.join("big"), big).unwrap();
    std::fs::create_dir(plain.join("bin")).unwrap();
    std::fs::copy("/bin/true", plain.join("bin/true")).unwrap();
    plain
}

fn forge(plain: &Path) -> Forge {
    let mut forge = Forge::new(FQRN).compression(Compression::None);
    let mut directories = vec![plain.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                directories.push(entry);
                continue;
            }
            let inside = format!("/{}", entry.strip_prefix(plain).unwrap().display());
            forge = forge.file(inside.as_str(), std::fs::read(&entry).unwrap());
            if inside.starts_with("/bin") {
                forge = forge.mode(0o755);
            }
        }
    }
    forge
}

fn run(script: &str, root: &Path) -> Duration {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).env("R", root).env("LC_ALL", "C").stdin(Stdio::null());
    let start = Instant::now();
    assert!(command.status().unwrap().success(), "{script}");
    start.elapsed()
}

fn main() {
    let home = tempfile::tempdir().unwrap();
    let plain = tree(home.path());
    let published = forge(&plain).publish(home.path().join("web"));
    let server = WebRoot::serve(FQRN, home.path().join("web"));
    let program = env!("CARGO_BIN_EXE_cvmfs-mount");
    let mut roots = vec![("disk", plain)];
    for (name, passthrough) in [("passthrough", "yes"), ("through us", "no")] {
        let place = home.path().join(passthrough);
        std::fs::create_dir(&place).unwrap();
        let mut command = Command::new(program);
        for (parameter, value) in parameters(&server, &published.public_key, &home.path().join("cache")) {
            command.arg("-o").arg(format!("{parameter}={value}"));
        }
        command.arg("-o").arg(format!("CVMFS_FUSE_PASSTHROUGH={passthrough}"));
        assert!(command.args(["--pin", "--log=stderr", FQRN]).arg(&place).status().unwrap().success());
        run("find $R -type f -exec cat {} + >/dev/null", &place);
        roots.push((name, place));
    }
    println!("{:50} {:>12} {:>22} {:>22}", "", "disk", "passthrough", "through us");
    for (name, script, cold) in CASES {
        let mut times = vec![Vec::new(); roots.len()];
        for _ in 0..ROUNDS {
            for ((_, root), times) in roots.iter().zip(&mut times) {
                if *cold {
                    forget();
                } else {
                    run(script, root);
                }
                times.push(run(script, root));
            }
        }
        let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
        let shown = |time: &Duration| {
            format!("{:.1} ms ({:.2})", time.as_secs_f64() * 1e3, time.as_secs_f64() / medians[0].as_secs_f64())
        };
        println!(
            "{name:50} {:>12} {:>22} {:>22}",
            format!("{:.1} ms", medians[0].as_secs_f64() * 1e3),
            shown(&medians[1]),
            shown(&medians[2])
        );
    }
    println!("load: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    for (_, place) in &roots[1..] {
        Command::new(program).args(["--unmount", "--lazy"]).arg(place).status().unwrap();
    }
}
