//! `diff`.

use super::args::Place;
use crate::commit::{TRUNK, TRUNK_PREVIOUS};
use anyhow::Result;
use clap::Args;
use cvmfs_command::output::Output;

/// What `diff` takes.
#[derive(Debug, Args)]
#[command(after_help = "Prints one path a line:
  + added   - removed   M modified   T of another type
Exits with 1 if there are differences.")]
pub struct DiffArgs {
    #[command(flatten)]
    place: Place,
    /// The older tag or root hash
    #[arg(default_value = TRUNK_PREVIOUS)]
    from: String,
    /// The newer tag or root hash
    #[arg(default_value = TRUNK)]
    to: String,
}

/// Runs `diff`.
pub fn run(args: &DiffArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    let (session, _cache) = super::session(&repository, None)?;
    let (from, to) = (args.from.clone(), args.to.clone());
    let fqrn = repository.fqrn.to_string();
    cvmfs_command::diff::run(&cvmfs_command::diff::DiffArgs { repository: fqrn, from, to }, &session, out)
}
