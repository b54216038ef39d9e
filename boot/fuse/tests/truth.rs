//! Everything about every path of every recorded repository, through the kernel, against what the official client said.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{SMALL, User, output, require_fuse, rustix_xattr, try_xattr};
use cvmfs_tests::fixtures::{self, FIND_FORMAT, FileType, Magic, Truth, found_by_find};
use cvmfs_tests::tools::require_tool;
use libcvmfs::client::{Client, ClientSettings};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::Path;

/// Names of the attributes that tell about the mount and not about the repository.
const OF_THE_REPOSITORY: [&str; 14] = [
    "user.catalog_counters",
    "user.chunk_list",
    "user.chunks",
    "user.compression",
    "user.external_file",
    "user.fqrn",
    "user.hash",
    "user.rawlink",
    "user.repo_counters",
    "user.revision",
    "user.root_hash",
    "user.tag",
    "user.direct_io",
    "xfsroot.rawlink",
];

fn user(fqrn: &str) -> User {
    let external = format!("file://{}", fixtures::external_data().display());
    User::with(fixtures::repository(fqrn).options())
        .option("CVMFS_EXTERNAL_URL", &external)
        .env("CVMFS_ANCHOR_VAR", "anchor_value")
}

fn records(fqrn: &str, tag: Option<&str>) -> BTreeMap<Vec<u8>, Truth> {
    fixtures::truth(fqrn, tag).map(|record| (record.path.clone(), record)).collect()
}

