//! `cvmfs-run`: runs a program that sees `/cvmfs`.
//!
//! | module | job |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`session`] | parameters, library and helper for one run |
//! | [`supervise`] | the program as a child: signals there, exit status back |
//! | [`serve`] | the helper process that the preload library asks |
//! | [`view`] | where the view lies, and cleaning it up |

mod arguments;
mod serve;
mod session;
mod supervise;
mod view;

use arguments::{Action, Arguments};
use std::process::ExitCode;

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
        Action::Execute(command) => Ok(supervise::execute(&command)),
        Action::Run(command) => {
            session::Session::open(&arguments).and_then(|session| supervise::run(&session, &command))
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cvmfs-run: {error:#}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}
