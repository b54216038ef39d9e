//! SQLite files for tests.

use tempfile::NamedTempFile;

/// An object of a repository, inflated into a file.
pub(crate) fn inflate(object: &[u8]) -> NamedTempFile {
    let mut plain = vec![0; 1 << 20];
    let (plain, end) = zlib_rs::decompress_slice(&mut plain, object, zlib_rs::InflateConfig::default());
    assert_eq!(end, zlib_rs::ReturnCode::Ok);
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plain).unwrap();
    file
}

/// A database made by the statements of `sql`.
pub(crate) fn write_database(sql: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    rusqlite::Connection::open(file.path()).unwrap().execute_batch(sql).unwrap();
    file
}
