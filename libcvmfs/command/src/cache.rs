//! `cvmfs cache`: what the cache holds, and making room in it.

use crate::human;
use crate::output::Output;
use crate::session::Session;
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use libcvmfs::cache::{Cache, Status};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;

/// What `cvmfs cache` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cvmfs cache status
  cvmfs cache trim 2G
  cvmfs cache wipe
  cvmfs -o CVMFS_CACHE_BASE=/scratch/cvmfs cache status")]
pub struct CacheArgs {
    /// What to do
    #[command(subcommand)]
    pub action: CacheAction,
    /// Whose cache; repositories usually share one
    #[arg(long, global = true)]
    pub repository: Option<String>,
}

/// What can be done with a cache.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheAction {
    /// Tell what it holds, its limit and what its file system can do
    Status,
    /// Remove everything that is not in use
    Wipe,
    /// Remove the least recently used objects until no more than SIZE is used
    Trim {
        /// Bytes, or with a letter K, M, G or T
        size: String,
    },
}

#[derive(Serialize)]
struct StatusFacts {
    directory: String,
    mode: String,
    limit: Option<u64>,
    used: u64,
    files: u64,
    pinned: u64,
    free: u64,
    kinds: BTreeMap<&'static str, Count>,
}

#[derive(Serialize)]
struct Count {
    files: u64,
    bytes: u64,
}

/// Runs `cvmfs cache`.
pub fn run(args: &CacheArgs, session: &Session, output: &mut Output) -> Result<()> {
    let cache = session.open_cache(args.repository.as_deref())?;
    match &args.action {
        CacheAction::Status => status(&cache, output),
        CacheAction::Wipe => trimmed(cache.wipe()?, output),
        CacheAction::Trim { size } => trimmed(cache.trim(bytes(size)?)?, output),
    }
}

fn status(cache: &Cache, output: &mut Output) -> Result<()> {
    let status: Status = cache.status()?;
    if output.json() {
        let kinds = status.by_namespace.iter();
        return output.print_json(&StatusFacts {
            directory: status.directory.display().to_string(),
            mode: format!("{:?}", status.mode).to_lowercase(),
            limit: status.limit_bytes,
            used: status.used.bytes,
            files: status.used.files,
            pinned: status.pinned.bytes,
            free: status.free_bytes,
            kinds: kinds.map(|(kind, u)| (kind.name(), Count { files: u.files, bytes: u.bytes })).collect(),
        });
    }
    let limit = status.limit_bytes.map_or("none".to_owned(), human::size);
    writeln!(output, "directory    {} ({:?})", status.directory.display(), status.mode)?;
    writeln!(output, "used         {} in {} files", human::size(status.used.bytes), status.used.files)?;
    for (kind, usage) in &status.by_namespace {
        writeln!(output, "  {:<10} {} in {} files", kind.name(), human::size(usage.bytes), usage.files)?;
    }
    writeln!(output, "limit        {limit}")?;
    writeln!(output, "pinned       {}", human::size(status.pinned.bytes))?;
    writeln!(output, "free         {} on the file system", human::size(status.free_bytes))?;
    Ok(())
}

fn trimmed(trimmed: libcvmfs::cache::Trimmed, output: &mut Output) -> Result<()> {
    #[derive(Serialize)]
    struct Facts {
        removed_files: u64,
        removed_bytes: u64,
        used: u64,
    }
    if output.json() {
        return output.print_json(&Facts {
            removed_files: trimmed.removed.files,
            removed_bytes: trimmed.removed.bytes,
            used: trimmed.remaining_bytes,
        });
    }
    if !output.quiet() {
        let removed = trimmed.removed;
        writeln!(output, "removed {} files, {}", removed.files, human::size(removed.bytes))?;
    }
    Ok(())
}

/// `4000`, `10K`, `2.5G`: a number with a unit of 1024.
fn bytes(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        "T" | "t" => 1 << 40,
        other => bail!("'{other}' is no unit of size: expected K, M, G or T"),
    };
    let number: f64 =
        digits.parse().ok().filter(|n| (0.0..1e12).contains(n)).with_context(|| format!("'{text}' is no size"))?;
    Ok((number * unit as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("4000").unwrap(), 4000);
        assert_eq!(bytes("2.5K").unwrap(), 2560);
        assert_eq!(bytes("1G").unwrap(), 1 << 30);
        for wrong in ["", "G", "-1", "1X", "nan", "inf", "1e300"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
