//! Objects: what a content hash names, where it lies on a server, how its bytes are taken in, and how they are made.

pub mod chunk;
pub mod decode;
pub mod encode;
mod stored;

pub use stored::Stored;

use crate::hash::ContentHash;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an object is; on the server its suffix letter keeps the kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The complete content of a regular file.
    File,
    /// One chunk of a chunked file.
    Partial,
    /// A file catalog.
    Catalog,
    /// A history (tag) database.
    History,
    /// A signing certificate.
    Certificate,
    /// Repository meta information (JSON).
    MetaInfo,
}

impl ObjectKind {
    /// The suffix letter in server paths, empty for complete files.
    pub fn suffix(self) -> &'static str {
        match self {
            ObjectKind::File => "",
            ObjectKind::Partial => "P",
            ObjectKind::Catalog => "C",
            ObjectKind::History => "H",
            ObjectKind::Certificate => "X",
            ObjectKind::MetaInfo => "M",
        }
    }
}

/// An object as the server knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Hash of the stored (usually compressed) bytes.
    pub hash: ContentHash,
    /// What the object is.
    pub kind: ObjectKind,
}

impl ObjectName {
    /// Puts a name together.
    pub fn new(hash: ContentHash, kind: ObjectKind) -> ObjectName {
        ObjectName { hash, kind }
    }

    /// Path below the repository base URL, with a leading slash: `/data/ab/cdef…C`.
    pub fn path(&self) -> String {
        let hex = self.hash.hex();
        format!("/data/{}/{}{}{}", &hex[..2], &hex[2..], self.hash.algorithm.id(), self.kind.suffix())
    }

    /// The copy in the repository root that bootstrap objects may have: `/.cvmfsalt-abcdef…C`.
    pub fn alternative_path(&self) -> String {
        format!("/.cvmfsalt-{}{}", self.hash, self.kind.suffix())
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.hash, self.kind.suffix())
    }
}

/// How an object's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// An RFC 1950 zlib stream.
    Zlib,
    /// Verbatim.
    None,
}

impl Compression {
    /// The name shown by the `user.compression` attribute.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Zlib => "zlib",
            Compression::None => "none",
        }
    }
}

/// Takes in the body of one transfer, judges it, and can begin again when the transport tries elsewhere.
pub trait Receiver {
    /// Forgets everything received so far: the next byte is the first one again.
    fn restart(&mut self) -> Result<(), ReceiveError>;

    /// Takes the next bytes of the body.
    fn receive(&mut self, bytes: &[u8]) -> Result<(), ReceiveError>;

    /// The body is over: the final judgement (hash, size, end of the compressed stream).
    fn complete(&mut self) -> Result<(), ReceiveError>;
}

/// Keeps a body that is judged by nobody but the limit of its request.
impl Receiver for Vec<u8> {
    fn restart(&mut self) -> Result<(), ReceiveError> {
        self.clear();
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), ReceiveError> {
        Ok(())
    }
}

/// Why a receiver refuses a body.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// The bytes are not the object that was asked for; another source may have it.
    #[error("{0}")]
    Corrupt(String),
    /// The bytes could not be stored; no other source can help.
    #[error("storing the object: {0}")]
    Local(#[from] std::io::Error),
}
