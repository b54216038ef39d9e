//! `replicate`.

use super::place::PublicKey;
use super::progress::{LINE, during};
use crate::replicate::{self, Follower, Report, Selection, Settings, Source};
use crate::repository::Repository;
use anyhow::{Context as _, Result};
use clap::Args;
use cvmfs_command::output::Output;
use indicatif::{HumanBytes, ProgressBar};
use libcvmfs::fqrn::Fqrn;
use libcvmfs::trust::unix_now;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// What `replicate` takes.
#[derive(Debug, Args)]
pub struct ReplicateArgs {
    /// The repository's fully qualified name
    fqrn: Fqrn,
    /// Base URL of the repository, of http or file, in which @fqrn@ stands for its name; several are separated by ';'
    #[arg(value_name = "FROM-URL")]
    from: String,
    /// The mirror: the directory that a web server shows as its base URL, or s3://BUCKET/PREFIX
    #[arg(value_name = "TO")]
    to: String,
    #[command(flatten)]
    key: PublicKey,
    /// Copy the paths of this file only: one on each line, '!' before a path excludes it
    #[arg(long, value_name = "FILE")]
    paths: Option<PathBuf>,
    /// Look at every object, also where a finished replication was before
    #[arg(long)]
    thorough: bool,
    /// Proxies on the way, as in CVMFS_HTTP_PROXY
    #[arg(long, value_name = "LIST", default_value = "DIRECT")]
    proxy: String,
    /// Objects that are fetched at the same time
    #[arg(long, short = 'j', value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Go on: again as soon as the source announces a new revision, as `serve` does, and every --every seconds
    #[arg(long)]
    follow: bool,
    /// Seconds after which --follow asks a source that announced nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..=86400))]
    every: u64,
}

/// Runs `replicate`.
pub fn run(args: &ReplicateArgs, out: &mut Output) -> Result<()> {
    let mirror = Repository::new(args.fqrn.clone(), &args.to, args.key.files(&args.fqrn)?)?;
    let threads = usize::from(args.threads);
    let source = Source::open(&args.fqrn, &args.from, &args.proxy, threads)?;
    let selection = match &args.paths {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            Some(Selection::parse(&text).with_context(|| file.display().to_string())?)
        }
        None => None,
    };
    let mut settings = Settings { threads, selection, thorough: args.thorough, now: unix_now() };
    if !args.follow {
        return round(&mirror, &source, &settings, out).map(drop);
    }
    let mut follower = Follower::new(&args.from.replace("@fqrn@", args.fqrn.as_str()), Duration::from_secs(args.every));
    loop {
        settings.now = unix_now();
        let done = round(&mirror, &source, &settings, out);
        if let Err(error) = &done {
            log::error!("{error:#}");
        }
        follower.wait(done.ok());
    }
}

/// Replicates once and says what was done. Gives the revision that the mirror has then.
fn round(mirror: &Repository, source: &Source, settings: &Settings, out: &mut Output) -> Result<u64> {
    let show = |bar: &ProgressBar, report: &Report| {
        let bytes = HumanBytes(report.bytes);
        bar.set_message(format!("{} catalogs, {} objects, {bytes}", report.catalogs, report.objects));
    };
    let report = during(out, LINE, show, |watch| replicate::replicate(mirror, source, settings, watch))?;
    let revision = report.revision;
    if out.json() {
        out.print_json(&report)?;
    } else if !out.quiet() {
        let Report { objects, bytes, .. } = report;
        let what = if report.changed { "is replicated" } else { "was there already" };
        writeln!(out, "revision {revision} {what}: {objects} objects fetched ({})", HumanBytes(bytes))?;
        if !report.missing_tags.is_empty() {
            writeln!(out, "the source does not have the revisions of these tags: {}", report.missing_tags.join(", "))?;
        }
    }
    out.flush()?;
    Ok(revision)
}
