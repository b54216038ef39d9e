//! The command line.

use crate::{cache, cat, config, diff, find, fsck, generate, get, info, ls, prefetch, probe, stat, tags};
use clap::{ArgAction, Parser, Subcommand};

/// Looks into CernVM-FS repositories, fetches from them, and looks after their cache.
///
/// No mount, no FUSE, no root: paths below /cvmfs mean repositories, which are verified and cached like by any
/// client. A repository is described by configuration files in the official places, by CVMFS_ variables of the
/// environment, and by -o options, which beat both.
#[derive(Debug, Parser)]
#[command(name = "cvmfs", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit status:
  0  everything was done, or the answer is yes
  1  the answer is no, or some things could not be done
  2  wrong usage, or the repository could not be used
  (cvmfs fsck has its own, see there)

Environment:
  CVMFS_...  any parameter of the official client
  CVMFS_LOG  error, warn, info, debug or trace: what is told on the error stream

Examples:
  cvmfs ls -l /cvmfs/sft.cern.ch
  cvmfs -o CVMFS_HTTP_PROXY=DIRECT cat /cvmfs/sft.cern.ch/README
  cvmfs -o CVMFS_REPOSITORY_TAG=v1 find /cvmfs/sft.cern.ch -name '*.so'
  cvmfs get -r /cvmfs/sft.cern.ch/lcg/etc ./etc
  cvmfs prefetch --to /scratch/cache /cvmfs/sft.cern.ch/lcg
  cvmfs probe sft.cern.ch")]
pub struct Cli {
    /// Set a parameter; beats the environment and configuration files
    #[arg(short, value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// Print facts as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell more about what happens; twice: everything
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Tell only what was asked for: no progress, no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List directories, as ls does
    Ls(ls::LsArgs),
    /// Print files
    Cat(cat::CatArgs),
    /// Tell everything about entries, as stat does
    Stat(stat::StatArgs),
    /// Search trees, as find does
    Find(find::FindArgs),
    /// Copy files and trees to local directories
    Get(get::GetArgs),
    /// List the named snapshots of repositories
    Tags(tags::TagsArgs),
    /// Tell what is mounted, from where, and how fresh it is
    Info(info::InfoArgs),
    /// Fetch trees or lists of objects into the cache, in parallel
    Prefetch(prefetch::PrefetchArgs),
    /// Ask every host through every proxy, and try to mount
    Probe(probe::ProbeArgs),
    /// Check and repair the cache
    Fsck(fsck::FsckArgs),
    /// Show, check and explain the configuration
    Config(config::ConfigArgs),
    /// Look after the cache
    Cache(cache::CacheArgs),
    /// Compare two snapshots of a repository
    Diff(diff::DiffArgs),
    /// Write manual pages or shell completions into a directory
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}
