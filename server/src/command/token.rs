//! `token`.

use crate::manage::path::RepositoryPath;
use crate::manage::token::{Pattern, Right, Token, Tokens};
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use cvmfs_command::output::Output;
use libcvmfs::trust::unix_now;
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// What `token` takes.
#[derive(Debug, Args)]
#[command(after_help = "A repository is a name, or '*.' and a domain for all below it.

Examples:
  cvmfs-server token add physics --publish my.repo.example:/physics --days 90 --tokens tokens.json
  cvmfs-server token add operators --publish '*.repo.example:/' --tag '*.repo.example' --collect '*.repo.example' \\
                                   --create '*.repo.example' --tokens tokens.json
  cvmfs-server token list --tokens tokens.json
  cvmfs-server token remove 0123456789abcdef --tokens tokens.json")]
pub struct TokenArgs {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token for a group and print it: nobody can show it again
    Add(Box<AddArgs>),
    /// List tokens, without their secrets
    List(FileArgs),
    /// Remove a token
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file with the tokens
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The group; tokens of one group have leases and jobs in common
    group: String,
    #[command(flatten)]
    file: FileArgs,
    /// Allow to publish this path and what is below it
    #[arg(long, value_name = "REPOSITORY:PATH", value_parser = publish)]
    publish: Vec<Right>,
    /// Allow to change tags
    #[arg(long, value_name = "REPOSITORY")]
    tag: Vec<Pattern>,
    /// Allow to collect garbage
    #[arg(long, value_name = "REPOSITORY")]
    collect: Vec<Pattern>,
    /// Allow to make repositories of this name
    #[arg(long, value_name = "REPOSITORY")]
    create: Vec<Pattern>,
    /// The token ends after so many days
    #[arg(long, value_name = "DAYS")]
    days: Option<u64>,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// The token's name, as 'list' shows it: what stands between the two '_' of the token
    id: String,
    #[command(flatten)]
    file: FileArgs,
}

fn publish(text: &str) -> Result<Right> {
    let (repository, path) = text.split_once(':').context("expected REPOSITORY:PATH")?;
    Ok(Right::Publish { repository: repository.parse()?, path: path.parse::<RepositoryPath>()? })
}

/// Runs `token`.
pub fn run(args: &TokenArgs, out: &mut Output) -> Result<()> {
    match &args.action {
        Action::Add(args) => add(args, out),
        Action::List(args) => list(args, out),
        Action::Remove(args) => Tokens::new(&args.file.tokens).remove(&args.id),
    }
}

fn add(args: &AddArgs, out: &mut Output) -> Result<()> {
    let mut rights = args.publish.clone();
    rights.extend(args.tag.iter().cloned().map(|repository| Right::Tag { repository }));
    rights.extend(args.collect.iter().cloned().map(|repository| Right::Collect { repository }));
    rights.extend(args.create.iter().cloned().map(|repository| Right::Create { repository }));
    let now = unix_now();
    let expires = args.days.map(|days| now.saturating_add(days.saturating_mul(DAY)));
    let (token, text) = Token::new(&args.group, rights, now, expires)?;
    let id = token.id.clone();
    Tokens::new(&args.file.tokens).add(token)?;
    match out.json() {
        true => out.print_json(&json!({"id": id, "group": args.group, "token": text})),
        false => Ok(writeln!(out, "{text}")?),
    }
}

fn list(args: &FileArgs, out: &mut Output) -> Result<()> {
    for Token { id, group, created, expires, rights, .. } in Tokens::new(&args.tokens).all()? {
        if out.json() {
            out.print_json(
                &json!({"id": id, "group": group, "created": created, "expires": expires, "rights": rights}),
            )?;
            continue;
        }
        let end = match expires {
            Some(seconds) => crate::status::date(seconds),
            None => "no end".to_owned(),
        };
        let rights: Vec<String> = rights.iter().map(ToString::to_string).collect();
        writeln!(out, "{id}\t{group}\t{end}\t{}", rights.join(", "))?;
    }
    Ok(())
}
