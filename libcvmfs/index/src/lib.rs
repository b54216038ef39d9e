//! What every reader of CernVM-FS metadata shares: no standard library, no allocation, no system call.
//!
//! [`Index`] reads the flat image made from a catalog (format: `INDEX-FORMAT.md` in the documentation), [`walk`] settles
//! what a path means, [`Attributes`] are what an entry looks like.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod attributes;
mod entry;
pub mod format;
mod hash;
mod index;
pub mod variant;
pub mod walk;
pub mod xattr;

pub use attributes::{Attributes, Look, ino};
pub use entry::{Children, Chunk, Chunks, Damage, Digest, Entry, EntryKind, Nested, NestedKind};
pub use hash::{PathHasher, checksum};
pub use index::{Index, IndexError, fill_slots};
