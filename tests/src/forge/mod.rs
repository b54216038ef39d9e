//! Makes small signed repositories from a description, right ones and wrong ones.
//!
//! ```
//! use cvmfs_tests::forge::Forge;
//! let dir = tempfile::tempdir().unwrap();
//! let v1 = Forge::new("demo.example").file("/bin/tool", b"#!/bin/sh\n").mode(0o755).nested("/bin").publish(dir.path());
//! let forge = Forge::new("demo.example").file("/bin/tool", b"#!/bin/bash\n").revision(2).tag_of("v1", &v1);
//! let v2 = forge.publish(dir.path());
//! assert!(v2.web_root.join(".cvmfspublished").is_file());
//! v1.put_manifest(); // a roll-back
//! ```
//!
//! A forge is a value: keep it, clone it, change the clone and publish that as the next revision into the same
//! directory. The same description gives the same bytes, always. Modifiers such as [`Forge::mode`] apply to the
//! object added last, or to the one chosen by [`Forge::at`].

mod bulk;
mod history;
mod hooks;
mod import;
mod keys;
mod publish;
mod published;
mod store;
mod tree;

pub use history::Tag;
pub use hooks::{ObjectInfo, Stage};
pub use keys::Keys;
pub use published::Published;
pub use store::deflate;

use bulk::Phantoms;
use hooks::Hooks;
use libcvmfs::hash::{Algorithm, ContentHash};
use libcvmfs::object::Compression;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tree::{File, Kind, Node, Tree};

/// When everything was last modified unless told otherwise: 14 November 2023.
pub const DEFAULT_TIME: i64 = 1_700_000_000;

/// The description of one revision of a repository.
#[derive(Clone)]
pub struct Forge {
    fqrn: String,
    tree: Tree,
    current: Vec<u8>,
    nested: BTreeSet<Vec<u8>>,
    phantoms: Option<Phantoms>,
    revision: u64,
    timestamp: Option<u64>,
    ttl: u64,
    algorithm: Algorithm,
    compression: Compression,
    page_size: u32,
    keys: Keys,
    manifest_keys: Option<Keys>,
    whitelist_keys: Option<Keys>,
    whitelist_created: String,
    whitelist_expires: String,
    meta_info: Option<String>,
    tags: Vec<Tag>,
    manifest_fields: Vec<(char, Option<String>)>,
    alternative_paths: bool,
    previous: Option<ContentHash>,
    external_directory: Option<PathBuf>,
    hooks: Hooks,
}

/// The tree.
impl Forge {
    /// Begins with an empty root directory, revision 1.
    pub fn new(fqrn: &str) -> Forge {
        let mut tree = Tree::new();
        tree.insert(Vec::new(), Node::new(Kind::Directory, DEFAULT_TIME));
        Forge {
            fqrn: fqrn.to_owned(),
            tree,
            current: Vec::new(),
            nested: BTreeSet::new(),
            phantoms: None,
            revision: 1,
            timestamp: None,
            ttl: 240,
            algorithm: Algorithm::Sha1,
            compression: Compression::Zlib,
            page_size: 1024,
            keys: Keys::standard(),
            manifest_keys: None,
            whitelist_keys: None,
            whitelist_created: "20231114000000".into(),
            whitelist_expires: "20560101000000".into(),
            meta_info: None,
            tags: Vec::new(),
            manifest_fields: Vec::new(),
            alternative_paths: false,
            previous: None,
            external_directory: None,
            hooks: Hooks::default(),
        }
    }

    /// Adds a directory. Missing directories above any object are added by themselves.
    pub fn dir(self, path: impl AsRef<[u8]>) -> Forge {
        self.add(path.as_ref(), Kind::Directory)
    }

