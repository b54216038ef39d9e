//! `cvmfs prefetch`: trees and lists into the cache, or into a directory that goes elsewhere.

use crate::human;
use crate::json::Text;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::Session;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use libcvmfs::namespace::LastLink;
use libcvmfs::prefetch::{self as engine, Options, Start, Summary, list, preload};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Objects fetched at the same time unless something else is asked for.
pub const JOBS: usize = engine::DEFAULT_JOBS;

/// What `cvmfs prefetch` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "What is in the cache already is not fetched again: an interrupted run goes on where it was.

A list has one thing a line; lines that start with # are comments:
  /cvmfs/REPOSITORY/PATH         a file, or the catalog that lists a directory
  /cvmfs/REPOSITORY/DIRECTORY/   a directory with everything below it (the slash at the end says so)
  object REPOSITORY HASH[-ALGORITHM][KIND] [SIZE|- [zlib|none [PATH]]]
  snapshot REPOSITORY ROOTHASH [REVISION]
In paths \\\\ is a backslash and \\xHH any byte. Objects are of the snapshot that is named; where another one is
mounted, they are looked up by their paths. cvmfs-run --record writes a list of what a program used.

A directory filled with --to can be copied anywhere and used without a network, by this client and by the official
one, with -o CVMFS_ALIEN_CACHE=DIRECTORY. It holds signed manifests, so what it contains is verified again there.

Examples:
  cvmfs prefetch /cvmfs/sft.cern.ch/lcg/releases/ROOT/6.30
  cvmfs prefetch --dry-run /cvmfs/sft.cern.ch/lcg
  cvmfs prefetch --from-list needed.txt --jobs 64
  cvmfs prefetch --to /scratch/preloaded /cvmfs/sft.cern.ch/lcg/etc")]
pub struct PrefetchArgs {
    /// Files, or directories with everything below them
    #[arg(required_unless_present = "from_list")]
    pub paths: Vec<PathBuf>,
    /// Also what this list names; '-' is the standard input
    #[arg(long, value_name = "FILE")]
    pub from_list: Option<PathBuf>,
    /// Objects fetched at the same time
    #[arg(short, long, default_value_t = JOBS)]
    pub jobs: usize,
    /// Fill this directory instead of the configured cache
    #[arg(long, value_name = "DIRECTORY")]
    pub to: Option<PathBuf>,
    /// Fetch catalogs only, and tell how much there is to fetch
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Read again what is in the cache already, and replace what is damaged
    #[arg(long)]
    pub verify: bool,
}

/// Runs `cvmfs prefetch`.
pub fn run(args: &PrefetchArgs, session: &Session, output: &mut Output) -> Result<()> {
    ensure!((1..=1024).contains(&args.jobs), "--jobs must be between 1 and 1024");
    let preloading;
    let session = match &args.to {
        None => session,
        Some(directory) => {
            std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
            let directory = directory.canonicalize().with_context(|| directory.display().to_string())?;
            preloading = session.with_options(preload::options(&directory))?;
            &preloading
        }
    };
    let starts = starts(args, session, output)?;
    let repositories = engine::repositories(&starts);
    let options =
        Options { jobs: args.jobs, dry_run: args.dry_run, chunks_apart: args.to.is_some(), verify: args.verify };
    let mut bar = Progress::new(output, "{bar:30} {msg}");
    let mut summary = engine::prefetch(session.client(), starts, &options, &mut |at| {
        bar.set(at.bytes_done, at.bytes_found, message(at));
    })?;
    drop(bar);
    for failure in summary.failures.drain(..) {
        output.complain(&failure.what, &failure.error.into());
    }
    if args.to.is_some() {
        for fqrn in &repositories {
            if let Err(error) = preload::complete(session.client(), fqrn) {
                output.complain(fqrn.as_str().as_bytes(), &anyhow::Error::new(error).context("fetching the tags"));
            }
        }
    }
    report(args, &summary, output)?;
    warn_of_quota(&summary, session, &repositories);
    Ok(())
}

fn starts(args: &PrefetchArgs, session: &Session, output: &mut Output) -> Result<Vec<Start>> {
    let mut starts = Vec::new();
    for path in &args.paths {
        match session.resolve(path, LastLink::Follow) {
            Ok(node) => starts.push(Start::Tree(node)),
            Err(error) => output.complain(path.as_os_str().as_bytes(), &error),
        }
    }
    let Some(file) = &args.from_list else { return Ok(starts) };
    let lines = match file.as_os_str() == "-" {
        true => list::read(io::stdin().lock()),
        false => list::read(BufReader::new(File::open(file).with_context(|| file.display().to_string())?)),
    };
    let lines = lines.with_context(|| file.display().to_string())?;
    let (listed, failures) = engine::starts(session.client(), lines);
    starts.extend(listed);
    for failure in failures {
        output.complain(&failure.what, &failure.error.into());
    }
    Ok(starts)
}

/// How far it is, for people.
pub(crate) fn message(at: &engine::Progress) -> String {
    let (done, found) = (human::size(at.bytes_done), human::size(at.bytes_found));
    format!("{} of {} objects, {done} of {found}, {} directories", at.done, at.found, at.directories)
}

fn report(args: &PrefetchArgs, summary: &Summary, output: &mut Output) -> Result<()> {
    #[derive(Serialize)]
    struct Facts {
        dry_run: bool,
        directories: u64,
        objects: u64,
        bytes: u64,
        fetched: u64,
        bytes_fetched: u64,
        replaced: u64,
        failed: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Text>,
    }
    let at = &summary.progress;
    if output.json() {
        return output.print_json(&Facts {
            dry_run: args.dry_run,
            directories: at.directories,
            objects: at.found,
            bytes: at.bytes_found,
            fetched: at.fetched,
            bytes_fetched: at.bytes_fetched,
            replaced: at.replaced,
            failed: at.failed,
            to: args.to.as_ref().map(|to| Text::new(to.as_os_str().as_bytes())),
        });
    }
    if output.quiet() {
        return Ok(());
    }
    let fetched = if args.dry_run { "to be fetched" } else { "fetched" };
    let (all, missing) = (human::size(at.bytes_found), human::size(at.bytes_fetched));
    writeln!(output, "{} objects, {all}; {} {fetched}, {missing}", at.found, at.fetched)?;
    if at.replaced > 0 {
        writeln!(output, "{} were damaged and fetched again", at.replaced)?;
    }
    if let (Some(to), false) = (&args.to, args.dry_run) {
        writeln!(output, "use it with: cvmfs -o CVMFS_ALIEN_CACHE={}", to.display())?;
    }
    Ok(())
}

/// What does not fit into the cache pushes out what was fetched before it.
fn warn_of_quota(summary: &Summary, session: &Session, repositories: &[libcvmfs::fqrn::Fqrn]) {
    for fqrn in repositories {
        let Ok(repository) = session.client().repository(fqrn.as_str()) else { continue };
        let limit = repository.cache().settings().quota_limit_bytes;
        if let Some(limit) = limit.filter(|limit| *limit < summary.progress.bytes_found) {
            log::warn!("{fqrn}: only {} fit into the cache; CVMFS_QUOTA_LIMIT sets how much", human::size(limit));
        }
    }
}
