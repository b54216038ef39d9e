//! Catalogs: the published SQLite file, read once, and the flat index made from it, read ever after.
//!
//! [`SqliteCatalog`] opens the file, [`build_index`] turns it into the image that [`Index`] reads. The image holds
//! everything of the catalog that a client needs, so the SQLite file is not wanted any more once it exists.

mod entry;
mod error;
mod index;
mod nested;
mod row;
mod sqlite;
mod statistics;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod write;
pub mod xattr;

pub use crate::database::DatabaseError;
pub use cvmfs_index::{
    Children, Chunk, Chunks, Damage, Digest, Entry, EntryKind, Index, IndexError, Nested, NestedKind, PathHasher,
};
pub use entry::{compression, content_hash, digest};
pub use error::CatalogError;
pub use index::{BuildReport, Finding, build_index};
pub use nested::{AttachError, check_mounted, check_root};
pub use sqlite::SqliteCatalog;
pub use statistics::{Counters, Statistics};
