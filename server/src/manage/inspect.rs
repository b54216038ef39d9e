//! A look at an archive before it is published, without anything being kept or locked: archives of strangers may be made to
//! do harm.

use super::problem::{Answer, Problem};
use crate::source::{inner_path, plain};
use std::io::{self, Read};
use tar::{EntryType, Header, PaxExtensions};

/// Bytes of which an archive is a multiple.
const BLOCK: usize = 512;
/// Most bytes of a header that is read as a whole: long names, extended attributes.
const LARGEST_HEADER: u64 = 1 << 20;
/// Where the header of a sparse file says that a block of the same kind follows.
const SPARSE_GOES_ON: usize = 504;

/// Refuses what is no archive or is cut off, has more than `limit` bytes when it is decompressed, has headers that fill the
/// memory, or names that lead out of it.
pub fn archive(reader: impl Read, limit: u64) -> Answer<()> {
    let unreadable =
        |error: io::Error| Problem::unprocessable("bad-archive", format!("the archive cannot be read: {error}"));
    let mut reader = Bounded { inner: plain(reader).map_err(unreadable)?, left: limit };
    // Some headers tell the size of the entry that follows.
    let mut following = None;
    loop {
        let block = block(&mut reader).map_err(unreadable)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let header = Header::from_byte_slice(&block);
        let name = header.path_bytes();
        let refused = |why: &str| Problem::unprocessable("bad-archive", format!("{}: {why}", name.escape_ascii()));
        if !header.cksum().is_ok_and(|sum| sum == checksum(&block)) {
            return Err(refused("this is no header of an archive"));
        }
        let size = header.entry_size().map_err(unreadable)?;
        let kind = header.entry_type();
        let size = match kind {
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader => {
                if size > LARGEST_HEADER {
                    return Err(refused("a header of this size is refused"));
                }
                if kind == EntryType::XHeader {
                    following = size_in(&content(&mut reader, size).map_err(unreadable)?);
                    continue;
                }
                following = following.filter(|_| kind != EntryType::XGlobalHeader);
                size
            }
            _ => following.take().unwrap_or(size),
        };
        inner_path(&name).map_err(|_| refused("the name leads out of the archive"))?;
        if kind == EntryType::Link {
            let target = header.link_name_bytes().unwrap_or_default();
            inner_path(&target).map_err(|_| refused("a hard link that leads out of the archive"))?;
        }
        if kind == EntryType::GNUSparse && header.as_gnu().is_some_and(|header| header.is_extended()) {
            while self::block(&mut reader).map_err(unreadable)?.get(SPARSE_GOES_ON).is_some_and(|more| *more != 0) {}
        }
        skip(&mut reader, size).map_err(unreadable)?;
    }
}

fn block(reader: &mut impl Read) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    reader.read_exact(&mut block).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_off(),
        _ => error,
    })?;
    Ok(block)
}

fn cut_off() -> io::Error {
    io::Error::other("it is cut off: its end is missing")
}

/// The sum of the bytes of a header, its own place counted as blanks.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let sum = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    block.iter().enumerate().map(sum).sum()
}

/// Passes over the content of an entry and what fills its last block.
fn skip(reader: &mut impl Read, size: u64) -> io::Result<()> {
    let whole = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(cut_off)?;
    match io::copy(&mut reader.take(whole), &mut io::sink())? {
        passed if passed == whole => Ok(()),
        _ => Err(cut_off()),
    }
}

/// The content of a small entry.
fn content(reader: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(size.next_multiple_of(BLOCK as u64)).read_to_end(&mut bytes)?;
    match usize::try_from(size) {
        Ok(size) if size <= bytes.len() => bytes.truncate(size),
        _ => return Err(cut_off()),
    }
    Ok(bytes)
}

/// The size that a pax header tells, as the reader of archives finds it.
fn size_in(pax: &[u8]) -> Option<u64> {
    for extension in PaxExtensions::new(pax) {
        let extension = extension.ok()?;
        if extension.key() == Ok("size") {
            return extension.value().ok()?.parse().ok();
        }
    }
    None
}

