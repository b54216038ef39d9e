//! `check`.

use super::place::PublicPlace;
use super::progress::{LINE, during};
use crate::check::{self, Report, Settings};
use crate::status;
use anyhow::{Result, bail};
use clap::Args;
use cvmfs_command::output::Output;
use indicatif::{HumanBytes, ProgressBar};
use libcvmfs::trust::unix_now;
use std::io::Write as _;

/// What `check` takes.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    place: PublicPlace,
    /// Look at all revisions that have a tag, not only at the newest
    #[arg(long)]
    all_tags: bool,
    /// Read every object: its hash, its compression, its size
    #[arg(long)]
    read_data: bool,
    /// Write into .cvmfs_status.json when this was and how it ended, for those who watch over the server
    #[arg(long)]
    status: bool,
    /// Threads that look at objects; by default one for each processor, or 16 where the storage is S3
    #[arg(long, short = 'j', value_name = "N")]
    threads: Option<usize>,
}

/// Runs `check`; damage is an error.
pub fn run(args: &CheckArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    let threads = args.threads.unwrap_or_else(|| repository.storage.parallel());
    let settings = Settings { all_tags: args.all_tags, read_data: args.read_data, threads };
    let show = |bar: &ProgressBar, report: &Report| {
        bar.set_message(format!("{} catalogs, {} objects", report.catalogs, report.objects));
    };
    let report = during(out, LINE, show, |watch| check::check(&repository, settings, watch))?;
    if args.status {
        let ended = if report.is_clean() { "succeeded" } else { "failed" };
        status::note(&*repository.storage, &[("last_check", &status::date(unix_now())), ("check_status", ended)])?;
    }
    if out.json() {
        let mut told = serde_json::to_value(&report)?;
        if let Some(told) = told.as_object_mut() {
            told.insert("fqrn".to_owned(), repository.fqrn.as_str().into());
            told.insert("clean".to_owned(), report.is_clean().into());
        }
        out.print_json(&told)?;
    } else {
        for finding in &report.findings {
            writeln!(out, "{}: {}", finding.place, finding.problem)?;
        }
        if !out.quiet() && report.is_clean() {
            let Report { revision, catalogs, entries, objects, bytes, .. } = report;
            let bytes = HumanBytes(bytes);
            writeln!(
                out,
                "revision {revision}: {catalogs} catalogs, {entries} entries, {objects} objects, {bytes}: all good"
            )?;
        }
    }
    match report.findings.len() {
        0 => Ok(()),
        count => bail!("{} is damaged: {count} findings", repository.fqrn),
    }
}
