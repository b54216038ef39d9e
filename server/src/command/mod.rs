//! The command line.

pub mod args;
pub mod check;
pub mod diff;
pub mod gc;
pub mod manage;
pub mod mkfs;
pub mod place;
pub mod progress;
pub mod publish;
pub mod replicate;
pub mod serve;
pub mod service;
pub mod tag;
pub mod token;
pub mod transaction;

use crate::repository::Repository;
use anyhow::Result;
use args::{Cli, Command};
use clap::{CommandFactory as _, Parser as _};
use cvmfs_command::output::{self, Output};
use cvmfs_command::session::Session;
use libcvmfs::hash::ContentHash;
use std::process::ExitCode;
use tempfile::TempDir;

/// Something could not be done.
const FAILED: u8 = 1;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    cvmfs_command::logging::start("cvmfs-server", cli.quiet, cli.verbose);
    match dispatch(&cli) {
        Ok(status) => status,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("cvmfs-server: {error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<ExitCode> {
    let mut output = Output::new(cli.json, cli.quiet);
    let out = &mut output;
    match &cli.command {
        Command::Diff(args) => diff::run(args, out),
        Command::Tag(args) => tag::run(args, out),
        Command::Rollback(args) => tag::rollback(args, out),
        Command::Transaction(args) => transaction::run(args, out),
        Command::Checkout(args) => transaction::checkout(args, out),
        Command::Abort(args) => transaction::abort(args, out),
        Command::Mkfs(args) => mkfs::mkfs(args, out),
        Command::Resign(args) => mkfs::resign(args, out),
        Command::Publish(args) => publish::run(args, out),
        Command::Check(args) => check::run(args, out),
        Command::Gc(args) => gc::run(args, out),
        Command::Replicate(args) => replicate::run(args, out),
        Command::Serve(args) => serve::run(args, out),
        Command::Manage(args) => manage::run(args, out),
        Command::Token(args) => token::run(args, out),
        Command::Generate(args) => cvmfs_command::generate::run(args, Cli::command()),
    }?;
    output.finish()
}

/// A client of the repository with a cache of its own, at a root hash or at the newest revision.
fn session(repository: &Repository, root: Option<ContentHash>) -> Result<(Session, TempDir)> {
    let cache = repository.scratch()?;
    let option = |key: &str, value: &dyn std::fmt::Display| format!("{key}={value}");
    let mut options = vec![
        option("CVMFS_SERVER_URL", &repository.storage.url()),
        option("CVMFS_HTTP_PROXY", &"DIRECT"),
        option("CVMFS_PUBLIC_KEY", &repository.keys.public.display()),
        option("CVMFS_CACHE_BASE", &cache.path().display()),
    ];
    if let Some(root) = root {
        options.push(option("CVMFS_ROOT_HASH", &root));
    }
    Ok((Session::new(&options)?, cache))
}
