use super::report::Repairs;
use crate::catalog::error::CatalogError;
use crate::catalog::row::{self, HashColumn, Row};
use crate::catalog::sqlite::SqliteCatalog;
use crate::hash::PathHash;
use cvmfs_index::format::{ChunkRecord, EntryRecord};
use std::collections::HashMap;

/// Bytes in the scratch strings.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    at: usize,
    len: u32,
}

/// A checked row, with its strings in [`Scan::strings`].
pub(super) struct ScannedRow {
    pub(super) path: PathHash,
    /// Number of the directory hash ([`Scan::directories`]) that the row names as its parent.
    pub(super) parent: u32,
    pub(super) name: Span,
    pub(super) target: Span,
    pub(super) xattr: Span,
    pub(super) record: EntryRecord,
}

/// All sound rows of a catalog, in the order of the file.
pub(super) struct Scan {
    pub(super) rows: Vec<ScannedRow>,
    /// Path hashes that rows name as their parents, numbered in order of appearance.
    pub(super) directories: HashMap<PathHash, u32>,
    strings: Vec<u8>,
}

impl Scan {
    pub(super) fn read(
        catalog: &SqliteCatalog,
        root: PathHash,
        dropped: &mut Repairs,
        repaired: &mut Repairs,
    ) -> Result<Scan, CatalogError> {
        let mut scan = Scan { rows: Vec::new(), directories: HashMap::new(), strings: Vec::new() };
        let legacy = catalog.is_legacy();
        // Rows of a directory tend to follow each other.
        let mut last_parent = None;
        catalog.entries(|sql| {
            match Row::read(sql, legacy, repaired) {
                Ok(row) if row.path != root && !row::is_name(row.name) => {
                    dropped.note("the name cannot name a file", row.name);
                }
                Ok(row) => {
                    let parent = match last_parent {
                        Some((hash, number)) if hash == row.parent => number,
                        _ => {
                            let next = scan.directories.len() as u32;
                            *scan.directories.entry(row.parent).or_insert(next)
                        }
                    };
                    last_parent = Some((row.parent, parent));
                    let (name, target, xattr) = (scan.keep(row.name), scan.keep(row.target), scan.keep(row.xattr));
                    scan.rows.push(ScannedRow { path: row.path, parent, name, target, xattr, record: row.record });
                }
                Err(reason) => dropped.note(reason, b""),
            }
            Ok(())
        })?;
        match u32::try_from(scan.rows.len()) {
            Ok(rows) if rows < u32::MAX - 1 => Ok(scan),
            _ => Err(CatalogError::TooLarge { path: catalog.path().to_owned(), what: "entries" }),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let at = self.strings.len();
        self.strings.extend_from_slice(bytes);
        // SQLite's length limit is far below 4 GiB.
        Span { at, len: bytes.len() as u32 }
    }

    pub(super) fn string(&self, span: Span) -> &[u8] {
        &self.strings[span.at..span.at + span.len as usize]
    }
}

/// One row of the chunk table; `None` in place of a record if the row is malformed.
type ScannedChunk = (PathHash, Option<ChunkRecord>);

/// All chunks, sorted by file and offset.
pub(super) struct ChunkTable(Vec<ScannedChunk>);

impl ChunkTable {
    pub(super) fn read(catalog: &SqliteCatalog, dropped: &mut Repairs) -> Result<ChunkTable, CatalogError> {
        let mut chunks = Vec::new();
        catalog.chunks(|sql| {
            let Ok(path) = row::path_hash(sql, 0) else {
                dropped.note("a chunk names no file", b"");
                return Ok(());
            };
            let number = |column| sql.get_ref(column).ok().and_then(|v| v.as_i64().ok()).map(u64::try_from);
            let record = match (number(2), number(3), row::hash_column(sql, 4)) {
                (Some(Ok(offset)), Some(Ok(size)), HashColumn::Digest(digest)) => {
                    Some(ChunkRecord { offset, size, digest })
                }
                _ => None,
            };
            chunks.push((path, record));
            Ok(())
        })?;
        chunks.sort_unstable_by_key(|(path, record)| (*path, record.map(|r| r.offset)));
        Ok(ChunkTable(chunks))
    }

    /// The chunks of one file, if there are any and they cover its `size` bytes exactly once.
    pub(super) fn of(&self, path: PathHash, size: u64) -> ChunkList<'_> {
        let start = self.0.partition_point(|(candidate, _)| *candidate < path);
        let rest = &self.0[start..];
        let rows = &rest[..rest.partition_point(|(candidate, _)| *candidate == path)];
        if rows.is_empty() {
            return ChunkList::Missing;
        }
        let mut end = 0u64;
        for (_, record) in rows {
            match record {
                Some(record) if record.offset == end && record.size > 0 => match end.checked_add(record.size) {
                    Some(next) => end = next,
                    None => return ChunkList::Bad,
                },
                _ => return ChunkList::Bad,
            }
        }
        if end == size { ChunkList::Good(rows) } else { ChunkList::Bad }
    }
}

/// What the chunk table says of a file.
pub(super) enum ChunkList<'t> {
    Good(&'t [ScannedChunk]),
    Missing,
    Bad,
}
