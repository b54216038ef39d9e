//! Making objects: plain bytes are compressed and hashed on their way out, and the hash is the name.
//!
//! The hash is over the compressed bytes, so the official publishers' names come out only with classic zlib.

use super::Compression;
use crate::hash::{Algorithm, ContentHash, Hasher};
use flate2::{Compress, FlushCompress, Status};
use std::io::{self, Read, Write};

/// Bytes read, and compressed bytes written, at a time.
const BUFFER: usize = 64 << 10;

/// How objects are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// What names them.
    pub algorithm: Algorithm,
    /// How they are stored.
    pub compression: Compression,
    /// The level of zlib, 1 to 9; the official publishers' is 6. Another one gives other names. (What level 0 makes
    /// depends on how the bytes come in.)
    pub level: u32,
}

impl Encoding {
    /// The official publishers' way.
    pub fn new(algorithm: Algorithm, compression: Compression) -> Encoding {
        Encoding { algorithm, compression, level: 6 }
    }
}

/// An object that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Hash of the stored bytes.
    pub hash: ContentHash,
    /// Plain bytes.
    pub plain: u64,
    /// Stored bytes.
    pub stored: u64,
}

/// Makes one object after another, and keeps the compressor's memory for the next.
pub struct Encoder {
    encoding: Encoding,
    compress: Option<Compress>,
    buffer: Vec<u8>,
}

impl Encoder {
    /// An encoder; compressors take a quarter of a megabyte.
    pub fn new(encoding: Encoding) -> Encoder {
        let compress = match encoding.compression {
            Compression::Zlib => Some(Compress::new(flate2::Compression::new(encoding.level.clamp(1, 9)), true)),
            Compression::None => None,
        };
        Encoder { encoding, compress, buffer: vec![0; BUFFER] }
    }

    /// Writes the object with these plain bytes to `out`.
    pub fn bytes(&mut self, plain: &[u8], out: &mut impl Write) -> io::Result<Encoded> {
        self.reader(plain, out)
    }

    /// Writes the object with the plain bytes that `plain` yields to `out`.
    pub fn reader(&mut self, mut plain: impl Read, out: &mut impl Write) -> io::Result<Encoded> {
        let mut stored = Stored { hasher: Hasher::new(self.encoding.algorithm), count: 0, out };
        let total = match &mut self.compress {
            None => io::copy(&mut plain, &mut stored)?,
            Some(compress) => {
                compress.reset();
                deflate(compress, &mut self.buffer, plain, &mut stored)?
            }
        };
        Ok(Encoded { hash: stored.hasher.finish(), plain: total, stored: stored.count })
    }
}

fn deflate(
    compress: &mut Compress,
    buffer: &mut [u8],
    mut plain: impl Read,
    out: &mut Stored<'_, impl Write>,
) -> io::Result<u64> {
    let mut input = vec![0; BUFFER];
    let mut total = 0_u64;
    loop {
        let read = match plain.read(&mut input) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let flush = if read == 0 { FlushCompress::Finish } else { FlushCompress::None };
        let mut rest = input.get(..read).unwrap_or_default();
        loop {
            let (before_in, before_out) = (compress.total_in(), compress.total_out());
            let status = compress.compress(rest, buffer, flush).map_err(io::Error::other)?;
            let taken = (compress.total_in() - before_in) as usize;
            let made = (compress.total_out() - before_out) as usize;
            rest = rest.get(taken..).unwrap_or_default();
            out.write_all(buffer.get(..made).unwrap_or_default())?;
            match status {
                Status::StreamEnd => return Ok(total),
                // All taken, and room left: there is nothing more to get out of it for now.
                _ if flush == FlushCompress::None && rest.is_empty() && made < buffer.len() => break,
                _ => {}
            }
        }
        total += read as u64;
    }
}

/// Hashes and counts what is stored.
struct Stored<'a, W> {
    hasher: Hasher,
    count: u64,
    out: &'a mut W,
}

impl<W: Write> Write for Stored<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(encoder: &mut Encoder, plain: &[u8]) -> (Encoded, Vec<u8>) {
        let mut out = Vec::new();
        (encoder.bytes(plain, &mut out).unwrap(), out)
    }

    #[test]
    fn known_names_of_known_content() {
        for (algorithm, empty, abc) in [
            (Algorithm::Sha1, "e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78", "2a695360ba25033e8899486a62c9dc7316650b56"),
            (
                Algorithm::Rmd160,
                "fcdb20b894f31f1306d56294c049ca7293dde0fc-rmd160",
                "c39d29452241b9e1688065b86833c2489b5df41c-rmd160",
            ),
            (
                Algorithm::Shake128,
                "28d94b83b7229b331fc601362b8e272e02665122-shake128",
                "cfe25dfbeb56df1c9fa32997172376b9aa3e6b32-shake128",
            ),
        ] {
            let mut encoder = Encoder::new(Encoding::new(algorithm, Compression::Zlib));
            assert_eq!(encode(&mut encoder, b"").0.hash.to_string(), empty);
            assert_eq!(encode(&mut encoder, b"abc").0.hash.to_string(), abc);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn an_encoder_used_again_makes_what_a_new_one_makes(
            files in prop::collection::vec((any::<u8>(), 0_usize..300_000, any::<bool>()), 1..5), level in 1_u32..10,
        ) {
            let encoding = Encoding { level, ..Encoding::new(Algorithm::Sha1, Compression::Zlib) };
            let mut encoder = Encoder::new(encoding);
            for (seed, len, noisy) in files {
                let mut random = fastrand::Rng::with_seed(u64::from(seed));
                let plain: Vec<u8> = (0..len).map(|_| if noisy { random.u8(..) } else { random.u8(..4) }).collect();
                let (encoded, stored) = encode(&mut encoder, &plain);
                let mut whole = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
                whole.write_all(&plain).unwrap();
                prop_assert!(whole.finish().unwrap() == stored);
                prop_assert_eq!((encoded.plain, encoded.stored), (plain.len() as u64, stored.len() as u64));
                prop_assert_eq!(encoded.hash, Hasher::hash(Algorithm::Sha1, &stored));
            }
        }
    }
}
