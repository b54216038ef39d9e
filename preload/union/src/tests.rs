//! A union beside a plain directory that started as a copy of its base: whatever is done to both, both look the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::change::Making;
use crate::ownership::Ownership;
use crate::{Base, Layer, Union, child_path};
use cvmfs_view::{Errno, Refusal};
use proptest::prelude::*;
use rustix::fs::{OFlags, RenameFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Something to do, with names as numbers.
#[derive(Debug, Clone)]
enum Step {
    Write(u8, String),
    Append(u8, String),
    Directory(u8),
    Link(u8),
    Remove(u8),
    RemoveDirectory(u8),
    Rename(u8, u8),
    HardLink(u8, u8),
    Bits(u8, u32),
    /// What was written until now is only read from here on.
    Stack,
    /// Another process goes on.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = 0..40u8;
    let step = prop_oneof![
        3 => (path.clone(), "[a-z]{0,8}").prop_map(|(path, text)| Step::Write(path, text)),
        2 => (path.clone(), "[a-z]{1,8}").prop_map(|(path, text)| Step::Append(path, text)),
        2 => path.clone().prop_map(Step::Directory),
        1 => path.clone().prop_map(Step::Link),
        3 => path.clone().prop_map(Step::Remove),
        2 => path.clone().prop_map(Step::RemoveDirectory),
        4 => (path.clone(), path.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (path.clone(), path.clone()).prop_map(|(from, to)| Step::HardLink(from, to)),
        2 => (path, prop::sample::select(vec![0o644, 0o600, 0o755, 0o777])).prop_map(|(path, bits)| Step::Bits(path, bits)),
        1 => Just(Step::Stack),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

/// Paths that meet each other: some are in the base.
fn path(number: u8) -> Vec<u8> {
    const DIRECTORIES: [&str; 5] = ["", "/etc", "/usr", "/usr/lib", "/new"];
    const NAMES: [&str; 8] = ["passwd", "group", "lib", "etc", "new", "link", "a", "b"];
    let number = usize::from(number);
    format!("{}/{}", DIRECTORIES[number / 8], NAMES[number % 8]).into_bytes()
}

fn base(directory: &Path) {
    for inner in ["etc", "usr/lib", "usr/empty"] {
        fs::create_dir_all(directory.join(inner)).unwrap();
    }
    for (file, text) in
        [("etc/passwd", "root"), ("etc/group", "wheel"), ("usr/lib/a", "1"), ("usr/lib/b", "2"), ("b", "")]
    {
        fs::write(directory.join(file), text).unwrap();
        fs::set_permissions(directory.join(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    symlink("../etc", directory.join("usr/link")).unwrap();
}

struct Pair {
    place: TempDir,
    layers: Vec<Layer>,
    union: Union,
    /// Names of one file go apart when it is raised, as with overlayfs; so with these no layer is put upon another.
    linked: bool,
}

impl Pair {
    fn new() -> Pair {
        let place = tempfile::tempdir().unwrap();
        base(&place.path().join("base"));
        base(&place.path().join("plain"));
        let layers = vec![layer(place.path(), 0)];
        let union = open(place.path(), &layers);
        Pair { place, layers, union, linked: false }
    }

    fn plain(&self, path: &[u8]) -> PathBuf {
        crate::joined(&self.place.path().join("plain"), path)
    }

    fn reopen(&mut self) {
        self.union = open(self.place.path(), &self.layers);
    }

    fn step(&mut self, step: &Step) {
        let (ours, theirs): (Result<(), Refusal>, io::Result<()>) = match step {
            Step::Write(number, text) => self.write(&path(*number), text, true),
            Step::Append(number, text) => self.write(&path(*number), text, false),
            Step::Directory(number) => {
                let path = path(*number);
                (self.union.make(&path, &Making::Directory(0o755)), fs::create_dir(self.plain(&path)))
            }
            Step::Link(number) => {
                let path = path(*number);
                (self.union.make(&path, &Making::Link(b"somewhere")), symlink("somewhere", self.plain(&path)))
            }
            Step::Remove(number) => {
                let path = path(*number);
                (self.union.remove(&path, false), fs::remove_file(self.plain(&path)))
            }
            Step::RemoveDirectory(number) => {
                let path = path(*number);
                (self.union.remove(&path, true), fs::remove_dir(self.plain(&path)))
            }
            Step::Rename(from, to) => {
                let (from, to) = (path(*from), path(*to));
                let ours = self.union.rename(&from, &to, RenameFlags::empty());
                if ours == Err(Refusal::Error(Errno(libc::EXDEV))) {
                    assert!(self.plain(&from).is_dir(), "only directories have to be copied");
                    return;
                }
                (ours, fs::rename(self.plain(&from), self.plain(&to)))
            }
            Step::HardLink(from, to) => {
                let (from, to) = (path(*from), path(*to));
                self.linked = true;
                (self.union.link(&from, &to), fs::hard_link(self.plain(&from), self.plain(&to)))
            }
            Step::Bits(number, bits) => {
                let path = path(*number);
                if self.plain(&path).is_symlink() || !self.plain(&path).exists() {
                    return;
                }
                let is_directory = self.plain(&path).is_dir();
                // An ordinary user can look into the plain one only as long as he may.
                let bits = if is_directory { bits | 0o700 } else { *bits };
                let ours = self.union.raise(&path);
                let ours = ours.and_then(|real| Ok(Ownership::of_root(bits).give(&real, is_directory)?));
                (ours, fs::set_permissions(self.plain(&path), fs::Permissions::from_mode(bits)))
            }
            Step::Stack if self.linked => return,
            Step::Stack => {
                self.layers.insert(0, layer(self.place.path(), self.layers.len()));
                self.reopen();
                return;
            }
            Step::Reopen => {
                self.reopen();
                return;
            }
        };
        match (&ours, &theirs) {
            (Ok(()), Ok(())) => {}
            (Err(Refusal::Error(Errno(ours))), Err(theirs)) => {
                // Of two reasons the kernel may see another one first.
                let theirs = theirs.raw_os_error().unwrap();
                assert!(*ours == theirs || ours_too(*ours, theirs), "{step:?}: {ours} and {theirs}");
            }
            _ => panic!("{step:?}: {ours:?} and {theirs:?}"),
        }
    }

    fn write(&self, path: &[u8], text: &str, truncate: bool) -> (Result<(), Refusal>, io::Result<()>) {
        let flags = if truncate { OFlags::TRUNC } else { OFlags::APPEND };
        let ours = || -> Result<(), Refusal> {
            let file = match self.union.create(path, OFlags::WRONLY | flags, 0o644) {
                Err(Refusal::Error(Errno(libc::EEXIST))) => {
                    let entry = self.union.find(path)?;
                    if entry.is_directory() || entry.is(libc::S_IFLNK) {
                        return Err(Errno(if entry.is_directory() { libc::EISDIR } else { libc::ELOOP }).into());
                    }
                    let real = self.union.raise(path)?;
                    rustix::fs::open(real, OFlags::WRONLY | flags, rustix::fs::Mode::empty())?
                }
                created => created?,
            };
            Ok(fs::File::from(file).write_all(text.as_bytes())?)
        };
        let theirs = || {
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut options = fs::File::options();
            options.create(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
            let options = if truncate { options.write(true).truncate(true) } else { options.append(true) };
            options.open(self.plain(path))?.write_all(text.as_bytes())
        };
        (ours(), theirs())
    }

    fn compare(&self) {
        let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
        self.collect(&self.union, b"/", &mut ours);
        plain(&self.plain(b"/"), Path::new(""), &mut theirs);
        assert_eq!(ours, theirs);
    }

    fn collect(&self, union: &Union, path: &[u8], into: &mut BTreeMap<Vec<u8>, String>) {
        let entry = union.find(path).unwrap();
        for listed in union.list(&entry, path).unwrap() {
            let path = child_path(path, &listed.name);
            let found = union.find(&path).unwrap();
            assert!(found.is(listed.kind), "{}", String::from_utf8_lossy(&path));
            let real = match union.source(&found, &path) {
                crate::lookup::Source::File(real) => real,
                source => panic!("{source:?}"),
            };
            let stat = *found.stat();
            into.insert(path.clone(), line(stat.st_mode, stat.st_nlink, &real));
            if found.is_directory() {
                self.collect(union, &path, into);
            }
        }
    }
}

fn ours_too(ours: i32, theirs: i32) -> bool {
    use libc::{EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY};
    // A name below itself, a file as a directory, a directory that is not empty: each is said in two ways.
    let groups: [&[i32]; 3] =
        [&[ENOTEMPTY, EEXIST, EINVAL], &[ENOENT, ENOTDIR], &[EISDIR, ENOTDIR, EEXIST, ENOTEMPTY, EINVAL]];
    groups.iter().any(|group| group.contains(&ours) && group.contains(&theirs))
}

fn layer(place: &Path, number: usize) -> Layer {
    let directory = place.join(format!("layer{number}"));
    fs::create_dir(&directory).unwrap();
    let layer = Layer::at(directory);
    layer.make().unwrap();
    layer
}

fn open(place: &Path, layers: &[Layer]) -> Union {
    Union::new(layers.to_vec(), Base::Directory(place.join("base"))).unwrap()
}

fn line(mode: u32, links: u64, real: &Path) -> String {
    let content = match mode & libc::S_IFMT {
        libc::S_IFLNK => fs::read_link(real).unwrap().display().to_string(),
        libc::S_IFREG => fs::read_to_string(real).unwrap(),
        _ => return format!("{mode:o}"),
    };
    format!("{mode:o} {links} {content}")
}

fn plain(root: &Path, inner: &Path, into: &mut BTreeMap<Vec<u8>, String>) {
    for entry in fs::read_dir(root.join(inner)).unwrap() {
        let path = inner.join(entry.unwrap().file_name());
        let real = root.join(&path);
        let found = fs::symlink_metadata(&real).unwrap();
        into.insert([b"/", path.as_os_str().as_bytes()].concat(), line(found.mode(), found.nlink(), &real));
        if found.is_dir() {
            plain(root, &path, into);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_union_is_like_a_directory_of_its_own(steps in steps()) {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
            pair.compare();
        }
        pair.reopen();
        pair.compare();
        let mut untouched = BTreeMap::new();
        plain(&pair.place.path().join("base"), Path::new(""), &mut untouched);
        let fresh = tempfile::tempdir().unwrap();
        base(fresh.path());
        let mut as_made = BTreeMap::new();
        plain(fresh.path(), Path::new(""), &mut as_made);
        prop_assert_eq!(untouched, as_made);
    }
}

#[test]
fn owners_and_bits_that_nobody_can_give_are_kept() {
    let pair = Pair::new();
    for (path, mode) in [(&b"/etc/passwd"[..], 0o4755), (b"/usr/lib", 0o1777), (b"/etc/group", 0o400)] {
        let real = pair.union.raise(path).unwrap();
        Ownership { uid: 42, gid: 3_000_000_000, mode }.give(&real, real.is_dir()).unwrap();
        let told = *pair.union.find(path).unwrap().stat();
        assert_eq!((told.st_uid, told.st_gid, told.st_mode & 0o7777), (42, 3_000_000_000, mode));
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o6000, 0, "no real set-uid file comes to be");
        let mut open = cvmfs_view::stat::of_path(&real, true).unwrap();
        pair.union.present_open(&real, real.as_os_str().as_bytes(), &mut open);
        assert_eq!((open.st_uid, open.st_mode, open.st_ino, open.st_dev), (42, told.st_mode, told.st_ino, told.st_dev));
        Ownership::of_root(0o755).give(&real, real.is_dir()).unwrap();
        assert_eq!(Ownership::told(pair.union.find(path).unwrap().stat()), Ownership::of_root(0o755));
    }
}

#[test]
fn times_stay_where_nothing_changed() {
    let pair = Pair::new();
    let before = *pair.union.find(b"/usr").unwrap().stat();
    let file = *pair.union.find(b"/etc/passwd").unwrap().stat();
    std::thread::sleep(std::time::Duration::from_millis(20));
    pair.union.raise(b"/usr/lib/a").unwrap();
    pair.union.raise(b"/etc/passwd").unwrap();
    let after = *pair.union.find(b"/usr").unwrap().stat();
    let raised = *pair.union.find(b"/etc/passwd").unwrap().stat();
    assert_eq!((after.st_mtime, after.st_mtime_nsec), (before.st_mtime, before.st_mtime_nsec));
    assert_eq!((raised.st_mtime, raised.st_mtime_nsec), (file.st_mtime, file.st_mtime_nsec));
}

#[test]
fn what_is_gone_is_noted_and_only_if_it_lay_below() {
    let pair = Pair::new();
    pair.union.remove(b"/etc/group", false).unwrap();
    pair.union.create(b"/etc/mine", OFlags::WRONLY, 0o644).unwrap();
    pair.union.rename(b"/etc/mine", b"/etc/other", RenameFlags::empty()).unwrap();
    pair.union.rename(b"/etc/passwd", b"/new", RenameFlags::empty()).unwrap();
    pair.union.remove(b"/etc/other", false).unwrap();
    let gone: Vec<_> = pair.layers[0].gone_paths().unwrap();
    assert_eq!(gone, [Path::new("etc/group"), Path::new("etc/passwd")]);
    // A directory that is gone says it for all that was in it.
    pair.union.remove(b"/etc", true).unwrap();
    assert_eq!(pair.layers[0].gone_paths().unwrap(), [Path::new("etc")]);
    pair.union.make(b"/etc", &Making::Directory(0o755)).unwrap();
    pair.union.create(b"/etc/passwd", OFlags::WRONLY, 0o644).unwrap();
    pair.union.remove(b"/etc/passwd", false).unwrap();
    assert_eq!(pair.layers[0].gone_paths().unwrap(), [Path::new("etc")]);
}

#[test]
fn names_of_any_bytes_are_kept() {
    let pair = Pair::new();
    let name = [b"/usr/".as_slice(), b"\xff\n "].concat();
    pair.union.create(&name, OFlags::WRONLY, 0o644).unwrap();
    let entry = pair.union.find(b"/usr").unwrap();
    let listed = pair.union.list(&entry, b"/usr").unwrap();
    assert!(listed.iter().any(|listed| OsStr::from_bytes(&listed.name).as_bytes() == b"\xff\n "));
}

#[test]
fn a_covered_directory_is_empty_and_nothing_is_gone() {
    let pair = Pair::new();
    pair.union.cover(b"/usr").unwrap();
    let covered = pair.union.find(b"/usr").unwrap();
    assert!(covered.is_written() && pair.union.list(&covered, b"/usr").unwrap().is_empty());
    assert!(matches!(pair.union.find(b"/usr/lib"), Err(Refusal::Error(Errno(libc::ENOENT)))));
    pair.union.create(b"/usr/mine", OFlags::WRONLY, 0o644).unwrap();
    pair.union.cover(b"/usr").unwrap();
    assert!(pair.union.find(b"/usr/mine").is_ok(), "once is enough");
    assert!(pair.layers[0].gone_paths().unwrap().is_empty());
    assert_eq!(pair.layers[0].places().unwrap(), [Path::new("usr")]);
}

#[test]
fn what_was_never_finished_goes_when_nobody_uses_the_layer() {
    let pair = Pair::new();
    let work = pair.layers[0].files().with_file_name("work");
    let (half, directory) = (work.join("new-0000-1"), work.join("new-0000-2"));
    let leave = || {
        fs::write(&half, "half").unwrap();
        fs::create_dir_all(directory.join("stub")).unwrap();
        fs::set_permissions(directory.join("stub"), fs::Permissions::from_mode(0o000)).unwrap();
    };
    leave();
    drop(open(pair.place.path(), &pair.layers));
    assert!(half.exists() && directory.exists(), "they may be the other's");
    let Pair { place, layers, union, .. } = pair;
    drop(union);
    let union = open(place.path(), &layers);
    assert!(!half.exists() && !directory.exists());
    union.create(b"/etc/mine", OFlags::WRONLY, 0o644).unwrap();
}
