//! `cvmfs-mount`: mounts a repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    cvmfs_fuse::command::run()
}
