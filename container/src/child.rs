//! A child in namespaces of its own.

use crate::ids::Ids;
use crate::say::say;
use anyhow::{Context as _, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpid};
use std::fs::File;
use std::io::{self, Read as _, Write as _};

/// Exit status of this program when it fails itself.
pub(crate) const OWN_FAILURE: u8 = 125;

/// A copy of this process, as by `fork`, in new namespaces: the child's number here, `None` in the child.
fn split(namespaces: libc::c_int) -> io::Result<Option<Pid>> {
    // SAFETY: without CLONE_VM, and with no stack given, this is fork: the child goes on with a copy of this process,
    // which has one thread. All other arguments are null.
    let number = unsafe { libc::syscall(libc::SYS_clone, namespaces | libc::SIGCHLD, 0, 0, 0, 0) };
    match number {
        -1 => Err(io::Error::last_os_error()),
        number => Ok(i32::try_from(number).ok().and_then(Pid::from_raw)),
    }
}

/// Runs `body` in a child that is root of a new user namespace with these `ids`, and of other new `namespaces`
/// (`CLONE_NEW...`). What `body` gives is the child's exit status; an error is told, and is status 125.
///
/// The child is killed when this process ends, unless `body` arranges for something else.
pub(crate) fn start(ids: &Ids, namespaces: libc::c_int, body: impl FnOnce() -> Result<u8>) -> Result<Pid> {
    let (waiting, going) = pipe_with(PipeFlags::CLOEXEC).context("making a pipe")?;
    let namespaces = namespaces | libc::CLONE_NEWUSER;
    let made =
        split(namespaces).context("making a user namespace; see 'cernvm-fork probe' for what this node allows")?;
    let Some(child) = made else {
        drop(going);
        let status = enter(waiting.into()).and_then(|()| body()).unwrap_or_else(|error| {
            say!("{error:#}");
            OWN_FAILURE
        });
        // SAFETY: ends this process without what its parent had planned for its own end.
        unsafe { libc::_exit(status.into()) }
    };
    let given = ids.give_to(child);
    if given.is_ok() {
        // A child that has died tells so by its exit status.
        let _ = File::from(going).write_all(b"!");
    } else {
        drop(going);
        let _ = end_of(child);
    }
    given.map(|()| child)
}

/// Waits until the parent has given the maps.
fn enter(mut waiting: File) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("tying the child to its parent")?;
    let mut byte = [0];
    if waiting.read(&mut byte).unwrap_or(0) == 0 {
        // SAFETY: the parent has given up, and has told why.
        unsafe { libc::_exit(OWN_FAILURE.into()) }
    }
    Ok(())
}

/// Waits for the end of a child and gives its exit status, or 128 and the number of the signal that ended it.
pub(crate) fn end_of(child: Pid) -> Result<u8> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(code(status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for a child"),
        }
    }
}

/// A status of `wait` as an exit status.
pub(crate) fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(255)).unwrap_or(255)
}
