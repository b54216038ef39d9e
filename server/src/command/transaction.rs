//! `transaction`, `checkout` and `abort`.

use super::args::Place;
use crate::repository::Repository;
use crate::transaction::{self, Branch};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use cvmfs_command::output::Output;
use libcvmfs::namespace::LastLink;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What `transaction` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Until 'publish' or 'abort' nobody else can publish. With --chroot the current revision is copied into
a directory, in which anything may be changed; publish that directory then:

  cvmfs-server transaction my.repo.example --chroot ./tree --storage DIR --keys DIR
  apt-get -o RootDir=$PWD/tree install ...        (or dpkg --root, or any program that installs into a directory)
  cvmfs-server publish my.repo.example ./tree --storage DIR --keys DIR"
)]
pub struct TransactionArgs {
    #[command(flatten)]
    place: Place,
    /// Copy the current revision into this new or empty directory, to change it there
    #[arg(long, value_name = "DIR")]
    chroot: Option<PathBuf>,
}

/// What `checkout` takes.
#[derive(Debug, Args)]
pub struct CheckoutArgs {
    #[command(flatten)]
    place: Place,
    /// The tag to begin with; without one the branch goes on where it is
    tag: Option<String>,
    /// The branch to publish to
    #[arg(long, value_name = "NAME")]
    branch: String,
    /// Copy that revision into this new or empty directory, to change it there
    #[arg(long, value_name = "DIR")]
    chroot: Option<PathBuf>,
}

/// What `abort` takes.
#[derive(Debug, Args)]
pub struct AbortArgs {
    #[command(flatten)]
    place: Place,
    /// End the transaction of somebody else
    #[arg(long)]
    force: bool,
}

/// Runs `transaction`.
pub fn run(args: &TransactionArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    open(&repository, None, args.chroot.as_deref(), out)
}

/// Runs `checkout`.
pub fn checkout(args: &CheckoutArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    crate::tags::check_name(&args.branch)?;
    let branch = Branch { name: args.branch.clone(), from: args.tag.clone() };
    open(&repository, Some(branch), args.chroot.as_deref(), out)
}

fn open(repository: &Repository, branch: Option<Branch>, chroot: Option<&Path>, out: &mut Output) -> Result<()> {
    let head = repository.head()?;
    let history = repository.history(&head)?;
    let base = crate::publish::base(&head, &history, branch.as_ref())?;
    let transaction = transaction::begin(repository, branch)?;
    if let Some(directory) = chroot
        && let Err(error) = copy(repository, base.root, directory)
    {
        transaction::end(repository)?;
        return Err(error.context(format!("copying the revision to {}", directory.display())));
    }
    if !out.quiet() {
        writeln!(out, "the transaction is open: {transaction}")?;
    }
    Ok(())
}

/// Copies a whole revision to be this directory, as `cvmfs get` does.
fn copy(repository: &Repository, root: libcvmfs::hash::ContentHash, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    ensure!(std::fs::read_dir(directory)?.next().is_none(), "it is not empty");
    let (session, _cache) = super::session(repository, Some(root))?;
    let root = Path::new("/cvmfs").join(repository.fqrn.as_str());
    let root = session.resolve(&root, LastLink::Keep)?;
    let mut output = Output::new(false, true);
    cvmfs_command::get::copy_all(
        &[(root, directory.to_owned())],
        cvmfs_command::prefetch::JOBS,
        &session,
        &mut output,
    )?;
    if output.finish()? != std::process::ExitCode::SUCCESS {
        bail!("not everything could be copied");
    }
    Ok(())
}

/// Runs `abort`.
pub fn abort(args: &AbortArgs, out: &mut Output) -> Result<()> {
    let repository = args.place.open()?;
    if !args.force {
        transaction::own(&repository).context("--force ends it anyway")?;
    }
    ensure!(transaction::end(&repository)?, "no transaction is open");
    if !out.quiet() {
        writeln!(out, "the transaction is over; nothing was published")?;
    }
    Ok(())
}
