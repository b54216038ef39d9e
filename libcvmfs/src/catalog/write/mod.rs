//! Catalogs in the making: an SQLite file of one's own, new or a copy of a published one, changed and then sealed.
//!
//! The file is scratch until it is published: it is written without any safety against crashes.

mod count;
mod row;
mod schema;
mod seen;

pub use crate::database::PAGE_SIZE;
pub use row::{ChunkRow, Flags, Link, LinkTable, Row};
pub use seen::PathSet;

use super::statistics::Statistics;
use super::{CatalogError, SqliteCatalog};
use crate::database::{self, DatabaseError};
use crate::error::{Origin, Retry};
use crate::hash::PathHash;
use row::Text;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What stands for the missing predecessor of a catalog.
const NO_PREDECESSOR: &str = "0000000000000000000000000000000000000000";

/// Why a catalog cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// SQLite failed: the disk is full, or the file is damaged.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The published catalog that is to be changed cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The published catalog is too old to be changed.
    #[error("catalog {} has schema {}.{:03}, only 2.5 can be changed", path.display(), version / 1000, version % 1000)]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema version in thousandths.
        version: u32,
    },
}

impl WriteError {
    /// Who failed.
    pub fn origin(&self) -> Origin {
        match self {
            WriteError::Database(error) => error.origin(),
            WriteError::Catalog(error) => error.origin(),
            WriteError::Schema { .. } => Origin::Content,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            WriteError::Database(error) => error.retry(),
            WriteError::Catalog(error) => error.retry(),
            WriteError::Schema { .. } => Retry::Never,
        }
    }
}

/// A catalog that can be changed. Nothing is kept that was not ended by [`CatalogWriter::finish`].
pub struct CatalogWriter {
    connection: Connection,
    path: PathBuf,
}

impl CatalogWriter {
    /// Makes a new, empty catalog at `path`, where no file may be. `page_size` is in bytes, see [`PAGE_SIZE`].
    pub fn create(path: &Path, page_size: u32) -> Result<CatalogWriter, WriteError> {
        let writer = CatalogWriter::connect(path, true, page_size)?;
        writer.run(schema::CREATE)?;
        Ok(writer)
    }

    /// Goes on with a published catalog: `path` is an inflated copy of it, whose hash was checked.
    pub fn open(path: &Path) -> Result<CatalogWriter, WriteError> {
        let (version, revision) = SqliteCatalog::open(path)?.schema();
        if version != 2500 {
            return Err(WriteError::Schema { path: path.to_owned(), version });
        }
        let writer = CatalogWriter::connect(path, false, PAGE_SIZE)?;
        for step in schema::UPGRADES.iter().filter(|step| revision < step.revision) {
            writer.run(step.statements)?;
        }
        if revision < schema::REVISION {
            writer.set_property("schema_revision", schema::REVISION.to_string())?;
        }
        Ok(writer)
    }

    /// Goes on with a file that this process wrote and finished.
    pub fn reopen(path: &Path) -> Result<CatalogWriter, WriteError> {
        CatalogWriter::connect(path, false, PAGE_SIZE)
    }