fn sha256(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks everything below `root`, and that the numbers are those that the library tells programs under `cvmfs-run`.
fn check(fqrn: &str, tag: Option<&str>) {
    if !require_fuse() {
        return;
    }
    let mut user = user(fqrn);
    if let Some(tag) = tag {
        user = user.option("CVMFS_REPOSITORY_TAG", tag);
    }
    let mount = user.mount(fqrn);
    let options = user.options.clone();
    let library =
        Client::new(ClientSettings { options, config_roots: Some(Vec::new()), ..ClientSettings::default() }).unwrap();
    let snapshot = library.repository(fqrn).unwrap().snapshot();
    let mut nodes = vec![library.namespace().root_of(&snapshot)];
    let records = records(fqrn, tag);
    let mut checked = 0;
    while let Some(node) = nodes.pop() {
        let mut inside = node.inner_path();
        if inside.is_empty() {
            inside.push(b'/');
        }
        let record = records.get(&inside).unwrap_or_else(|| panic!("{node:?} should not be there"));
        let path = mount.path(OsStr::from_bytes(&inside[1..]));
        let found = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(found.ino(), node.attributes().ino, "number of {}", path.display());
        compare(&path, &found, record);
        if found.is_dir() {
            let mut listed: Vec<_> = fs::read_dir(&path).unwrap().map(Result::unwrap).collect();
            listed.sort_by_key(fs::DirEntry::file_name);
            let mut expected: Vec<_> = node.list().unwrap().iter().cloned().collect();
            expected.sort_by(|one, other| one.name.cmp(&other.name));
            assert_eq!(listed.len(), expected.len(), "{}", path.display());
            for (entry, item) in listed.iter().zip(&expected) {
                assert_eq!((entry.file_name().as_bytes(), entry.ino()), (&*item.name, item.ino));
                nodes.push(node.child(&item.name).unwrap().unwrap());
            }
        }
        checked += 1;
    }
    assert_eq!(checked, records.len());
}

fn compare(path: &Path, found: &fs::Metadata, record: &Truth) {
    let shown = path.display();
    assert_eq!(FileType::of_mode(found.mode()), record.file_type, "type of {shown}");
    assert_eq!(found.mode() & 0o7777, record.mode, "mode of {shown}");
    assert_eq!((found.uid(), found.gid()), (record.uid, record.gid), "owner of {shown}");
    assert_eq!((found.nlink(), found.size()), (record.nlink, record.size), "links and size of {shown}");
    let time = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    assert_eq!(time, record.mtime_ns, "time of {shown}");
    assert_eq!((found.atime(), found.ctime_nsec()), (found.mtime(), found.mtime_nsec()), "times of {shown}");
    if let Some(numbers) = record.rdev {
        assert_eq!((libc::major(found.rdev()), libc::minor(found.rdev())), numbers, "device {shown}");
    }
    if record.file_type == FileType::Lnk {
        let target = fs::read_link(path).unwrap();
        assert_eq!(Some(target.as_os_str().as_bytes()), record.target.as_deref(), "target of {shown}");
    }
    if let Some(expected) = &record.sha256 {
        assert_eq!(&sha256(path), expected, "content of {shown}");
    }
    if record.path != b"/" {
        let mut names = vec![0; 65536];
        let length = rustix::fs::llistxattr(path, &mut names).unwrap();
        let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
        let mut names: Vec<String> = names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect();
        names.sort();
        assert_eq!(names, record.xattrs.keys().cloned().collect::<Vec<_>>(), "attributes of {shown}");
    }
    for (name, value) in record.xattrs.iter().filter(|(name, _)| {
        !name.starts_with("user.") || record.path != b"/" || OF_THE_REPOSITORY.contains(&name.as_str())
    }) {
        assert_eq!(&rustix_xattr(path, name), value, "{name} of {shown}");
    }
    for (name, value) in record.magic.iter().filter(|(name, _)| OF_THE_REPOSITORY.contains(&name.as_str())) {
        let found = match try_xattr(path, name) {
            Ok(value) => Magic::Value(value),
            Err(error) => Magic::Errno(error.raw_os_error().unwrap()),
        };
        assert_eq!(&found, value, "{name} of {shown}");
    }
}

cvmfs_tests::test_every_recorded_tree! {
    /// "Type, permissions, owner, group, number of links, size, times, device numbers, link target, content and
    /// extended attributes are those that the official client tells, and inode numbers those that programs see
    /// under `cvmfs-run`."
    check
}

/// What `find` and `sha256sum` print for an ordinary user, against the truth with his view of owners.
fn compare_as_somebody(before: &[&str], owner: impl Fn(u32) -> u32) {
    let user = user(SMALL).option("CVMFS_CHECK_PERMISSIONS", "no");
    let script = format!(
        "mount; find $dir -printf '{FIND_FORMAT}'; cd $dir; find . -type f -exec sha256sum -z '{{}}' + >&2; cd /; \
         $program --unmount $dir"
    );
    let out = output(&mut user.as_somebody(before, SMALL, &script));
    let seen = found_by_find(&out.stdout);
    let mut records = records(SMALL, None);
    let sums = out.stderr.split(|&byte| byte == 0).filter(|line| !line.is_empty());
    let sums: BTreeMap<Vec<u8>, String> =
        sums.map(|line| (line[67..].to_vec(), String::from_utf8_lossy(&line[..64]).into_owned())).collect();
    let published = records.iter().filter_map(|(path, record)| Some((path.clone(), record.sha256.clone()?)));
    assert_eq!(sums, published.collect());
    for record in records.values_mut() {
        (record.uid, record.gid) = (owner(record.uid), owner(record.gid));
    }
    let expected: BTreeMap<Vec<u8>, String> = records.iter().map(|(p, r)| (p.clone(), r.as_find_prints())).collect();
    for (path, facts) in &expected {
        assert_eq!(seen.get(path), Some(facts), "{}", String::from_utf8_lossy(path));
    }
    assert_eq!(seen.len(), expected.len());
}

/// "An ordinary user mounts by `fusermount3`, and sees what root sees."
#[test]
fn an_ordinary_user_with_fusermount() {
    if !require_fuse() {
        return;
    }
    if require_tool("fusermount3").is_some() {
        compare_as_somebody(&[], |id| id);
    }
}

/// "In a user namespace nothing has to be installed; owners that are not mapped are shown as nobody."
#[test]
fn an_ordinary_user_in_a_namespace() {
    if !require_fuse() {
        return;
    }
    compare_as_somebody(&["unshare", "--user", "--map-root-user", "--mount"], |id| if id == 0 { 0 } else { 65534 });
}
