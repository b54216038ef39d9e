//! A directory tree of this machine.

use super::graft::{self, Graft};
use super::{Reading, Source};
use crate::draft::MARKER;
use crate::publish::{Attributes, Kind, Publication};
use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Attributes that belong to the machine and not to the file.
const FOREIGN: [&[u8]; 4] = [b"security.selinux", b"trusted.", b"security.ima", b"security.evm"];
/// Most bytes of an attribute's name or value, as the kernel has it.
const XATTR_SIZE: usize = 64 << 10;

/// A directory with all below it. Links are not followed.
pub struct Tree {
    root: PathBuf,
    reading: Reading,
}

struct Walk<'a, 'p, 'r, 'w> {
    reading: &'a Reading,
    publication: &'p mut Publication<'r, 'w>,
    /// Path of the directory on this machine, for messages.
    here: PathBuf,
}

impl Tree {
    /// The tree below `root`.
    pub fn open(root: &Path, reading: Reading) -> Result<Tree> {
        Ok(Tree { root: root.to_owned(), reading })
    }
}

impl Source for Tree {
    fn read(&mut self, into: &[u8], publication: &mut Publication<'_, '_>) -> Result<()> {
        let open =
            rustix::fs::openat(CWD, &self.root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = open.map_err(std::io::Error::from).with_context(|| self.root.display().to_string())?;
        let stat = rustix::fs::fstat(&directory)?;
        let mut walk = Walk { reading: &self.reading, publication, here: self.root.clone() };
        let attributes = walk.attributes(&directory, b".", &stat);
        walk.publication.entry(into, &attributes, &Kind::Directory(stat.st_size as u64))?;
        walk.directory(&directory, into)
    }
}

/// One name in a directory.
struct Name {
    name: CString,
    stat: Stat,
}

impl Walk<'_, '_, '_, '_> {
    fn directory(&mut self, directory: &OwnedFd, path: &[u8]) -> Result<()> {
        let names = match self.names(directory) {
            Ok(names) => names,
            Err(error) => return self.unreadable(path, error),
        };
        let mut groups: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
        for (number, Name { stat, .. }) in names.iter().enumerate() {
            if is_regular(stat) && stat.st_nlink > 1 {
                groups.entry((stat.st_dev, stat.st_ino)).or_default().push(number);
            }
        }
        let grafted =
            |name: &[u8]| names.iter().any(|other| other.name.as_bytes().strip_prefix(graft::PREFIX) == Some(name));
        let has_grafts = names.iter().any(|name| name.name.as_bytes().starts_with(graft::PREFIX));
        for (number, Name { name, stat }) in names.iter().enumerate() {
            if has_grafts && grafted(name.as_bytes()) {
                continue;
            }
            if let Some(of) = name.as_bytes().strip_prefix(graft::PREFIX).filter(|of| !of.is_empty()) {
                let like = names.iter().find(|other| other.name.as_bytes() == of && is_regular(&other.stat));
                self.graft(directory, name, like.map_or(stat, |like| &like.stat), &[path, b"/", of].concat())?;
                continue;
            }
            let below = [path, b"/", name.as_bytes()].concat();
            match stat.st_mode & 0o170000 {
                0o040000 => self.sub_directory(directory, name, stat, &below)?,
                0o100000 => {
                    let group = groups.get(&(stat.st_dev, stat.st_ino)).filter(|group| group.len() > 1);
                    let paths = match group {
                        Some(group) if group.first() != Some(&number) => continue,
                        Some(group) => group
                            .iter()
                            .filter_map(|&other| names.get(other))
                            .map(|other| [path, b"/", other.name.as_bytes()].concat())
                            .collect(),
                        None => vec![below],
                    };
                    self.file(directory, name, stat, paths)?;
                }
                type_bits => self.other(directory, name, stat, &below, type_bits)?,
            }
        }
        Ok(())
    }

