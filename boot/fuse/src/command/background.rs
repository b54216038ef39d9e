//! The process that goes on when the command has ended.
//!
//! The command starts itself once more and waits for one line on a pipe: that it is ready, or what is wrong. So whoever
//! started the command learns whether the repository is there.

use super::arguments::Arguments;
use super::{PROGRAM, SPARED};
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Tells the process in the background that it is that.
const INSIDE: &str = "CVMFS_MOUNT_INSIDE";
const READY: &str = "ready\n";

/// Whether this is the process in the background.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Starts the process in the background and waits until the repository is mounted.
pub(crate) fn start(arguments: &Arguments, fqrn: &str, place: &Path) -> Result<()> {
    let place = std::path::absolute(place).with_context(|| place.display().to_string())?;
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.arg0(if arguments.survive { SPARED } else { PROGRAM }).args(options(arguments)?);
    command.arg("--").arg(fqrn).arg(place).env(INSIDE, "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting the process in the background")?;
    let mut said = String::new();
    if let Some(pipe) = &mut child.stdout {
        pipe.read_to_string(&mut said).context("waiting for the process in the background")?;
    }
    if said == READY {
        return Ok(());
    }
    let status = child.wait().context("waiting for the process in the background")?;
    if said.is_empty() {
        bail!("the process in the background ended with {status}");
    }
    bail!("{}", said.trim_end());
}

/// The options of this command, for the process in the background.
fn options(arguments: &Arguments) -> Result<Vec<OsString>> {
    let mut options = Vec::new();
    for (name, value) in &arguments.options {
        options.extend(["-o".into(), format!("{name}={value}").into()]);
    }
    let flags = [
        (arguments.pin, "--pin"),
        (arguments.allow_other, "--allow-other"),
        (arguments.survive, "--survive"),
        (arguments.verbose > 0, "-v"),
        (arguments.verbose > 1, "-v"),
    ];
    options.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.into()));
    if let Some(log) = &arguments.log {
        let target = match log.as_str() {
            "syslog" | "kernel" | "stderr" => log.into(),
            file => std::path::absolute(file).context("--log")?.into_os_string(),
        };
        options.extend(["--log".into(), target]);
    }
    if let Some(list) = &arguments.record {
        options.extend(["--record".into(), std::path::absolute(list).context("--record")?.into_os_string()]);
    }
    Ok(options)
}

/// Leaves the terminal and the directory of whoever started it.
pub(crate) fn detach() -> Result<()> {
    rustix::process::setsid().context("leaving the session")?;
    std::env::set_current_dir("/").context("leaving the directory")
}

/// Lets the command end: all is well.
pub(crate) fn ready(keeps_errors: bool) -> Result<()> {
    let mut out = std::io::stdout();
    // Nobody may be waiting any more.
    let _ = out.write_all(READY.as_bytes()).and_then(|()| out.flush());
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").context("/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd()).context("/dev/null")?;
    rustix::stdio::dup2_stdout(null.as_fd()).context("/dev/null")?;
    if !keeps_errors {
        rustix::stdio::dup2_stderr(null.as_fd()).context("/dev/null")?;
    }
    Ok(())
}

/// Says what is wrong, to whoever waits or reads.
pub(crate) fn complain(message: &str) {
    if is_inside() {
        let _ = writeln!(std::io::stdout(), "{message}");
        log::error!("{message}");
    } else {
        let _ = writeln!(std::io::stderr(), "{PROGRAM}: {message}");
    }
}
