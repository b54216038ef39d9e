//! The `cvmfs` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    cvmfs_command::run()
}
