//! The `cvmfs` command: looks into repositories, fetches from them, and looks after the cache.
//!
//! The listing commands are written over [`tree::Entry`], which both a repository and a local directory are, so
//! that their output can be compared with that of coreutils.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod args;
pub mod cache;
pub mod cat;
pub mod clock;
pub mod config;
pub mod diff;
pub mod find;
pub mod fsck;
pub mod generate;
pub mod get;
pub mod human;
pub mod info;
pub mod json;
pub mod logging;
pub mod ls;
pub mod names;
pub mod output;
pub mod prefetch;
pub mod probe;
pub mod progress;
pub mod record;
pub mod session;
pub mod stat;
pub mod tags;
pub mod tree;

use anyhow::Result;
use args::{Cli, Command};
use clap::{CommandFactory as _, Parser as _};
use output::Output;
use session::Session;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    logging::start("cvmfs", cli.quiet, cli.verbose);
    // A check of the cache that could not begin has a status of its own.
    let trouble = if matches!(cli.command, Command::Fsck(_)) { fsck::OPERATIONAL } else { output::TROUBLE };
    match dispatch(cli) {
        Ok(status) => status,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("cvmfs: {}", output::described(&error)));
            ExitCode::from(trouble)
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    if let Command::Generate(args) = &cli.command {
        generate::run(args, Cli::command())?;
        return Ok(ExitCode::SUCCESS);
    }
    let session = Session::new(&cli.options)?;
    let mut output = Output::new(cli.json, cli.quiet);
    let out = &mut output;
    match cli.command {
        Command::Ls(args) => ls::run(&args, &session, out),
        Command::Cat(args) => cat::run(&args, &session, out),
        Command::Stat(args) => stat::run(&args, &session, out),
        Command::Find(args) => find::run(args, &session, out),
        Command::Get(args) => get::run(&args, &session, out),
        Command::Tags(args) => tags::run(&args, &session, out),
        Command::Info(args) => info::run(&args, &session, out),
        Command::Prefetch(args) => prefetch::run(&args, &session, out),
        Command::Probe(args) => probe::run(&args, &session, out),
        Command::Fsck(args) => fsck::run(&args, &session, out),
        Command::Config(args) => config::run(&args, &session, out),
        Command::Cache(args) => cache::run(&args, &session, out),
        Command::Diff(args) => diff::run(&args, &session, out),
        Command::Generate(_) => Ok(()),
    }?;
    output.finish()
}