    fn connect(path: &Path, new: bool, page_size: u32) -> Result<CatalogWriter, WriteError> {
        Ok(CatalogWriter { connection: database::scratch(path, new, page_size)?, path: path.to_owned() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn run(&self, statements: &str) -> Result<(), WriteError> {
        self.connection.execute_batch(statements).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> WriteError {
        DatabaseError::Write { path: self.path.clone(), source }.into()
    }

    fn execute(&self, statement: &str, values: impl rusqlite::Params) -> Result<usize, WriteError> {
        let run = || self.connection.prepare_cached(statement)?.execute(values);
        run().map_err(|source| self.failed(source))
    }

    fn query<T>(
        &self,
        statement: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, WriteError> {
        let run = || {
            self.connection.prepare_cached(statement)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>()
        };
        run().map_err(|source| self.failed(source))
    }

    /// A property as stored.
    pub fn property(&self, key: &str) -> Result<Option<String>, WriteError> {
        let statement = "SELECT CAST(value AS TEXT) FROM properties WHERE key = ?1";
        let run = || self.connection.prepare_cached(statement)?.query_row([key], |row| row.get(0)).optional();
        run().map_err(|source| self.failed(source))
    }

    /// The path of the catalog's root inside the repository, which need not be text; empty for a root catalog.
    pub fn root_prefix(&self) -> Result<Vec<u8>, WriteError> {
        let statement = "SELECT CAST(value AS BLOB) FROM properties WHERE key = 'root_prefix'";
        Ok(self.query(statement, [], |row| row.get::<_, Option<Vec<u8>>>(0))?.pop().flatten().unwrap_or_default())
    }

    /// Sets a property.
    pub fn set_property(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), WriteError> {
        let statement = "INSERT INTO properties (key, value) VALUES (?1, ?2)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.execute(statement, params![key, Text(value.as_ref())]).map(drop)
    }

    /// Sets what a catalog says about its own making: when (seconds since 1970), which revision of itself, and the hash of
    /// the one before, if there is one.
    pub fn set_revision(
        &self,
        modified: u64,
        revision: u64,
        previous: Option<crate::hash::ContentHash>,
    ) -> Result<(), WriteError> {
        self.set_property("last_modified", modified.to_string())?;
        self.set_property("revision", revision.to_string())?;
        let previous = previous.map_or_else(|| NO_PREDECESSOR.to_owned(), |hash| hash.to_string());
        self.set_property("previous_revision", previous)
    }

    /// The row of a path.
    pub fn row(&self, path: PathHash) -> Result<Option<Row>, WriteError> {
        let (first, second) = path.columns();
        let statement = concat!("SELECT ", row::columns!(), " FROM catalog WHERE md5path_1 = ?1 AND md5path_2 = ?2");
        Ok(self.query(statement, [first, second], row::read)?.pop())
    }

    /// What is in a directory, in no order.
    pub fn children(&self, directory: PathHash) -> Result<Vec<Row>, WriteError> {
        let (first, second) = directory.columns();
        let statement = concat!("SELECT ", row::columns!(), " FROM catalog WHERE parent_1 = ?1 AND parent_2 = ?2");
        self.query(statement, [first, second], row::read)
    }

    /// Adds a row, or replaces the one of the same path. Chunks are a thing of their own.
    pub fn put(&self, row: &Row) -> Result<(), WriteError> {
        self.execute(row::UPSERT, rusqlite::params_from_iter(row::values(row))).map(drop)
    }

    /// Removes the row and the chunks of a path.
    pub fn remove(&self, path: PathHash) -> Result<(), WriteError> {
        let (first, second) = path.columns();
        self.remove_chunks(path)?;
        self.execute("DELETE FROM catalog WHERE md5path_1 = ?1 AND md5path_2 = ?2", [first, second]).map(drop)
    }

    /// The chunks of a file in order.
    pub fn chunks(&self, path: PathHash) -> Result<Vec<ChunkRow>, WriteError> {
        let (first, second) = path.columns();
        let statement = "SELECT offset, size, hash FROM chunks WHERE md5path_1 = ?1 AND md5path_2 = ?2 ORDER BY offset";
        self.query(statement, [first, second], row::read_chunk)
    }

    /// Replaces the chunks of a file.
    pub fn put_chunks(&self, path: PathHash, chunks: &[ChunkRow]) -> Result<(), WriteError> {
        self.remove_chunks(path)?;
        let (first, second) = path.columns();
        for chunk in chunks {
            let statement = "INSERT INTO chunks (md5path_1, md5path_2, offset, size, hash) VALUES (?1, ?2, ?3, ?4, ?5)";
            let (offset, size) = (chunk.offset as i64, chunk.size as i64);
            self.execute(statement, params![first, second, offset, size, chunk.digest])?;
        }
        Ok(())
    }

    fn remove_chunks(&self, path: PathHash) -> Result<(), WriteError> {
        let (first, second) = path.columns();
        self.execute("DELETE FROM chunks WHERE md5path_1 = ?1 AND md5path_2 = ?2", [first, second]).map(drop)
    }

    /// The catalogs mounted in this one.
    pub fn links(&self, table: LinkTable) -> Result<Vec<Link>, WriteError> {
        let statement = format!("SELECT path, sha1, size FROM {} ORDER BY path", table.name());
        self.query(&statement, [], row::read_link)
    }

    /// The catalog mounted at a path.
    pub fn link(&self, table: LinkTable, path: &[u8]) -> Result<Option<Link>, WriteError> {
        let statement = format!("SELECT path, sha1, size FROM {} WHERE path = ?1", table.name());
        Ok(self.query(&statement, params![Text(path)], row::read_link)?.pop())
    }

    /// Adds a mounted catalog, or replaces the one at the same path.
    pub fn put_link(&self, table: LinkTable, link: &Link) -> Result<(), WriteError> {
        let statement = format!(
            "INSERT INTO {} (path, sha1, size) VALUES (?1, ?2, ?3)
             ON CONFLICT (path) DO UPDATE SET sha1 = excluded.sha1, size = excluded.size",
            table.name()
        );
        let hash = link.hash.map(|hash| hash.to_string()).unwrap_or_default();
        self.execute(&statement, params![Text(&link.path), hash, link.size as i64]).map(drop)
    }

    /// Removes a mounted catalog.
    pub fn remove_link(&self, table: LinkTable, path: &[u8]) -> Result<(), WriteError> {
        let statement = format!("DELETE FROM {} WHERE path = ?1", table.name());
        self.execute(&statement, params![Text(path)]).map(drop)
    }

    /// The statistics as they are stored.
    pub fn statistics(&self) -> Result<Statistics, WriteError> {
        let rows = self.query("SELECT counter, value FROM statistics", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Statistics::from_rows(&rows.into_iter().collect()))
    }

    /// Writes the statistics.
    pub fn set_statistics(&self, statistics: &Statistics) -> Result<(), WriteError> {
        for (prefix, counters) in [("self", statistics.own), ("subtree", statistics.subtree)] {
            for (name, value) in counters.iter() {
                let statement = "INSERT INTO statistics (counter, value) VALUES (?1, ?2)
                    ON CONFLICT (counter) DO UPDATE SET value = excluded.value";
                self.execute(statement, params![format!("{prefix}_{name}"), value])?;
            }
        }
        Ok(())
    }

    /// Keeps the changes and closes the file, to go on later.
    pub fn close(self) -> Result<(), WriteError> {
        self.run("COMMIT")
    }

    /// Ends the changes and closes the file; returns its size in bytes. A file with much unused room in it is packed.
    pub fn finish(self) -> Result<u64, WriteError> {
        self.run("COMMIT")?;
        if self.is_wasteful()? {
            self.run("VACUUM")?;
        }
        let path = self.path.clone();
        drop(self);
        let failed = |source: std::io::Error| {
            let source = rusqlite::Error::ToSqlConversionFailure(Box::new(source));
            DatabaseError::Write { path: path.clone(), source }
        };
        Ok(std::fs::metadata(&path).map_err(failed)?.len())
    }

    /// The official publisher's rule: more than a fifth of the pages are free, or a quarter of the row numbers unused.
    fn is_wasteful(&self) -> Result<bool, WriteError> {
        let number = |statement: &str| -> Result<i64, WriteError> {
            let found = self.connection.query_row(statement, [], |row| row.get::<_, Option<i64>>(0));
            Ok(found.map_err(|source| self.failed(source))?.unwrap_or(0))
        };
        let (free, pages) = (number("PRAGMA freelist_count")?, number("PRAGMA page_count")?);
        let (last, rows) = (number("SELECT max(rowid) FROM catalog")?, number("SELECT count(*) FROM catalog")?);
        Ok(free * 5 > pages || (last - rows) * 4 > last)
    }
}

#[cfg(test)]
mod tests;
