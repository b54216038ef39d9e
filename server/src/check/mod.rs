//! Is everything there that clients may ask for, and is it what it should be?
//!
//! Nothing is changed, and no key but the public one is needed.

mod data;
mod letters;
mod rows;
mod tree;

use crate::catalogs::{Marks, Mounted};
use crate::repository::Repository;
use anyhow::Result;
use libcvmfs::catalog::Counters;
use libcvmfs::hash::ContentHash;
use serde::Serialize;
use std::collections::HashMap;

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Not only the newest revision, but all that have a name.
    pub all_tags: bool,
    /// Read every object to its end: hash, compression, size.
    pub read_data: bool,
    /// Threads that look at objects.
    pub threads: usize,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: a path in the repository, or a file of the storage.
    pub place: String,
    /// What.
    pub problem: String,
}

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The newest revision; 0 if it could not be told.
    pub revision: u64,
    /// Root catalogs that were walked.
    pub roots: u64,
    /// Catalogs, each counted once.
    pub catalogs: u64,
    /// Rows of these catalogs.
    pub entries: u64,
    /// Objects of files, each counted once.
    pub objects: u64,
    /// Plain bytes that the files of the catalogs have.
    pub bytes: u64,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Looks at the whole repository. `watch` is told after each catalog; an error means that the check itself could not be done.
pub fn check(repository: &Repository, settings: Settings, watch: &mut dyn FnMut(&Report)) -> Result<Report> {
    let mut checker = Checker {
        repository,
        settings,
        marks: Marks::default(),
        seen: HashMap::new(),
        waiting: Vec::new(),
        report: Report::default(),
    };
    if let Some(roots) = checker.letters() {
        for root in roots {
            checker.report.roots += 1;
            checker.tree(root, watch)?;
        }
    }
    Ok(checker.report)
}

/// What a catalog that was looked at says of itself.
struct Seen {
    own: Counters,
    below: Counters,
    /// The catalogs mounted in it, with their paths.
    nested: Vec<(ContentHash, String)>,
    /// Where it was found.
    path: Vec<u8>,
    place: String,
    /// Older schemas do not count everything.
    counts_all: bool,
}

struct Checker<'r> {
    repository: &'r Repository,
    settings: Settings,
    /// Objects that were looked at.
    marks: Marks,
    seen: HashMap<ContentHash, Seen>,
    /// Catalogs still to be looked at.
    waiting: Vec<tree::Waiting>,
    report: Report,
}

impl Checker<'_> {
    fn note(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        let finding = Finding { place: place.into(), problem: problem.into() };
        log::debug!("{}: {}", finding.place, finding.problem);
        self.report.findings.push(finding);
    }

    /// Notes an error; `None` if there is one.
    fn attempt<T>(&mut self, place: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(place, format!("{error:#}"));
                None
            }
        }
    }
}

/// Root catalogs to begin with.
type Roots = Vec<Mounted>;
