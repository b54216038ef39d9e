mod schema;

pub(super) use schema::Schema;

use super::error::CatalogError;
use super::statistics::Statistics;
use crate::database::{Database, text};
use crate::hash::ContentHash;
use rusqlite::Row;
use rusqlite::types::ValueRef;
use std::collections::HashMap;
use std::path::Path;

/// Seconds a catalog without `TTL` lives.
const DEFAULT_TTL: u32 = 240;

/// A published catalog: an SQLite file, opened read-only under the assumption that its author means harm.
pub struct SqliteCatalog {
    database: Database,
    schema: Schema,
    properties: HashMap<String, String>,
    root_prefix: Vec<u8>,
    statistics: Statistics,
}

impl SqliteCatalog {
    /// Opens the inflated file. Its hash was checked by whoever put it there.
    pub fn open(path: &Path) -> Result<SqliteCatalog, CatalogError> {
        let database = Database::open(path)?;
        let properties = database.properties()?;
        let schema = Schema::of(path, &properties)?;
        database.require_table("catalog")?;
        database.require_table("nested_catalogs")?;
        let mut counters = HashMap::new();
        if database.has_table("statistics") {
            database.rows("SELECT counter, value FROM statistics", |row| {
                counters.insert(text(row, 0), row.get_ref(1)?.as_i64().unwrap_or(0));
                Ok(())
            })?;
        }
        // A path, and so not always text.
        let mut root_prefix = Vec::new();
        database.rows("SELECT value FROM properties WHERE key = 'root_prefix'", |row| {
            if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(0)? {
                root_prefix = bytes.to_vec();
            }
            Ok(())
        })?;
        let statistics = Statistics::from_rows(&counters);
        let catalog = SqliteCatalog { database, schema, properties, root_prefix, statistics };
        if !is_prefix(catalog.root_prefix()) {
            let found = catalog.root_prefix().escape_ascii().take(200).map(char::from).collect();
            return Err(CatalogError::RootPrefix { path: path.to_owned(), found });
        }
        Ok(catalog)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.database.path()
    }

    /// A property as stored.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str)
    }

    fn number<N: std::str::FromStr>(&self, key: &str) -> Option<N> {
        self.property(key)?.trim().parse().ok()
    }

    /// The path of the catalog's root inside the repository: empty for a root catalog.
    pub fn root_prefix(&self) -> &[u8] {
        &self.root_prefix
    }

    /// The repository revision at which the catalog was written.
    pub fn revision(&self) -> u64 {
        self.number("revision").unwrap_or(0)
    }

    /// When the catalog was written, in seconds since 1970.
    pub fn last_modified(&self) -> i64 {
        self.number("last_modified").unwrap_or(0)
    }

    /// Time to live in seconds.
    pub fn ttl(&self) -> u32 {
        self.number("TTL").unwrap_or(DEFAULT_TTL)
    }

    /// Whether objects should be the first to leave a cache.
    pub fn is_volatile(&self) -> bool {
        self.number("volatile").is_some_and(|volatile: i64| volatile != 0)
    }

    /// The membership a user must have; empty if anybody may read.
    pub fn membership(&self) -> &str {
        self.property("voms_authz").unwrap_or("")
    }

    /// The branch; empty for the trunk.
    pub fn branch(&self) -> &str {
        self.property("branch").unwrap_or("")
    }

    /// The catalog that this one replaced; `None` for the first.
    pub fn previous_revision(&self) -> Option<ContentHash> {
        self.property("previous_revision").and_then(|text| ContentHash::parse(text).ok())
    }

    /// The counters.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Schema version in thousandths and schema revision.
    pub fn schema(&self) -> (u32, u32) {
        (self.schema.version, self.schema.revision)
    }

    pub(super) fn is_legacy(&self) -> bool {
        !self.schema.has_owners()
    }

    /// Every row of the catalog, in the columns that `row::Columns` knows.
    pub(super) fn entries(
        &self,
        visit: impl FnMut(&Row<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<(), CatalogError> {
        Ok(self.database.rows(&self.schema.entry_query(), visit)?)
    }

    /// Every chunk: both halves of the path hash, offset, size, hash.
    pub(super) fn chunks(
        &self,
        visit: impl FnMut(&Row<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<(), CatalogError> {
        if !self.schema.has_chunks() {
            return Ok(());
        }
        self.database.require_table("chunks")?;
        Ok(self.database.rows("SELECT md5path_1, md5path_2, offset, size, hash FROM chunks", visit)?)
    }

    /// Every nested catalog (false) and bind mount point (true): path, hash, size.
    pub(super) fn mounts(
        &self,
        mut visit: impl FnMut(bool, &Row<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<(), CatalogError> {
        let size = if self.schema.has_nested_size() { "size" } else { "0" };
        let query = |table: &str| format!("SELECT path, sha1, {size} FROM {table}");
        self.database.rows(&query("nested_catalogs"), |row| visit(false, row))?;
        if self.schema.has_bind_mount_points() {
            self.database.require_table("bind_mountpoints")?;
            self.database.rows(&query("bind_mountpoints"), |row| visit(true, row))?;
        }
        Ok(())
    }
}

/// Whether a text is empty or an absolute path without dots, empty components and zero bytes.
fn is_prefix(text: &[u8]) -> bool {
    text.is_empty() || text.strip_prefix(b"/").is_some_and(|rest| rest.split(|&b| b == b'/').all(super::row::is_name))
}
