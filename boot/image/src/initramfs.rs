//! The archive that the kernel unpacks: sorted, with fixed owners and times, so that the same files make the same bytes.

use anyhow::{Context as _, Result};
use cpio::newc::{Builder, ModeFileType, trailer};
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

/// Bytes back in which the compressor looks for what it had before.
const DICTIONARY: u32 = 32 << 20;

/// What the archive consists of. Directories follow from the names.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Files with their content; programs are those in `bin`, `sbin` and `lib*`, and `init`.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Symbolic links with their targets.
    pub(crate) links: BTreeMap<String, String>,
    /// Directories that are there without anything in them.
    pub(crate) directories: Vec<&'static str>,
}

/// Packs `contents`; every file is as old as `epoch` says.
pub(crate) fn pack(contents: &Contents, epoch: u64) -> Result<Vec<u8>> {
    // Two archives, one behind the other: what makes programs smaller makes modules larger, whose calls have no addresses yet.
    let mut archive = Archive::new(epoch);
    for directory in directories(contents) {
        archive.add(&directory, ModeFileType::Directory, 0o755, &[])?;
    }
    // The kernel opens it as the first process's terminal, before anything is mounted.
    archive.add_console()?;
    let mut modules = Archive::new(epoch);
    for (name, bytes) in &contents.files {
        let mode = if is_program(name) { 0o755 } else { 0o644 };
        let place = if name.ends_with(".ko") { &mut modules } else { &mut archive };
        place.add(name, ModeFileType::Regular, mode, bytes)?;
    }
    for (name, target) in &contents.links {
        archive.add(name, ModeFileType::Symlink, 0o777, target.as_bytes())?;
    }
    let mut programs = LzmaOptions::new_preset(9)?;
    programs.dict_size(DICTIONARY).literal_context_bits(4);
    let mut packed = compressed(&trailer(archive.bytes)?, Filters::new().x86().lzma2(&programs))?;
    if modules.number > 0 {
        let mut plain = LzmaOptions::new_preset(9)?;
        plain.dict_size(DICTIONARY);
        packed.extend(compressed(&trailer(modules.bytes)?, Filters::new().lzma2(&plain))?);
    }
    Ok(packed)
}

fn is_program(name: &str) -> bool {
    name == "init" || ["bin/", "sbin/", "lib64/"].iter().any(|place| name.starts_with(place)) || name.contains(".so")
}

fn directories(contents: &Contents) -> BTreeSet<String> {
    let mut directories: BTreeSet<String> = contents.directories.iter().map(|&name| name.to_owned()).collect();
    directories.insert("dev".to_owned());
    for name in contents.files.keys().chain(contents.links.keys()) {
        let parents = Path::new(name).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        directories.extend(parents.map(|parent| parent.to_string_lossy().into_owned()));
    }
    directories
}

struct Archive {
    bytes: Vec<u8>,
    number: u32,
    time: u32,
}

impl Archive {
    fn new(epoch: u64) -> Archive {
        Archive { bytes: Vec::new(), number: 0, time: u32::try_from(epoch).unwrap_or(u32::MAX) }
    }

    fn entry(&mut self, name: &str, mode: u32) -> Builder {
        self.number += 1;
        Builder::new(name).ino(self.number).mode(mode).nlink(1).mtime(self.time)
    }

    fn add(&mut self, name: &str, kind: ModeFileType, mode: u32, bytes: &[u8]) -> Result<()> {
        let size = u32::try_from(bytes.len()).with_context(|| format!("{name} is too large"))?;
        let entry = self.entry(name, mode).set_mode_file_type(kind);
        let mut writer = entry.write(&mut self.bytes, size);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    }

    fn add_console(&mut self) -> Result<()> {
        let entry = self.entry("dev/console", 0o600).set_mode_file_type(ModeFileType::Char).rdev_major(5).rdev_minor(1);
        entry.write(&mut self.bytes, 0).finish()?;
        Ok(())
    }
}

/// As the kernel's own decompressor can read it: it knows no check but CRC-32.
fn compressed(bytes: &[u8], filters: &Filters) -> Result<Vec<u8>> {
    let stream = Stream::new_stream_encoder(filters, Check::Crc32)?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes)?;
    let mut packed = encoder.finish()?;
    // Loaders put archives behind one another at multiples of four.
    packed.resize(packed.len().next_multiple_of(4), 0);
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read as _};

    fn made() -> Contents {
        let mut contents = Contents { directories: vec!["proc", "run"], ..Contents::default() };
        contents.files.insert("init".to_owned(), b"program".to_vec());
        contents.files.insert("etc/a/b".to_owned(), b"text".to_vec());
        contents.files.insert("lib/modules/6/ext4.ko".to_owned(), b"module".to_vec());
        contents.links.insert("bin/sh".to_owned(), "busybox".to_owned());
        contents
    }

    #[test]
    fn every_entry_comes_after_its_directory_and_reads_back() {
        let packed = pack(&made(), 1_700_000_000).expect("an archive");
        let mut plain = Vec::new();
        liblzma::read::XzDecoder::new_multi_decoder(Cursor::new(packed)).read_to_end(&mut plain).expect("xz");
        let mut rest = Cursor::new(plain);
        let mut found = Vec::new();
        let mut archives = 0;
        while archives < 2 {
            let mut reader = cpio::newc::Reader::new(rest).expect("an entry");
            if reader.entry().is_trailer() {
                archives += 1;
                rest = reader.finish().expect("the next archive");
                continue;
            }
            let (name, mode, time) = (reader.entry().name().to_owned(), reader.entry().mode(), reader.entry().mtime());
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("content");
            assert_eq!(time, 1_700_000_000);
            found.push((name, mode, String::from_utf8_lossy(&bytes).into_owned()));
            rest = reader.finish().expect("the next entry");
        }
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        let directories = ["bin", "dev", "etc", "etc/a", "lib", "lib/modules", "lib/modules/6", "proc", "run"];
        let files = ["dev/console", "etc/a/b", "init", "bin/sh", "lib/modules/6/ext4.ko"];
        assert_eq!(names, [&directories[..], &files[..]].concat());
        assert!(found.contains(&("init".to_owned(), 0o100_755, "program".to_owned())));
        assert!(found.contains(&("bin/sh".to_owned(), 0o120_777, "busybox".to_owned())));
        assert!(found.contains(&("dev/console".to_owned(), 0o020_600, String::new())));
    }

    #[test]
    fn the_same_files_make_the_same_bytes() {
        assert_eq!(pack(&made(), 1).expect("an archive"), pack(&made(), 1).expect("an archive"));
    }
}
