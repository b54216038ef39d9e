//! `cvmfs-mount`, as a command line. A program of its own, or a part of one that has several names.
//!
//! | module | job |
//! |---|---|
//! | `arguments` | the command line |
//! | `background` | the process that goes on when the command has ended |
//! | `serve` | what that process does |
//! | `logger` | where messages go |

mod arguments;
mod background;
mod logger;
mod serve;

use crate::control;
use arguments::{Action, Arguments};
use clap::Parser as _;
use std::path::Path;
use std::process::ExitCode;

/// Name of the program.
pub const PROGRAM: &str = "cvmfs-mount";
/// The name under which it outlives a system: systemd spares processes whose name begins so when it ends all others.
pub const SPARED: &str = "@cvmfs-mount";

/// Runs the command line of this process. Where the program has several names, those are [`PROGRAM`] and [`SPARED`]: it starts
/// itself by them.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.action() {
        Action::Mount { fqrn, place } if arguments.foreground || background::is_inside() => {
            serve::run(&arguments, fqrn, place)
        }
        Action::Mount { fqrn, place } => background::start(&arguments, fqrn, place),
        Action::Unmount(place) => crate::unmount(place, arguments.lazy).map_err(anyhow::Error::from),
        Action::Ask(question, place) => ask(place, &question),
        #[cfg(feature = "manual")]
        Action::Generate(what) => cvmfs_command::generate::run(what, arguments::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            background::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Asks what is mounted there, and says what it says.
fn ask(place: &Path, question: &control::Question) -> anyhow::Result<()> {
    let said = control::ask(place, question).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTTY) => anyhow::anyhow!("{}: no repository is mounted there by cvmfs-mount", place.display()),
        Some(libc::EPERM) => anyhow::anyhow!("{}: only root and whoever mounted it may ask that", place.display()),
        _ => anyhow::Error::from(error).context(place.display().to_string()),
    })?;
    println!("{said}");
    Ok(())
}
