//! Transactions: a note in the storage that keeps other publishers away for longer than one command takes.

use crate::repository::Repository;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// The note.
const NOTE: &str = ".cvmfs_transaction";
/// Most bytes of it.
const LIMIT: usize = 64 << 10;

/// Who holds the repository, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The user and the machine; whoever is the same may go on with it.
    pub owner: String,
    /// When it was begun, for people.
    pub since: String,
    /// The branch that is published to, and the tag that it begins with if it is new; `None` is the trunk.
    pub branch: Option<Branch>,
}

/// A line of development beside the trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// The tag to begin with; otherwise the branch goes on where it is.
    pub from: Option<String>,
}

impl std::fmt::Display for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} since {}", self.owner, self.since)
    }
}

/// Begins a transaction; an error names the one that is open.
pub fn begin(repository: &Repository, branch: Option<Branch>) -> Result<Transaction> {
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let transaction = Transaction { owner: crate::user(), since, branch };
    if repository.storage.create(NOTE, &serde_json::to_vec(&transaction)?)? {
        return Ok(transaction);
    }
    match current(repository)? {
        Some(other) => bail!("a transaction is open: {other}"),
        None => bail!("a transaction was open just now: try again"),
    }
}

/// The transaction that is open.
pub fn current(repository: &Repository) -> Result<Option<Transaction>> {
    match crate::storage::read_small(&*repository.storage, NOTE, LIMIT)? {
        Some(bytes) => serde_json::from_slice(&bytes).map(Some).context("the note of the open transaction is damaged"),
        None => Ok(None),
    }
}

/// The transaction that is open if it is one's own; an error if it is somebody else's.
pub fn own(repository: &Repository) -> Result<Option<Transaction>> {
    match current(repository)? {
        Some(other) if other.owner != crate::user() => {
            bail!("{other} has a transaction open on {}", repository.storage.describe())
        }
        transaction => Ok(transaction),
    }
}

/// Ends the transaction, whatever came of it; false if there is none.
pub fn end(repository: &Repository) -> Result<bool> {
    Ok(repository.storage.delete(NOTE)?)
}
