//! `gc`.

use super::args::Place;
use super::progress::{LINE, during};
use crate::gc::{self, Report, Settings};
use anyhow::Result;
use clap::Args;
use cvmfs_command::output::Output;
use indicatif::{HumanBytes, ProgressBar};
use libcvmfs::trust::unix_now;
use std::io::Write as _;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;
/// Days for which revisions are kept unless something else is said: the official publisher's.
const KEEP_DAYS: u64 = 3;

/// What `gc` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Revisions with a tag are always kept, and so are the newest and the one before. Tags that were made \
automatically (generic-...) go with their revisions.

Without --keep and --keep-days the revisions of the last 3 days are kept."
)]
pub struct GcArgs {
    #[command(flatten)]
    place: Place,
    /// Keep the last N revisions
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
    /// Keep the revisions of the last DAYS days
    #[arg(long, value_name = "DAYS")]
    keep_days: Option<u64>,
    /// Tell what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave files alone that came in after the newest revision and less than so many seconds ago
    #[arg(long, value_name = "SECONDS", default_value_t = DAY)]
    grace: u64,
    /// This is a mirror: delete files, sign nothing, keep all tags
    #[arg(long)]
    mirror: bool,
}

/// Runs `gc`.
pub fn run(args: &GcArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    let days = match (args.keep, args.keep_days) {
        (None, None) => Some(KEEP_DAYS),
        (_, days) => days,
    };
    let settings = Settings {
        keep: args.keep.unwrap_or(0),
        keep_seconds: days.map(|days| days.saturating_mul(DAY)),
        grace: args.grace,
        dry_run: args.dry_run,
        mirror: args.mirror,
        now: unix_now(),
    };
    let show = |bar: &ProgressBar, report: &Report| {
        let (bytes, removed) = (HumanBytes(report.removed_bytes), report.removed_objects);
        bar.set_message(format!("{} catalogs kept, {removed} objects removed ({bytes})", report.kept_catalogs));
    };
    let report = during(out, LINE, show, |watch| gc::collect(&repository, &settings, watch))?;
    if out.json() {
        out.print_json(&report)?;
    } else if !out.quiet() {
        let Report {
            kept_revisions, kept_objects, removed_tags, removed_objects, removed_bytes, young_objects, ..
        } = report;
        let (removed, bytes) = (if report.dry_run { "would be removed" } else { "removed" }, HumanBytes(removed_bytes));
        writeln!(
            out,
            "{kept_revisions} revisions kept with {kept_objects} objects; {removed_objects} objects ({bytes}) {removed}"
        )?;
        if !removed_tags.is_empty() {
            writeln!(out, "tags {removed}: {}", removed_tags.join(", "))?;
        }
        if young_objects > 0 {
            writeln!(
                out,
                "{young_objects} objects are not needed, but too young to be removed: somebody may be publishing them"
            )?;
        }
    }
    Ok(())
}
