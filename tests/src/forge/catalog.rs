use libcvmfs::hash::{ContentHash, PathHash};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql, params};
use std::path::Path;

pub(super) const DIRECTORY: u32 = 0x1;
pub(super) const MOUNT_POINT: u32 = 0x2;
pub(super) const FILE: u32 = 0x4;
pub(super) const LINK: u32 = 0x8;
pub(super) const SPECIAL: u32 = 0x10;
pub(super) const NESTED_ROOT: u32 = 0x20;
pub(super) const CHUNKED: u32 = 0x40;
pub(super) const EXTERNAL: u32 = 0x80;
pub(super) const UNCOMPRESSED: u32 = 1 << 11;
pub(super) const BIND: u32 = 0x4000;
pub(super) const HIDDEN: u32 = 0x8000;

const SCHEMA: &str = "
    CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
    CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER,
        hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER, flags INTEGER,
        name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB,
        CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2));
    CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2);
    CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB,
        CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size),
        FOREIGN KEY (md5path_1, md5path_2) REFERENCES catalog(md5path_1, md5path_2));
    CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, size INTEGER, CONSTRAINT pk_nested_catalogs PRIMARY KEY (path));
    CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER,
        CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path));
    CREATE TABLE statistics (counter TEXT, value INTEGER, CONSTRAINT pk_statistics PRIMARY KEY (counter));
    INSERT INTO properties VALUES ('schema', '2.5'), ('schema_revision', '7');
";

/// Bytes in a column of text, UTF-8 or not.
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// A row of table `catalog`.
pub(super) struct Row<'a> {
    pub(super) path: &'a [u8],
    pub(super) parent: Option<&'a [u8]>,
    pub(super) hardlinks: u64,
    pub(super) hash: Option<ContentHash>,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) mtime: i64,
    pub(super) mtime_ns: Option<u32>,
    pub(super) flags: u32,
    pub(super) name: &'a [u8],
    pub(super) symlink: &'a [u8],
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) xattr: Option<Vec<u8>>,
}

/// What table `statistics` counts, once for the catalog itself and once for all below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) regular: u64,
    pub(super) symlink: u64,
    pub(super) special: u64,
    pub(super) dir: u64,
    pub(super) nested: u64,
    pub(super) chunked: u64,
    pub(super) chunks: u64,
    pub(super) file_size: u64,
    pub(super) chunked_size: u64,
    pub(super) xattr: u64,
    pub(super) external: u64,
    pub(super) external_file_size: u64,
}

impl Counters {
    fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("regular", self.regular),
            ("symlink", self.symlink),
            ("special", self.special),
            ("dir", self.dir),
            ("nested", self.nested),
            ("chunked", self.chunked),
            ("chunks", self.chunks),
            ("file_size", self.file_size),
            ("chunked_size", self.chunked_size),
            ("xattr", self.xattr),
            ("external", self.external),
            ("external_file_size", self.external_file_size),
        ]
    }

    pub(super) fn add(&mut self, other: &Counters) {
        self.regular += other.regular;
        self.symlink += other.symlink;
        self.special += other.special;
        self.dir += other.dir;
        self.nested += other.nested;
        self.chunked += other.chunked;
        self.chunks += other.chunks;
        self.file_size += other.file_size;
        self.chunked_size += other.chunked_size;
        self.xattr += other.xattr;
        self.external += other.external;
        self.external_file_size += other.external_file_size;
    }

    fn count(&mut self, row: &Row<'_>) {
        match row.mode & 0o170000 {
            0o040000 => self.dir += 1,
            0o120000 => self.symlink += 1,
            0o100000 => {
                self.regular += 1;
                self.file_size += row.size;
                if row.flags & CHUNKED != 0 {
                    self.chunked += 1;
                    self.chunked_size += row.size;
                }
                if row.flags & EXTERNAL != 0 {
                    self.external += 1;
                    self.external_file_size += row.size;
                }
            }
            _ => self.special += 1,
        }
        self.xattr += u64::from(row.xattr.is_some());
    }
}

/// Opens a new database file without any safety: nobody misses it after a crash.
pub(super) fn create(file: &Path, page_size: u32) -> Connection {
    let db = Connection::open(file).expect("a new database in a temporary directory");
    let settings = format!(
        "PRAGMA page_size = {page_size}; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;
         PRAGMA cache_size = -200000; PRAGMA locking_mode = EXCLUSIVE;"
    );
    db.execute_batch(&settings).expect("settings of a new database");
    db
}

/// Fills one catalog in a single transaction.
pub(super) struct CatalogWriter<'a> {
    db: &'a Connection,
    row: Statement<'a>,
    chunk: Statement<'a>,
    pub(super) own: Counters,
}

impl<'a> CatalogWriter<'a> {
    pub(super) fn begin(db: &'a Connection) -> CatalogWriter<'a> {
        db.execute_batch("BEGIN").and_then(|()| db.execute_batch(SCHEMA)).expect("the schema is valid");
        let row = "INSERT INTO catalog VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        let row = db.prepare(row).expect("a valid statement");
        let chunk = db.prepare("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4, ?5)").expect("a valid statement");
        CatalogWriter { db, row, chunk, own: Counters::default() }
    }

    pub(super) fn row(&mut self, row: Row<'_>) {
        self.own.count(&row);
        let (path_1, path_2) = PathHash::of(row.path).columns();
        let (parent_1, parent_2) = row.parent.map_or((0, 0), |parent| PathHash::of(parent).columns());
        let values = params![
            path_1,
            path_2,
            parent_1,
            parent_2,
            row.hardlinks as i64,
            row.hash.map(|hash| hash.digest),
            row.size as i64,
            row.mode,
            row.mtime,
            row.mtime_ns,
            row.flags,
            Text(row.name),
            Text(row.symlink),
            row.uid,
            row.gid,
            row.xattr,
        ];
        self.row.execute(values).unwrap_or_else(|e| panic!("row {}: {e}", row.path.escape_ascii()));
    }

    pub(super) fn chunk(&mut self, path: &[u8], offset: u64, size: u64, hash: &ContentHash) {
        let (path_1, path_2) = PathHash::of(path).columns();
        self.own.chunks += 1;
        let values = params![path_1, path_2, offset as i64, size as i64, hash.digest];
        self.chunk.execute(values).unwrap_or_else(|e| panic!("chunk of {}: {e}", path.escape_ascii()));
    }

    pub(super) fn link(&mut self, table: &str, path: &[u8], hash: &ContentHash, size: u64) {
        self.own.nested += u64::from(table == "nested_catalogs");
        let statement = format!("INSERT INTO {table} VALUES (?1, ?2, ?3)");
        self.db.execute(&statement, params![Text(path), hash.to_string(), size as i64]).expect("a new link");
    }

    pub(super) fn property(&mut self, key: &str, value: &[u8]) {
        let statement = "INSERT OR REPLACE INTO properties VALUES (?1, ?2)";
        self.db.execute(statement, params![key, Text(value)]).expect("a property");
    }

    /// Writes the statistics and ends the transaction; returns the sum of this catalog and those below.
    pub(super) fn finish(self, below: &Counters) -> Counters {
        let mut statement = self.db.prepare("INSERT INTO statistics VALUES (?1, ?2)").expect("a valid statement");
        for (prefix, counters) in [("self", &self.own), ("subtree", below)] {
            for (name, value) in counters.named() {
                statement.execute(params![format!("{prefix}_{name}"), value as i64]).expect("a counter");
            }
        }
        let CatalogWriter { db, mut own, .. } = self;
        db.execute_batch("COMMIT").expect("the end of the transaction");
        own.add(below);
        own
    }
}
