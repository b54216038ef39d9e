//! What a name stands for.

use crate::{Base, Union, child_path, joined, ownership};
use cvmfs_view::{Errno, Refusal};
use libcvmfs::namespace::{FileKind, Node};
use rustix::fs::Timespec;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The time of a symbolic link that stands for one below.
pub(crate) const STUB_TIME: Timespec = Timespec { tv_sec: 4_242, tv_nsec: 424_242_424 };

/// Files of layers have inode numbers of their own: those of repositories and of most file systems are smaller.
const OURS: u64 = 1 << 62;

/// Something in a union.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Number of the layer in which it is; that of the base is the number of layers.
    pub(crate) place: usize,
    stat: libc::stat,
    /// In a repository: what this is, or, for a directory of a layer, what lies below it.
    node: Option<Node>,
    /// For directories: the places below this one where there is a directory, too, as bits.
    pub(crate) below: u64,
}

impl Entry {
    /// What `stat` tells inside.
    pub fn stat(&self) -> &libc::stat {
        &self.stat
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Whether it is of this type (`S_IFLNK`).
    pub fn is(&self, kind: u32) -> bool {
        self.stat.st_mode & libc::S_IFMT == kind
    }

    /// Whether it is in the layer that is written to.
    pub fn is_written(&self) -> bool {
        self.place == 0
    }
}

/// Where the content of something is.
#[derive(Debug)]
pub enum Source {
    /// In a real file.
    File(PathBuf),
    /// In a repository.
    Node(Node),
}

/// A name in a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// Its type (`S_IFREG`).
    pub kind: u32,
}

impl Union {
    fn base_place(&self) -> usize {
        self.layers.len()
    }

    /// The root directory.
    ///
    /// # Errors
    /// If the base cannot be looked at.
    pub fn root(&self) -> Result<Entry, Refusal> {
        let all = u64::MAX >> (63 - self.base_place());
        let node = match &self.base {
            Base::Tree(node) => Some(node.clone()),
            _ => None,
        };
        let found = self.pick(all, b"/", || Ok(node))?;
        found.ok_or(Refusal::Error(Errno(libc::ENOENT)))
    }

