//! Process 1 of an instance: it starts the program, passes signals on, and reaps what nobody else waits for.

use super::program::Program;
use crate::child::{OWN_FAILURE, code, end_of};
use crate::say::say;
use anyhow::{Context as _, Result};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getppid, kill_process, wait};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;

/// The program was found but cannot be run.
const CANNOT_RUN: u8 = 126;
/// The program was not found.
const NOT_FOUND: u8 = 127;

/// Runs the program and gives its exit status. `alone`: all processes that this one sees are the instance's, and
/// end with this one.
pub(crate) fn run(program: &Program, alone: bool) -> Result<u8> {
    if program.is_init {
        return Ok(failed(program, &program.command().exec()));
    }
    let parent = getppid();
    let signals = SigSet::all();
    signals.thread_block().context("blocking signals")?;
    let news = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).context("waiting for signals")?;
    let started = program.command().spawn();
    let child = match &started {
        Ok(child) => i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("process number")?,
        Err(error) => return Ok(failed(program, error)),
    };
    let status = loop {
        let Ok(Some(signal)) = news.read_signal() else { continue };
        if !alone && getppid() != parent {
            break OWN_FAILURE;
        }
        let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
        if number == libc::SIGCHLD {
            if let Some(status) = reap(child) {
                break code(status);
            }
        } else if signal.ssi_code <= 0 {
            // What the terminal sends, the program gets by itself.
            // SAFETY: a number of the kernel's, which is a signal.
            let signal = unsafe { Signal::from_raw_unchecked(number) };
            let _ = kill_process(child, signal);
        }
    };
    if !alone {
        end_all();
    }
    Ok(status)
}

/// Takes note of all processes that have ended; the status of `child` if it is among them.
fn reap(child: Pid) -> Option<WaitStatus> {
    let mut of_child = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            of_child = Some(status);
        }
    }
    of_child
}

/// Kills every process that has come down from this one. Whose parents die become children of this process.
fn end_all() {
    let children = || fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    loop {
        let text = children();
        let numbers: Vec<Pid> = text.split_whitespace().filter_map(|n| Pid::from_raw(n.parse().ok()?)).collect();
        if numbers.is_empty() {
            return;
        }
        for &child in &numbers {
            let _ = kill_process(child, Signal::KILL);
        }
        for &child in &numbers {
            let _ = end_of(child);
        }
    }
}

/// Tells why a program was not started, and gives the exit status for that.
pub(crate) fn failed(program: &Program, error: &io::Error) -> u8 {
    let name = program.name.as_deref().unwrap_or_default();
    if let Some(shows) = &program.shown_by {
        say!(
            "{}, which shows /cvmfs, could not be started: {error}; built for this machine it needs its C library in the tree, \
             the static one (ci/portable) needs nothing",
            shows.display()
        );
        return OWN_FAILURE;
    }
    say!("{}: {error}", name.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NOT_FOUND,
        _ => CANNOT_RUN,
    }
}
