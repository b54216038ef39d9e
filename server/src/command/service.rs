//! What commands that listen have in common.

use crate::http::Limits;
use anyhow::Result;
use clap::Args;
use cvmfs_command::output::Output;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What clients may take up.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Connections at the same time; others wait
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Drop who does not send a request, or the next one, within so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle: u64,
}

impl ListenArgs {
    /// The same for the listener.
    pub fn limits(&self) -> Limits {
        Limits { connections: usize::from(self.connections), idle: Duration::from_secs(self.idle) }
    }
}

/// Runs a service to its end.
pub fn run(service: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(service);
    // Names that nobody answers for are still being asked for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Done when this process is interrupted or terminated.
pub fn stop() -> Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Says where a service listens, which nobody knows who let the system choose the port. It serves whether or not anybody
/// reads this.
pub fn tell(out: &mut Output, address: SocketAddr, path: &str) {
    let told = match (out.json(), out.quiet()) {
        (true, _) => out.print_json(&serde_json::json!({"listening": address.to_string()})),
        (false, true) => Ok(()),
        (false, false) => writeln!(out, "listening on http://{address}{path}").map_err(anyhow::Error::from),
    };
    if let Err(error) = told.and_then(|()| Ok(out.flush()?)) {
        log::info!("listening on {address}; nobody was told: {error}");
    }
}
