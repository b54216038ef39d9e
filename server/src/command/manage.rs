//! `manage`.

use super::service::{self, ListenArgs};
use crate::manage::{Service, Settings};
use crate::source::Owners;
use anyhow::Result;
use clap::Args;
use cvmfs_command::output::Output;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What `manage` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Groups take a lease for a path, send archives that are published there, and give the lease back. A token says
who may do what: see 'token'. The API is described at /openapi.json. There is no TLS: put a web server in front.

  cvmfs-server token add physics --publish my.repo.example:/physics --tokens tokens.json
  cvmfs-server manage /srv --keys ~/keys --tokens tokens.json --state ./state"
)]
pub struct ManageArgs {
    /// A directory with repositories in it, each under its name; new ones are made there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Directory with their keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// The private master key, if it is kept elsewhere; needed for new repositories only
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// The file with the tokens; it is read again when it changes
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// Directory for leases, jobs and uploads; made if absent
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Address and port; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    #[command(flatten)]
    limits: ListenArgs,
    /// Longest lease
    #[arg(long, value_name = "SECONDS", default_value_t = 24 * 60 * 60, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    longest_lease: u64,
    /// Most leases of a group
    #[arg(long, value_name = "N", default_value_t = 100)]
    leases: usize,
    /// Most bytes of an archive as it is sent
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 30)]
    largest_upload: u64,
    /// Most bytes of an archive once it is decompressed
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30)]
    largest_tree: u64,
    /// Who owns what is published: UID:GID for all, or a file with lines 'user FROM TO' and 'group FROM TO' (* for all others)
    #[arg(long, value_name = "MAP")]
    owner_map: Option<String>,
    /// Jobs at the same time, each for another repository
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Threads that compress in each of them; by default one for each processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl ManageArgs {
    fn settings(&self) -> Result<Settings> {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Settings {
            directory: self.directory.clone(),
            keys: self.keys.clone(),
            master_key: self.master_key.clone(),
            tokens: self.tokens.clone(),
            state: self.state.clone(),
            listen: self.listen,
            limits: self.limits.limits(),
            longest_lease: self.longest_lease,
            leases: self.leases,
            largest_upload: self.largest_upload,
            largest_tree: self.largest_tree,
            owners: self.owner_map.as_deref().map(Owners::parse).transpose()?.unwrap_or_default(),
            jobs: usize::from(self.jobs),
            threads: self.threads.map_or_else(processors, usize::from),
        })
    }
}

/// Runs `manage` until it is interrupted or terminated.
pub fn run(args: &ManageArgs, out: &mut Output) -> Result<()> {
    let settings = args.settings()?;
    service::run(async {
        let stop = service::stop()?;
        let service = Service::bind(&settings).await?;
        service::tell(out, service.address()?, "/api/v1/");
        service.run(stop).await
    })
}