    /// Adds a regular file.
    pub fn file(self, path: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Forge {
        let bytes = bytes.as_ref().to_vec();
        self.add(path.as_ref(), Kind::File(File { bytes, chunk_size: None, external: false, compression: None }))
    }

    /// Adds a symbolic link, the target as it is (variables are not expanded).
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Forge {
        let target = target.as_ref().to_vec();
        self.add(path.as_ref(), Kind::Symlink(target))
    }

    /// Adds another name of the regular file `of`, which must be described and in the same catalog.
    pub fn hardlink(self, path: impl AsRef<[u8]>, of: impl AsRef<[u8]>) -> Forge {
        let of = tree::normal(of.as_ref());
        self.add(path.as_ref(), Kind::HardLink(of))
    }

    /// Adds a FIFO, socket or device; `type_bits` as in `st_mode` (`0o010000`, `0o140000`, `0o020000`, `0o060000`).
    pub fn special(self, path: impl AsRef<[u8]>, type_bits: u32, rdev: u64) -> Forge {
        self.add(path.as_ref(), Kind::Special(type_bits, rdev))
    }

    /// Adds a directory that shows another published revision.
    pub fn bind(self, path: impl AsRef<[u8]>, revision: &Published) -> Forge {
        self.add(path.as_ref(), Kind::Bind(revision.root_catalog, revision.root_size))
    }

    /// Adds a regular file whose object does not exist.
    pub fn phantom(self, path: impl AsRef<[u8]>, hash: ContentHash, size: u64) -> Forge {
        self.add(path.as_ref(), Kind::Phantom(hash, size))
    }

    /// Removes an object and everything below it.
    pub fn remove(mut self, path: impl AsRef<[u8]>) -> Forge {
        let path = tree::normal(path.as_ref());
        let below = |other: &[u8]| other.strip_prefix(&path[..]).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
        self.tree.retain(|other, _| !below(other));
        self.nested.retain(|other| !below(other));
        self
    }

    /// Makes a directory (added when missing) the mount point of a nested catalog.
    pub fn nested(mut self, path: impl AsRef<[u8]>) -> Forge {
        let path = tree::normal(path.as_ref());
        if !self.tree.contains_key(&path) {
            self = self.dir(&path);
        }
        self.nested.insert(path);
        self
    }

    /// Chooses an object for the modifiers that follow.
    pub fn at(mut self, path: impl AsRef<[u8]>) -> Forge {
        self.current = tree::normal(path.as_ref());
        assert!(self.tree.contains_key(&self.current), "no object {}", self.current.escape_ascii());
        self
    }

    fn add(mut self, path: &[u8], kind: Kind) -> Forge {
        let path = tree::normal(path);
        let mut above = tree::parent(&path);
        while let Some(directory) = above {
            if !self.tree.contains_key(directory) {
                self.tree.insert(directory.to_vec(), Node::new(Kind::Directory, DEFAULT_TIME));
            }
            above = tree::parent(directory);
        }
        self.tree.insert(path.clone(), Node::new(kind, DEFAULT_TIME));
        self.current = path;
        self
    }
}

/// Modifiers of the current object.
impl Forge {
    /// Sets the permission bits (`0o7777`).
    pub fn mode(self, permissions: u32) -> Forge {
        self.with(|node| node.permissions = permissions)
    }

    /// Sets user and group.
    pub fn owner(self, uid: u32, gid: u32) -> Forge {
        self.with(|node| (node.uid, node.gid) = (uid, gid))
    }

    /// Sets the time of modification, seconds since 1970.
    pub fn mtime(self, seconds: i64) -> Forge {
        self.with(|node| node.mtime = seconds)
    }

    /// Sets the nanoseconds of the time of modification.
    pub fn mtime_ns(self, nanoseconds: u32) -> Forge {
        self.with(|node| node.mtime_ns = Some(nanoseconds))
    }

    /// Adds an extended attribute.
    pub fn xattr(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Forge {
        self.with(|node| node.xattrs.push((name.as_ref().to_vec(), value.as_ref().to_vec())))
    }

    /// Hides it from listings.
    pub fn hidden(self) -> Forge {
        self.flags(libcvmfs::catalog::write::Flags::HIDDEN)
    }

    /// Sets more bits in the flags of its row.
    pub fn flags(self, bits: u32) -> Forge {
        self.with(|node| node.flags |= bits)
    }

    /// Cuts a file into chunks of this many bytes.
    pub fn chunks_of(self, size: usize) -> Forge {
        self.with_file(|file| file.chunk_size = Some(size))
    }

    /// Makes a file external and uncompressed: its bytes lie below [`Forge::external_directory`] at its path.
    pub fn external(self) -> Forge {
        self.with_file(|file| (file.external, file.compression) = (true, Some(Compression::None)))
    }

    /// Stores a file as it is.
    pub fn uncompressed(self) -> Forge {
        self.with_file(|file| file.compression = Some(Compression::None))
    }

    fn with(mut self, change: impl FnOnce(&mut Node)) -> Forge {
        change(self.tree.get_mut(&self.current).expect("the current object is in the tree"));
        self
    }

    fn with_file(self, change: impl FnOnce(&mut File)) -> Forge {
        self.with(|node| match &mut node.kind {
            Kind::File(file) => change(file),
            other => panic!("not a regular file: {other:?}"),
        })
    }
}

/// The repository as a whole.
impl Forge {
    /// Sets the revision. The time of publication follows it unless set.
    pub fn revision(mut self, revision: u64) -> Forge {
        self.revision = revision;
        self
    }

