//! How long an instance takes from the command line to the end of a program that does nothing, against `bwrap` with the same
//! tree as a plain directory, in one interleaved run; many at once; and what one more that runs takes of memory.
//!
//! `cargo build --release && cargo bench -p cernvm-fork --bench start`; as an ordinary user, or as root, who then is `nobody`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on fails, and tells what it found"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 31;
const AT_ONCE: usize = 100;
const BACKENDS: [&str; 3] = ["namespaces", "userns", "interposer"];

struct Site {
    home: PathBuf,
    programs: PathBuf,
}

impl Site {
    fn new(home: &Path) -> Site {
        let tree = home.join("tree");
        for directory in ["bin", "dev", "proc", "etc", "tmp", "run", "sys", "cvmfs"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
        for name in ["sh", "true", "sleep"] {
            symlink("busybox", tree.join("bin").join(name)).unwrap();
        }
        let programs = home.join("programs");
        fs::create_dir(&programs).unwrap();
        let fork = Path::new(env!("CARGO_BIN_EXE_cernvm-fork"));
        for program in [fork.to_owned(), fork.with_file_name("cvmfs-run")] {
            fs::copy(&program, programs.join(program.file_name().unwrap())).unwrap();
        }
        if rustix::process::getuid().is_root() {
            let out = Command::new("chown").args(["-hR", "65534:65534"]).arg(home).status().unwrap();
            assert!(out.success());
        }
        Site { home: home.to_owned(), programs }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if rustix::process::getuid().is_root() {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        command.arg(program).current_dir("/").stdin(Stdio::null());
        command.env("HOME", &self.home).env("XDG_STATE_HOME", self.home.join("state"));
        command
    }

    fn instance(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.programs.join("cernvm-fork"));
        command.args([name, "--fast"]).args(arguments);
        command
    }

    fn new_instance(&self, name: &str, backend: &str, arguments: &[&str]) -> Command {
        let tree = self.home.join("tree").display().to_string();
        let mut command = self.instance(name, &["--new", "--backend", backend, "--root", &tree]);
        command.args(arguments);
        command
    }

    fn bwrap(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(Path::new("bwrap"));
        command.arg("--bind").arg(self.home.join("tree")).args(["/", "--dev", "/dev", "--proc", "/proc"]);
        command.args(["--unshare-user", "--unshare-pid", "--unshare-uts", "--unshare-ipc", "--die-with-parent"]);
        command.args(arguments);
        command
    }
}

fn took(command: &mut Command) -> Duration {
    let start = Instant::now();
    assert!(command.status().unwrap().success(), "{command:?}");
    start.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ended(children: Vec<Child>) {
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

/// Kilobytes that the processes which serve instances have written and share with nobody.
fn private(site: &Site) -> u64 {
    let ours = |process: &Path| fs::read_link(process.join("exe")).is_ok_and(|exe| exe.starts_with(&site.programs));
    let mut sum = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten().filter(|entry| ours(&entry.path())) {
        let text = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("Private_Dirty:"));
        sum += lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>();
    }
    sum
}

fn main() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let site = Site::new(home.path());
    let program = ["--", "/bin/true"];
    for backend in BACKENDS {
        took(&mut site.new_instance(backend, backend, &program));
    }
    let mut times = vec![Vec::new(); 1 + BACKENDS.len()];
    for _ in 0..ROUNDS {
        times[0].push(took(&mut site.bwrap(&["/bin/true"])));
        for (at, backend) in BACKENDS.iter().enumerate() {
            times[at + 1].push(took(&mut site.instance(backend, &["--backend", backend, "--", "/bin/true"])));
        }
    }
    let base = median(&mut times[0]);
    println!("start to end of a program that does nothing: bwrap {:.1} ms", base.as_secs_f64() * 1e3);
    for (at, backend) in BACKENDS.iter().enumerate() {
        let time = median(&mut times[at + 1]);
        println!(
            "  {backend}: {:.1} ms, ratio {:.2}",
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() / base.as_secs_f64()
        );
    }
    let start = Instant::now();
    ended((0..AT_ONCE).map(|_| site.bwrap(&["/bin/true"]).spawn().unwrap()).collect());
    let base = start.elapsed();
    println!("{AT_ONCE} at once: bwrap {:.0} ms", base.as_secs_f64() * 1e3);
    for backend in BACKENDS {
        let start = Instant::now();
        let one = |number| site.new_instance(&format!("{backend}{number}"), backend, &program).spawn().unwrap();
        ended((0..AT_ONCE).map(one).collect());
        let time = start.elapsed();
        println!(
            "  {backend}, new ones: {:.0} ms, ratio {:.2}",
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() / base.as_secs_f64()
        );
    }
    println!("private memory of the processes that serve an instance, each one above the first:");
    for backend in BACKENDS {
        let mut running = Vec::new();
        let mut sizes = Vec::new();
        for number in 0..5 {
            let name = format!("{backend}{number}");
            running.push(site.instance(&name, &["--backend", backend, "--", "/bin/sleep", "4"]).spawn().unwrap());
            std::thread::sleep(Duration::from_millis(400));
            sizes.push(private(&site));
        }
        ended(running);
        println!("  {backend}: {} kB", sizes[4].saturating_sub(sizes[0]) / 4);
    }
}
