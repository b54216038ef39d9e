//! The walk against the kernel's own: random trees on disk, random paths, the same answers.

use cvmfs_index::walk::{Failure, Kind, LastLink, Outcome, World, walk};
use proptest::prelude::*;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};

/// A directory of the real file system, read entry by entry so that only the walk follows links.
struct OnDisk {
    mount_dir: PathBuf,
}

impl World for OnDisk {
    type Node = PathBuf;
    type Fault = io::ErrorKind;

    fn mount_dir(&self) -> &[u8] {
        self.mount_dir.as_os_str().as_bytes()
    }

    fn top(&self) -> PathBuf {
        self.mount_dir.clone()
    }

    fn parent(&self, node: &PathBuf) -> Result<Option<PathBuf>, io::ErrorKind> {
        Ok((*node != self.mount_dir).then(|| node.parent().expect("below the mount directory").to_owned()))
    }

    fn child(&self, node: &PathBuf, name: &[u8]) -> Result<Option<PathBuf>, io::ErrorKind> {
        let child = node.join(std::ffi::OsStr::from_bytes(name));
        match fs::symlink_metadata(&child) {
            Ok(_) => Ok(Some(child)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.kind()),
        }
    }

    fn kind(&self, node: &PathBuf) -> Kind {
        let kind = fs::symlink_metadata(node).expect("was found").file_type();
        assert!(!kind.is_fifo());
        match (kind.is_dir(), kind.is_symlink()) {
            (true, _) => Kind::Directory,
            (_, true) => Kind::Symlink,
            _ => Kind::Other,
        }
    }

    fn target(&self, node: &PathBuf, buffer: &mut [u8]) -> Result<usize, io::ErrorKind> {
        let target = fs::read_link(node).expect("is a link");
        let bytes = target.as_os_str().as_bytes();
        if let Some(front) = buffer.get_mut(..bytes.len()) {
            front.copy_from_slice(bytes);
        }
        Ok(bytes.len())
    }
}

/// What a walk says in the kernel's terms: the file reached, or the error number.
fn ours(world: &OnDisk, start: &Path, path: &[u8], last: LastLink) -> Result<PathBuf, i32> {
    let mut scratch = [0u8; 8192];
    let reached = match walk(world, &start.to_owned(), path, last, &mut scratch) {
        Ok(Outcome::Node(node)) => node,
        Ok(Outcome::Outside(len)) => PathBuf::from(std::ffi::OsStr::from_bytes(&scratch[..len])),
        Err(failure) => {
            return Err(match failure {
                Failure::NotFound => libc_errno::ENOENT,
                Failure::NotDirectory => libc_errno::ENOTDIR,
                Failure::TooManyLinks => libc_errno::ELOOP,
                Failure::NameTooLong => libc_errno::ENAMETOOLONG,
                Failure::AccessDenied => libc_errno::EACCES,
                Failure::Fault(kind) => panic!("the test tree is readable: {kind}"),
            });
        }
    };
    identity(&reached, last)
}

/// The canonical name of what the kernel finds at `path`, or its error number.
fn identity(path: &Path, last: LastLink) -> Result<PathBuf, i32> {
    use std::os::unix::fs::MetadataExt as _;
    let ask = || match last {
        LastLink::Follow => fs::metadata(path),
        LastLink::Keep => fs::symlink_metadata(path),
    };
    // A kernel that begins a path anew, as when something is mounted meanwhile, goes on counting links.
    let too_many = |asked: &io::Result<_>| matches!(asked, Err(e) if e.raw_os_error() == Some(libc_errno::ELOOP));
    let metadata = (0..20).map(|_| ask()).find(|asked| !too_many(asked)).unwrap_or_else(ask);
    metadata
        .map(|m| PathBuf::from(format!("{}:{}", m.dev(), m.ino())))
        .map_err(|e| e.raw_os_error().expect("from the kernel"))
}

mod libc_errno {
    pub(super) const ENOENT: i32 = 2;
    pub(super) const EACCES: i32 = 13;
    pub(super) const ENOTDIR: i32 = 20;
    pub(super) const ENAMETOOLONG: i32 = 36;
    pub(super) const ELOOP: i32 = 40;
}

const NAMES: [&str; 5] = ["a", "b", "c", "dd", "e"];

