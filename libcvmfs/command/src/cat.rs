//! `cvmfs cat`: contents of files.

use crate::output::{Output, is_broken_pipe};
use crate::session::Session;
use anyhow::{Context as _, Result};
use clap::Args;
use libcvmfs::namespace::LastLink;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What `cvmfs cat` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Every byte is verified before it is printed: a damaged file prints nothing and fails.

Example:
  cvmfs cat /cvmfs/sft.cern.ch/lcg/README | head")]
pub struct CatArgs {
    /// Files to print, one after the other
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

/// Runs `cvmfs cat`.
pub fn run(args: &CatArgs, session: &Session, output: &mut Output) -> Result<()> {
    for path in &args.paths {
        match print(path, session, output) {
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => output.complain(path.as_os_str().as_bytes(), &error),
            Ok(()) => (),
        }
    }
    Ok(())
}

fn print(path: &Path, session: &Session, output: &mut Output) -> Result<()> {
    let mut file = session.resolve(path, LastLink::Follow)?.open()?;
    io::copy(&mut file, output).context("writing")?;
    Ok(())
}
