//! The program as a child: signals go there, its exit status comes back.

use crate::say::say;
use crate::session::Session;
use anyhow::Context as _;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};

/// The program was found but cannot be run.
const CANNOT_RUN: u8 = 126;
/// The program was not found.
const NOT_FOUND: u8 = 127;

/// No library can be preloaded into a static program.
const SEES_NO_LIBRARY: bool = cfg!(target_feature = "crt-static");

/// A program of the system that runs these arguments as a program, and nothing more.
fn starter(command: &[OsString]) -> &'static [&'static str] {
    // It would take the name for a variable.
    let is_assignment = command.first().is_some_and(|program| program.as_bytes().contains(&b'='));
    if is_assignment { &["sh", "-c", "exec \"$@\"", "sh"] } else { &["env", "--"] }
}

/// Becomes the program, in a process that the preload library around it serves.
pub(crate) fn execute_in_library(command: &[OsString]) -> u8 {
    if !SEES_NO_LIBRARY {
        return execute(command);
    }
    let whole: Vec<OsString> = starter(command).iter().map(OsString::from).chain(command.iter().cloned()).collect();
    execute(&whole)
}

/// Runs the program and tells its exit status.
///
/// This program starts itself once more with the library, so that the user's program is looked for, and its script
/// interpreter found, by the same rules as in every program below it.
pub(crate) fn run(session: &Session, command: &[OsString]) -> anyhow::Result<u8> {
    let signals = forwarded();
    // SAFETY: the set is initialised; only this thread's mask changes.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut()) };
    let mut child = if SEES_NO_LIBRARY {
        let (name, arguments) = starter(command).split_first().unwrap_or((&"env", &[]));
        let mut child = Command::new(name);
        child.args(arguments);
        child
    } else {
        let mut child = Command::new(&session.program);
        child.args(["--execute", "--"]);
        child
    };
    child.args(command).envs(session.environment.iter().map(|(n, v)| (n, v)));
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        child.pre_exec(move || {
            libc::sigprocmask(libc::SIG_UNBLOCK, &signals, std::ptr::null_mut());
            Ok(())
        });
    }
    let child = child.spawn().context("starting the program")?;
    let pid = libc::pid_t::try_from(child.id()).context("process number")?;
    loop {
        let mut status = 0;
        // SAFETY: our own child, and a place for its status.
        if unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } == pid {
            return Ok(exit_code(ExitStatus::from_raw(status)));
        }
        // SAFETY: a zeroed `siginfo_t` is a valid one, and the set is initialised.
        let (signal, sender) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::sigwaitinfo(&signals, &mut info), info.si_code)
        };
        // What the terminal sends, the program gets by itself.
        if signal > 0 && signal != libc::SIGCHLD && sender <= 0 {
            // SAFETY: the child has not been waited for, so the number is still its own.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

/// The signals that a user sends to the program by sending them here, and the news of its end.
pub(crate) fn forwarded() -> libc::sigset_t {
    use libc::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
    // SAFETY: `sigemptyset` initialises the set.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH] {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(255);
    u8::try_from(code).unwrap_or(255)
}

/// Becomes the program; returns only if that fails, with the exit status for it.
pub(crate) fn execute(command: &[OsString]) -> u8 {
    let strings: Result<Vec<CString>, _> = command.iter().map(|part| CString::new(part.as_bytes())).collect();
    let Ok(strings) = strings else { return CANNOT_RUN };
    let mut pointers: Vec<*const libc::c_char> = strings.iter().map(|part| part.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let Some(program) = strings.first() else { return NOT_FOUND };
    // The standard library ignores it for itself; the program should find it as it was.
    // SAFETY: plain numbers, C strings, and an array of them that ends with null.
    let error = unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execvp(program.as_ptr(), pointers.as_ptr());
        io::Error::last_os_error()
    };
    say!("{}: {error}", program.to_string_lossy());
    if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) { NOT_FOUND } else { CANNOT_RUN }
}
