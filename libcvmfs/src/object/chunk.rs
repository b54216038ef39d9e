//! Where large files are cut: the content decides, so that the same bytes give the same chunks in another file too.

use thiserror::Error;

/// Bytes that decide about a cut; older ones have left the 32 bits of the state.
const WINDOW: u64 = 32;

/// The sizes of chunks in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSizes {
    min: u64,
    average: u64,
    max: u64,
}

/// Sizes that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("chunk sizes {min}, {average}, {max}: expected 32 <= minimum < average < maximum, below 4 GiB")]
pub struct ChunkSizesError {
    min: u64,
    average: u64,
    max: u64,
}

impl ChunkSizes {
    /// Least, aimed-at and largest size, all in bytes.
    pub fn new(min: u64, average: u64, max: u64) -> Result<ChunkSizes, ChunkSizesError> {
        match min >= WINDOW && min < average && average < max && max <= u64::from(u32::MAX) {
            true => Ok(ChunkSizes { min, average, max }),
            false => Err(ChunkSizesError { min, average, max }),
        }
    }

    /// The most bytes of a chunk.
    pub fn max(&self) -> u64 {
        self.max
    }
}

/// The official publisher's: 4, 8 and 16 MiB.
impl Default for ChunkSizes {
    fn default() -> ChunkSizes {
        ChunkSizes { min: 4 << 20, average: 8 << 20, max: 16 << 20 }
    }
}

/// Finds the cuts of one file while its bytes go by.
#[derive(Debug, Clone)]
pub struct Cutter {
    sizes: ChunkSizes,
    threshold: u32,
    state: u32,
    length: u64,
}

impl Cutter {
    /// At the first byte of a file.
    pub fn new(sizes: ChunkSizes) -> Cutter {
        let threshold = u32::try_from(u64::from(u32::MAX) / sizes.average).unwrap_or(u32::MAX);
        Cutter { sizes, threshold, state: 0, length: 0 }
    }

    /// Looks at the next bytes of the file. `Some(n)`: a new chunk begins behind the first `n` of them; go on with the
    /// rest. `None`: all of them belong to the current chunk. There is never a cut behind the last byte of a file.
    pub fn next_cut(&mut self, bytes: &[u8]) -> Option<usize> {
        let skip = usize::try_from((self.sizes.min - WINDOW).saturating_sub(self.length)).unwrap_or(usize::MAX);
        let skip = skip.min(bytes.len());
        self.length += skip as u64;
        for (at, &byte) in bytes.iter().enumerate().skip(skip) {
            if self.length >= self.sizes.max {
                return Some(self.cut(at));
            }
            self.state = self.state << 1 ^ u32::from(byte);
            if self.length >= self.sizes.min && self.state.abs_diff(0x7fff_ffff) < self.threshold {
                return Some(self.cut(at));
            }
            self.length += 1;
        }
        None
    }

    fn cut(&mut self, at: usize) -> usize {
        (self.state, self.length) = (0, 0);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes that the official publisher's own test cuts.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 42_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state as f64 * 256.0 / 18_446_744_073_709_551_616.0) as u64 as u8
        };
        (0..len).map(next).collect()
    }

    fn cuts(sizes: ChunkSizes, bytes: &[u8], piece: usize) -> Vec<u64> {
        let (mut cutter, mut cuts, mut position) = (Cutter::new(sizes), Vec::new(), 0);
        for mut piece in bytes.chunks(piece) {
            while let Some(at) = cutter.next_cut(piece) {
                cuts.push(position + at as u64);
                position += at as u64;
                piece = &piece[at..];
            }
            position += piece.len() as u64;
        }
        cuts
    }

    /// The rule as it is written down, over a file that is at hand.
    fn cuts_by_the_book(sizes: ChunkSizes, bytes: &[u8]) -> Vec<u64> {
        let (min, max) = (sizes.min as usize, sizes.max as usize);
        let threshold = (u64::from(u32::MAX) / sizes.average) as i64;
        let (mut cuts, mut last) = (Vec::new(), 0);
        'chunks: loop {
            let mut x = 0_u32;
            let feed = |x: u32, byte: u8| (x << 1) ^ u32::from(byte);
            for &byte in bytes.iter().take(last + min).skip(last + min - 32) {
                x = feed(x, byte);
            }
            for (p, &byte) in bytes.iter().enumerate().take(last + max).skip(last + min) {
                x = feed(x, byte);
                if (i64::from(x) - 0x7fff_ffff).abs() < threshold {
                    cuts.push(p as u64);
                    last = p;
                    continue 'chunks;
                }
            }
            if last + max >= bytes.len() {
                return cuts;
            }
            last += max;
            cuts.push(last as u64);
        }
    }

    #[test]
    fn the_official_publishers_cuts_come_out() {
        let bytes = noise(100 << 20);
        assert_eq!(bytes[..8], [0x91, 0x39, 0x69, 0xa1, 0xae, 0x06, 0x05, 0x27]);
        let cuts = cuts(ChunkSizes::new(512_000, 1_024_000, 2_048_000).unwrap(), &bytes, 64 << 10);
        assert_eq!(cuts.len(), 104);
        let first = [
            742_752, 2_790_752, 3_521_796, 4_188_893, 4_940_543, 5_884_591, 7_131_564, 8_520_617, 9_159_233, 9_999_783,
            11_202_120, 11_778_185,
        ];
        assert_eq!(cuts[..12], first);
        assert_eq!(cuts[101..], [101_755_336, 103_405_168, 104_269_441]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_and_the_rule_is_kept(
            bytes in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..4000),
            piece in 1_usize..600, min in 32_u64..100, more in 1_u64..100, most in 1_u64..100,
        ) {
            let sizes = ChunkSizes::new(min, min + more, min + more + most).unwrap();
            prop_assert_eq!(cuts(sizes, &bytes, piece), cuts_by_the_book(sizes, &bytes));
        }
    }

    #[test]
    fn sizes_out_of_order_are_refused() {
        for (min, average, max) in [(31, 64, 128), (64, 64, 128), (64, 128, 128), (64, 128, 1 << 32)] {
            assert!(ChunkSizes::new(min, average, max).is_err(), "{min} {average} {max}");
        }
    }
}
