//! The `cvmfs-server` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    cvmfs_server::command::run()
}