fn a_name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn a_path() -> impl Strategy<Value = String> {
    let component =
        prop_oneof![6 => a_name(), 1 => Just(".".into()), 2 => Just("..".to_owned()), 1 => Just(String::new())];
    (any::<bool>(), prop::collection::vec(component, 0..8), any::<bool>()).prop_map(|(absolute, components, slash)| {
        let mut path = components.join("/");
        if absolute {
            path = format!("MOUNT/{path}");
        }
        if slash {
            path.push('/');
        }
        path
    })
}

#[derive(Debug, Clone)]
enum Entry {
    Directory,
    File,
    Link(String),
}

fn an_entry() -> impl Strategy<Value = (Vec<String>, Entry)> {
    let entry = prop_oneof![
        3 => Just(Entry::Directory),
        1 => Just(Entry::File),
        4 => a_path().prop_filter("a link target is not empty", |p| !p.is_empty()).prop_map(Entry::Link)
    ];
    (prop::collection::vec(a_name(), 1..4), entry)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_path_means_what_it_means_to_the_kernel(
        entries in prop::collection::vec(an_entry(), 0..24),
        paths in prop::collection::vec(a_path(), 1..24),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let holder = dir.path().canonicalize().unwrap();
        let mount_dir = holder.join("m");
        fs::create_dir(&mount_dir).unwrap();
        // Names outside, so that climbing out of the top leads somewhere.
        fs::create_dir_all(holder.join("a/b")).unwrap();
        let spelled = |path: &str| path.replacen("MOUNT", mount_dir.to_str().unwrap(), 1);
        for (components, entry) in &entries {
            let place = mount_dir.join(components.join("/"));
            let Ok(parent) = place.parent().unwrap().canonicalize() else { continue };
            if !parent.starts_with(&mount_dir) {
                continue;
            }
            let _ = match entry {
                Entry::Directory => fs::create_dir(&place),
                Entry::File => fs::File::create_new(&place).map(drop),
                Entry::Link(target) => symlink(spelled(target), &place),
            };
        }
        let world = OnDisk { mount_dir: mount_dir.clone() };
        for path in &paths {
            let path = spelled(path);
            for last in [LastLink::Follow, LastLink::Keep] {
                let kernel = if path.is_empty() {
                    Err(libc_errno::ENOENT)
                } else {
                    // A join would drop what the kernel sees, such as a trailing slash.
                    identity(Path::new(&if path.starts_with('/') { path.clone() } else { format!("{}/{path}", mount_dir.display()) }), last)
                };
                prop_assert_eq!(ours(&world, &mount_dir, path.as_bytes(), last), kernel, "{} {:?}", path, last);
            }
        }
    }
}

#[test]
fn limits_are_those_of_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let mount_dir = dir.path().canonicalize().unwrap();
    fs::create_dir(mount_dir.join("d")).unwrap();
    symlink("loop", mount_dir.join("loop")).unwrap();
    for n in 0..=41 {
        symlink(if n == 0 { "d".to_owned() } else { format!("l{}", n - 1) }, mount_dir.join(format!("l{n}"))).unwrap();
    }
    let world = OnDisk { mount_dir: mount_dir.clone() };
    let long_name = "n".repeat(255);
    let too_long_name = "n".repeat(256);
    let room = 4095 - mount_dir.as_os_str().len();
    let longest = "/.".repeat(room / 2);
    let too_long = "/.".repeat(room / 2 + 1);
    for path in [
        "/loop",
        "/l39",
        "/l40",
        "/l41",
        "/d",
        &format!("/{long_name}"),
        &format!("/{too_long_name}"),
        &longest,
        &too_long,
    ] {
        let path = format!("{}{path}", mount_dir.display());
        for last in [LastLink::Follow, LastLink::Keep] {
            assert_eq!(
                ours(&world, &mount_dir, path.as_bytes(), last),
                identity(Path::new(&path), last),
                "{path} {last:?}"
            );
        }
    }
}

#[test]
fn a_small_scratch_buffer_is_an_error_and_not_a_wrong_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mount_dir = dir.path().canonicalize().unwrap();
    symlink("a-target-that-needs-room", mount_dir.join("l")).unwrap();
    let world = OnDisk { mount_dir: mount_dir.clone() };
    let mut scratch = [0u8; 8];
    let outcome = walk(&world, &mount_dir, b"l", LastLink::Follow, &mut scratch);
    assert_eq!(outcome, Err(Failure::NameTooLong));
}
