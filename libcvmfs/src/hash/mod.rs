//! Content hashes (what an object is called) and path hashes (how a catalog row is found).

mod hasher;
mod path;

pub use hasher::Hasher;
pub use path::PathHash;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes in every content digest: SHA-1, RIPEMD-160 and SHAKE-128 squeezed to 160 bits.
pub const DIGEST_LEN: usize = 20;

/// A content hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Algorithm {
    /// SHA-1, the default.
    Sha1 = 1,
    /// RIPEMD-160, written with the id `-rmd160`.
    Rmd160 = 2,
    /// SHAKE-128 with 160 bits of output, written with the id `-shake128`.
    Shake128 = 3,
}

impl Algorithm {
    /// The id that follows the hex digits of a hash, empty for SHA-1.
    pub fn id(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "",
            Algorithm::Rmd160 => "-rmd160",
            Algorithm::Shake128 => "-shake128",
        }
    }

    /// From bits 8 to 10 of the catalog flags, which hold the algorithm minus one.
    pub fn from_flag_bits(bits: u32) -> Option<Algorithm> {
        match bits {
            0 => Some(Algorithm::Sha1),
            1 => Some(Algorithm::Rmd160),
            2 => Some(Algorithm::Shake128),
            _ => None,
        }
    }
}

/// The hash of an object's stored bytes: its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash {
    /// How the digest was computed.
    pub algorithm: Algorithm,
    /// The digest.
    pub digest: [u8; DIGEST_LEN],
}

/// Why a text is no content hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HashError {
    /// 32 hex digits: MD5 names paths, never content.
    #[error("'{0}' is an MD5 digest, which may not name content")]
    Md5(String),
    /// Wrong length, wrong digits or an algorithm id nobody knows.
    #[error("'{0}' is not a content hash: expected 40 hex digits, then nothing, -rmd160 or -shake128")]
    Malformed(String),
    /// All digits are zero: the null hash names nothing.
    #[error("the null hash names no object")]
    Null,
}

impl ContentHash {
    /// Builds a hash from its parts.
    pub fn new(algorithm: Algorithm, digest: [u8; DIGEST_LEN]) -> ContentHash {
        ContentHash { algorithm, digest }
    }

    /// Reads hex digits (either case) and algorithm id; stricter than the official client in that the id's
    /// letters count and not only its length.
    pub fn parse(text: &str) -> Result<ContentHash, HashError> {
        let malformed = || HashError::Malformed(text.escape_debug().take(80).collect());
        let hex = text.as_bytes().get(..2 * DIGEST_LEN);
        let (Some(hex), true) = (hex, text.is_ascii()) else {
            let md5 = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
            return Err(if md5 { HashError::Md5(text.to_owned()) } else { malformed() });
        };
        let algorithm = match &text[2 * DIGEST_LEN..] {
            "" => Algorithm::Sha1,
            "-rmd160" => Algorithm::Rmd160,
            "-shake128" => Algorithm::Shake128,
            _ => return Err(malformed()),
        };
        let mut digest = [0u8; DIGEST_LEN];
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).ok_or_else(malformed);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        if digest == [0; DIGEST_LEN] {
            return Err(HashError::Null);
        }
        Ok(ContentHash { algorithm, digest })
    }

    /// Lower-case hex digits, without algorithm id.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(2 * DIGEST_LEN + 9);
        for byte in self.digest {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        text
    }
}

impl TryFrom<String> for ContentHash {
    type Error = HashError;
    fn try_from(text: String) -> Result<ContentHash, HashError> {
        ContentHash::parse(&text)
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> String {
        hash.to_string()
    }
}

impl std::fmt::Display for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.hex(), self.algorithm.id())
    }
}

impl std::fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

impl std::str::FromStr for ContentHash {
    type Err = HashError;
    fn from_str(s: &str) -> Result<ContentHash, HashError> {
        ContentHash::parse(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_survives_a_round_trip() {
        for text in [
            "2a695360ba25033e8899486a62c9dc7316650b56",
            "c39d29452241b9e1688065b86833c2489b5df41c-rmd160",
            "cfe25dfbeb56df1c9fa32997172376b9aa3e6b32-shake128",
        ] {
            assert_eq!(ContentHash::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_content_hash_is_refused() {
        assert!(matches!(ContentHash::parse("d41d8cd98f00b204e9800998ecf8427e"), Err(HashError::Md5(_))));
        assert!(matches!(ContentHash::parse(&"0".repeat(40)), Err(HashError::Null)));
        for bad in [
            "",
            "2a69",
            "2a695360ba25033e8899486a62c9dc7316650b5g",
            "2a695360ba25033e8899486a62c9dc7316650b56-xyz160",
            "é",
        ] {
            assert!(matches!(ContentHash::parse(bad), Err(HashError::Malformed(_))), "{bad}");
        }
    }
}
