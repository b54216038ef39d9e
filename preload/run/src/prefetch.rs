//! The process that fetches what a list names while the program runs.

use crate::say::say;
use crate::session;
use anyhow::{Context as _, anyhow};
use libcvmfs::prefetch::{Failure, Line, Options, list, prefetch, starts};
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Makes sure that there is something to fetch, before anything is started.
pub(crate) fn check(list: &Path) -> anyhow::Result<()> {
    read(list).map(drop)
}

fn read(file: &Path) -> anyhow::Result<Vec<Line>> {
    let lines = File::open(file).map_err(list::ListError::from).and_then(|file| list::read(BufReader::new(file)));
    lines.with_context(|| {
        format!("--prefetch={} is no list to fetch, as cvmfs-run --record writes them", file.display())
    })
}

/// Starts fetching with the parameters in the environment, as long as this process is there.
pub(crate) fn start(list: &Path, verbose: bool) -> anyhow::Result<Child> {
    fetching(list, verbose, || {
        // SAFETY: plain numbers.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// Starts fetching by a process that is nobody's child: this one is about to become the program, which knows of none.
pub(crate) fn start_apart(list: &Path, verbose: bool) -> anyhow::Result<()> {
    let mut between = fetching(list, verbose, || {
        // SAFETY: after the fork for this command there is one thread.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(()),
            // SAFETY: ends the process in between without anything else.
            _ => unsafe { libc::_exit(0) },
        }
    })?;
    between.wait().context("starting to fetch the list")?;
    Ok(())
}

fn fetching(
    list: &Path,
    verbose: bool,
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.arg("--fetch").arg(list).args(verbose.then_some("--verbose"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: between fork and exec only single system calls are made.
    unsafe { command.pre_exec(prepare) };
    command.spawn().context("starting to fetch the list")
}

/// Fetches what a list names. Nobody waits for it, and what is missing the program finds out by itself: problems are
/// told in one line.
pub(crate) fn fetch(list: &Path, verbose: bool) -> anyhow::Result<()> {
    let client = session::client()?;
    let (starts, missing) = starts(&client, read(list)?);
    let summary = prefetch(&client, starts, &Options::default(), &mut |_| {})?;
    let (at, all) = (&summary.progress, missing.len() as u64 + summary.progress.found);
    if verbose {
        say!("prefetch: {} of {all} objects were missing in the cache and are fetched", at.fetched);
    }
    match missing.iter().chain(&summary.failures).next() {
        None => Ok(()),
        Some(Failure { what, error }) => {
            let count = missing.len() + summary.failures.len();
            let what = String::from_utf8_lossy(what);
            Err(anyhow!("{}: {count} of {all} could not be fetched, such as {what}: {error}", list.display()))
        }
    }
}
