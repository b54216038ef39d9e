//! `cvmfs tags`: the named snapshots.

use crate::clock::Clock;
use crate::output::Output;
use crate::session::Session;
use crate::tree::Time;
use anyhow::{Context as _, Result};
use clap::Args;
use libcvmfs::history::Tag;
use serde::Serialize;
use std::io::Write as _;

/// What `cvmfs tags` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "A tag is mounted with -o CVMFS_REPOSITORY_TAG=NAME.

Examples:
  cvmfs tags sft.cern.ch
  cvmfs --json tags sft.cern.ch")]
pub struct TagsArgs {
    /// Repositories, by name or by a path below them
    pub repositories: Vec<String>,
}

#[derive(Serialize)]
struct Fact<'a> {
    repository: &'a str,
    name: &'a str,
    revision: u64,
    timestamp: i64,
    root_hash: String,
    branch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    description: &'a str,
}

/// Runs `cvmfs tags`.
pub fn run(args: &TagsArgs, session: &Session, output: &mut Output) -> Result<()> {
    let clock = Clock::system();
    for name in session.repository_names(&args.repositories)? {
        let tags = session.client().repository(&name).and_then(|repository| repository.tags());
        match tags.context("reading the tags") {
            Ok(tags) => print(&name, &tags, &clock, output)?,
            Err(error) => output.complain(name.as_bytes(), &error),
        }
    }
    Ok(())
}

fn print(repository: &str, tags: &[Tag], clock: &Clock, output: &mut Output) -> Result<()> {
    let width = tags.iter().map(|tag| tag.name.len()).max().unwrap_or(0).max(4);
    if !output.json() && !output.quiet() {
        writeln!(
            output,
            "{:<width$} {:>8}  {:<19}  {:<40}  BRANCH  DESCRIPTION",
            "NAME", "REVISION", "TIME", "ROOT HASH"
        )?;
    }
    for tag in tags {
        if output.json() {
            output.print_json(&Fact {
                repository,
                name: &tag.name,
                revision: tag.revision,
                timestamp: tag.timestamp,
                root_hash: tag.root.to_string(),
                branch: &tag.branch,
                size: tag.size,
                description: &tag.description,
            })?;
            continue;
        }
        let time = clock.second(Time { seconds: tag.timestamp, nanoseconds: 0 });
        let branch = if tag.branch.is_empty() { "(default)" } else { &tag.branch };
        let line = format!(
            "{:<width$} {:>8}  {time:<19}  {:<40}  {branch}  {}",
            tag.name, tag.revision, tag.root, tag.description
        );
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}
