//! What can be asked for.

use super::{check, diff, gc, manage, mkfs, publish, replicate, serve, tag, token, transaction};
use crate::keys::KeyFiles;
use crate::repository::Repository;
use anyhow::Result;
use clap::{ArgAction, Args, Parser, Subcommand};
use libcvmfs::fqrn::Fqrn;
use std::path::PathBuf;

/// Makes CernVM-FS repositories and publishes into them.
///
/// Works for any user: what is published comes from directory trees. A repository is a directory that any web server can
/// show, or a part of a bucket on S3.
#[derive(Debug, Parser)]
#[command(name = "cvmfs-server", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit status:
  0  done
  1  something could not be done; readers see the revision they saw before
  2  wrong usage

Environment:
  CVMFS_LOG  error, warn, info, debug or trace: what is told on the error stream
  TMPDIR     where catalogs are while they are written
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL
             for storages on S3, as for other programs; ~/.aws/credentials and ~/.aws/config are read, too

Storages on S3 are named s3://BUCKET/PREFIX?OPTION=VALUE&...:
  endpoint=URL            another server than Amazon's
  region=NAME             where the bucket lies
  profile=NAME            the section of ~/.aws/credentials and ~/.aws/config
  style=path|domain       how buckets become URLs; 'path' where an endpoint is given
  lease=SECONDS           how long the lock of a publisher that was killed keeps others away (60)
  part=BYTES              larger objects are sent in parts of this size (67108864)
  conditional=no          the server ignores conditions of writes, and there is only one publisher

Examples:
  cvmfs-server mkfs my.repo.example --storage /srv/my.repo.example --keys ~/keys
  cvmfs-server publish my.repo.example ./tree --storage /srv/my.repo.example --keys ~/keys
  cvmfs-server resign my.repo.example --storage /srv/my.repo.example --keys ~/keys --days 30")]
pub struct Cli {
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell more about what happens; twice: everything
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// No progress, no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a repository: keys, whitelist, an empty first revision
    Mkfs(mkfs::MkfsArgs),
    /// Sign the whitelist again
    Resign(mkfs::ResignArgs),
    /// Publish a new revision
    Publish(Box<publish::PublishArgs>),
    /// Keep other publishers away until 'publish' or 'abort'
    Transaction(transaction::TransactionArgs),
    /// Begin a transaction on a branch
    Checkout(transaction::CheckoutArgs),
    /// End a transaction without publishing
    Abort(transaction::AbortArgs),
    /// List, add, remove and rename tags
    Tag(tag::TagArgs),
    /// Publish the content of an earlier revision again
    Rollback(tag::RollbackArgs),
    /// Compare two revisions
    Diff(diff::DiffArgs),
    /// Look whether everything is there that clients may ask for, and right
    Check(check::CheckArgs),
    /// Delete what no kept revision needs
    Gc(gc::GcArgs),
    /// Make or update a mirror (Stratum 1)
    Replicate(replicate::ReplicateArgs),
    /// Show repositories over HTTP
    Serve(serve::ServeArgs),
    /// Let groups publish over HTTP, each into its own paths
    Manage(Box<manage::ManageArgs>),
    /// List, add and remove tokens of 'manage'
    Token(token::TokenArgs),
    /// Write manual pages or shell completions into a directory
    #[command(hide = true)]
    Generate(cvmfs_command::generate::GenerateArgs),
}

/// Which repository.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The repository's fully qualified name, such as my.repo.example
    pub fqrn: Fqrn,
    /// Where it lies: the directory that a web server shows as its base URL, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "DIR")]
    pub storage: String,
    /// Directory with its keys: FQRN.pub, FQRN.masterkey, FQRN.key, FQRN.crt
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// The private master key, if it is kept elsewhere
    #[arg(long, value_name = "FILE")]
    pub master_key: Option<PathBuf>,
}

impl Place {
    /// The repository.
    pub fn open(&self) -> Result<Repository> {
        let keys = KeyFiles::new(&self.fqrn, &self.keys, self.master_key.as_deref());
        Repository::new(self.fqrn.clone(), &self.storage, keys)
    }
}
