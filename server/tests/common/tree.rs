//! Directory trees of this machine beside what is published of them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several tests, in which what cannot be done fails"
)]

use super::Published;
use cvmfs_tests::mount::{self, Mount};
use libcvmfs::namespace::{FileKind, Node};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What there is to say about an entry; of content and target the digest.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    links: u64,
    content: String,
}

fn local(root: &Path) -> BTreeMap<Vec<u8>, Entry> {
    fn walk(file: &Path, path: &[u8], all: &mut BTreeMap<Vec<u8>, Entry>) {
        let m = fs::symlink_metadata(file).unwrap();
        let content = match () {
            () if m.is_symlink() => fs::read_link(file).unwrap().as_os_str().as_bytes().to_vec(),
            () if m.is_file() => fs::read(file).unwrap(),
            () => Vec::new(),
        };
        let mut links = 1;
        if m.is_file() {
            // Names in other directories are files of their own when they are published.
            let others = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
            links = others.filter(|other| (other.dev(), other.ino()) == (m.dev(), m.ino())).count() as u64;
        } else if m.is_dir() {
            links = 2;
            for entry in fs::read_dir(file).unwrap().map(Result::unwrap) {
                links += u64::from(entry.file_type().unwrap().is_dir());
                walk(&entry.path(), &[path, b"/", entry.file_name().as_bytes()].concat(), all);
            }
        }
        let (owner, mtime) = ((m.uid(), m.gid()), (m.mtime(), m.mtime_nsec()));
        all.insert(path.to_vec(), Entry { mode: m.mode(), owner, mtime, links, content: mount::sha256(&content) });
    }
    let mut all = BTreeMap::new();
    walk(root, b"", &mut all);
    all
}

fn published(mount: &Mount) -> BTreeMap<Vec<u8>, Entry> {
    fn walk(node: &Node, all: &mut BTreeMap<Vec<u8>, Entry>) {
        let attributes = node.attributes();
        let content = match node.kind() {
            FileKind::Symlink => node.read_link().unwrap(),
            FileKind::Regular => mount::read(node).unwrap(),
            _ => Vec::new(),
        };
        if node.kind() == FileKind::Directory {
            for item in &node.list().unwrap() {
                walk(&node.child(&item.name).unwrap().unwrap(), all);
            }
        }
        let (seconds, nanoseconds) = attributes.mtime;
        let entry = Entry {
            mode: attributes.mode,
            owner: (attributes.uid, attributes.gid),
            mtime: (seconds, i64::from(nanoseconds)),
            links: u64::from(attributes.nlink),
            content: mount::sha256(&content),
        };
        all.insert(node.inner_path(), entry);
    }
    let mut all = BTreeMap::new();
    walk(&mount.client().node("/").unwrap(), &mut all);
    all
}

/// Asserts that what is published is what lies in the directory, and that everything about it is right.
pub fn assert_same(tree: &Path, repository: &Published) {
    let (local, published) = (local(tree), published(&repository.mount()));
    let name = |path: &Vec<u8>| path.escape_ascii().to_string();
    repository.check();
    assert_eq!(published.keys().map(name).collect::<Vec<_>>(), local.keys().map(name).collect::<Vec<_>>());
    for (path, entry) in &local {
        assert_eq!(&published[path], entry, "{}", name(path));
    }
}
