//! What programs take below `/cvmfs`, against the same tree on the local disk, in one interleaved run.
//!
//! `cargo bench -p cvmfs-run --bench programs [-- NAME...]`; `proot` is a peer where it is installed.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use cvmfs_tests::forge::Forge;
use cvmfs_tests::mount::Mount;
use cvmfs_tests::tools::require_tool;
use libcvmfs::object::Compression;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FQRN: &str = "bench.example.org";
const ROUNDS: usize = 5;

/// A case: a name, and a shell script in which `$R` is the tree.
struct Case {
    name: &'static str,
    script: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "find with stat, 5000 files, 4 times",
        script: "for i in 1 2 3 4; do find $R/many -printf '%s %m\n'; done >/dev/null",
    },
    Case { name: "ls -lR, 5000 files, 4 times", script: "for i in 1 2 3 4; do ls -lR $R/many; done >/dev/null" },
    Case { name: "du, 5000 files, 4 times", script: "for i in 1 2 3 4; do du -s $R/many; done >/dev/null" },
    Case { name: "tar, 5000 files", script: "tar -C $R -cf - many | cat >/dev/null" },
    Case { name: "cat of 5000 small files", script: "cat $R/many/*/* >/dev/null" },
    Case { name: "read 256 MiB", script: "dd if=$R/big of=/dev/null bs=1M 2>/dev/null" },
    Case {
        name: "python with many imports, 3 times",
        script: "for i in 1 2 3; do python3 -S -E -B -c 'import sys; sys.path.insert(0, \"'$R'/python\"); import asyncio, http.client, email.mime.text, xml.dom.minidom, unittest.mock, decimal, argparse, logging.config, json, difflib, concurrent.futures, tarfile'; done",
    },
    Case {
        name: "compile, 3 times",
        script: "for i in 1 2 3; do gcc -nostdinc -isystem $R/gcc -isystem $R/include -isystem $R/include/x86_64-linux-gnu -O1 -c $R/src/all.c -o $W/all.o; done",
    },
    Case {
        name: "static busybox find, 5000 files, 4 times",
        script: "for i in 1 2 3 4; do busybox find $R/many -size +1; done >/dev/null",
    },
    Case { name: "start of a program", script: "exec true" },
    Case {
        name: "500 times exec of a native program",
        script: "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done",
    },
    Case {
        name: "300 times exec of a program there",
        script: "i=0; while [ $i -lt 300 ]; do $R/bin/true; i=$((i+1)); done",
    },
    Case {
        name: "configure-like, nothing there",
        script: "cd $W; i=0; while [ $i -lt 60 ]; do echo \"int main(void){return $i;}\" > c.c; grep -q main c.c; sed s/main/x/ c.c > d.c; test -f nope || expr $i + 1 > e; rm -f d.c e; ls /usr/include/*.h | wc -l > f; cmp -s c.c f; i=$((i+1)); done",
    },
];

fn shell(text: &str) {
    assert!(Command::new("sh").args(["-ec", text]).status().unwrap().success(), "{text}");
}

/// The tree, as a directory.
fn tree(home: &Path) -> PathBuf {
    let plain = home.join("plain");
    for directory in 0..50 {
        let directory = plain.join(format!("many/d{directory:02}"));
        std::fs::create_dir_all(&directory).unwrap();
        for file in 0..100 {
            std::fs::write(directory.join(format!("file{file:02}")), format!("{file}\n").repeat(300)).unwrap();
        }
    }
    let big: Vec<u8> = (0u32..64 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(plain.join("big"), big).unwrap();
    shell(&format!(
        "cd {p}; mkdir bin src; cp /bin/true bin/; cp -rL $(gcc -print-file-name=include) gcc; cp -rL /usr/include include; \
         lib=$(python3 -c 'import os; print(os.path.dirname(os.__file__))'); mkdir python; \
         (cd $lib && tar -cf - --exclude=test --exclude=site-packages --exclude=dist-packages --exclude='*.so' --exclude='config-*' .) | tar -xf - -C python; \
         for h in stdio stdlib string math unistd fcntl pthread signal sys/stat sys/socket netinet/in netdb dirent time errno locale wchar regex; do echo \"#include <$h.h>\"; done > src/all.c; \
         echo 'int main(void) {{ return 0; }}' >> src/all.c",
        p = plain.display()
    ));
    plain
}

/// Somebody to run something: where the tree is, and what comes in front of the shell.
struct Runner {
    name: &'static str,
    root: String,
    front: Vec<String>,
}

/// None if it fails, which only a peer may: `proot` does not know every call.
fn run(runner: &Runner, script: &str, work: &Path) -> Option<Duration> {
    let mut command = match runner.front.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg("sh");
            command
        }
        None => Command::new("sh"),
    };
    command.args(["-c", script]).env("R", &runner.root).env("W", work).env("LC_ALL", "C").stdin(Stdio::null());
    let is_peer = runner.name == "proot";
    if is_peer {
        command.stderr(Stdio::null());
    }
    let start = Instant::now();
    let status = command.status().unwrap();
    let time = start.elapsed();
    assert!(status.success() || is_peer, "{}: {script}: {status}", runner.name);
    status.success().then_some(time)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Kilobytes of private memory of the processes called `cvmfs-run` below this one.
