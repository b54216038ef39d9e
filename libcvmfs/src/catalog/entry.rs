use crate::hash::{Algorithm, ContentHash};
use crate::object::Compression;
use cvmfs_index::{Digest, Entry};

/// A digest of an index as a content hash.
pub fn content_hash(digest: Digest) -> ContentHash {
    let algorithm = match digest.algorithm {
        2 => Algorithm::Rmd160,
        3 => Algorithm::Shake128,
        _ => Algorithm::Sha1,
    };
    ContentHash::new(algorithm, digest.bytes)
}

/// A content hash as the digest that an index keeps.
pub fn digest(hash: &ContentHash) -> Digest {
    Digest { algorithm: hash.algorithm as u8, bytes: hash.digest }
}

/// How the objects of a file are stored; `None` if this version does not know the compression, then the entry is
/// damaged.
pub fn compression(entry: &Entry<'_>) -> Option<Compression> {
    match entry.compression() {
        0 => Some(Compression::Zlib),
        1 => Some(Compression::None),
        _ => None,
    }
}
