//! Published SQLite files, opened as what they are: somebody else's bytes.
//!
//! The hash of such a file was checked, so it is what the publisher signed; that does not make it well-formed. It is
//! opened read-only and immutable, without views, triggers, virtual tables or mapped memory, under limits of length,
//! rows and time.

use crate::error::{Origin, Retry};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// A million rows take seconds; who needs longer than this is not reading a catalog.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// SQLite's virtual machine looks at the clock after this many instructions.
const INSTRUCTIONS_BETWEEN_LOOKS: i32 = 50_000;
/// Longest text or blob in bytes; packed extended attributes are the longest, with at most 130 052.
const LENGTH_LIMIT: i32 = 1 << 20;
/// Fewer bytes than any row of a published table takes.
const LEAST_ROW_LEN: u64 = 8;

/// Why a published SQLite file cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The local file cannot be opened.
    #[error("opening {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The content is not an SQLite database at all.
    #[error("{} is not an SQLite database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is an SQLite database, but damaged or not laid out as expected.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A table is missing, or is a view or a virtual table.
    #[error("{} has no table '{table}'", path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
    },
    /// More rows than the file has room for: its pages are chained in circles.
    #[error("{} claims to have more rows than fit into it", path.display())]
    TooManyRows {
        /// The file.
        path: PathBuf,
    },
    /// A file of one's own cannot be written: the disk is full, or the file is damaged.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Reading took too long.
    #[error("{} could not be read within {} s", path.display(), TIME_LIMIT.as_secs())]
    TimeLimit {
        /// The file.
        path: PathBuf,
    },
}

impl DatabaseError {
    /// Who failed.
    pub fn origin(&self) -> Origin {
        match self {
            DatabaseError::Open { .. } | DatabaseError::Write { .. } => Origin::Cache,
            _ => Origin::Content,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            DatabaseError::Open { .. } | DatabaseError::Write { .. } | DatabaseError::TimeLimit { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// Opens an SQLite file that is one's own and scratch until it is published: without any safety against crashes, and
/// with a transaction begun. `page_size` in bytes counts for new files only.
pub(crate) fn scratch(path: &Path, new: bool, page_size: u32) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::Write { path: path.to_owned(), source };
    let create = if new { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    // The cache takes 32 MiB at most; what does not fit goes to the file early.
    let settings = format!(
        "PRAGMA page_size = {page_size}; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;
         PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -32768; PRAGMA foreign_keys = OFF; BEGIN;"
    );
    connection.execute_batch(&settings).map_err(failed)?;
    Ok(connection)
}

/// Bytes of a database page: the official publishers'.
pub const PAGE_SIZE: u32 = 1024;

/// An open published SQLite file.
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
    tables: HashSet<String>,
    row_limit: u64,
}

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Database, DatabaseError> {
        let open = |source| DatabaseError::Open { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(immutable_uri(path), flags).map_err(open)?;
        harden(&connection).map_err(open)?;
        let len = std::fs::metadata(path).map_or(0, |m| m.len());
        let mut database =
            Database { connection, path: path.to_owned(), tables: HashSet::new(), row_limit: len / LEAST_ROW_LEN };
        let mut tables = HashSet::new();
        // Only tables with pages of their own: no views, no virtual tables.
        database.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0", |row| {
            tables.insert(text(row, 0));
            Ok(())
        })?;
        database.tables = tables;
        Ok(database)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn has_table(&self, table: &str) -> bool {
        self.tables.contains(table)
    }

    pub(crate) fn require_table(&self, table: &'static str) -> Result<(), DatabaseError> {
        match self.has_table(table) {
            true => Ok(()),
            false => Err(DatabaseError::NoTable { path: self.path.clone(), table }),
        }
    }

    /// All properties, numbers in their textual form.
    pub(crate) fn properties(&self) -> Result<HashMap<String, String>, DatabaseError> {
        self.require_table("properties")?;
        let mut properties = HashMap::new();
        self.rows("SELECT key, value FROM properties", |row| {
            properties.insert(text(row, 0), text(row, 1));
            Ok(())
        })?;
        Ok(properties)
    }

    /// Shows every row of a query's result to `visit`.
    pub(crate) fn rows(
        &self,
        sql: &str,
        mut visit: impl FnMut(&Row<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<(), DatabaseError> {
        let mut statement = self.connection.prepare(sql).map_err(|e| self.error(e))?;
        let mut rows = statement.raw_query();
        let mut left = self.row_limit;
        while let Some(row) = rows.next().map_err(|e| self.error(e))? {
            left = left.checked_sub(1).ok_or_else(|| DatabaseError::TooManyRows { path: self.path.clone() })?;
            visit(row).map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    fn error(&self, source: rusqlite::Error) -> DatabaseError {
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => DatabaseError::NotADatabase { path },
            Some(ErrorCode::OperationInterrupted) => DatabaseError::TimeLimit { path },
            Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => {
                DatabaseError::Open { path, source }
            }
            _ => DatabaseError::Malformed { path, source },
        }
    }
}

/// A text or number as text; anything else is empty.
pub(crate) fn text(row: &Row<'_>, column: usize) -> String {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Real(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn immutable_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1&mode=ro");
    uri
}

fn harden(connection: &Connection) -> Result<(), rusqlite::Error> {
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    ] {
        connection.set_db_config(option, value)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, LENGTH_LIMIT),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 16),
        (Limit::SQLITE_LIMIT_COLUMN, 64),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 16),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 4),
        (Limit::SQLITE_LIMIT_VDBE_OP, 10_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 8),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection.execute_batch(
        "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;",
    )?;
    let deadline = Instant::now() + TIME_LIMIT;
    connection.progress_handler(INSTRUCTIONS_BETWEEN_LOOKS, Some(move || Instant::now() > deadline));
    Ok(())
}