    /// All names with what they name, sorted by bytes, but the marker of a catalog first: what follows then goes into the
    /// right catalog at once.
    fn names(&mut self, directory: &OwnedFd) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => names.push(Name { name: name.to_owned(), stat }),
                // Deleted since it was listed.
                Err(Errno::NOENT) => {}
                Err(error) => {
                    let file = self.here.join(OsStr::from_bytes(name.to_bytes()));
                    return Err(std::io::Error::from(error)).with_context(|| file.display().to_string());
                }
            }
        }
        names.sort_by(|a, b| {
            let key = |name: &Name| name.name.as_bytes() != MARKER;
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        Ok(names)
    }

    fn sub_directory(&mut self, above: &OwnedFd, name: &CString, stat: &Stat, path: &[u8]) -> Result<()> {
        let attributes = self.attributes(above, name.as_bytes(), stat);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.here.push(OsStr::from_bytes(name.as_bytes()));
        let done = match rustix::fs::openat(above, name.as_c_str(), flags, Mode::empty()) {
            Ok(directory) => {
                self.publication.entry(path, &attributes, &Kind::Directory(stat.st_size as u64))?;
                self.directory(&directory, path)
            }
            Err(error) => self.unreadable(path, std::io::Error::from(error).into()),
        };
        self.here.pop();
        done
    }

    fn file(&mut self, above: &OwnedFd, name: &CString, stat: &Stat, paths: Vec<Vec<u8>>) -> Result<()> {
        let attributes = self.attributes(above, name.as_bytes(), stat);
        if self.publication.unchanged(&paths, &attributes, stat.st_size as u64)? {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::openat(above, name.as_c_str(), flags, Mode::empty()) {
            Ok(file) => self.publication.file(paths, &attributes, &mut File::from(file)),
            Err(error) => {
                self.here.push(OsStr::from_bytes(name.as_bytes()));
                let path = paths.first().map(Vec::as_slice).unwrap_or_default();
                let done = self.unreadable(path, std::io::Error::from(error).into());
                self.here.pop();
                done
            }
        }
    }

    /// Adds the file that `name` describes, with the attributes in `stat`.
    fn graft(&mut self, above: &OwnedFd, name: &CString, stat: &Stat, path: &[u8]) -> Result<()> {
        let attributes = self.attributes(above, name.as_bytes(), stat);
        let read = || -> Result<Graft> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file =
                rustix::fs::openat(above, name.as_c_str(), flags, Mode::empty()).map_err(std::io::Error::from)?;
            let mut text = Vec::new();
            File::from(file).take(graft::LIMIT).read_to_end(&mut text)?;
            Graft::parse(&text)
        };
        let shown = || self.here.join(OsStr::from_bytes(name.as_bytes())).display().to_string();
        let graft = read().with_context(shown)?;
        self.publication.graft(path, &attributes, &graft)
    }

    fn other(&mut self, above: &OwnedFd, name: &CString, stat: &Stat, path: &[u8], type_bits: u32) -> Result<()> {
        let attributes = self.attributes(above, name.as_bytes(), stat);
        let kind = match type_bits {
            0o120000 => {
                let target = rustix::fs::readlinkat(above, name.as_c_str(), Vec::new());
                Kind::Symlink(target.map_err(std::io::Error::from)?.into_bytes())
            }
            0o020000 | 0o060000 => Kind::Special(type_bits, stat.st_rdev),
            _ => Kind::Special(type_bits, 0),
        };
        self.publication.entry(path, &attributes, &kind)
    }

    fn attributes(&self, above: &OwnedFd, name: &[u8], stat: &Stat) -> Attributes {
        let (uid, gid) = self.reading.owners.of(stat.st_uid, stat.st_gid);
        let with_xattrs = matches!(stat.st_mode & 0o170000, 0o040000 | 0o100000);
        Attributes {
            permissions: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: stat.st_mtime,
            mtime_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            xattrs: if with_xattrs { xattrs(above, name) } else { Vec::new() },
        }
    }

    /// Ends everything with the name of the file, or leaves it out.
    fn unreadable(&mut self, path: &[u8], error: anyhow::Error) -> Result<()> {
        if !self.reading.skip_unreadable {
            return Err(error.context(format!("{} cannot be read", self.here.display())));
        }
        log::warn!("{} is left out: {error:#}", self.here.display());
        self.publication.skip(path)
    }
}

fn is_regular(stat: &Stat) -> bool {
    stat.st_mode & 0o170000 == 0o100000
}

/// The extended attributes of a name in a directory, without following a link and without opening it.
fn xattrs(above: &OwnedFd, name: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut path = format!("/proc/self/fd/{}/", above.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let path = Path::new(OsStr::from_bytes(&path));
    let mut names = [0_u8; 1024];
    let listed = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => names.get(..length).unwrap_or_default().to_vec(),
        Err(Errno::RANGE) => {
            let mut names = vec![0; XATTR_SIZE];
            let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
            names.truncate(length);
            names
        }
        // File systems without attributes have none.
        Err(_) => return Vec::new(),
    };
    let mut found = Vec::new();
    for key in listed.split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
        if FOREIGN.iter().any(|foreign| key.starts_with(foreign)) {
            continue;
        }
        let mut value = vec![0; XATTR_SIZE];
        match rustix::fs::lgetxattr(path, OsStr::from_bytes(key), &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.push((key.to_vec(), value));
            }
            Err(error) => log::debug!("{}: {}: {error}", path.display(), key.escape_ascii()),
        }
    }
    found
}
