//! Copies a tree, entry by entry.

use super::Tally;
use super::place::{Place, split, timestamps};
use anyhow::{Context as _, Result};
use libcvmfs::namespace::{Attributes, FileKind, Node};
use rustix::fs::{FileType, Mode, XattrFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

/// The name of a file while it is written.
const UNFINISHED: &[u8] = b".cvmfs-get-unfinished";

/// A copy under way.
pub(super) struct Copier<'a> {
    place: Option<Place>,
    name: Vec<u8>,
    tally: &'a mut Tally,
    complain: &'a mut dyn FnMut(&[u8], anyhow::Error),
    /// Where the first name of each file with several was copied to.
    links: HashMap<(u64, u64), (Place, Vec<u8>)>,
    root: bool,
}

impl<'a> Copier<'a> {
    /// A copy that is to be called `target`.
    pub(super) fn new(
        target: &Path,
        tally: &'a mut Tally,
        complain: &'a mut dyn FnMut(&[u8], anyhow::Error),
    ) -> Result<Copier<'a>> {
        let (place, name) = split(target)?;
        let root = rustix::process::geteuid().is_root();
        Ok(Copier { place: Some(place), name, tally, complain, links: HashMap::new(), root })
    }

    /// Copies `node` with everything below.
    pub(super) fn copy(mut self, node: &Node) -> Result<()> {
        let place = self.place.take().context("a copier copies once")?;
        let name = std::mem::take(&mut self.name);
        self.entry(node, &place, &name);
        Ok(())
    }

    fn entry(&mut self, node: &Node, place: &Place, name: &[u8]) {
        let attributes = node.attributes();
        let copied = match node.kind() {
            FileKind::Directory => self.directory(node, &attributes, place, name),
            FileKind::Regular => self.file(node, &attributes, place, name),
            FileKind::Symlink => self.symlink(node, &attributes, place, name),
            _ => self.special(&attributes, place, name),
        };
        if let Err(error) = copied {
            (self.complain)(&node.path(), error);
        }
    }

    fn directory(&mut self, node: &Node, attributes: &Attributes, place: &Place, name: &[u8]) -> Result<()> {
        let inside = place.directory(name).context("making the directory")?;
        for item in &node.list()? {
            match node.child(&item.name) {
                Ok(Some(child)) => self.entry(&child, &inside, &item.name),
                Ok(None) => (),
                Err(error) => (self.complain)(&[&node.path(), &b"/"[..], &item.name].concat(), error.into()),
            }
        }
        // Last, because writing into it would change its time, and may be forbidden by its mode.
        self.own(attributes, place, name)?;
        self.set_xattrs(node, &inside.fd());
        inside.finish(attributes.mode, attributes.mtime)?;
        self.tally.others += 1;
        Ok(())
    }

    fn file(&mut self, node: &Node, attributes: &Attributes, place: &Place, name: &[u8]) -> Result<()> {
        let identity = (attributes.dev, attributes.ino);
        if attributes.nlink > 1
            && let Some((other, existing)) = self.links.get(&identity)
        {
            return self.hard_link(other, existing, place, name);
        }
        if self.is_there(attributes, place, name)? {
            self.tally.kept += 1;
        } else {
            self.write(node, attributes, place, name)?;
            self.tally.copied += 1;
            self.tally.bytes += attributes.size;
        }
        if attributes.nlink > 1 {
            self.links.insert(identity, (place.again()?, name.to_vec()));
        }
        Ok(())
    }

    fn hard_link(&self, other: &Place, existing: &[u8], place: &Place, name: &[u8]) -> Result<()> {
        let (a, b) = (other.stat(existing)?, place.stat(name)?);
        let linked = matches!((&a, &b), (Some(a), Some(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
        if !linked {
            place.link(other, existing, name).context("making the hard link")?;
        }
        Ok(())
    }

    /// Whether a copy made earlier can stay.
    fn is_there(&self, attributes: &Attributes, place: &Place, name: &[u8]) -> Result<bool> {
        let Some(stat) = place.stat(name)? else { return Ok(false) };
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let same_size = u64::try_from(stat.st_size).is_ok_and(|size| size == attributes.size);
        #[allow(clippy::unnecessary_cast, reason = "the type differs among architectures")]
        let time = (stat.st_mtime as i64, stat.st_mtime_nsec as u32);
        let same_mode = (stat.st_mode ^ attributes.mode) & 0o7777 == 0;
        Ok(regular && same_size && same_mode && time == attributes.mtime)
    }

    fn write(&mut self, node: &Node, attributes: &Attributes, place: &Place, name: &[u8]) -> Result<()> {
        let mut content = node.open()?;
        let mut file = place.create(UNFINISHED)?;
        let written = fill(attributes, &mut content, &mut file);
        // The owner first: changing it takes set-id bits away.
        let finished = written
            .and_then(|()| self.own(attributes, place, UNFINISHED))
            .and_then(|()| Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode & 0o7777))?))
            .and_then(|()| {
                self.set_xattrs(node, &file.as_fd());
                Ok(rustix::fs::futimens(&file, &timestamps(attributes.mtime))?)
            })
            .and_then(|()| place.rename(UNFINISHED, name));
        if finished.is_err() {
            let _ = place.remove(UNFINISHED);
        }
        finished
    }

    fn symlink(&mut self, node: &Node, attributes: &Attributes, place: &Place, name: &[u8]) -> Result<()> {
        place.symlink(&node.read_link()?, name).context("making the symbolic link")?;
        self.own(attributes, place, name)?;
        place.set_time(name, attributes.mtime)?;
        self.tally.others += 1;
        Ok(())
    }

    fn special(&mut self, attributes: &Attributes, place: &Place, name: &[u8]) -> Result<()> {
        place.special(name, attributes.mode, attributes.rdev).context("making the special file")?;
        self.own(attributes, place, name)?;
        place.set_time(name, attributes.mtime)?;
        self.tally.others += 1;
        Ok(())
    }

    fn own(&self, attributes: &Attributes, place: &Place, name: &[u8]) -> Result<()> {
        match self.root {
            true => place.chown(name, attributes.uid, attributes.gid).context("giving it its owner"),
            false => Ok(()),
        }
    }

    fn set_xattrs(&self, node: &Node, file: &std::os::fd::BorrowedFd<'_>) {
        for (name, value) in node.stored_xattrs() {
            if let Err(error) = rustix::fs::fsetxattr(file, name.as_slice(), &value, XattrFlags::empty()) {
                let path = String::from_utf8_lossy(&node.path()).into_owned();
                log::info!("{path}: attribute {}: {error}", String::from_utf8_lossy(&name));
            }
        }
    }
}

fn fill(attributes: &Attributes, content: &mut File, file: &mut File) -> Result<()> {
    let copied = io::copy(content, file).context("writing")?;
    anyhow::ensure!(copied == attributes.size, "{copied} bytes instead of {}", attributes.size);
    Ok(())
}
