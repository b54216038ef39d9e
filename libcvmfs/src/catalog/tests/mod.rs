mod hostile;
mod mutated;
mod real;
mod schemas;

use super::*;
use crate::hash::{ContentHash, PathHash};
use rusqlite::types::Value;
use std::path::Path;

pub(super) const ROOT_OBJECT: &[u8] =
    include_bytes!("../../../tests/data/catalogs/073e8f52186124b22c195c432d6dcd95f5e7e9b7C");
pub(super) const NESTED_OBJECT: &[u8] =
    include_bytes!("../../../tests/data/catalogs/040fdb4eb71474b250620b5660a4265011e5b72aC");
pub(super) const SNAPSHOTS_OBJECT: &[u8] =
    include_bytes!("../../../tests/data/catalogs/004a02f0e07e82a3fa98dbe60243314c8d0b3352C");
pub(super) const CHUNKED_OBJECT: &[u8] =
    include_bytes!("../../../tests/data/catalogs/93ec23c7036208c4dd7c2d3a0645c165d0be91acC");

pub(super) fn some_hash() -> ContentHash {
    ContentHash::parse("073e8f52186124b22c195c432d6dcd95f5e7e9b7").unwrap()
}

pub(super) fn build(path: &Path) -> (Vec<u8>, BuildReport) {
    build_index(&SqliteCatalog::open(path).unwrap(), &some_hash()).unwrap()
}

pub(super) fn open(image: &[u8]) -> Index<'_> {
    let index = Index::open(image, &digest(&some_hash())).unwrap();
    index.verify_checksum().unwrap();
    index
}

pub(super) fn path_of(entry: &Entry<'_>) -> Vec<u8> {
    entry.path(&mut [0; 8192]).unwrap().to_vec()
}

/// A catalog of the latest schema, written row by row.
pub(super) struct Forge {
    file: tempfile::NamedTempFile,
    connection: rusqlite::Connection,
}

pub(super) const LATEST: &str = "
    CREATE TABLE properties (key TEXT PRIMARY KEY, value TEXT);
    INSERT INTO properties VALUES ('schema', '2.5'), ('schema_revision', '7'), ('revision', '3');
    CREATE TABLE catalog (md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime, mtimens, flags,
        name, symlink, uid, gid, xattr);
    CREATE TABLE chunks (md5path_1, md5path_2, offset, size, hash);
    CREATE TABLE nested_catalogs (path, sha1, size);
    CREATE TABLE bind_mountpoints (path, sha1, size);
    CREATE TABLE statistics (counter, value);";

impl Forge {
    /// A catalog with nothing but its root.
    pub(super) fn new() -> Forge {
        let forge = Forge::without_root();
        forge.directory("");
        forge
    }

    pub(super) fn without_root() -> Forge {
        let file = testing::write_database(LATEST);
        let connection = rusqlite::Connection::open(file.path()).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        Forge { file, connection }
    }

    pub(super) fn sql(&self, sql: &str) -> &Forge {
        self.connection.execute_batch(sql).unwrap();
        self
    }

    pub(super) fn directory(&self, path: &str) -> &Forge {
        self.row(path.as_bytes(), 0o40755, 1, Some(4096.into()), None)
    }

    /// A sound regular file of 10 bytes.
    pub(super) fn file(&self, path: &str) -> &Forge {
        self.row(path.as_bytes(), 0o100644, 4, Some(10.into()), Some(vec![7; 20]))
    }

    pub(super) fn row(&self, path: &[u8], mode: i64, flags: i64, size: Option<Value>, hash: Option<Vec<u8>>) -> &Forge {
        let slash = path.iter().rposition(|&b| b == b'/');
        let (parent, name) = slash.map_or((None, &b""[..]), |at| (Some(&path[..at]), &path[at + 1..]));
        let hash_of_parent = parent.map_or((0, 0), |path| PathHash::of(path).columns());
        self.raw(PathHash::of(path).columns(), hash_of_parent, name, mode, flags, size, hash)
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of a row")]
    pub(super) fn raw(
        &self,
        path: (i64, i64),
        parent: (i64, i64),
        name: &[u8],
        mode: i64,
        flags: i64,
        size: Option<Value>,
        hash: Option<Vec<u8>>,
    ) -> &Forge {
        let insert = "INSERT INTO catalog VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, 1000, 5, ?8, CAST(?9 AS TEXT), '', 10, 20, NULL)";
        self.connection
            .prepare_cached(insert)
            .unwrap()
            .execute((path.0, path.1, parent.0, parent.1, hash, size, mode, flags, name))
            .unwrap();
        self
    }

    /// Changes the row of `path`.
    pub(super) fn set(&self, path: &str, assignment: &str) -> &Forge {
        let (first, second) = PathHash::of(path.as_bytes()).columns();
        self.sql(&format!("UPDATE catalog SET {assignment} WHERE md5path_1 = {first} AND md5path_2 = {second}"))
    }

    pub(super) fn chunk(&self, path: &str, offset: i64, size: i64) -> &Forge {
        let (first, second) = PathHash::of(path.as_bytes()).columns();
        let hash = vec![offset as u8 + 1; 20];
        let row = (first, second, offset, size, hash);
        self.connection.execute("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4, ?5)", row).unwrap();
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn build(&self) -> (Vec<u8>, BuildReport) {
        build(self.path())
    }
}
