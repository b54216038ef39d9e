//! What programs take below `/cvmfs`, against the same tree on the local disk, in one interleaved run.
//!
//! `cargo bench -p cvmfs-run --bench programs [-- [--one-cpu] [--load=N] NAME...]`; `proot` is a peer where it is
//! installed. `--one-cpu` confines everything to one processor, `--load=N` keeps N other processes busy all the while.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use cvmfs_tests::forge::Forge;
use cvmfs_tests::mount::Mount;
use cvmfs_tests::tools::require_tool;
use libcvmfs::object::Compression;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FQRN: &str = "bench.example.org";
const ROUNDS: usize = 5;
const PEER: &str = "proot";
/// By its whole name: looking for a name in a changed `PATH`, std forks this large process instead of spawning.
const SHELL: &str = "/bin/sh";

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
    Case { name: "cat of 5000 files, 100 contents", script: "cat $R/same/*/* >/dev/null" },
    Case {
        name: "read 256 MiB, 16 times",
        script: "b=$R/big; cat $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b >/dev/null",
    },
    Case {
        name: "mmap 256 MiB, 16 times",
        script: "python3 -S -E -c 'import mmap, os\nfd = os.open(\"'$R'/big\", os.O_RDONLY)\nfor i in range(16): sum(mmap.mmap(fd, 0, prot=mmap.PROT_READ)[::4096])'",
    },
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
        let many = plain.join(format!("many/d{directory:02}"));
        let same = plain.join(format!("same/d{directory:02}"));
        std::fs::create_dir_all(&many).unwrap();
        std::fs::create_dir_all(&same).unwrap();
        for file in 0..100 {
            let name = format!("file{file:02}");
            std::fs::write(many.join(&name), format!("{directory} {file}\n").repeat(200)).unwrap();
            std::fs::write(same.join(&name), format!("{file}\n").repeat(300)).unwrap();
        }
    }
    let big: Vec<u8> = (0u32..64 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    // Copied, as what is installed: how fast a file is mapped depends on the pieces in which it was written.
    std::fs::write(home.join("big"), big).unwrap();
    shell(&format!("cp --reflink=never {0}/big {0}/plain/big; rm {0}/big", home.display()));
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
            command.args(arguments).arg(SHELL);
            command
        }
        None => Command::new(SHELL),
    };
    // Not cargo's own search paths: each adds a dozen lookups to the start of every program.
    command.env_remove("LD_LIBRARY_PATH").env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command.args(["-c", script]).env("R", &runner.root).env("W", work).stdin(Stdio::null());
    let is_peer = runner.name == PEER;
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

/// Other processes that are always busy.
struct Load(Vec<Child>);

impl Load {
    fn of(processes: usize) -> Self {
        let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..processes).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Confines this process, and with it all that it starts, to the last processor it may use.
fn confine() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let last = (0..rustix::thread::CpuSet::MAX_CPU).rfind(|&cpu| allowed.is_set(cpu)).unwrap();
    let mut only = rustix::thread::CpuSet::new();
    only.set(last);
    rustix::thread::sched_setaffinity(None, &only).unwrap();
}

fn main() {
    let (options, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    if options.iter().any(|option| option == "--one-cpu") {
        confine();
    }
    let processes = options.iter().find_map(|option| option.strip_prefix("--load="));
    let _load = Load::of(processes.map_or(0, |number| number.parse().unwrap()));
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let home = tempfile::tempdir().unwrap();
    let work = home.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let plain = tree(home.path());
    let published = Forge::new(FQRN)
        .compression(Compression::None)
        .tree("", &plain)
        .nested("/many")
        .nested("/same")
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
    if let Some(peer) = require_tool(PEER) {
        // It shows a directory only where there is one.
        let bind = format!("{}:/mnt", plain.display());
        let front = [peer.to_str().unwrap(), "-b", &bind].map(str::to_owned).to_vec();
        runners.push(Runner { name: PEER, root: "/mnt".to_owned(), front });
    }
    print!("{:<42}", "milliseconds (ratio)");
    for runner in &runners {
        print!("{:>18}", runner.name);
    }
    println!();
    for case in CASES.iter().filter(|case| is_wanted(case.name)) {
        let mut times: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
        for round in 0..=ROUNDS {
            for (number, runner) in runners.iter().enumerate() {
                // The first round only warms up; a peer, which is slow, has no other.
                match (runner.name == PEER, round) {
                    (true, 0) => times.entry(number).or_default().extend(run(runner, case.script, &work)),
                    (true, _) => {}
                    (false, 0) => drop(run(runner, case.script, &work)),
                    (false, _) => times.entry(number).or_default().extend(run(runner, case.script, &work)),
                }
            }
        }
        times.retain(|_, times| !times.is_empty());
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