/// A reader that fails when there is more than expected.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("it is too large when it is decompressed")),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn entry(kind: EntryType, name: &str, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // The crate itself refuses to write some of these.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn whole(mut entries: Vec<u8>) -> Vec<u8> {
        entries.extend([0; 2 * BLOCK]);
        entries
    }

    fn refusal(bytes: &[u8], limit: u64) -> String {
        archive(bytes, limit).err().map(|problem| problem.detail).unwrap_or_default()
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        assert_eq!(refusal(&whole(entry(EntryType::Regular, "./a/b", b"x")), 1 << 20), "");
        assert_eq!(refusal(&whole(entry(EntryType::Regular, "/a", b"x")), 1 << 20), "", "a root of its own");
        for name in ["../a", "a/../../b", "a/..", ".."] {
            let said = refusal(&entry(EntryType::Directory, name, b""), 1 << 20);
            assert!(said.contains("leads out"), "{name}: {said}");
        }
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(EntryType::Link);
        link.set_path("a").unwrap();
        link.set_size(0);
        link.as_mut_bytes()[157..166].copy_from_slice(b"../secret");
        link.set_cksum();
        let said = refusal(link.as_bytes(), 1 << 20);
        assert!(said.contains("hard link"), "{said}");
    }

    #[test]
    fn memory_and_disk_are_not_filled() {
        let long = vec![b'a'; 2 << 20];
        for kind in [EntryType::GNULongName, EntryType::XHeader] {
            let said = refusal(&whole(entry(kind, "x", &long)), 1 << 30);
            assert!(said.contains("header of this size"), "{said}");
        }
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&whole(entry(EntryType::Regular, "a", &vec![0; 10 << 20]))).unwrap();
        let bomb = bomb.finish().unwrap();
        assert_eq!(refusal(&bomb, 11 << 20), "");
        assert!(refusal(&bomb, 9 << 20).contains("too large"), "{} bytes", bomb.len());
        assert!(refusal(b"this is no archive at all", 1 << 20).contains("cannot be read"));
        assert!(refusal(&[b'x'; 1024], 1 << 20).contains("no header"));
    }

    #[test]
    fn an_archive_without_its_end_is_refused() {
        let bytes = whole(entry(EntryType::Regular, "a", &[b'x'; 700]));
        assert_eq!(refusal(&bytes, 1 << 20), "");
        assert_eq!(refusal(&whole(Vec::new()), 1 << 20), "", "an archive of nothing");
        for length in [0, 100, BLOCK, BLOCK + 700, 3 * BLOCK, 3 * BLOCK + 10] {
            let said = refusal(&bytes[..length], 1 << 20);
            assert!(said.contains("cut off"), "{length}: {said}");
        }
    }

    #[test]
    fn real_archives_are_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let long = "n".repeat(180);
        std::fs::create_dir_all(directory.path().join("tree").join(&long)).unwrap();
        std::fs::write(directory.path().join("tree").join(&long).join(&long), b"content").unwrap();
        let sparse = std::fs::File::create(directory.path().join("tree/sparse")).unwrap();
        for number in 0..60 {
            std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", number << 20).unwrap();
        }
        std::fs::hard_link(directory.path().join("tree/sparse"), directory.path().join("tree/link")).unwrap();
        for format in ["gnu", "posix", "ustar", "oldgnu"] {
            let mut tar = std::process::Command::new("tar");
            tar.arg("-C").arg(directory.path().join("tree")).args(["-c", "--format", format]);
            let sparse = if format == "ustar" { "--exclude=*nn*" } else { "--sparse" };
            let output = tar.args([sparse, "."]).output().unwrap();
            assert!(output.status.success());
            assert_eq!(refusal(&output.stdout, 1 << 30), "", "{format}");
        }
    }

    #[test]
    fn sizes_in_headers_count() {
        // A file of more bytes than its own header can tell.
        let mut bytes = entry(EntryType::XHeader, "x", b"13 size=1000\n");
        let mut file = entry(EntryType::Regular, "a", &[b'x'; 1000]);
        let mut header = Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&file[..BLOCK]);
        header.set_size(0);
        header.set_cksum();
        file[..BLOCK].copy_from_slice(header.as_bytes());
        bytes.append(&mut file);
        assert_eq!(refusal(&whole(bytes), 1 << 20), "");
    }
}
