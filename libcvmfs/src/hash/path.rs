use md5::{Digest as _, Md5};

/// MD5 of a path inside the repository: the key of a catalog row.
///
/// The repository root is the empty path; every other path starts with a slash and does not end in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathHash(pub [u8; 16]);

impl PathHash {
    /// Hashes a path, byte for byte.
    pub fn of(path: &[u8]) -> PathHash {
        PathHash(Md5::digest(path).into())
    }

    /// From the two catalog columns, each eight digest bytes as a little-endian signed integer.
    pub fn from_columns(first: i64, second: i64) -> PathHash {
        let mut digest = [0u8; 16];
        digest[..8].copy_from_slice(&first.to_le_bytes());
        digest[8..].copy_from_slice(&second.to_le_bytes());
        PathHash(digest)
    }

    /// The two catalog columns.
    pub fn columns(self) -> (i64, i64) {
        let half = |at: usize| {
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(&self.0[at..at + 8]);
            i64::from_le_bytes(bytes)
        };
        (half(0), half(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_little_endian_and_signed() {
        for (path, first, second) in [
            ("", 338333539836370388, 9098107892288553193),
            ("/foo", 5745132282796244766, -5819618580357280866),
            ("/foo/bar", -2822516800166431715, 9048809318629099454),
        ] {
            let hash = PathHash::of(path.as_bytes());
            assert_eq!(hash.columns(), (first, second), "{path}");
            assert_eq!(PathHash::from_columns(first, second), hash);
        }
    }
}