fn private_memory() -> u64 {
    let mut most = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let Ok(comm) = std::fs::read_to_string(path.join("comm")) else { continue };
        let Ok(rollup) = std::fs::read_to_string(path.join("smaps_rollup")) else { continue };
        if comm.trim() == "cvmfs-run" {
            let private = |line: &&str| line.starts_with("Private_");
            let number = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
            most = most.max(rollup.lines().filter(private).filter_map(number).sum());
        }
    }
    most
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let home = tempfile::tempdir().unwrap();
    let work = home.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let plain = tree(home.path());
    let published = Forge::new(FQRN)
        .compression(Compression::None)
        .tree("", &plain)
        .nested("/many")
        .publish(home.path().join("web"));
    let mount = Mount::of(&published.repository());
    let options: Vec<(String, String)> =
        mount.options().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let ours = format!("/cvmfs/{FQRN}");
    let program = env!("CARGO_BIN_EXE_cvmfs-run");
    let supervised = |name: &'static str, mode: &str| {
        let mut front = vec![program.to_owned(), format!("--mode={mode}")];
        for (key, value) in &options {
            front.extend(["-o".to_owned(), format!("{key}={value}")]);
        }
        front.extend(["-o".to_owned(), format!("CVMFS_CACHE_BASE={}", home.path().join("cache").display())]);
        front.push("--".to_owned());
        Runner { name, root: ours.clone(), front }
    };
    let mut runners = vec![
        Runner { name: "disk", root: plain.display().to_string(), front: Vec::new() },
        supervised("shim", "shim"),
        supervised("full", "full"),
    ];
    if require_tool("proot").is_some() {
        // It shows a directory only where there is one.
        let bind = format!("{}:/mnt", plain.display());
        let front = ["proot", "-b", &bind].map(str::to_owned).to_vec();
        runners.push(Runner { name: "proot", root: "/mnt".to_owned(), front });
    }
    print!("{:<42}", "milliseconds (ratio)");
    for runner in &runners {
        print!("{:>18}", runner.name);
    }
    println!();
    for case in CASES.iter().filter(|case| is_wanted(case.name)) {
        let mut times: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
        let able: Vec<usize> =
            (0..runners.len()).filter(|&number| run(&runners[number], case.script, &work).is_some()).collect();
        for _ in 0..ROUNDS {
            for &number in &able {
                times.entry(number).or_default().extend(run(&runners[number], case.script, &work));
            }
        }
        let medians: BTreeMap<usize, f64> =
            times.iter_mut().map(|(number, times)| (*number, median(times).as_secs_f64() * 1e3)).collect();
        print!("{:<42}", case.name);
        for number in 0..runners.len() {
            match medians.get(&number) {
                Some(time) => print!("{:>10.1} ({:>4.2})", time, time / medians[&0]),
                None => print!("{:>18}", "cannot"),
            }
        }
        println!();
    }
    if is_wanted("calls") {
        calls(home.path(), &runners);
    }
    let mut child = Command::new(&runners[1].front[0]);
    let child =
        child.args(&runners[1].front[1..]).args(["sh", "-c", &format!("ls -lR {ours} >/dev/null; sleep 2")]).spawn();
    std::thread::sleep(Duration::from_millis(1500));
    println!("private memory of the supervisor: {} KiB", private_memory());
    child.unwrap().wait().unwrap();
}

/// Single calls of a dynamic and of a static program.
fn calls(home: &Path, runners: &[Runner]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shim/embed/benches/calls.c");
    for (kind, flags) in [("dynamic", &[][..]), ("static", &["-static"])] {
        let program = home.join(kind);
        let mut compiler = Command::new("cc");
        compiler.args(["-D_GNU_SOURCE", "-w", "-O2"]).args(flags).arg("-o").arg(&program).arg(&source);
        assert!(compiler.status().unwrap().success());
        let native = &runners[0].root;
        std::fs::create_dir_all(format!("{native}/links")).unwrap();
        let link = home.join("link");
        let _ = std::os::unix::fs::symlink(format!("{native}/many/d00/file00"), &link);
        let mut columns = Vec::new();
        for (name, runner, root) in runners.iter().flat_map(|runner| {
            let own = (format!("{} /cvmfs", runner.name), runner, runner.root.clone());
            let other = (format!("{} native", runner.name), runner, native.clone());
            if runner.front.is_empty() { vec![own] } else { vec![own, other] }
        }) {
            let mut command = Command::new(runner.front.first().map_or(program.as_os_str(), AsRef::as_ref));
            if let Some((_, arguments)) = runner.front.split_first() {
                command.args(arguments).arg(&program);
            }
            let directory = format!("{root}/many/d00");
            command.arg(format!("{directory}/file00")).arg(&link).arg(&directory).arg(format!("{directory}/nope"));
            let out = command.output().unwrap();
            let lines = String::from_utf8(out.stdout).unwrap();
            let value = |line: &str| {
                let (name, time) = line.split_once(' ').unwrap();
                (name.to_owned(), time.parse::<f64>().unwrap())
            };
            columns.push((name, lines.lines().map(value).collect::<Vec<_>>()));
        }
        print!("{:<26}", format!("ns per call, {kind}"));
        for (name, _) in &columns {
            print!("{name:>14}");
        }
        println!();
        for (row, (name, _)) in columns[0].1.iter().enumerate() {
            print!("{name:<26}");
            for (_, values) in &columns {
                print!("{:>14}", values.get(row).map_or("-".to_owned(), |(_, time)| format!("{time:.0}")));
            }
            println!();
        }
    }
}
