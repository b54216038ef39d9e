//! `cvmfs get`: copies files and trees out of repositories.

mod copy;
mod place;

use crate::output::Output;
use crate::progress::Progress;
use crate::session::Session;
use crate::{human, prefetch};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use copy::Copier;
use libcvmfs::namespace::{FileKind, LastLink, Node};
use serde::Serialize;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What `cvmfs get` takes.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Copies keep modes, times, symbolic links, hard links among themselves, and extended attributes where the
destination takes them; owners only for root. What is already there with the same size and time is left alone,
so an interrupted copy goes on when it is started again. Links in the destination are never followed.

Examples:
  cvmfs get /cvmfs/sft.cern.ch/README .
  cvmfs get -r /cvmfs/sft.cern.ch/lcg/etc ./etc
  cvmfs get -r --jobs 64 /cvmfs/sft.cern.ch/lcg/a /cvmfs/sft.cern.ch/lcg/b /scratch"
)]
pub struct GetArgs {
    /// Copy directories with everything in them
    #[arg(short, long)]
    pub recursive: bool,
    /// Objects fetched at the same time
    #[arg(short, long, default_value_t = prefetch::JOBS)]
    pub jobs: usize,
    /// What to copy, then where to: a directory, or for a single source its new name
    #[arg(required = true, num_args = 2.., value_name = "SOURCE... DESTINATION")]
    pub paths: Vec<PathBuf>,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Files written.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files left alone because they were there.
    pub kept: u64,
    /// Directories, links and special files.
    pub others: u64,
    /// What could not be copied.
    pub failed: u64,
}

/// Runs `cvmfs get`.
pub fn run(args: &GetArgs, session: &Session, output: &mut Output) -> Result<()> {
    let Some((destination, sources)) = args.paths.split_last() else { bail!("no destination is given") };
    let into_directory = destination.is_dir();
    ensure!(sources.len() == 1 || into_directory, "{} is not a directory", destination.display());
    let mut copies = Vec::new();
    for source in sources {
        let resolved = session.resolve(source, LastLink::Follow).and_then(|node| {
            let needs_recursion = node.kind() == FileKind::Directory && !args.recursive;
            ensure!(!needs_recursion, "is a directory; -r copies it with everything in it");
            Ok(node)
        });
        let target = match (into_directory, source.file_name()) {
            (true, Some(name)) => destination.join(name),
            (true, None) => bail!("{} has no last name to copy to", source.display()),
            (false, _) => destination.clone(),
        };
        match resolved {
            Ok(node) => copies.push((node, target)),
            Err(error) => output.complain(source.as_os_str().as_bytes(), &error),
        }
    }
    let tally = copy_all(&copies, args.jobs, session, output)?;
    if output.json() {
        return output.print_json(&tally);
    }
    if !output.quiet() && args.recursive {
        let Tally { copied, bytes, kept, .. } = tally;
        writeln!(output, "{copied} files copied ({}), {kept} already there", human::size(bytes)).context("writing")?;
    }
    Ok(())
}

/// Copies each entry with everything below it; the copy is called by the path beside it, and may be there already.
///
/// What could not be copied is complained of in `output`. Changes this process's umask.
pub fn copy_all(copies: &[(Node, PathBuf)], jobs: usize, session: &Session, output: &mut Output) -> Result<Tally> {
    // Modes are those of the repository; what is not finished yet is open to nobody else.
    rustix::process::umask(rustix::fs::Mode::empty());
    fetch(copies, jobs, session, output)?;
    let mut tally = Tally::default();
    let mut complaints = Vec::new();
    for (node, target) in copies {
        let mut complain = |path: &[u8], error: anyhow::Error| complaints.push((path.to_vec(), error));
        Copier::new(target, &mut tally, &mut complain)?.copy(node)?;
    }
    tally.failed = complaints.len() as u64;
    complaints.iter().for_each(|(path, error)| output.complain(path, error));
    Ok(tally)
}

/// Brings everything into the cache, in parallel, so that copying waits for nothing.
fn fetch(copies: &[(Node, PathBuf)], jobs: usize, session: &Session, output: &Output) -> Result<()> {
    let mut bar = Progress::new(output, "{bar:30} {msg}");
    let options = libcvmfs::prefetch::Options { jobs, ..Default::default() };
    let starts = copies.iter().map(|(node, _)| libcvmfs::prefetch::Start::Tree(node.clone())).collect();
    // Failures come up again, with their paths, when the files are copied.
    libcvmfs::prefetch::prefetch(session.client(), starts, &options, &mut |at| {
        bar.set(at.bytes_done, at.bytes_found, prefetch::message(at));
    })?;
    Ok(())
}
