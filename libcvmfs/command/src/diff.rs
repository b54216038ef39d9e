//! `cvmfs diff`: what changed between two snapshots.

use crate::json::Text;
use crate::output::{FAILED, Output};
use crate::session::Session;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use libcvmfs::diff::{Change, Difference, diff};
use libcvmfs::hash::ContentHash;
use libcvmfs::repository::Repository;
use libcvmfs::snapshot::Snapshot;
use serde::Serialize;
use std::io::Write as _;
use std::sync::Arc;

/// What `cvmfs diff` takes.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "FROM and TO are names of tags, root hashes, or '-' for the mounted snapshot. Prints one path a line:
  + added   - removed   M modified   T of another type
Parts of the tree that both snapshots share are not looked at. Fails with status 1 if there are differences.

Examples:
  cvmfs diff sft.cern.ch v1 v2
  cvmfs --json diff sft.cern.ch v1 -"
)]
pub struct DiffArgs {
    /// The repository, by name or by a path below it
    pub repository: String,
    /// The older snapshot
    #[arg(allow_hyphen_values = true)]
    pub from: String,
    /// The newer snapshot
    #[arg(allow_hyphen_values = true)]
    pub to: String,
}

#[derive(Serialize)]
struct Fact {
    path: Text,
    change: &'static str,
    #[serde(rename = "what", skip_serializing_if = "Vec::is_empty")]
    fields: Vec<&'static str>,
}

/// Runs `cvmfs diff`.
pub fn run(args: &DiffArgs, session: &Session, output: &mut Output) -> Result<()> {
    let name = session.repository_name(&args.repository)?;
    let repository = session.client().repository(&name)?;
    let (from, to) = (snapshot(&repository, &args.from)?, snapshot(&repository, &args.to)?);
    let mut differences = 0u64;
    let mut failed = None;
    diff(&from, &to, &mut |difference: Difference<'_>| {
        differences += 1;
        match print(&difference, output) {
            Ok(()) => std::ops::ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                std::ops::ControlFlow::Break(())
            }
        }
    })
    .context("comparing")?;
    if let Some(error) = failed {
        return Err(error);
    }
    if differences > 0 {
        output.fail(FAILED);
    }
    Ok(())
}

fn snapshot(repository: &Repository, which: &str) -> Result<Arc<Snapshot>> {
    ensure!(!which.is_empty(), "the name of a snapshot is empty");
    if which == "-" {
        return Ok(repository.snapshot());
    }
    Ok(match ContentHash::parse(which) {
        Ok(hash) => repository.snapshot_of_root(hash)?,
        Err(_) => repository.snapshot_of_tag(which)?,
    })
}

fn print(difference: &Difference<'_>, output: &mut Output) -> Result<()> {
    let (sign, word, fields) = match &difference.change {
        Change::Added => ('+', "added", Vec::new()),
        Change::Removed => ('-', "removed", Vec::new()),
        Change::OtherType => ('T', "type", Vec::new()),
        Change::Modified(fields) => ('M', "modified", fields.clone()),
    };
    let path = if difference.path.is_empty() { b"/" } else { difference.path };
    if output.json() {
        return output.print_json(&Fact { path: Text::new(path), change: word, fields });
    }
    write!(output, "{sign} ")?;
    output.write_all(path)?;
    if !fields.is_empty() {
        write!(output, " ({})", fields.join(", "))?;
    }
    writeln!(output)?;
    Ok(())
}
