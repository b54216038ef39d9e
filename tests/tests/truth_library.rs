//! Every path of every recorded repository, through the library, against what the official client said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cvmfs_tests::fixtures::{self, FileType, Magic, Truth};
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::namespace::{FileKind, LastLink, Node};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Read as _;

/// Attributes whose values depend on the mount and not on the repository.
const OF_THE_MOUNT: [&str; 29] = [
    "user.expires",
    "user.external_host",
    "user.external_timeout",
    "user.external_url",
    "user.hitrate",
    "user.host",
    "user.host_list",
    "user.inode_max",
    "user.lhash",
    "user.logbuffer",
    "user.maxfd",
    "user.ncleanup24",
    "user.nclg",
    "user.ndiropen",
    "user.ndownload",
    "user.nioerr",
    "user.nopen",
    "user.pid",
    "user.proxy",
    "user.proxy_list",
    "user.proxy_list_external",
    "user.repo_metainfo",
    "user.rx",
    "user.speed",
    "user.timestamp_last_ioerr",
    "user.uptime",
    "user.useddirp",
    "user.usedfd",
    "user.version",
];

fn client(fqrn: &str, tag: Option<&str>, cache: &std::path::Path) -> Client {
    let mut options = fixtures::repository(fqrn).options();
    options.push(("CVMFS_CACHE_BASE".into(), cache.to_str().unwrap().into()));
    options.push(("CVMFS_EXTERNAL_URL".into(), format!("file://{}", fixtures::external_data().display())));
    if let Some(tag) = tag {
        options.push(("CVMFS_REPOSITORY_TAG".into(), tag.into()));
    }
    let environment = vec![("CVMFS_ANCHOR_VAR".into(), "anchor_value".into())];
    Client::new(ClientSettings { options, environment, config_roots: Some(Vec::new()), pac: None }).unwrap()
}

/// All entries below `node`, by their path inside the repository as the record spells it.
fn walk(node: &Node, all: &mut BTreeMap<Vec<u8>, Node>) {
    let mut path = node.inner_path();
    if path.is_empty() {
        path.push(b'/');
    }
    all.insert(path, node.clone());
    if node.kind() == FileKind::Directory {
        for item in &node.list().unwrap_or_else(|e| panic!("{node:?}: {e}")) {
            let child = node.child(&item.name).unwrap().unwrap_or_else(|| panic!("{node:?} lists a name it has not"));
            assert_eq!((item.ino, item.kind), (child.attributes().ino, child.kind()), "{child:?}");
            walk(&child, all);
        }
    }
}

fn compare(node: &Node, truth: &Truth) {
    let attributes = node.attributes();
    assert_eq!(FileType::of_mode(attributes.mode), truth.file_type, "type of {node:?}");
    assert_eq!(attributes.mode & 0o7777, truth.mode, "mode of {node:?}");
    assert_eq!((attributes.uid, attributes.gid), (truth.uid, truth.gid), "owner of {node:?}");
    assert_eq!(u64::from(attributes.nlink), truth.nlink, "link count of {node:?}");
    assert_eq!(attributes.size, truth.size, "size of {node:?}");
    let (seconds, nanos) = attributes.mtime;
    assert_eq!(i128::from(seconds) * 1_000_000_000 + i128::from(nanos), truth.mtime_ns, "mtime of {node:?}");
    let is_device = matches!(truth.file_type, FileType::Blk | FileType::Chr);
    let rdev = is_device.then(|| (libc::major(attributes.rdev), libc::minor(attributes.rdev)));
    assert_eq!(rdev, truth.rdev, "device number of {node:?}");
    assert_eq!(node.read_link().ok(), truth.target, "target of {node:?}");
    let sha256 = (truth.file_type == FileType::Reg).then(|| {
        let mut file = node.open().unwrap_or_else(|e| panic!("{node:?}: {e}"));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, truth.size, "{node:?}");
        Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>()
    });
    assert_eq!(sha256, truth.sha256, "content of {node:?}");
    let of_the_repository = |name: &&String| !OF_THE_MOUNT.contains(&name.as_str());
    let listed: Vec<String> =
        node.list_xattrs().unwrap().into_iter().map(|name| String::from_utf8(name).unwrap()).collect();
    let mut expected: Vec<&String> = truth.xattrs.keys().filter(of_the_repository).collect();
    let mut found: Vec<&String> = listed.iter().filter(of_the_repository).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "attributes of {node:?}");
    for name in expected {
        assert_eq!(node.get_xattr(name.as_bytes()).ok().as_ref(), truth.xattrs.get(name), "{name} of {node:?}");
    }
    for (name, expected) in truth.magic.iter().filter(|(name, _)| of_the_repository(name)) {
        let found = match node.get_xattr(name.as_bytes()) {
            Ok(value) => Magic::Value(value),
            Err(error) => Magic::Errno(error.errno()),
        };
        assert_eq!(&found, expected, "{name} of {node:?}");
    }
}

fn check(fqrn: &str, tag: Option<&str>) {
    let cache = tempfile::tempdir().unwrap();
    let client = client(fqrn, tag, cache.path());
    let root = client.namespace().resolve(format!("/cvmfs/{fqrn}").as_bytes(), LastLink::Follow);
    let root = root.and_then(libcvmfs::namespace::Resolved::node).unwrap_or_else(|e| panic!("{fqrn}: {e}"));
    let mut found = BTreeMap::new();
    walk(&root, &mut found);
    let truth: BTreeMap<Vec<u8>, Truth> = fixtures::truth(fqrn, tag).map(|t| (t.path.clone(), t)).collect();
    let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let missing: Vec<String> = truth.keys().filter(|path| !found.contains_key(*path)).map(text).collect();
    let extra: Vec<String> = found.keys().filter(|path| !truth.contains_key(*path)).map(text).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, too many {extra:?}");
    for (path, node) in &found {
        compare(node, &truth[path]);
        let mut spelled = format!("/cvmfs/{fqrn}").into_bytes();
        spelled.extend_from_slice(path);
        let resolved = client.namespace().resolve(&spelled, LastLink::Keep).unwrap().node().unwrap();
        assert_eq!(resolved.attributes(), node.attributes(), "{node:?} found by its path");
    }
    // Hard-link groups: entries with several links share their number with exactly the others of their group.
    let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (path, node) in &found {
        if truth[path].nlink > 1 && truth[path].file_type != FileType::Dir {
            groups.entry(truth[path].ino).or_default().push(node.attributes().ino);
        }
    }
    for group in groups.values() {
        assert!(group.iter().all(|ino| ino == &group[0]), "hard links with different numbers: {group:?}");
    }
    let distinct: std::collections::BTreeSet<u64> = found.values().map(|node| node.attributes().ino).collect();
    let expected: std::collections::BTreeSet<u64> = truth.values().map(|t| t.ino).collect();
    assert_eq!(distinct.len(), expected.len(), "as many inode numbers as the official client shows");
}

cvmfs_tests::test_every_recorded_tree!(check);