    /// What the directory `directory`, whose path inside is `path`, has under `name`; `None` if there is nothing.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn child(&self, directory: &Entry, path: &[u8], name: &[u8]) -> Result<Option<Entry>, Refusal> {
        self.pick(directory.below | 1 << directory.place, &child_path(path, name), || child_of(&directory.node, name))
    }

    /// As [`Union::child`], but only below the topmost layer.
    pub(crate) fn child_below(&self, directory: &Entry, path: &[u8], name: &[u8]) -> Result<Option<Entry>, Refusal> {
        let places = (directory.below | 1 << directory.place) & !1;
        if places == 0 {
            return Ok(None);
        }
        self.pick(places, &child_path(path, name), || child_of(&directory.node, name))
    }

    /// What is at `path`, in which there are no links, dots or double slashes, and everything above it.
    ///
    /// # Errors
    /// `ENOENT` or `ENOTDIR`, or why it cannot be found out.
    pub fn find(&self, path: &[u8]) -> Result<Entry, Refusal> {
        let mut entry = self.root()?;
        let mut here = b"/".to_vec();
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            if !entry.is_directory() {
                return Err(Errno(libc::ENOTDIR).into());
            }
            entry = self.child(&entry, &here, name)?.ok_or(Errno(libc::ENOENT))?;
            here = child_path(&here, name);
        }
        Ok(entry)
    }

    /// Looks for `path` in these places, from the top.
    fn pick(
        &self,
        places: u64,
        path: &[u8],
        node: impl FnOnce() -> Result<Option<Node>, Refusal>,
    ) -> Result<Option<Entry>, Refusal> {
        let base = self.base_place();
        let mut left = places;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            if place == base && !matches!(self.base, Base::Directory(_)) {
                let Some(node) = node()? else { return Ok(None) };
                let stat = cvmfs_view::stat::stat(&node.attributes());
                return Ok(Some(Entry { place, stat, node: Some(node), below: 0 }));
            }
            let real = self.name_in(place, path);
            let Some(mut stat) = status(&real)? else { return Ok(None) };
            if place != base && is_stub(&stat) {
                continue;
            }
            self.present(&real, false, place < base, &mut stat);
            let mut entry = Entry { place, stat, node: None, below: 0 };
            if entry.is_directory() {
                entry.below = self.directories(left, path)?;
                if left & 1 << base != 0 && matches!(self.base, Base::Tree(_)) {
                    entry.node = node()?.filter(|node| node.kind() == FileKind::Directory);
                    entry.below |= u64::from(entry.node.is_some()) << base;
                }
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// In which of these places, but for a base in a repository, there is a directory that says something.
    fn directories(&self, places: u64, path: &[u8]) -> Result<u64, Refusal> {
        let mut found = 0;
        let mut left = places;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            if place == self.base_place() && !matches!(self.base, Base::Directory(_)) {
                continue;
            }
            if let Some(stat) = status(&self.name_in(place, path))?
                && stat.st_mode & libc::S_IFMT == libc::S_IFDIR
                && (place == self.base_place() || !is_stub(&stat))
            {
                found |= 1 << place;
            }
        }
        Ok(found)
    }

    /// The real name of a path in one of the places that are directories.
    fn name_in(&self, place: usize, path: &[u8]) -> PathBuf {
        match (self.layers.get(place), &self.base) {
            (Some(layer), _) => joined(&layer.files(), path),
            (None, Base::Directory(directory)) => joined(directory, path),
            _ => PathBuf::new(),
        }
    }

    /// Where the content of `entry`, whose path is `path`, is.
    pub fn source(&self, entry: &Entry, path: &[u8]) -> Source {
        match (&entry.node, &self.base) {
            (Some(node), Base::Tree(_)) if entry.place == self.base_place() => Source::Node(node.clone()),
            _ => Source::File(self.name_in(entry.place, path)),
        }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// If it is none.
    pub fn read_link(&self, entry: &Entry, path: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self.source(entry, path) {
            Source::Node(node) => Ok(node.read_link()?),
            Source::File(real) => Ok(fs::read_link(real)?.into_os_string().into_encoded_bytes()),
        }
    }

    /// The names in a directory, without dots, in no order.
    ///
    /// # Errors
    /// If it is none, or cannot be read.
    pub fn list(&self, entry: &Entry, path: &[u8]) -> Result<Vec<Listed>, Refusal> {
        let mut listed = Vec::new();
        match self.source(entry, path) {
            Source::Node(node) => {
                for item in node.list()?.iter() {
                    listed.push(Listed { name: item.name.to_vec(), kind: item.kind.mode_bits() });
                }
            }
            Source::File(real) => {
                for found in fs::read_dir(real)? {
                    let found = found?;
                    let kind = found.file_type().map(kind_of)?;
                    listed.push(Listed { name: found.file_name().into_encoded_bytes(), kind });
                }
            }
        }
        Ok(listed)
    }

    /// Makes what the kernel tells of an open file of the union, reached through the kernel's link `link`, what is told
    /// inside; `name` is its real name.
    pub fn present_open(&self, link: &Path, name: &[u8], stat: &mut libc::stat) {
        self.present(link, true, self.inside_layers(name).is_some(), stat);
    }

    /// Makes what the kernel tells of a file of the host what is told inside: the caller is root.
    pub fn present_of_host(&self, stat: &mut libc::stat) {
        ownership::present(Path::new(""), false, false, stat);
    }

    fn present(&self, file: &Path, follow: bool, in_layer: bool, stat: &mut libc::stat) {
        ownership::present(file, follow, in_layer, stat);
        if in_layer {
            stat.st_ino |= OURS;
            // What is not in a layer may be on several file systems, whose numbers are told apart by their devices.
            stat.st_dev = self.device;
        }
    }
}

fn child_of(node: &Option<Node>, name: &[u8]) -> Result<Option<Node>, Refusal> {
    match node {
        Some(node) => Ok(node.child(name)?),
        None => Ok(None),
    }
}

pub(crate) fn has_no_bits(mode: u32) -> bool {
    mode & 0o777 == 0
}

/// Whether something in a layer stands for what lies below.
pub(crate) fn is_stub(stat: &libc::stat) -> bool {
    if stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
        return (stat.st_mtime, stat.st_mtime_nsec) == (STUB_TIME.tv_sec, STUB_TIME.tv_nsec);
    }
    has_no_bits(stat.st_mode)
}

/// `lstat`; `None` if there is nothing.
pub(crate) fn status(path: &Path) -> Result<Option<libc::stat>, Errno> {
    match cvmfs_view::stat::of_path(path, false) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn device_of(path: &Path) -> io::Result<u64> {
    let stat = cvmfs_view::stat::of_path(path, true).map_err(|Errno(errno)| io::Error::from_raw_os_error(errno))?;
    Ok(stat.st_dev)
}

fn kind_of(found: fs::FileType) -> u32 {
    use std::os::unix::fs::FileTypeExt as _;
    match () {
        () if found.is_dir() => libc::S_IFDIR,
        () if found.is_symlink() => libc::S_IFLNK,
        () if found.is_fifo() => libc::S_IFIFO,
        () if found.is_socket() => libc::S_IFSOCK,
        () if found.is_char_device() => libc::S_IFCHR,
        () if found.is_block_device() => libc::S_IFBLK,
        () => libc::S_IFREG,
    }
}
