//! Groups publish over HTTP, each into its own paths of a repository that they share.
//!
//! | module | job |
//! |---|---|
//! | [`route`] | which path and method means what |
//! | [`answer`](mod@answer) | from a request to a reply |
//! | [`actions`] | what is done at once |
//! | [`token`] | who may do what |
//! | [`path`], [`lease`] | where who publishes, and for how long |
//! | [`upload`], [`inspect`] | archives come in, and are looked at |
//! | [`job`], [`work`] | what takes longer |
//! | [`problem`] | why something was refused |
//! | [`note`] | what survives a restart |

pub mod actions;
pub mod answer;
pub mod inspect;
pub mod job;
pub mod lease;
pub mod note;
pub mod path;
pub mod problem;
pub mod route;
pub mod token;
pub mod upload;
pub mod work;

use crate::http::{Limits, Listener};
use crate::source::Owners;
use anyhow::{Context as _, Result, bail};
use job::{Jobs, Worker};
use lease::Leases;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File};
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use token::Tokens;
use work::Workshop;

/// The description of the API, in OpenAPI 3.1.
pub const DESCRIPTION: &str = include_str!("openapi.json");
/// Unfinished jobs of a group.
const JOBS_OF_A_GROUP: usize = 100;

/// What to manage, and within which limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A directory of repositories, each under its name.
    pub directory: PathBuf,
    /// The directory with their keys.
    pub keys: PathBuf,
    /// The private master key, if it is kept elsewhere; for new repositories only.
    pub master_key: Option<PathBuf>,
    /// The file with the tokens.
    pub tokens: PathBuf,
    /// A directory for leases, jobs and uploads; made if absent.
    pub state: PathBuf,
    /// Address and port.
    pub listen: SocketAddr,
    /// What clients may take up.
    pub limits: Limits,
    /// Seconds that a lease lasts at most.
    pub longest_lease: u64,
    /// Leases that a group has at most.
    pub leases: usize,
    /// Most bytes of an archive as it is sent.
    pub largest_upload: u64,
    /// Most bytes of an archive once it is decompressed.
    pub largest_tree: u64,
    /// Who owns what is published.
    pub owners: Owners,
    /// Jobs that are done at the same time, each for another repository.
    pub jobs: usize,
    /// Threads that compress in each of them.
    pub threads: usize,
}

/// What requests share.
pub struct Manager {
    tokens: Tokens,
    leases: Arc<Leases>,
    jobs: Arc<Jobs>,
    workshop: Arc<Workshop>,
    uploads: PathBuf,
    largest_upload: u64,
}

/// A service that listens but does not answer yet.
pub struct Service {
    listener: Listener,
    manager: Arc<Manager>,
    threads: Vec<JoinHandle<()>>,
    _alone: File,
}

impl Service {
    /// Begins to listen.
    pub async fn bind(settings: &Settings) -> Result<Service> {
        private_directory(&settings.state)?;
        let alone = alone(&settings.state)?;
        let tokens = Tokens::new(&settings.tokens);
        tokens.all()?;
        let metadata = std::fs::metadata(&settings.directory);
        if !metadata.with_context(|| settings.directory.display().to_string())?.is_dir() {
            bail!("{} is no directory", settings.directory.display());
        }
        let uploads = settings.state.join("uploads");
        private_directory(&uploads)?;
        // Of a service that was killed.
        for entry in std::fs::read_dir(&uploads)?.flatten() {
            let _ = std::fs::remove_file(entry.path());
        }
        let leases = Leases::open(&settings.state.join("leases.json"), settings.longest_lease, settings.leases)?;
        let workshop = Arc::new(Workshop {
            directory: settings.directory.clone(),
            keys: settings.keys.clone(),
            master_key: settings.master_key.clone(),
            owners: settings.owners.clone(),
            threads: settings.threads,
            largest_tree: settings.largest_tree,
        });
        let jobs = Arc::new(Jobs::open(&settings.state.join("jobs"), JOBS_OF_A_GROUP)?);
        let listener = Listener::bind(settings.listen, settings.limits).await?;
        let shop = Arc::clone(&workshop);
        let work: Arc<Worker> = Arc::new(move |order, off, watch| shop.work(order, off, watch));
        let threads = jobs.start(settings.jobs, &work)?;
        let largest_upload = settings.largest_upload;
        let manager = Manager { tokens, leases: Arc::new(leases), jobs, workshop, uploads, largest_upload };
        Ok(Service { listener, manager: Arc::new(manager), threads, _alone: alone })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.address()
    }

    /// Answers until `stop` is done. Jobs that run then are called off; what they publish is published or not.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Service { listener, manager, threads, _alone } = self;
        let jobs = Arc::clone(&manager.jobs);
        let stop = async {
            stop.await;
            jobs.stop();
        };
        listener.run(stop, move |peer, request| answer::answer(Arc::clone(&manager), peer, request)).await;
        tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await?;
        Ok(())
    }
}

/// Makes a directory that nobody else can look into.
fn private_directory(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| directory.display().to_string())
}

/// Two services with the same leases would each believe their own.
fn alone(state: &Path) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(state.join("lock"))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another service uses {}", state.display());
    }
    Ok(file)
}
