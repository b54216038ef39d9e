//! What a snapshot asks for when it does not have it: indexes of catalogs and contents of files.

use crate::Error;
use crate::cache::Mapping;
use crate::catalog::{self, content_hash};
use crate::hash::ContentHash;
use crate::object::Compression;
use cvmfs_index::{Damage, Entry};
use serde::{Deserialize, Serialize};
use std::fs::File;

/// Supplies what the entries of a snapshot name. One implementation downloads, another asks a process that does.
pub trait Source: Send + Sync {
    /// The mapped index of a catalog.
    fn index(&self, catalog: &CatalogRef) -> Result<Mapping, Error>;

    /// A read-only descriptor of a file's plain bytes, at offset 0.
    fn open(&self, content: &Content) -> Result<File, Error>;

    /// The value of the computed attribute `name` (with its `user.` prefix) that does not depend on an entry, such as
    /// `user.host`; `None` if there is no such attribute.
    fn status_attribute(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;
}

/// A catalog as the catalog above it, or the manifest, names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRef {
    /// Its hash.
    pub hash: ContentHash,
    /// Bytes of the inflated catalog, if announced.
    pub size: Option<u64>,
    /// Path inside the repository at which it is mounted; empty for the root catalog.
    pub mount: Vec<u8>,
}

/// The content of a regular file as the catalog describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// Path inside the repository, for messages, for `cvmfs-info` and for the address of external files.
    pub path: Vec<u8>,
    /// Bytes of the whole file.
    pub size: u64,
    /// How the objects are stored.
    pub compression: Compression,
    /// Where the bytes are.
    pub parts: Parts,
    /// The bytes lie outside of the repository, below `CVMFS_EXTERNAL_URL`.
    pub external: bool,
    /// Objects of this repository should be the first to leave the cache.
    pub volatile: bool,
}

/// The objects that make up a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Parts {
    /// One object.
    Whole(ContentHash),
    /// Chunks in the order of their offsets, without holes, summing up to the size.
    Chunks(Vec<Chunk>),
}

/// One chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Its object.
    pub hash: ContentHash,
}

impl Content {
    /// The content of a regular file; the damage found when the index was built, or seen now, otherwise.
    pub(crate) fn of_entry(entry: &Entry<'_>, path: Vec<u8>) -> Result<Content, Damage> {
        if let Some(damage) = entry.damage() {
            return Err(damage);
        }
        let compression = catalog::compression(entry).ok_or(Damage::UnknownCompression)?;
        let parts = if entry.is_chunked() {
            let chunks = entry.chunks().iter().map(|chunk| Chunk {
                offset: chunk.offset,
                size: chunk.size,
                hash: content_hash(chunk.digest),
            });
            Parts::Chunks(chunks.collect())
        } else {
            Parts::Whole(entry.content().map(content_hash).ok_or(Damage::MissingHash)?)
        };
        let (size, external, volatile) = (entry.size(), entry.is_external(), entry.index().is_volatile());
        Ok(Content { path, size, compression, parts, external, volatile })
    }
}
