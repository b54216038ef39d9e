//! Grafts: files whose content is in the repository, or will be, without having been here. `.cvmfsgraft-NAME` lies
//! beside or in the place of `NAME` and describes it.

use anyhow::{Context as _, Result, bail, ensure};
use libcvmfs::hash::ContentHash;
use libcvmfs::object::Compression;

/// Begins the names of descriptions.
pub(super) const PREFIX: &[u8] = b".cvmfsgraft-";
/// Most bytes of a description.
pub(super) const LIMIT: u64 = 64 << 20;

/// The content of a file that was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graft {
    /// Bytes.
    pub size: u64,
    /// The object, if it is in one piece.
    pub whole: Option<ContentHash>,
    /// Offsets and objects of its chunks.
    pub chunks: Vec<(u64, ContentHash)>,
    /// How the objects are stored.
    pub compression: Compression,
}

impl Graft {
    /// Reads a description: lines `size=`, `checksum=`, `chunk_offsets=`, `chunk_checksums=` and `compression=`.
    pub fn parse(text: &[u8]) -> Result<Graft> {
        let text = std::str::from_utf8(text).context("it is not text")?;
        let (mut size, mut whole, mut offsets, mut hashes) = (None, None, Vec::new(), Vec::new());
        let mut compression = Compression::Zlib;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').with_context(|| format!("'{line}' is no KEY=VALUE"))?;
            let value = value.trim();
            let list = || value.split(',').map(str::trim).filter(|item| !item.is_empty());
            match key.trim() {
                "size" => size = Some(value.parse().context("the size is no number")?),
                "checksum" => whole = Some(value.parse().context("the checksum is no hash")?),
                "chunk_offsets" => {
                    offsets = list().map(str::parse).collect::<Result<_, _>>().context("chunk_offsets")?
                }
                "chunk_checksums" => {
                    hashes = list().map(str::parse).collect::<Result<_, _>>().context("chunk_checksums")?;
                }
                "compression" => {
                    compression = match value {
                        "zlib" | "default" => Compression::Zlib,
                        "none" => Compression::None,
                        other => bail!("unknown compression '{other}'"),
                    }
                }
                // Later versions may say more.
                _ => {}
            }
        }
        let size: u64 = size.context("it has no size")?;
        ensure!(offsets.len() == hashes.len(), "it has {} offsets and {} hashes", offsets.len(), hashes.len());
        let rising = offsets.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        ensure!(rising && offsets.first().is_none_or(|first| *first == 0), "the offsets do not rise from 0");
        ensure!(offsets.last().is_none_or(|last| *last < size), "an offset is behind the end");
        ensure!(whole.is_some() || !hashes.is_empty(), "it has neither a checksum nor chunks");
        let chunks = offsets.into_iter().zip(hashes).collect();
        Ok(Graft { size, whole, chunks, compression })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "2a695360ba25033e8899486a62c9dc7316650b56";

    #[test]
    fn descriptions_are_read_strictly() {
        let graft = Graft::parse(format!("size=3\nchecksum={HASH}\n").as_bytes()).unwrap();
        assert_eq!((graft.size, graft.whole.unwrap().to_string(), graft.chunks.len()), (3, HASH.to_owned(), 0));
        let text = format!("# x\nsize=9\nchunk_offsets=0,4\nchunk_checksums={HASH},{HASH}\ncompression=none\n");
        let graft = Graft::parse(text.as_bytes()).unwrap();
        assert_eq!((graft.chunks[1].0, graft.compression), (4, Compression::None));
        for bad in [
            "",
            "size=3",
            "size=x\nchecksum=2a",
            &format!("size=9\nchunk_offsets=1\nchunk_checksums={HASH}"),
            &format!("size=9\nchunk_offsets=0,0\nchunk_checksums={HASH},{HASH}"),
            &format!("size=9\nchunk_offsets=0,9\nchunk_checksums={HASH},{HASH}"),
            &format!("size=9\nchunk_offsets=0,4\nchunk_checksums={HASH}"),
            &format!("size=9\nchecksum={HASH}\ncompression=lzma"),
        ] {
            assert!(Graft::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