    /// Sets the time of publication, seconds since 1970.
    pub fn timestamp(mut self, seconds: u64) -> Forge {
        self.timestamp = Some(seconds);
        self
    }

    /// Sets the time to live of manifest and root catalog, seconds.
    pub fn ttl(mut self, seconds: u64) -> Forge {
        self.ttl = seconds;
        self
    }

    /// Sets the algorithm that names all objects and hashes the letters.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Forge {
        self.algorithm = algorithm;
        self
    }

    /// Sets the compression of files; catalogs and the like are always compressed.
    pub fn compression(mut self, compression: Compression) -> Forge {
        self.compression = compression;
        self
    }

    /// Sets the page size of the databases, bytes.
    pub fn page_size(mut self, bytes: u32) -> Forge {
        self.page_size = bytes;
        self
    }

    /// Sets the keys; the public master key is written beside the manifest.
    pub fn keys(mut self, keys: Keys) -> Forge {
        self.keys = keys;
        self
    }

    /// Signs the manifest with somebody else's key and publishes that one's certificate. The whitelist does not know it.
    pub fn sign_manifest_with(mut self, keys: Keys) -> Forge {
        self.manifest_keys = Some(keys);
        self
    }

    /// Signs the whitelist with somebody else's master key.
    pub fn sign_whitelist_with(mut self, keys: Keys) -> Forge {
        self.whitelist_keys = Some(keys);
        self
    }

    /// Sets the creation time of the whitelist, `YYYYMMDDhhmmss` UTC.
    pub fn whitelist_created(mut self, time: &str) -> Forge {
        self.whitelist_created = time.to_owned();
        self
    }

    /// Sets the expiry of the whitelist, `YYYYMMDDhhmmss` UTC.
    pub fn whitelist_expires(mut self, time: &str) -> Forge {
        self.whitelist_expires = time.to_owned();
        self
    }

    /// Publishes this JSON text as meta information.
    pub fn meta_info(mut self, json: &str) -> Forge {
        self.meta_info = Some(json.to_owned());
        self
    }

    /// Names the revision being published.
    pub fn tag(self, name: &str) -> Forge {
        let (revision, timestamp) = (self.revision, self.time());
        let (name, description, branch) = (name.to_owned(), String::new(), String::new());
        self.tag_row(Tag { name, root: None, revision, timestamp, description, branch })
    }

    /// Names an earlier revision.
    pub fn tag_of(self, name: &str, published: &Published) -> Forge {
        self.tag_row(Tag {
            name: name.to_owned(),
            root: Some((published.root_catalog, published.root_size)),
            revision: published.revision,
            timestamp: published.timestamp,
            description: String::new(),
            branch: String::new(),
        })
    }

    /// Adds any tag, in the place of one with the same name.
    pub fn tag_row(mut self, tag: Tag) -> Forge {
        self.tags.retain(|other| other.name != tag.name);
        self.tags.push(tag);
        self
    }

    /// Sets a field of the manifest, or adds it.
    pub fn manifest_field(mut self, letter: char, value: &str) -> Forge {
        self.manifest_fields.push((letter, Some(value.to_owned())));
        self
    }

    /// Leaves a field out of the manifest.
    pub fn without_manifest_field(mut self, letter: char) -> Forge {
        self.manifest_fields.push((letter, None));
        self
    }

    /// Also writes the copies `.cvmfsalt-...` of root catalog, certificate, history and meta information.
    pub fn alternative_paths(mut self) -> Forge {
        self.alternative_paths = true;
        self
    }

    /// Notes an earlier revision as the predecessor in the root catalog.
    pub fn previous(mut self, published: &Published) -> Forge {
        self.previous = Some(published.root_catalog);
        self
    }

    /// Sets where the bytes of external files go; by default to `external` in the web root.
    pub fn external_directory(mut self, directory: impl AsRef<Path>) -> Forge {
        self.external_directory = Some(directory.as_ref().to_owned());
        self
    }

    fn time(&self) -> u64 {
        self.timestamp.unwrap_or(DEFAULT_TIME as u64 + self.revision.min(1 << 32))
    }
}
