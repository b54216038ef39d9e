//! `cvmfs probe`: asks every host through every proxy, and tries to mount.

use crate::output::{FAILED, Output};
use crate::session::Session;
use anyhow::{Context as _, Result};
use clap::Args;
use libcvmfs::repository::{Probe, probe_routes};
use serde::Serialize;
use std::io::Write as _;

/// What `cvmfs probe` takes.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Fetches the manifest from every configured host through every configured proxy, and tells how long each took.
Fails if the repository cannot be mounted, or if no route works.

Examples:
  cvmfs probe sft.cern.ch
  cvmfs --json probe sft.cern.ch | jq 'select(.error)'"
)]
pub struct ProbeArgs {
    /// Repositories, by name or by a path below them
    pub repositories: Vec<String>,
    /// Only try to mount
    #[arg(long)]
    pub mount_only: bool,
}

#[derive(Serialize)]
struct RouteFact<'a> {
    repository: &'a str,
    host: &'a str,
    proxy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct MountFact<'a> {
    repository: &'a str,
    mounted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offline: Option<String>,
}

/// Runs `cvmfs probe`.
pub fn run(args: &ProbeArgs, session: &Session, output: &mut Output) -> Result<()> {
    for name in session.repository_names(&args.repositories)? {
        if !args.mount_only
            && let Err(error) = routes(&name, session, output)
        {
            output.complain(name.as_bytes(), &error);
            continue;
        }
        mount(&name, session, output)?;
    }
    Ok(())
}

fn routes(name: &str, session: &Session, output: &mut Output) -> Result<()> {
    let config = session.client().config(name).context("reading the configuration")?;
    let mut working = 0;
    for Probe { host, proxy, outcome } in probe_routes(&config)? {
        let milliseconds = outcome.as_ref().ok().map(|time| time.as_secs_f64() * 1000.0);
        working += usize::from(outcome.is_ok());
        if output.json() {
            let error = outcome.err().map(|error| error.to_string());
            output.print_json(&RouteFact { repository: name, host: &host, proxy: &proxy, milliseconds, error })?;
            continue;
        }
        match outcome {
            Ok(_) => writeln!(output, "{:>9.1} ms  {host} via {proxy}", milliseconds.unwrap_or(0.0))?,
            Err(error) => writeln!(output, "   failed     {host} via {proxy}: {error}")?,
        }
    }
    if working == 0 {
        output.fail(FAILED);
    }
    Ok(())
}

fn mount(name: &str, session: &Session, output: &mut Output) -> Result<()> {
    match session.client().repository(name).context("mounting") {
        Ok(repository) => {
            let state = repository.state();
            let revision = Some(state.identity.revision);
            if state.offline.is_some() {
                output.fail(FAILED);
            }
            if output.json() {
                return output.print_json(&MountFact {
                    repository: name,
                    mounted: true,
                    revision,
                    offline: state.offline,
                });
            }
            match state.offline {
                Some(reason) => writeln!(output, "{name}: offline, from the cache: {reason}")?,
                None => writeln!(output, "{name}: OK, revision {}", state.identity.revision)?,
            }
        }
        Err(error) => {
            if output.json() {
                output.print_json(&MountFact { repository: name, mounted: false, revision: None, offline: None })?;
            }
            output.complain(name.as_bytes(), &error);
        }
    }
    Ok(())
}
