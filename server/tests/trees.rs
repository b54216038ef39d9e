//! Directory trees, published and read back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::tree::assert_same;
use common::{Published, text};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// A tree with entries of the kinds that any user can make.
fn some_tree(root: &Path) {
    let dir = |path: &str| fs::create_dir_all(root.join(path)).unwrap();
    dir("bin");
    dir("lib/python/site");
    dir("empty");
    fs::write(root.join("bin/tool"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(root.join("bin/tool"), root.join("bin/other")).unwrap();
    symlink("../bin/tool", root.join("lib/link")).unwrap();
    symlink("$(not closed", root.join("lib/dangling")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"lib/\xff\x01 name")), b"odd").unwrap();
    fs::write(root.join("lib/empty"), b"").unwrap();
    fs::write(root.join("lib/python/.cvmfscatalog"), b"").unwrap();
    fs::write(root.join("lib/python/site/.cvmfscatalog"), b"").unwrap();
    let large: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(root.join("lib/python/site/large"), large).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
}

const CHUNKS: &str = "16384,65536,262144";

#[test]
fn what_is_published_is_read_back() {
    for hash in ["sha1", "rmd160", "shake128"] {
        let repository = Published::new(&["--hash", hash]);
        let tree = repository.dir.path().join("tree");
        some_tree(&tree);
        let told = repository.publish(&[text(&tree), "--chunks", CHUNKS, "--tag", "v1"]);
        assert_eq!((told["revision"].as_u64(), told["catalogs"].as_u64()), (Some(2), Some(3)), "{told}");
        assert_same(&tree, &repository);
    }
}

#[test]
fn what_changed_is_published_and_nothing_else_is_read() {
    let repository = Published::new(&[]);
    let tree = repository.dir.path().join("tree");
    some_tree(&tree);
    // Files as young as the last revision may change without a trace.
    let old = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    let age = |path: &str| fs::File::options().write(true).open(tree.join(path)).unwrap().set_times(old).unwrap();
    for path in ["bin/tool", "lib/empty", "lib/python/site/large", "lib/python/.cvmfscatalog"] {
        age(path);
    }
    age("lib/python/site/.cvmfscatalog");
    fs::remove_file(tree.join(OsStr::from_bytes(b"lib/\xff\x01 name"))).unwrap();
    repository.publish(&[text(&tree), "--chunks", CHUNKS]);
    let told = repository.publish(&[text(&tree), "--chunks", CHUNKS]);
    assert_eq!((&told["changed"], &told["summary"]["files_read"]), (&false.into(), &0.into()), "{told}");

    fs::write(tree.join("lib/python/site/large"), b"small").unwrap();
    fs::remove_file(tree.join("bin/other")).unwrap();
    fs::remove_file(tree.join("lib/python/.cvmfscatalog")).unwrap();
    fs::remove_file(tree.join("fifo")).unwrap();
    fs::create_dir(tree.join("fifo")).unwrap();
    fs::remove_dir(tree.join("empty")).unwrap();
    fs::write(tree.join("empty"), b"no directory any more").unwrap();
    let told = repository.publish(&[text(&tree), "--chunks", CHUNKS]);
    assert_eq!((&told["changed"], &told["revision"]), (&true.into(), &3.into()), "{told}");
    // Its links changed, but it may be taken over: it is not read, nor are the empty one and the marker.
    assert_eq!(told["summary"]["files_read"], 3, "{told}");
    assert_same(&tree, &repository);
    let told = repository.publish(&[text(&tree), "--chunks", CHUNKS, "--checksum"]);
    assert_eq!((&told["changed"], &told["summary"]["files_unchanged"]), (&false.into(), &0.into()), "{told}");
}

#[test]
fn sources_lie_on_top_of_a_directory() {
    let repository = Published::new(&[]);
    let (tree, more) = (repository.dir.path().join("tree"), repository.dir.path().join("more"));
    some_tree(&tree);
    fs::create_dir_all(more.join("bin")).unwrap();
    fs::write(more.join("bin/new"), b"new").unwrap();
    repository.publish(&[text(&tree)]);
    repository.publish(&[text(&more), "--into", "/opt/more"]);
    let mount = || repository.mount().client();
    assert_eq!(mount().read("/opt/more/bin/new").unwrap(), b"new");
    assert_eq!(mount().list("/bin").unwrap(), ["other", "tool"]);
    repository.publish(&[text(&more), "--into", "/"]);
    let mut names = mount().list("/bin").unwrap();
    names.sort();
    assert_eq!(names, ["new", "other", "tool"]);
    repository.publish(&[text(&more), "--into", "/lib", "--replace", "--delete", "/opt/more"]);
    assert_eq!((mount().list("/lib").unwrap(), mount().list("/opt").unwrap()), (vec!["bin".to_owned()], vec![]));
    let error = repository.fails("publish", &["--delete", "/not/there"]);
    assert!(error.contains("/not/there"), "{error}");
}
