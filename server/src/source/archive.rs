//! A tar archive: owners, devices and times are those in its headers, so any user can publish them.

use super::sparse::{self, Sparse};
use super::{Reading, Source};
use crate::draft;
use crate::publish::{Attributes, Kind, Publication};
use anyhow::{Context as _, Result, bail};
use std::io::{self, BufRead as _, BufReader, Read};
use tar::{Entry, EntryType};

/// What a name in an archive begins with if it says that something of the layers below is gone.
const WHITEOUT: &[u8] = b".wh.";
/// The same for everything that was in a directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Extended attributes in pax headers.
const XATTR: &str = "SCHILY.xattr.";

/// An archive, plain or compressed by gzip or zstd.
pub struct Archive<R> {
    name: String,
    reader: Option<R>,
    reading: Reading,
}

impl<R: Read> Archive<R> {
    /// The archive that `reader` yields; `name` is for messages.
    pub fn new(name: impl Into<String>, reader: R, reading: Reading) -> Archive<R> {
        Archive { name: name.into(), reader: Some(reader), reading }
    }
}

impl<R: Read> Source for Archive<R> {
    fn read(&mut self, into: &[u8], publication: &mut Publication<'_, '_>) -> Result<()> {
        let Some(reader) = self.reader.take() else { bail!("{} was read already", self.name) };
        let mut archive = tar::Archive::new(plain(reader).with_context(|| self.name.clone())?);
        for entry in archive.entries().with_context(|| self.name.clone())? {
            let mut entry = entry.with_context(|| self.name.clone())?;
            let path = entry.path_bytes().into_owned();
            let sparse = sparse(&mut entry).with_context(|| format!("{}: {}", self.name, path.escape_ascii()))?;
            let name = sparse.as_ref().and_then(|sparse| sparse.name.clone()).unwrap_or(path);
            self.entry(&mut entry, &name, sparse, into, publication)
                .with_context(|| format!("{}: {}", self.name, name.escape_ascii()))?;
        }
        Ok(())
    }
}

/// The archive's bytes, whatever it was compressed by.
pub(crate) fn plain<'r>(reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut reader = BufReader::with_capacity(256 << 10, reader);
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(reader)?),
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            return Err(io::Error::other(
                "compressed by bzip2 or xz: decompress it on the way, as in 'xz -dc FILE | ... -'",
            ));
        }
        _ => Box::new(reader),
    })
}

