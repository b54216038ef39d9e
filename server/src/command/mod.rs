//! The command line.

pub mod args;
pub mod generate;
pub mod mkfs;
pub mod publish;

use anyhow::Result;
use args::{Cli, Command};
use clap::Parser as _;
use std::process::ExitCode;

/// Something could not be done.
const FAILED: u8 = 1;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli);
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cvmfs-server: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Mkfs(args) => mkfs::mkfs(cli, args),
        Command::Resign(args) => mkfs::resign(cli, args),
        Command::Publish(args) => publish::run(cli, args),
        Command::Generate(args) => generate::run(args),
    }
}

fn start_logging(cli: &Cli) {
    let asked = std::env::var("CVMFS_LOG").unwrap_or_default();
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        (_, _) => "debug",
    };
    let mut logger = env_logger::Builder::new();
    logger.parse_filters(if asked.is_empty() { level } else { &asked }).format(|out, record| {
        use std::io::Write as _;
        writeln!(out, "cvmfs-server: {}: {}", record.level().as_str().to_lowercase(), record.args())
    });
    logger.init();
}
