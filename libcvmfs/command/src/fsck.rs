//! `cvmfs fsck`: checks the cache, and throws away what is damaged so that it is fetched again.

use crate::human;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::Session;
use anyhow::{Result, bail};
use clap::Args;
use libcvmfs::cache::{FsckOptions, ReadData, Report};
use serde::Serialize;
use std::io::Write as _;

/// Errors were found and removed.
const REPAIRED: u8 = 1;
/// Errors were found and are still there.
const LEFT: u8 = 4;
/// The check itself could not be done.
pub const OPERATIONAL: u8 = 8;

/// What `cvmfs fsck` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit status, a sum:
  0  nothing is wrong
  1  errors were repaired
  4  errors are left
  8  the check could not be done
  16 wrong usage

Objects carry the hash of their compressed form. What this client fetched is checked against a digest taken when
it came in; what other clients left is compressed again and compared with its name.

Examples:
  cvmfs fsck
  cvmfs fsck --repair
  cvmfs fsck --quick")]
pub struct FsckArgs {
    /// Remove what is damaged; it is fetched again when it is needed
    #[arg(short = 'p', long)]
    pub repair: bool,
    /// With --repair: also remove what nothing vouches for
    #[arg(long, requires = "repair")]
    pub remove_unverified: bool,
    /// Look at names and sizes only, read no contents
    #[arg(long, conflicts_with = "part")]
    pub quick: bool,
    /// Read the contents of one of so many equal parts; as many runs check everything
    #[arg(long, value_name = "PART/PARTS")]
    pub part: Option<String>,
    /// Whose cache; repositories usually share one
    #[arg(long)]
    pub repository: Option<String>,
}

#[derive(Serialize)]
struct Facts {
    checked: u64,
    verified: u64,
    unverified: u64,
    not_read: u64,
    bytes_read: u64,
    repaired: usize,
    left: usize,
    damaged: Vec<Damaged>,
}

#[derive(Serialize)]
struct Damaged {
    path: crate::json::Text,
    damage: String,
    removed: bool,
}

/// Runs `cvmfs fsck`.
pub fn run(args: &FsckArgs, session: &Session, output: &mut Output) -> Result<()> {
    let cache = session.open_cache(args.repository.as_deref())?;
    let options = FsckOptions {
        read_data: match (&args.part, args.quick) {
            (Some(part), _) => parse_part(part)?,
            (None, true) => ReadData::None,
            (None, false) => ReadData::All,
        },
        repair: args.repair,
        remove_unverified: args.remove_unverified,
        check_index: Some(&libcvmfs::fetch::is_intact_index),
        ..FsckOptions::default()
    };
    let mut bar = Progress::new(output, "checking the cache {bar:30} {msg}");
    let report = cache.fsck(&options, &mut |at| {
        let message = format!("{} files, {}", at.checked, human::size(at.bytes_read));
        bar.set(at.folders_done.into(), at.folders.into(), message);
    })?;
    drop(bar);
    print(&report, args, output)?;
    if report.repaired() > 0 || report.unverified_removed > 0 {
        output.fail(REPAIRED);
    }
    if report.left() > 0 {
        // The sum of both, where both apply.
        output.fail(LEFT | if report.repaired() > 0 { REPAIRED } else { 0 });
    }
    Ok(())
}

fn print(report: &Report, args: &FsckArgs, output: &mut Output) -> Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    if output.json() {
        let damaged = report.damaged.iter().map(|damaged| Damaged {
            path: crate::json::Text::new(damaged.path.as_os_str().as_bytes()),
            damage: words(&format!("{:?}", damaged.damage)),
            removed: damaged.removed,
        });
        return output.print_json(&Facts {
            checked: report.checked,
            verified: report.verified,
            unverified: report.unverified,
            not_read: report.not_read,
            bytes_read: report.bytes_read,
            repaired: report.repaired(),
            left: report.left(),
            damaged: damaged.collect(),
        });
    }
    for damaged in &report.damaged {
        let outcome = if damaged.removed { "removed" } else { "left" };
        writeln!(output, "{}: {} ({outcome})", damaged.path.display(), words(&format!("{:?}", damaged.damage)))?;
    }
    if output.quiet() {
        return Ok(());
    }
    writeln!(
        output,
        "{} files checked, {} read: {} right, {} not vouched for, {} damaged, {} removed",
        report.checked,
        human::size(report.bytes_read),
        report.verified,
        report.unverified,
        report.damaged.len(),
        report.repaired() as u64 + report.unverified_removed,
    )?;
    if report.left() > 0 && !args.repair {
        writeln!(output, "'cvmfs fsck --repair' removes what is damaged; it is fetched again when needed")?;
    }
    Ok(())
}

/// `WrongContent` as `wrong content`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

fn parse_part(text: &str) -> Result<ReadData> {
    let numbers = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    match numbers {
        Some((part, parts)) if (1..=parts).contains(&part) => Ok(ReadData::Part { part, parts }),
        _ => bail!("'{text}' is not PART/PARTS, such as 1/7"),
    }
}