impl<R: Read> Archive<R> {
    fn entry(
        &self,
        entry: &mut Entry<'_, impl Read>,
        name: &[u8],
        sparse: Option<Sparse>,
        into: &[u8],
        publication: &mut Publication<'_, '_>,
    ) -> Result<()> {
        let inner = inner_path(name)?;
        let path = [into, &inner].concat();
        let kind = entry.header().entry_type();
        if inner.is_empty() && !matches!(kind, EntryType::Directory | EntryType::XGlobalHeader) {
            bail!("the root of an archive is a directory");
        }
        if self.reading.layers && draft::name(&path).starts_with(WHITEOUT) {
            return whiteout(&path, publication);
        }
        let attributes = self.attributes(entry)?;
        let header = entry.header();
        let device = || -> Result<u64> {
            let number = |part: io::Result<Option<u32>>| Ok::<u32, io::Error>(part?.unwrap_or(0));
            Ok(rustix::fs::makedev(number(header.device_major())?, number(header.device_minor())?))
        };
        match kind {
            EntryType::Directory => publication.entry(&path, &attributes, &Kind::Directory(0)),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().context("a symbolic link without a target")?.into_owned();
                publication.entry(&path, &attributes, &Kind::Symlink(target))
            }
            EntryType::Link => {
                let of = entry.link_name_bytes().context("a hard link without a target")?;
                let of = [into, &inner_path(&of)?].concat();
                publication.hard_link(&path, &of)
            }
            EntryType::Fifo => publication.entry(&path, &attributes, &Kind::Special(0o010000, 0)),
            EntryType::Char => publication.entry(&path, &attributes, &Kind::Special(0o020000, device()?)),
            EntryType::Block => publication.entry(&path, &attributes, &Kind::Special(0o060000, device()?)),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = sparse.as_ref().map_or(entry.size(), |sparse| sparse.size);
                let paths = vec![path];
                // Comparing times saves the work of compressing; the bytes have gone by anyway.
                if publication.unchanged(&paths, &attributes, size)? {
                    return Ok(());
                }
                match sparse {
                    Some(sparse) => publication.file(paths, &attributes, &mut sparse.expand(entry)?),
                    None => publication.file(paths, &attributes, entry),
                }
            }
            EntryType::XGlobalHeader => Ok(()),
            other => bail!("an entry of unknown type {:?}", other.as_byte() as char),
        }
    }

    fn attributes(&self, entry: &mut Entry<'_, impl Read>) -> Result<Attributes> {
        let header = entry.header();
        let permissions = header.mode()? & 0o7777;
        let (mut uid, mut gid) = (header.uid()?, header.gid()?);
        let (mut mtime, mut mtime_ns) = (i64::try_from(header.mtime()?).unwrap_or(i64::MAX), 0);
        let mut xattrs = Vec::new();
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            let Ok(key) = extension.key() else { continue };
            let text = || extension.value().unwrap_or_default();
            match key {
                "mtime" => (mtime, mtime_ns) = time(text()).context("the time of modification is no number")?,
                "uid" => uid = text().parse().context("the owner is no number")?,
                "gid" => gid = text().parse().context("the group is no number")?,
                key => {
                    if let Some(name) = key.strip_prefix(XATTR) {
                        xattrs.push((name.as_bytes().to_vec(), extension.value_bytes().to_vec()));
                    }
                }
            }
        }
        let id = |id: u64| u32::try_from(id).context("an owner does not fit into 32 bits");
        let (uid, gid) = self.reading.owners.of(id(uid)?, id(gid)?);
        Ok(Attributes { permissions, uid, gid, mtime, mtime_ns, xattrs })
    }
}

/// What the headers of an entry say about holes in it, if they do.
fn sparse(entry: &mut Entry<'_, impl Read>) -> Result<Option<Sparse>> {
    let mut sparse = None;
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(key) = extension.key().ok().and_then(|key| key.strip_prefix(sparse::PREFIX)) {
            sparse.get_or_insert_with(Sparse::default).note(key, extension.value_bytes())?;
        }
    }
    Ok(sparse)
}

fn whiteout(path: &[u8], publication: &mut Publication<'_, '_>) -> Result<()> {
    let directory = draft::parent(path);
    match draft::name(path) {
        OPAQUE => publication.clear(directory),
        name => {
            let hidden = name.strip_prefix(WHITEOUT).unwrap_or_default();
            publication.remove(&[directory, b"/", hidden].concat()).map(drop)
        }
    }
}

/// `./a/b/`, `/a/b` and `a/b` are `/a/b`; the archive's root is empty.
pub(crate) fn inner_path(name: &[u8]) -> Result<Vec<u8>> {
    let mut path = Vec::with_capacity(name.len() + 1);
    for part in name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
        if part == b".." {
            bail!("the name leads out of the archive");
        }
        path.push(b'/');
        path.extend_from_slice(part);
    }
    Ok(path)
}

/// Seconds and nanoseconds of a decimal number, which may be negative.
fn time(text: &str) -> Option<(i64, u32)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{:0<9.9}", fraction).parse::<u32>().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    match seconds.starts_with('-') && nanoseconds > 0 {
        true => Some((whole.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        false => Some((whole, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_inside() {
        for (name, path) in [("./a/b/", "/a/b"), ("/a//b", "/a/b"), ("./", ""), ("a", "/a")] {
            assert_eq!(inner_path(name.as_bytes()).unwrap(), path.as_bytes());
        }
        assert!(inner_path(b"a/../b").is_err());
    }

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("-0.000000001"), Some((-1, 999_999_999)));
        assert_eq!(time("1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(time("x"), None);
    }
}
