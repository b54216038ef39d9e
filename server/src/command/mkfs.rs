//! `mkfs` and `resign`.

use super::args::Place;
use crate::mkfs::{self, NewRepository};
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use cvmfs_command::output::Output;
use libcvmfs::hash::Algorithm;
use std::io::Write as _;
use std::path::PathBuf;

/// Days for which whitelists are signed: the official publisher's.
const WHITELIST_DAYS: u64 = 30;

/// The content hash algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HashName {
    /// SHA-1
    Sha1,
    /// RIPEMD-160
    Rmd160,
    /// SHAKE-128
    Shake128,
}

impl From<HashName> for Algorithm {
    fn from(name: HashName) -> Algorithm {
        match name {
            HashName::Sha1 => Algorithm::Sha1,
            HashName::Rmd160 => Algorithm::Rmd160,
            HashName::Shake128 => Algorithm::Shake128,
        }
    }
}

/// What `mkfs` takes.
#[derive(Debug, Args)]
pub struct MkfsArgs {
    #[command(flatten)]
    place: Place,
    /// What names its objects
    #[arg(long, value_enum, default_value = "sha1")]
    hash: HashName,
    /// Seconds until clients look for a new revision
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    ttl: u64,
    /// Old revisions may be deleted
    #[arg(long)]
    garbage_collectable: bool,
    /// Days for which the whitelist is signed
    #[arg(long, value_name = "DAYS", default_value_t = WHITELIST_DAYS)]
    days: u64,
    /// JSON text that tells people about the repository
    #[arg(long, value_name = "FILE")]
    meta_info: Option<PathBuf>,
    /// Owner of the root directory
    #[arg(long, value_name = "UID:GID", default_value = "0:0", value_parser = owner)]
    owner: (u32, u32),
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    let ids = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    ids.ok_or_else(|| "expected UID:GID".to_owned())
}

/// What `resign` takes.
#[derive(Debug, Args)]
pub struct ResignArgs {
    #[command(flatten)]
    place: Place,
    /// Days for which the whitelist is signed
    #[arg(long, value_name = "DAYS", default_value_t = WHITELIST_DAYS)]
    days: u64,
    /// What names the hash that is signed
    #[arg(long, value_enum, default_value = "sha1")]
    hash: HashName,
}

/// Runs `mkfs`.
pub fn mkfs(args: &MkfsArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    let read = |file: &PathBuf| std::fs::read_to_string(file).with_context(|| file.display().to_string());
    let new = NewRepository {
        algorithm: args.hash.into(),
        ttl: args.ttl,
        garbage_collectable: args.garbage_collectable,
        whitelist_days: args.days,
        meta_info: args.meta_info.as_ref().map(read).transpose()?,
        owner: args.owner,
    };
    let manifest = mkfs::mkfs(&repository, &new)?;
    if out.json() {
        out.print_json(&serde_json::json!({
            "fqrn": repository.fqrn.as_str(), "revision": manifest.revision,
            "root_hash": manifest.root_catalog.to_string(), "public_key": repository.keys.public,
        }))?;
    } else if !out.quiet() {
        writeln!(out, "{} is ready in {}", repository.fqrn, repository.storage.describe())?;
        writeln!(out, "clients need the public key {}", repository.keys.public.display())?;
    }
    Ok(())
}

/// Runs `resign`.
pub fn resign(args: &ResignArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    let expires = mkfs::resign(&repository, args.hash.into(), args.days)?;
    let date = jiff::Timestamp::from_second(i64::try_from(expires).unwrap_or(i64::MAX))?;
    if out.json() {
        out.print_json(&serde_json::json!({"fqrn": repository.fqrn.as_str(), "expires": expires}))?;
    } else if !out.quiet() {
        writeln!(out, "the whitelist of {} is valid until {date}", repository.fqrn)?;
    }
    Ok(())
}
