//! Publishing a tree of 40 000 files, the first time and again with one in a hundred changed, beside `tar` through zlib with
//! the same number of threads. Then a mirror is made of it over loopback, beside a copy of the files by `cp` and one by
//! `curl`, which verifies nothing.
//!
//! `cargo bench -p cvmfs-server --bench publish [-- FILES [DIRECTORY]]`

use flate2::{Compress, Compression, FlushCompress};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

const FQRN: &str = "bench.test.example";
/// Bytes that the baseline compresses at a time.
const BLOCK: usize = 128 << 10;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Files like those of software: most are small, half compresses well.
fn tree(root: &Path, files: u64) -> Outcome<u64> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut total = 0;
    for number in 0..files {
        let directory = root.join(format!("package{:02}/part{:02}", number % 40, number / 40 % 25));
        if number < 1000 {
            fs::create_dir_all(&directory)?;
        }
        let size = 1_u64 << random.u64(8..18);
        let mut content = Vec::with_capacity(size as usize);
        while (content.len() as u64) < size {
            match number % 2 {
                0 => content.extend_from_slice(format!("line {} of file {number}\n", random.u16(..)).as_bytes()),
                _ => content.extend_from_slice(&(random.u64(..) & random.u64(..)).to_le_bytes()),
            }
        }
        total += content.len() as u64;
        fs::write(directory.join(format!("file{number}")), content)?;
    }
    Ok(total)
}

fn change(root: &Path, files: u64) -> Outcome<()> {
    for number in (0..files).step_by(100) {
        let path = root.join(format!("package{:02}/part{:02}/file{number}", number % 40, number / 40 % 25));
        let mut content = fs::read(&path)?;
        content.extend_from_slice(b"changed");
        fs::write(path, content)?;
    }
    Ok(())
}

/// `tar c`, cut into blocks that `threads` threads compress at level 6.
fn tar_through_zlib(root: &Path, threads: usize) -> Outcome<u64> {
    let mut tar = Command::new("tar").arg("c").arg("-C").arg(root).arg(".").stdout(Stdio::piped()).spawn()?;
    let mut out = tar.stdout.take().ok_or("no output")?;
    let mut stored = 0;
    std::thread::scope(|scope| -> Outcome<()> {
        let mut workers = Vec::new();
        for _ in 0..threads {
            let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(8);
            let worker = scope.spawn(move || {
                let mut compress = Compress::new(Compression::new(6), true);
                let mut buffer = vec![0; 2 * BLOCK];
                let mut stored = 0;
                for block in receiver {
                    compress.reset();
                    let _ = compress.compress(&block, &mut buffer, FlushCompress::Finish);
                    stored += compress.total_out();
                }
                stored
            });
            workers.push((sender, worker));
        }
        let mut next = 0;
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            if out.by_ref().take(BLOCK as u64).read_to_end(&mut block)? == 0 {
                break;
            }
            workers[next % threads].0.send(block)?;
            next += 1;
        }
        for (sender, worker) in workers {
            drop(sender);
            stored += worker.join().unwrap_or(0);
        }
        Ok(())
    })?;
    tar.wait()?;
    Ok(stored)
}

fn server(dir: &Path, command: &str, arguments: &[&str]) -> Outcome<()> {
    let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
    run.args([command, FQRN, "--storage"]).arg(dir.join("storage")).arg("--keys").arg(dir.join("keys")).args(arguments);
    match run.stdout(Stdio::null()).status()?.success() {
        true => Ok(()),
        false => Err(format!("{command} failed").into()),
    }
}

/// Most memory that a child of this process took so far, in MiB.
fn peak() -> i64 {
    // SAFETY: all zero is a valid value, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    usage.ru_maxrss / 1024
}

