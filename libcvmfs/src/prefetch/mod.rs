//! Brings trees and lists of objects into the cache, many at a time, over kept connections.
//!
//! What is there already is not fetched again, so an interrupted run goes on where it was. Everything is verified on
//! its way in. With [`Options::chunks_apart`] and a cache opened for the purpose ([`preload`]) the result is a
//! directory in the official layout that another machine can use without a network.

mod agenda;
mod fetch;
pub mod list;
pub mod preload;
mod record;
mod record_file;
mod replay;

pub use list::{Line, ListError, ListedObject, ListedSnapshot};
pub use record::Record;
pub use record_file::RecordFile;
pub use replay::starts;

use crate::Error;
use crate::client::Client;
use crate::fqrn::Fqrn;
use crate::namespace::Node;
use agenda::Agenda;
use fetch::Worker;
use std::time::Duration;

/// Objects fetched at the same time unless something else is asked for: latency of distant servers, not their
/// bandwidth, is what a single transfer waits for.
pub const DEFAULT_JOBS: usize = 32;

/// Time between two looks at the progress.
const TICK: Duration = Duration::from_millis(100);

/// How to prefetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Objects fetched at the same time, each over its own connection.
    pub jobs: usize,
    /// Fetch catalogs only, and count what files there are and which of them the cache lacks.
    pub dry_run: bool,
    /// Keep the chunks of large files as objects of their own, as official clients and preloaders do, instead of
    /// putting the files together.
    pub chunks_apart: bool,
    /// Read again what is in the cache already, and replace what is damaged.
    pub verify: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { jobs: DEFAULT_JOBS, dry_run: false, chunks_apart: false, verify: false }
    }
}

/// What to bring into the cache.
#[derive(Debug, Clone)]
pub enum Start {
    /// An entry with everything below it.
    Tree(Node),
    /// An entry alone: a file, or the catalog that lists a directory.
    Entry(Node),
    /// An object by its name.
    Object(ListedObject),
}

/// How far it has come. Bytes are plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Directories listed.
    pub directories: u64,
    /// Different contents found so far: files, or chunks where these are kept apart.
    pub found: u64,
    /// Their bytes.
    pub bytes_found: u64,
    /// Of these, how many are dealt with.
    pub done: u64,
    /// Their bytes.
    pub bytes_done: u64,
    /// Of these, how many had to be fetched (in a dry run: would have to be).
    pub fetched: u64,
    /// Their bytes.
    pub bytes_fetched: u64,
    /// Of the others, how many were damaged in the cache and replaced.
    pub replaced: u64,
    /// How many could not be fetched, and directories that could not be listed.
    pub failed: u64,
}

/// Something that could not be brought into the cache.
#[derive(Debug)]
pub struct Failure {
    /// Path below the mount directory, or the name of an object.
    pub what: Vec<u8>,
    /// Why.
    pub error: Error,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Summary {
    /// The final counts.
    pub progress: Progress,
    /// Everything that failed. A full disk ends the run; other failures do not.
    pub failures: Vec<Failure>,
}

/// Brings everything into the cache and returns when it is there; tells `observe` ten times a second how far it is.
///
/// # Errors
/// Those of mounting a repository that is named by an object. What fails later is in the summary.
pub fn prefetch(
    client: &Client,
    starts: Vec<Start>,
    options: &Options,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Summary, Error> {
    let agenda = Agenda::new();
    let worker = Worker { client, options, agenda: &agenda };
    for start in starts {
        worker.begin(start)?;
    }
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| worker.work());
        }
        while !agenda.wait_for_end(TICK) {
            observe(&agenda.progress());
        }
    });
    let summary = agenda.summary();
    observe(&summary.progress);
    Ok(summary)
}

/// The repositories that the starting points belong to, each once.
pub fn repositories(starts: &[Start]) -> Vec<Fqrn> {
    let of_start = |start: &Start| match start {
        Start::Tree(node) | Start::Entry(node) => node.fqrn().cloned(),
        Start::Object(object) => Some(object.repository.clone()),
    };
    let mut repositories: Vec<Fqrn> = starts.iter().filter_map(of_start).collect();
    repositories.sort();
    repositories.dedup();
    repositories
}
