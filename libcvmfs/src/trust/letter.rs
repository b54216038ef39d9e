use super::{LETTER_LIMIT, LetterKind, TrustError};
use crate::hash::{Algorithm, ContentHash, Hasher};
use std::ops::Range;

/// The line between text and hash, with the line break that ends the text.
const SEPARATOR: &[u8] = b"\n--\n";

/// The container of manifest and whitelist: text, its hash in words, and a signature over those words.
///
/// The hash has been checked against the text; whether the signature is anybody's is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    bytes: Vec<u8>,
    text_end: usize,
    hash_text: Range<usize>,
}

impl Letter {
    /// Takes a letter apart and compares text and hash line.
    pub fn parse(kind: LetterKind, bytes: &[u8]) -> Result<Letter, TrustError> {
        if bytes.is_empty() {
            return Err(TrustError::Empty(kind));
        }
        if bytes.len() > LETTER_LIMIT {
            return Err(TrustError::TooLong(kind));
        }
        let separator = bytes.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let text_end = separator.ok_or(TrustError::Unsigned(kind))? + 1;
        let hash_start = text_end + SEPARATOR.len() - 1;
        let hash_len =
            bytes[hash_start..].iter().position(|byte| *byte == b'\n').ok_or(TrustError::NoHashLine(kind))?;
        let hash_text = hash_start..hash_start + hash_len;
        let stated = String::from_utf8_lossy(&bytes[hash_text.clone()]);
        let stated = ContentHash::parse(&stated).map_err(|reason| TrustError::HashLine { letter: kind, reason })?;
        let computed = Hasher::hash(stated.algorithm, &bytes[..text_end]);
        if computed != stated {
            return Err(TrustError::LetterHash { letter: kind, stated, computed });
        }
        if bytes.len() == hash_text.end + 1 {
            return Err(TrustError::NoSignature(kind));
        }
        Ok(Letter { bytes: bytes.to_vec(), text_end, hash_text })
    }

    /// The text, including its last line break.
    pub fn text(&self) -> &[u8] {
        &self.bytes[..self.text_end]
    }

    /// What the signature is made over: the hash line without its line break, letter for letter.
    pub fn signed_words(&self) -> &[u8] {
        &self.bytes[self.hash_text.clone()]
    }

    /// The signature: everything after the hash line.
    pub fn signature(&self) -> &[u8] {
        &self.bytes[self.hash_text.end + 1..]
    }

    /// The whole file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Makes a letter of `text` (which ends in a line break): `sign` receives the words to be signed.
pub fn seal<E>(
    text: &[u8],
    algorithm: Algorithm,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let words = Hasher::hash(algorithm, text).to_string();
    let signature = sign(words.as_bytes())?;
    let mut bytes = text.to_vec();
    bytes.extend_from_slice(b"--\n");
    bytes.extend_from_slice(words.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(&signature);
    Ok(bytes)
}
