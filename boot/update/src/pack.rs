//! A loader as it comes out of a repository: a directory, or the same files in one archive (`cpio`, as an initramfs is, but not
//! compressed), the descriptor first.

use crate::loader::{DESCRIPTOR, INITRD, KERNEL, LONGEST, Loader, Part, hexadecimal};
use crate::{At as _, Error};
use cpio::newc;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// A pack whose descriptor was read.
#[derive(Debug)]
pub struct Pack {
    /// What it says of itself.
    pub loader: Loader,
    path: PathBuf,
    /// The archive behind its first entry; `None` if the pack is a directory.
    archive: Option<BufReader<File>>,
}

impl Pack {
    /// Opens the directory or archive `path`.
    ///
    /// # Errors
    /// Where it cannot be read, or is no loader.
    pub fn open(path: &Path) -> Result<Pack, Error> {
        let (text, archive) = if path.is_dir() {
            let file = path.join(DESCRIPTOR);
            (descriptor(&mut File::open(&file).at(&file)?).at(&file)?, None)
        } else {
            let mut entry = entry(BufReader::new(File::open(path).at(path)?), DESCRIPTOR, path)?;
            let text = descriptor(&mut entry).at(path)?;
            (text, Some(entry.finish().at(path)?))
        };
        let wrong = |reason: String| Error::Loader { path: path.to_owned(), reason };
        let loader = Loader::parse(&text).map_err(|reason| wrong(format!("no loader: {reason}")))?;
        Ok(Pack { loader, path: path.to_owned(), archive })
    }

    /// Copies both files, the kernel first; `target` makes a place for each. What they are is checked while they are read.
    ///
    /// # Errors
    /// Where they cannot be read or written, or are not what the descriptor says.
    pub(crate) fn copy(self, mut target: impl FnMut(&'static str) -> Result<File, Error>) -> Result<(), Error> {
        let Pack { loader, path, mut archive } = self;
        for (name, part) in [(KERNEL, &loader.kernel), (INITRD, &loader.initrd)] {
            let wrong = |reason: &str| Error::Loader { path: path.clone(), reason: format!("{name} {reason}") };
            let is_it = match archive.take() {
                Some(reader) => {
                    let mut entry = entry(reader, name, &path)?;
                    let is_it = copied(&mut entry, part, &mut target(name)?).at(&path)?;
                    // Only behind its last byte does the next one begin.
                    if is_it {
                        archive = Some(entry.finish().at(&path)?);
                    }
                    is_it
                }
                None => {
                    let file = path.join(name);
                    copied(&mut File::open(&file).at(&file)?, part, &mut target(name)?).at(&file)?
                }
            };
            if !is_it {
                return Err(wrong("is not what the descriptor says"));
            }
        }
        Ok(())
    }
}

fn descriptor(from: &mut dyn Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// The next entry of an archive, which has to be called `name`.
fn entry<R: Read>(archive: R, name: &str, path: &Path) -> Result<newc::Reader<R>, Error> {
    let wrong = |reason: &str| Error::Loader { path: path.to_owned(), reason: format!("no loader: {reason}") };
    let entry = newc::Reader::new(archive).map_err(|error| wrong(&error.to_string()))?;
    if entry.entry().name() != name {
        return Err(wrong(&format!("{name} is missing")));
    }
    Ok(entry)
}

/// Copies what should be `part`, and makes it durable; whether it is.
pub(crate) fn copied(from: &mut dyn Read, part: &Part, to: &mut File) -> std::io::Result<bool> {
    let is_it = sum(from, part, to)?;
    to.sync_all()?;
    Ok(is_it)
}

/// Reads what should be `part` into `to`, and not much more than that; whether it is.
pub(crate) fn sum(from: &mut dyn Read, part: &Part, to: &mut dyn Write) -> std::io::Result<bool> {
    let mut from = from.take(part.size + 1);
    let (mut hasher, mut size, mut room) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let length = from.read(&mut room)?;
        let Some(bytes) = room.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        to.write_all(bytes)?;
        size += length as u64;
    }
    Ok(size == part.size && hexadecimal(&hasher.finalize()) == part.sha256)
}

/// Puts a loader into one archive; all files are as old as `epoch` says. The same files make the same bytes.
///
/// # Errors
/// Where a file is too large for such an archive.
pub fn archived(loader: &Loader, kernel: &[u8], initrd: &[u8], epoch: u32) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let files = [(DESCRIPTOR, loader.to_text().into_bytes()), (KERNEL, kernel.to_vec()), (INITRD, initrd.to_vec())];
    for (number, (name, content)) in (1..).zip(files) {
        let size = u32::try_from(content.len()).map_err(std::io::Error::other)?;
        let kind = newc::ModeFileType::Regular;
        let entry = newc::Builder::new(name).ino(number).nlink(1).mode(0o644).set_mode_file_type(kind).mtime(epoch);
        let mut writer = entry.write(&mut bytes, size);
        writer.write_all(&content)?;
        writer.finish()?;
    }
    newc::trailer(bytes)
}
