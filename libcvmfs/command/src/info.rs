//! `cvmfs info`: what is mounted, from where, and how fresh it is.

use crate::clock::Clock;
use crate::human;
use crate::output::Output;
use crate::session::Session;
use crate::tree::Time;
use anyhow::{Context as _, Result};
use clap::Args;
use libcvmfs::repository::Repository;
use libcvmfs::snapshot::Choice;
use serde::Serialize;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// What `cvmfs info` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cvmfs info sft.cern.ch
  cvmfs --json info sft.cern.ch atlas.cern.ch")]
pub struct InfoArgs {
    /// Repositories, by name or by a path below them
    pub repositories: Vec<String>,
}

#[derive(Serialize)]
struct Facts {
    repository: String,
    revision: u64,
    root_hash: String,
    /// How the revision was chosen: `newest`, `tag`, `date` or `root hash`.
    chosen_by: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    tag: String,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<u64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    /// Seconds.
    ttl: u32,
    /// Whether a signature vouches for the revision now in use.
    signed: bool,
    /// Why the servers could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    offline: Option<String>,
    host: String,
    hosts: Vec<String>,
    proxy: String,
    proxies: Vec<String>,
    cache: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    catalogs: u64,
}

/// Runs `cvmfs info`.
pub fn run(args: &InfoArgs, session: &Session, output: &mut Output) -> Result<()> {
    for name in session.repository_names(&args.repositories)? {
        match session.client().repository(&name).context("mounting") {
            Ok(repository) => {
                let facts = facts(&repository);
                match output.json() {
                    true => output.print_json(&facts)?,
                    false => print(&facts, output)?,
                }
            }
            Err(error) => output.complain(name.as_bytes(), &error),
        }
    }
    Ok(())
}

fn facts(repository: &Repository) -> Facts {
    let state = repository.state();
    let snapshot = repository.snapshot();
    let transport = repository.transport().status();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let totals = snapshot.statistics().total();
    let counter = |name: &str| totals.get(name).and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    Facts {
        repository: repository.fqrn().to_string(),
        revision: state.identity.revision,
        root_hash: state.identity.root_hash.to_string(),
        chosen_by: match state.identity.choice {
            Choice::Newest => "newest",
            Choice::Tag(_) => "tag",
            Choice::Date(..) => "date",
            Choice::RootHash => "root hash",
        },
        tag: state.identity.choice.tag().to_owned(),
        published: state.identity.published,
        age: state.identity.published.map(|published| now.saturating_sub(published)),
        ttl: snapshot.ttl(),
        signed: state.manifest.is_some(),
        offline: state.offline,
        host: transport.host,
        hosts: transport.hosts,
        proxy: transport.proxy,
        proxies: transport.proxy_list.lines().map(str::to_owned).collect(),
        cache: repository.cache().settings().directory.display().to_string(),
        files: counter("regular"),
        directories: counter("dir"),
        symlinks: counter("symlink"),
        bytes: counter("file_size"),
        catalogs: counter("nested") + 1,
    }
}

fn print(facts: &Facts, output: &mut Output) -> Result<()> {
    let clock = Clock::system();
    let chosen = match facts.tag.as_str() {
        "" => facts.chosen_by.to_owned(),
        tag => format!("{}: {tag}", facts.chosen_by),
    };
    writeln!(output, "{}", facts.repository)?;
    writeln!(output, "  revision   {} ({chosen})", facts.revision)?;
    writeln!(output, "  root hash  {}", facts.root_hash)?;
    if let (Some(published), Some(age)) = (facts.published, facts.age) {
        let time = clock.second(Time { seconds: published as i64, nanoseconds: 0 });
        writeln!(output, "  published  {time} ({} ago)", duration(age))?;
    }
    let trust = if facts.signed { "signature verified" } else { "not signed: chosen by its hash" };
    writeln!(output, "  trust      {trust}")?;
    match &facts.offline {
        Some(reason) => writeln!(output, "  state      offline: {reason}")?,
        None => writeln!(output, "  state      online, looked for again every {}", duration(facts.ttl.into()))?,
    }
    writeln!(output, "  host       {} (of {})", facts.host, facts.hosts.len())?;
    writeln!(output, "  proxy      {}", facts.proxy)?;
    writeln!(output, "  cache      {}", facts.cache)?;
    writeln!(
        output,
        "  content    {} files, {}; {} directories, {} symbolic links, {} catalogs",
        facts.files,
        human::size(facts.bytes),
        facts.directories,
        facts.symlinks,
        facts.catalogs
    )?;
    Ok(())
}

/// `45 s`, `12 min`, `5 h`, `3 days`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
