//! What this node allows, found out by trying.

use crate::supervisor;
use libcvmfs::config::{Loader, Sources};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

/// One thing tried.
#[derive(Debug, Serialize)]
struct Finding {
    /// A word for it.
    name: &'static str,
    /// What it is good for.
    purpose: &'static str,
    works: bool,
    /// What the system said.
    detail: String,
}

/// All of it, and what follows.
#[derive(Debug, Serialize)]
struct Report {
    kernel: String,
    findings: Vec<Finding>,
    /// The value of `--mode` that `auto` comes to; none if nothing works.
    mode: Option<&'static str>,
    /// What follows, in plain words.
    advice: Vec<String>,
}

fn finding(name: &'static str, purpose: &'static str, tried: io::Result<String>) -> Finding {
    let works = tried.is_ok();
    let detail = tried.unwrap_or_else(|error| error.to_string());
    Finding { name, purpose, works, detail }
}

/// Tries everything and prints what was found.
pub(crate) fn run(json: bool) -> anyhow::Result<()> {
    let report = report();
    let mut text = if json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    text.push('\n');
    match io::stdout().write_all(text.as_bytes()) {
        // Who looks at the first lines only has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Kernel {}", self.kernel)?;
        for found in &self.findings {
            let answer = if found.works { "yes" } else { "no" };
            writeln!(f, "{answer:3}  {}: {} ({})", found.name, found.purpose, found.detail)?;
        }
        for line in &self.advice {
            write!(f, "\n{line}")?;
        }
        Ok(())
    }
}

fn report() -> Report {
    let memory = in_child(|child| {
        let mut byte = 0u8;
        let here = libc::iovec { iov_base: std::ptr::from_mut(&mut byte).cast(), iov_len: 1 };
        // SAFETY: our own buffer; the address is read in the child, which is a copy of us.
        answer(unsafe { libc::process_vm_readv(child, &here, 1, &here, 1, 0) } as i64)
    });
    let memory_file = in_child(|child| {
        std::fs::File::open(format!("/proc/{child}/mem")).and_then(|file| {
            let byte = 0u8;
            let mut into = [0];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut into, std::ptr::from_ref(&byte) as u64)
        })
    });
    let trace = in_child(|child| {
        // SAFETY: plain numbers.
        answer(unsafe { libc::ptrace(libc::PTRACE_SEIZE, child, 0, 0) })
    });
    let listener = in_forked(|| supervisor::try_listener().map(drop));
    let traced_calls = supervisor::try_tracing();
    let user_namespace = in_forked(|| {
        // SAFETY: a number.
        answer(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into())
    });
    let fuse = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    let cache = cache();
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let yama = yama.map_or_else(|_| "no Yama".to_owned(), |scope| format!("Yama {}", scope.trim()));
    let done = |what: &str| what.to_owned();
    let findings = vec![
        finding(
            "seccomp listener",
            "answers system calls, of static programs too",
            listener.map(|()| done("installed")),
        ),
        finding(
            "seccomp RET_TRACE",
            "brings the calls where there is no listener",
            traced_calls.map(|()| done("calls came")),
        ),
        finding("process_vm_readv", "reads the program's paths", memory.map(|()| yama.clone())),
        finding("/proc/PID/mem", "does so where the former is forbidden", memory_file.map(|()| done("read"))),
        finding("ptrace", "redirects chdir and exec", trace.map(|()| yama)),
        finding("cache", "keeps what was fetched", cache),
        finding("user namespaces", "only for cernvm-fork and FUSE", user_namespace.map(|()| done("made one"))),
        finding("/dev/fuse", "only for mounting", fuse.map(|_| done("opened"))),
    ];
    let works = |name: &str| findings.iter().any(|found| found.name == name && found.works);
    let looks_into = (works("process_vm_readv") || works("/proc/PID/mem")) && works("ptrace");
    let mode = match looks_into {
        true if works("seccomp listener") => "shim",
        true if works("seccomp RET_TRACE") => "trace",
        _ => "preload",
    };
    let mut advice = Vec::new();
    if mode != "preload" {
        advice.push(format!("Every program can be served here: cvmfs-run uses --mode={mode}."));
    }
    if mode == "trace" {
        advice.push(
            "Somebody else has a seccomp listener already, or the kernel is too old for one: calls that the shim does not \
             answer take longer than with one, and debuggers and strace do not work inside."
                .to_owned(),
        );
    }
    if mode == "preload" {
        advice.push(
            "Dynamically linked glibc programs can be served here: cvmfs-run uses --mode=preload. Static programs, \
             those in Go and those of musl see no /cvmfs."
                .to_owned(),
        );
        if !works("seccomp listener") {
            advice.push(
                "For the rest seccomp must be allowed, and ptrace: then a kernel from 4.8 on will do, and also one with a \
                 listener of somebody else's (a container engine's, or another interposer)."
                    .to_owned(),
            );
        }
        if !works("ptrace") {
            advice.push(
                "For the rest ptrace must be allowed: kernel.yama.ptrace_scope 0 or 1, and a container that does not \
                 forbid it."
                    .to_owned(),
            );
            if works("seccomp listener") && (works("process_vm_readv") || works("/proc/PID/mem")) {
                advice.push(
                    "Static programs can read and list with --mode=full; running programs of /cvmfs and cd into it work \
                     there only where a path can be changed in the program's own memory."
                        .to_owned(),
                );
            }
        }
    }
    if !works("cache") {
        advice.push("No cache can be written to: set CVMFS_CACHE_BASE to a directory on a local disk.".to_owned());
    }
    let mode = works("cache").then_some(mode);
    Report { kernel: kernel(), findings, mode, advice }
}

fn answer(value: i64) -> io::Result<()> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "unknown".to_owned(), |r| r.trim().to_owned())
}

/// Tries something in a child that then ends: it cannot be undone.
fn in_forked(what: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = what().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            // SAFETY: ends this process without what its parent had planned for its own end.
            unsafe { libc::_exit(code) }
        }
        child => match end_of(child) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        },
    }
}

/// Tries something with a child that waits.
fn in_child(what: impl FnOnce(libc::pid_t) -> io::Result<()>) -> io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => loop {
            // SAFETY: no arguments.
            unsafe { libc::pause() };
        },
        child => {
            let tried = what(child);
            // SAFETY: a child of ours that has not been waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            end_of(child);
            tried
        }
    }
}

fn end_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: room for a status.
    unsafe { libc::waitpid(child, &mut status, 0) };
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { libc::EIO }
}

fn cache() -> io::Result<String> {
    let base = Loader::new(Sources::system(Vec::new()))
        .common()
        .and_then(|common| common.cache_base())
        .map_err(io::Error::other)?;
    let view = crate::view::directory().map_err(|error| io::Error::other(format!("{error:#}")))?;
    let inside = view.starts_with(&base) || std::fs::canonicalize(&base).is_ok_and(|base| view.starts_with(base));
    Ok(if inside { describe(&base) } else { format!("{}, view in {}", describe(&base), view.display()) })
}

fn describe(path: &Path) -> String {
    path.display().to_string()
}
