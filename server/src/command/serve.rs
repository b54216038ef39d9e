//! `serve`.

use super::args::Cli;
use crate::serve::{Server, Settings};
use anyhow::Result;
use clap::Args;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A directory with repositories in it, each under its name; or one repository
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Address and port; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Connections at the same time; others wait
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
}

/// Runs `serve` until it is interrupted or terminated.
pub fn run(cli: &Cli, args: &ServeArgs) -> Result<()> {
    let settings =
        Settings { directory: args.directory.clone(), listen: args.listen, connections: usize::from(args.connections) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let server = Server::bind(&settings).await?;
        let address = server.address()?;
        if cli.json {
            println!("{}", serde_json::json!({"listening": address.to_string()}));
        } else if !cli.quiet {
            println!("listening on http://{address}/cvmfs/");
        }
        std::io::stdout().flush()?;
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        server.run(stop).await
    })
}
