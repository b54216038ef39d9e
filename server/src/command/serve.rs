//! `serve`.

use super::service::{self, ListenArgs};
use crate::serve::{Server, Settings};
use anyhow::Result;
use clap::Args;
use cvmfs_command::output::Output;
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
    listen: std::net::SocketAddr,
    #[command(flatten)]
    limits: ListenArgs,
    /// Order servers by distance: a database of places in MaxMind's format (GeoLite2-City and the like). It is read again when
    /// it changes, and on SIGHUP
    #[arg(long, value_name = "FILE")]
    geo_db: Option<PathBuf>,
}

/// Runs `serve` until it is interrupted or terminated.
pub fn run(args: &ServeArgs, out: &mut Output) -> Result<()> {
    let settings = Settings {
        directory: args.directory.clone(),
        listen: args.listen,
        limits: args.limits.limits(),
        geo_database: args.geo_db.clone(),
    };
    service::run(async {
        let (stop, mut hangup) = (service::stop()?, signal(SignalKind::hangup())?);
        let server = Server::bind(&settings).await?;
        let address = server.address()?;
        service::tell(out, address, "/cvmfs/");
        let reload = server.reload();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                reload();
            }
        });
        server.run(stop).await;
        Ok(())
    })
}
