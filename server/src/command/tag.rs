//! `tag` and `rollback`.

use super::args::Place;
use crate::commit::TRUNK_PREVIOUS;
use crate::{tags, transaction};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use cvmfs_command::output::Output;
use serde_json::json;
use std::io::Write as _;

/// What `tag` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cvmfs-server tag my.repo.example list --storage DIR --keys DIR
  cvmfs-server tag my.repo.example add v1 --description 'First release' --storage DIR --keys DIR
  cvmfs-server tag my.repo.example rename v1 release-1 --storage DIR --keys DIR
  cvmfs-server tag my.repo.example remove release-1 --storage DIR --keys DIR")]
pub struct TagArgs {
    #[command(flatten)]
    place: Place,
    /// What to do
    #[arg(value_enum)]
    action: Action,
    /// The tags; to rename, the old name and the new one
    names: Vec<String>,
    /// Add a name for the revision of this tag, not for the newest
    #[arg(long, value_name = "TAG")]
    of: Option<String>,
    /// Describe the new tag
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// List all tags, the newest first
    List,
    /// Name a revision
    Add,
    /// Take names away
    Remove,
    /// Give a tag another name
    Rename,
}

/// What `rollback` takes.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    place: Place,
    /// The tag to go back to
    #[arg(default_value = TRUNK_PREVIOUS)]
    tag: String,
}

/// Runs `tag`.
pub fn run(args: &TagArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    if args.action == Action::List {
        let history = repository.history(&repository.head()?)?;
        for tag in history.tags() {
            if out.json() {
                let line = json!({
                    "name": tag.name, "revision": tag.revision, "timestamp": tag.timestamp,
                    "root_hash": tag.root.to_string(), "branch": tag.branch, "description": tag.description,
                });
                out.print_json(&line)?;
            } else {
                let time = jiff::Timestamp::from_second(tag.timestamp)?;
                writeln!(
                    out,
                    "{}\t{}\t{time}\t{}\t{}\t{}",
                    tag.name, tag.revision, tag.root, tag.branch, tag.description
                )?;
            }
        }
        return Ok(());
    }
    let _lock = repository.storage.lock(&crate::owner("tag"))?;
    transaction::own(&repository)?;
    tags::change(&repository, |history, head| match (args.action, args.names.as_slice()) {
        (Action::Add, [name]) => tags::add(history, head, name, args.of.as_deref(), &args.description),
        (Action::Remove, names @ [_, ..]) => tags::remove(history, names),
        (Action::Rename, [from, to]) => tags::rename(history, from, to),
        (Action::Rename, _) => bail!("name the old tag and the new one"),
        (Action::Add, _) => bail!("name one new tag"),
        _ => bail!("name a tag"),
    })?;
    Ok(())
}

/// Runs `rollback`.
pub fn rollback(args: &RollbackArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    let _lock = repository.storage.lock(&crate::owner("rollback"))?;
    transaction::own(&repository)?;
    let manifest = tags::rollback(&repository, &args.tag)?;
    if out.json() {
        let root = manifest.root_catalog.to_string();
        out.print_json(&json!({"revision": manifest.revision, "root_hash": root, "tag": args.tag}))?;
    } else if !out.quiet() {
        writeln!(out, "revision {} has the content of '{}'", manifest.revision, args.tag)?;
    }
    Ok(())
}
