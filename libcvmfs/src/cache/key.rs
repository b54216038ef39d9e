use crate::hash::{Algorithm, ContentHash, DIGEST_LEN};

/// What a cached file is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An object's plain content, by the hash of its stored bytes.
    Object(ContentHash),
    /// The flat index of the catalog with this hash.
    Index(ContentHash),
    /// A chunked file put together, by a digest of its list of chunks.
    Assembled([u8; 32]),
}

/// The kinds of cached files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Namespace {
    /// Official objects.
    Objects = 1,
    /// Flat catalog indexes.
    Indexes = 2,
    /// Assembled chunked files.
    Assembled = 3,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Namespace; 3] = [Namespace::Objects, Namespace::Indexes, Namespace::Assembled];

    /// The folder that holds the two-digit ones, with a trailing slash unless empty.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Namespace::Objects => "",
            Namespace::Indexes => "indexes/",
            Namespace::Assembled => "assembled/",
        }
    }

    /// The word used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Namespace::Objects => "objects",
            Namespace::Indexes => "indexes",
            Namespace::Assembled => "assembled",
        }
    }
}

impl Key {
    /// Which kind of file it names.
    pub fn namespace(&self) -> Namespace {
        match self {
            Key::Object(_) => Namespace::Objects,
            Key::Index(_) => Namespace::Indexes,
            Key::Assembled(_) => Namespace::Assembled,
        }
    }

    fn parts(&self) -> (&[u8], &'static str) {
        match self {
            Key::Object(hash) | Key::Index(hash) => (&hash.digest, hash.algorithm.id()),
            Key::Assembled(digest) => (digest, ""),
        }
    }

    /// Appends `[folder/]ab/cdef…[-id]`.
    pub(super) fn append_relative(&self, out: &mut Vec<u8>) {
        let (digest, id) = self.parts();
        out.extend_from_slice(self.namespace().folder().as_bytes());
        for (at, byte) in digest.iter().enumerate() {
            if at == 1 {
                out.push(b'/');
            }
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        out.extend_from_slice(id.as_bytes());
    }

    /// `[folder/]ab/cdef…[-id]` below the objects or the local directory.
    pub(super) fn relative(&self) -> String {
        let mut out = Vec::with_capacity(90);
        self.append_relative(&mut out);
        String::from_utf8(out).expect("hex digits and constants are ASCII")
    }

    /// `ab/cdef…[-id]`: where the file lies below the directory for its kind.
    pub fn file_name(&self) -> String {
        self.relative().split_off(self.namespace().folder().len())
    }

    /// A name without slashes that no other key has.
    pub(super) fn flat_name(&self) -> String {
        self.to_string().replace('/', "-")
    }

    /// Reads back a file name found in folder `prefix` (two hex digits); only the spelling we write counts.
    pub(super) fn parse(namespace: Namespace, prefix: &str, rest: &str) -> Option<Key> {
        let text = format!("{prefix}{rest}");
        let key = match namespace {
            Namespace::Objects => Key::Object(ContentHash::parse(&text).ok()?),
            Namespace::Indexes => Key::Index(ContentHash::parse(&text).ok()?),
            Namespace::Assembled => {
                let mut digest = [0u8; 32];
                if text.len() != 64 || !text.is_ascii() {
                    return None;
                }
                for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
                    *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
                }
                Key::Assembled(digest)
            }
        };
        (key.relative() == format!("{}{prefix}/{rest}", namespace.folder())).then_some(key)
    }

    /// 34 bytes that tell keys apart: namespace, algorithm, digest padded with zeros.
    pub(super) fn packed(&self) -> [u8; 34] {
        let mut out = [0u8; 34];
        out[0] = self.namespace() as u8;
        if let Key::Object(hash) | Key::Index(hash) = self {
            out[1] = hash.algorithm as u8;
        }
        let (digest, _) = self.parts();
        out[2..2 + digest.len()].copy_from_slice(digest);
        out
    }

    pub(super) fn unpack(bytes: &[u8; 34]) -> Option<Key> {
        let hash = || {
            let algorithm = Algorithm::from_flag_bits(u32::from(bytes[1]).checked_sub(1)?)?;
            let mut digest = [0u8; DIGEST_LEN];
            digest.copy_from_slice(&bytes[2..2 + DIGEST_LEN]);
            Some(ContentHash::new(algorithm, digest))
        };
        match bytes[0] {
            1 => Some(Key::Object(hash()?)),
            2 => Some(Key::Index(hash()?)),
            3 => Some(Key::Assembled(*bytes[2..].first_chunk()?)),
            _ => None,
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl From<ContentHash> for Key {
    fn from(hash: ContentHash) -> Key {
        Key::Object(hash)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Object(hash) => write!(f, "object {hash}"),
            Key::Index(hash) => write!(f, "index {hash}"),
            Key::Assembled(_) => f.write_str(&self.relative()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_where_the_official_client_looks_and_are_read_back() {
        let hash = ContentHash::parse("c39d29452241b9e1688065b86833c2489b5df41c-rmd160").unwrap();
        assert_eq!(Key::Object(hash).relative(), "c3/9d29452241b9e1688065b86833c2489b5df41c-rmd160");
        for key in [Key::Object(hash), Key::Index(hash), Key::Assembled([0xa7; 32])] {
            let path = key.relative();
            let mut parts = path.rsplit('/');
            let (rest, prefix) = (parts.next().unwrap(), parts.next().unwrap());
            assert_eq!(Key::parse(key.namespace(), prefix, rest), Some(key));
            assert_eq!(Key::unpack(&key.packed()), Some(key));
            assert_eq!(Key::parse(key.namespace(), prefix, &rest.to_uppercase()), None);
        }
    }
}
