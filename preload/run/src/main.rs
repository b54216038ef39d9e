//! `cvmfs-run`: runs a program that sees `/cvmfs`.
//!
//! | module | job |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`prefetch`] | the process that fetches what a list names |
//! | [`probe`] | what this node allows |
//! | [`say`](mod@say) | what the user is told |
//! | [`session`] | parameters, library and helper for one run |
//! | [`supervise`] | the program as a child: signals there, exit status back |
//! | [`serve`] | the helper process that the preload library asks |
//! | [`supervisor`] | the process that answers the program's system calls |
//! | [`view`] | where the view lies |

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod prefetch;
mod probe;
mod say;
mod serve;
mod session;
mod supervise;
mod supervisor;
mod view;

use anyhow::{Context as _, bail};
use arguments::{Action, Arguments, Mode};
use say::say;
use session::Around;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use supervisor::launch::{self, NotRun, Way};

/// `cvmfs-run` itself failed.
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let arguments = match Arguments::from_command_line() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Help and version come this way, too, and are no failure.
            let code = if usage.use_stderr() { OWN_FAILURE } else { 0 };
            let _ = usage.print();
            return ExitCode::from(code);
        }
    };
    let done = match arguments.action() {
        Action::Serve(socket) => serve::run(&socket).map(|()| 0),
        Action::Generate(directory) => arguments::generate(&directory).map(|()| 0),
        Action::Fetch(list) => prefetch::fetch(&list, arguments.verbose).map(|()| 0),
        Action::Execute(command) => Ok(supervise::execute(&command)),
        Action::Probe { json } => probe::run(json).map(|()| 0),
        Action::Run(command) => run(&arguments, &command),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say!("{error:#}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

fn run(arguments: &Arguments, command: &[OsString]) -> anyhow::Result<u8> {
    let mode = mode(arguments)?;
    if let Some(list) = &arguments.prefetch {
        prefetch::check(list)?;
    }
    let around = session::around();
    if session::joins(arguments, around)? {
        if let Some(list) = &arguments.prefetch {
            prefetch::start_apart(list, arguments.verbose)?;
        }
        return Ok(match around {
            Around::Library => supervise::execute_in_library(command),
            _ => supervise::execute(command),
        });
    }
    session::settle(arguments)?;
    if let Some(list) = &arguments.prefetch {
        prefetch::start(list, arguments.verbose)?;
    }
    if mode != Mode::Preload {
        let shim = mode != Mode::Full && !arguments.bare && arguments.root.is_none();
        let (supervisor, environment) = session::supervisor(arguments, shim)?;
        let supervisor = Arc::new(supervisor);
        for way in ways(mode) {
            match launch::run(&supervisor, &environment, command, *way, mode == Mode::Auto) {
                Ok(code) => return Ok(code),
                Err(NotRun::Failed(error)) => return Err(error),
                Err(NotRun::Refused(error)) if mode != Mode::Auto => {
                    return Err(error).context("this node does not allow what this mode needs; see `cvmfs-run probe`");
                }
                Err(NotRun::Refused(error)) if arguments.verbose => match way {
                    Way::Listening => say!("no listener here ({error}); trying to trace"),
                    Way::Tracing => say!("no tracing here ({error}); using the preload library"),
                },
                Err(NotRun::Refused(_)) => {}
            }
        }
    }
    if arguments.root.is_some() {
        bail!("this node gives no supervisor, without which there is no --root; see `cvmfs-run probe`");
    }
    let session = session::Session::open(arguments)?;
    supervise::run(&session, command)
}

/// How calls may come to the supervisor, the best first.
fn ways(mode: Mode) -> &'static [Way] {
    match mode {
        Mode::Auto => &[Way::Listening, Way::Tracing],
        Mode::Full | Mode::Shim => &[Way::Listening],
        Mode::Trace => &[Way::Tracing],
        Mode::Preload => &[],
    }
}

/// The mode that is asked for, or that is needed.
fn mode(arguments: &Arguments) -> anyhow::Result<Mode> {
    match arguments.mode {
        mode @ (Mode::Shim | Mode::Preload) if arguments.root.is_some() => {
            bail!("--root is served by the supervisor alone, not by --mode={}", mode.name())
        }
        Mode::Auto | Mode::Full if arguments.record.is_some() => Ok(Mode::Full),
        mode if arguments.record.is_some() => {
            bail!("--record needs --mode=full, in which every open is seen, not --mode={}", mode.name())
        }
        mode => Ok(mode),
    }
}
