//! Consistent hashing of objects over the members of a proxy group (`CVMFS_PROXY_SHARD`).

use sha1::{Digest, Sha1};

/// Points of each proxy on the ring.
const POINTS: usize = 16;

/// A ring of 2^32 positions; each proxy owns the stretches that end at its points.
#[derive(Debug)]
pub(super) struct Ring {
    points: Vec<(u32, usize)>,
}

impl Ring {
    /// Places the proxies, given by their URLs.
    pub(super) fn new(urls: impl Iterator<Item = String>) -> Ring {
        let mut points = Vec::new();
        for (index, url) in urls.enumerate() {
            let digest = Sha1::digest(url.as_bytes());
            let mut random = Generator(u64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])));
            points.extend((0..POINTS).map(|_| (random.next(), index)));
        }
        points.sort_unstable();
        Ring { points }
    }

    /// The usable proxy that owns a key; `None` if there is none.
    pub(super) fn pick(&self, key: u32, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(point, _)| *point < key);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|(_, index)| *index).find(|index| usable(*index))
    }
}

/// The official client's generator of pseudo random numbers.
struct Generator(u64);

impl Generator {
    /// A number below 2^32 - 1.
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let scaled = self.0 as f64 * (f64::from(u32::MAX) / 18446744073709551616.0);
        (scaled as u64 % u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(count: usize) -> Ring {
        Ring::new((0..count).map(|i| format!("http://10.0.0.{i}:3128")))
    }

    #[test]
    fn generator_matches_the_official_sequence() {
        let mut state = Generator(42);
        let mut bytes = Vec::new();
        for _ in 0..16 {
            state.next();
            bytes.push((state.0 as f64 * (256.0 / 18446744073709551616.0)) as u64 as u8);
        }
        assert_eq!(bytes[..4], [0x91, 0x39, 0x69, 0xa1]);
    }

    #[test]
    fn losing_one_proxy_moves_only_its_own_objects() {
        let ring = ring(4);
        let mut seen = [0; 4];
        for key in (0..1000u32).map(|i| i.wrapping_mul(4_294_967)) {
            let owner = ring.pick(key, |_| true).expect("four proxies");
            seen[owner] += 1;
            let without = ring.pick(key, |i| i != 2).expect("three proxies");
            assert!(without != 2 && (owner == 2 || without == owner));
        }
        assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
        assert_eq!(ring.pick(7, |_| false), None);
    }

    #[test]
    fn the_highest_key_wraps_to_the_smallest_point() {
        let ring = ring(3);
        assert_eq!(ring.pick(u32::MAX, |_| true), Some(ring.points[0].1));
    }
}
