//! Hashes of paths and of whole images: fast, 64 bits, no protection against anybody but chance.

const WORD: u64 = 0x9e37_79b9_7f4a_7c15;
const END: u64 = 0xd6e8_feb8_6659_fd93;
const LANES: [u64; 4] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// Multiplies to 128 bits and folds the halves together.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b))
}

#[inline(always)]
fn half(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u64::from(u32::from_le_bytes(*b)))
}

/// The hash of a path, grown one component at a time: the hash of a child depends only on its directory's hash and
/// its own name, so one scan of a path yields the hash of every prefix.
///
/// Hashes of different images are not comparable: each has its own seed, made from the catalog's hash, so that nobody
/// can choose names that collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathHasher(u64);

impl PathHasher {
    /// The hash of the catalog's root for an image with this seed.
    #[inline]
    pub const fn new(seed: u64) -> PathHasher {
        PathHasher(seed)
    }

    /// The hash of the entry `name` (one component, no slash) in the directory hashed so far.
    #[inline]
    #[must_use]
    pub fn child(self, name: &[u8]) -> PathHasher {
        let len = name.len();
        let mut hash = self.0 ^ (len as u64).wrapping_mul(END);
        let mut at = 0;
        while len.saturating_sub(at) > 8 {
            hash = fold(hash ^ word(name, at), WORD);
            at += 8;
        }
        // The last word overlaps the one before it, or is put together from what there is.
        let last = match len {
            8.. => word(name, len - 8),
            4..=7 => half(name, 0) | half(name, len - 4) << 32,
            _ => {
                let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or(0));
                byte(0) | byte(len / 2) << 8 | byte(len.saturating_sub(1)) << 16
            }
        };
        hash = fold(hash ^ last, WORD);
        PathHasher(fold(hash ^ END, LANES[0]))
    }

    /// The 64 bits.
    #[inline]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Where the search starts in a table of `slots` slots.
    #[inline]
    pub(crate) const fn slot(self, slots: u32) -> u32 {
        (((self.0 >> 32) * slots as u64) >> 32) as u32
    }

    /// What a slot keeps of the hash.
    #[inline]
    pub(crate) const fn tag(self) -> u32 {
        self.0 as u32
    }
}

/// The checksum of headers and bodies: finds accidents, not forgeries.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut lanes = LANES;
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, state) in lanes.iter_mut().enumerate() {
            *state = fold(*state ^ word(block, lane * 8), WORD).wrapping_add(END);
        }
    }
    let mut hash = bytes.len() as u64;
    let tail = blocks.remainder();
    for at in (0..tail.len()).step_by(8) {
        let mut value = 0;
        for byte in tail.iter().skip(at).take(8).rev() {
            value = value << 8 | u64::from(*byte);
        }
        hash = fold(hash ^ value, WORD).wrapping_add(END);
    }
    for lane in lanes {
        hash = fold(hash ^ lane, WORD).wrapping_add(END);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_million_similar_paths_do_not_collide() {
        let mut seen = HashMap::new();
        let root = PathHasher::new(7);
        for dir in 0..1000 {
            let parent = root.child(format!("d{dir}").as_bytes());
            for file in 0..1000 {
                let name = format!("module_{file:03}.so");
                if let Some(other) = seen.insert(parent.child(name.as_bytes()).value(), (dir, file)) {
                    panic!("{other:?} and {:?} collide", (dir, file));
                }
            }
        }
    }

    #[test]
    fn boundaries_between_components_count() {
        let root = PathHasher::new(0);
        assert_ne!(root.child(b"ab").child(b"c"), root.child(b"a").child(b"bc"));
        assert_ne!(root.child(b"a"), root.child(b"aa"));
        assert_ne!(root.child(b"a"), root.child(b"a\0"));
        for len in 1..40usize {
            let name = vec![b'x'; len];
            for at in 0..len {
                let mut other = name.clone();
                other[at] ^= 1;
                assert_ne!(root.child(&name), root.child(&other), "byte {at} of {len} does not count");
            }
        }
    }

    #[test]
    fn every_bit_changes_the_checksum() {
        for len in [0usize, 1, 7, 8, 31, 32, 33, 100] {
            let bytes: Vec<u8> = (0..len as u8).collect();
            let sum = checksum(&bytes);
            for bit in 0..len * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(checksum(&other), sum, "bit {bit} of {len} bytes");
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert_ne!(checksum(&longer), sum);
        }
    }
}
