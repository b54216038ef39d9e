//! A set of paths on disk.

use super::WriteError;
use crate::database::{self, DatabaseError};
use crate::hash::PathHash;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

/// A set of paths that takes no memory to speak of, however many there are.
pub struct PathSet {
    connection: Connection,
    path: PathBuf,
}

impl PathSet {
    /// An empty set in the new file `path`.
    pub fn create(path: &Path) -> Result<PathSet, WriteError> {
        let set = PathSet { connection: database::scratch(path, true, 4096)?, path: path.to_owned() };
        let table = "CREATE TABLE paths (a INTEGER, b INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID";
        set.connection.execute_batch(table).map_err(|source| set.failed(source))?;
        Ok(set)
    }

    fn failed(&self, source: rusqlite::Error) -> WriteError {
        DatabaseError::Write { path: self.path.clone(), source }.into()
    }

    /// Adds a path.
    pub fn insert(&self, path: PathHash) -> Result<(), WriteError> {
        let (first, second) = path.columns();
        let run =
            || self.connection.prepare_cached("INSERT OR IGNORE INTO paths VALUES (?1, ?2)")?.execute([first, second]);
        run().map(drop).map_err(|source| self.failed(source))
    }

    /// Whether a path is in it.
    pub fn contains(&self, path: PathHash) -> Result<bool, WriteError> {
        let (first, second) = path.columns();
        let run = || {
            let mut statement = self.connection.prepare_cached("SELECT 1 FROM paths WHERE a = ?1 AND b = ?2")?;
            statement.exists(params![first, second])
        };
        run().map_err(|source| self.failed(source))
    }
}