/// `serve`, until it is dropped.
struct Serving(std::process::Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves a repository, and tells where.
fn serve(storage: &Path) -> Outcome<(Serving, String)> {
    let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
    run.args(["serve", "--json", "--listen", "127.0.0.1:0"]).arg(storage).stdout(Stdio::piped());
    let mut serving = Serving(run.spawn()?);
    let mut line = String::new();
    BufReader::new(serving.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let told: serde_json::Value = serde_json::from_str(&line)?;
    let address = told["listening"].as_str().ok_or("no address")?;
    Ok((serving, format!("http://{address}/cvmfs/@fqrn@")))
}

/// Makes a mirror, or brings it up to date.
fn replicate(dir: &Path, url: &str) -> Outcome<()> {
    let mut run = Command::new(env!("CARGO_BIN_EXE_cvmfs-server"));
    run.args(["replicate", FQRN, url]).arg(dir.join("mirror")).arg("--keys").arg(dir.join("keys"));
    match run.stdout(Stdio::null()).status()?.success() {
        true => Ok(()),
        false => Err("replicate failed".into()),
    }
}

/// `cp -r`, and everything on the disk.
fn copied(dir: &Path) -> Outcome<()> {
    let copied = Command::new("cp").arg("-r").arg(dir.join("storage")).arg(dir.join("copy")).status()?;
    let synced = Command::new("sync").arg("-f").arg(dir.join("copy")).status()?;
    match copied.success() && synced.success() {
        true => Ok(()),
        false => Err("cp failed".into()),
    }
}

/// Everything that a mirror needs, fetched by `curl` over as many connections, and on the disk; nothing is looked at.
fn fetched(dir: &Path, url: &str) -> Outcome<()> {
    let (storage, to) = (dir.join("storage"), dir.join("fetched"));
    let mut list = String::new();
    for prefix in std::fs::read_dir(storage.join("data"))? {
        for object in std::fs::read_dir(prefix?.path())? {
            let path = object?.path();
            let name = path.strip_prefix(&storage)?.display().to_string();
            writeln!(list, "url = \"{}/{name}\"\noutput = \"{}/{name}\"", url.replace("@fqrn@", FQRN), to.display())?;
        }
    }
    let file = dir.join("list");
    std::fs::write(&file, list)?;
    let mut curl = Command::new("curl");
    let got = curl
        .args(["-Z", "--parallel-max", "16", "-s", "--no-progress-meter", "-f", "--create-dirs", "-K"])
        .arg(&file)
        .status()?;
    let synced = Command::new("sync").arg("-f").arg(&to).status()?;
    match got.success() && synced.success() {
        true => Ok(()),
        false => Err("curl failed".into()),
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let files = arguments.first().map_or(Ok(40_000), |text| text.parse())?;
    let place = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(place)?;
    let root = dir.path().join("tree");
    let bytes = tree(&root, files)?;
    let threads = std::thread::available_parallelism()?.get();
    println!("{files} files, {} MB, {threads} threads", bytes / 1_000_000);
    server(dir.path(), "mkfs", &[])?;
    let tree = root.to_str().ok_or("a path that is no text")?;
    let timed = |what: &str, run: &dyn Fn() -> Outcome<()>| -> Outcome<f64> {
        let begin = Instant::now();
        run()?;
        let seconds = begin.elapsed().as_secs_f64();
        println!("{what}: {seconds:.2} s");
        Ok(seconds)
    };
    let base = timed("tar through zlib", &|| tar_through_zlib(&root, threads).map(drop))?;
    // Younger files than the revision before are always read.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let first = timed("publish", &|| server(dir.path(), "publish", &[tree]))?;
    println!("ratio {:.2}, peak {} MiB", first / base, peak());
    timed("publish again, nothing changed", &|| server(dir.path(), "publish", &[tree]))?;
    change(&root, files)?;
    timed("publish again, one file in 100 changed", &|| server(dir.path(), "publish", &[tree]))?;
    println!("peak {} MiB", peak());
    let base = timed("cp -r and sync", &|| copied(dir.path()))?;
    let (_serving, url) = serve(&dir.path().join("storage"))?;
    let plain = timed("curl over loopback, 16 connections", &|| fetched(dir.path(), &url))?;
    let mirror = timed("replicate over loopback, 16 connections", &|| replicate(dir.path(), &url))?;
    println!("ratio {:.2} to cp, {:.2} to curl", mirror / base, mirror / plain);
    timed("replicate again, nothing changed", &|| replicate(dir.path(), &url))?;
    Ok(())
}
