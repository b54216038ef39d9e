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
        Err(error) => {
            eprintln!("cvmfs-server: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Diff(args) => return diff::run(cli, args),
        Command::Tag(args) => tag::run(cli, args),
        Command::Rollback(args) => tag::rollback(cli, args),
        Command::Transaction(args) => transaction::run(cli, args),
        Command::Checkout(args) => transaction::checkout(cli, args),
        Command::Abort(args) => transaction::abort(cli, args),
        Command::Mkfs(args) => mkfs::mkfs(cli, args),
        Command::Resign(args) => mkfs::resign(cli, args),
        Command::Publish(args) => publish::run(cli, args),
        Command::Check(args) => check::run(cli, args),
        Command::Gc(args) => gc::run(cli, args),
        Command::Replicate(args) => replicate::run(cli, args),
        Command::Serve(args) => serve::run(cli, args),
        Command::Manage(args) => manage::run(cli, args),
        Command::Token(args) => token::run(cli, args),
        Command::Generate(args) => cvmfs_command::generate::run(args, Cli::command()),
    }?;
    Ok(ExitCode::SUCCESS)
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
