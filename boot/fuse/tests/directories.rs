//! Directories by the kernel's own calls: from every place, by several readers, in buffers of any size.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Mount;
use common::stage::{FQRN, Stage};
use cvmfs_tests::forge::Forge;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// One entry as `getdents64` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    number: u64,
    kind: u8,
    /// The position after it.
    next: i64,
}

/// A directory that is open.
struct Directory {
    file: File,
    path: PathBuf,
}

impl Directory {
    fn open(path: PathBuf) -> Directory {
        Directory { file: File::open(&path).unwrap(), path }
    }

    /// One call of `getdents64`, with room for so many bytes.
    fn step(&self, room: usize) -> io::Result<Vec<Entry>> {
        let mut buffer = vec![0u8; room];
        // SAFETY: the buffer has the length that is told.
        let got = unsafe { libc::syscall(libc::SYS_getdents64, self.file.as_raw_fd(), buffer.as_mut_ptr(), room) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        let mut entries = Vec::new();
        let mut at = 0;
        while at < got {
            let record = &buffer[at..got];
            entries.push(Entry {
                number: u64::from_ne_bytes(record[..8].try_into().unwrap()),
                next: i64::from_ne_bytes(record[8..16].try_into().unwrap()),
                kind: record[18],
                name: record[19..].split(|&byte| byte == 0).next().unwrap().to_vec(),
            });
            at += usize::from(u16::from_ne_bytes(record[16..18].try_into().unwrap()));
        }
        assert_eq!(at, got, "records fill what was written");
        Ok(entries)
    }

    /// Everything from where it is.
    fn rest(&self, room: usize) -> Vec<Entry> {
        let mut all = Vec::new();
        loop {
            let some = self.step(room).unwrap();
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    fn seek(&self, position: i64, whence: i32) -> io::Result<i64> {
        // SAFETY: it takes no pointer.
        match unsafe { libc::lseek(self.file.as_raw_fd(), position, whence) } {
            -1 => Err(io::Error::last_os_error()),
            position => Ok(position),
        }
    }

    fn go_to(&self, position: i64) {
        assert_eq!(self.seek(position, libc::SEEK_SET).unwrap(), position);
    }
}

/// Names of every length, so that records are, too.
fn name(number: usize) -> String {
    format!("{number:05}{}", "n".repeat(number * 7 % 250))
}

fn many(count: usize) -> BTreeSet<Vec<u8>> {
    (0..count).map(|number| name(number).into_bytes()).collect()
}

/// Directories of several sizes, one of them in a catalog of its own; and every type of entry.
fn stage() -> Option<Stage> {
    let mut forge = Forge::new(FQRN).dir("/empty").file("/one/only", "").nested("/nested").dir("/nested/below");
    for (directory, count) in [("many", 5000), ("nested", 700)] {
        for number in 0..count {
            forge = forge.file(format!("/{directory}/{}", name(number)), "");
        }
    }
    let types = [libc::S_IFIFO, libc::S_IFSOCK, libc::S_IFCHR, libc::S_IFBLK];
    for (number, bits) in types.into_iter().enumerate() {
        forge = forge.special(format!("/types/special{number}"), bits, libc::makedev(1, 3));
    }
    Stage::of(
        forge
            .symlink("/types/link", "file")
            .file("/types/file", "x")
            .hardlink("/types/again", "/types/file")
            .dir("/types/dir"),
    )
}

/// Names but `.` and `..`, which come once each.
fn names(entries: &[Entry]) -> BTreeSet<Vec<u8>> {
    let mut names: BTreeSet<Vec<u8>> = entries.iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(names.len(), entries.len(), "a name comes once");
    assert!(names.remove(&b"."[..]) && names.remove(&b".."[..]));
    names
}

/// "Directories are listed whole in buffers of any size; every position is unique and can be returned to; types and numbers are
/// those of `stat`."
#[test]
fn every_entry_is_found_again_from_its_place() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    let mut nested = many(700);
    nested.insert(b"below".to_vec());
    let of = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
    let expected = [
        ("", of(&["empty", "many", "nested", "one", "types"])),
        ("empty", BTreeSet::new()),
        ("one", of(&["only"])),
        ("many", many(5000)),
        ("nested", nested),
        ("nested/below", BTreeSet::new()),
        ("types", of(&["again", "dir", "file", "link", "special0", "special1", "special2", "special3"])),
    ];
    for (path, expected) in &expected {
        let directory = Directory::open(mount.path(path));
        // In small steps first: the kernel keeps a listing only of what was read from the beginning on.
        let all = directory.rest(280);
        assert_eq!(&names(&all), expected, "{path}");
        assert!(directory.step(280).unwrap().is_empty(), "{path}: the end stays the end");
        assert_eq!(Directory::open(mount.path(path)).rest(1 << 20), all, "{path}: another reader");
        for room in [280, 1000, 4096, 65536] {
            directory.go_to(0);
            assert_eq!(directory.rest(room), all, "{path}: {room} bytes at a time");
        }
        check_places(&directory, &all);
        check_types(&directory, &all);
    }
}

/// Each entry comes from the place before it, in whatever order they are asked for.
fn check_places(directory: &Directory, all: &[Entry]) {
    let shown = directory.path.display();
    let places: BTreeSet<i64> = all.iter().map(|entry| entry.next).collect();
    assert_eq!(places.len(), all.len(), "{shown}: two entries at one place");
    let before = |index: usize| index.checked_sub(1).map_or(0, |previous| all[previous].next);
    let mut order: Vec<usize> = (0..all.len()).collect();
    for turn in 0..3 {
        match turn {
            0 => order.reverse(),
            1 => fastrand::Rng::with_seed(1).shuffle(&mut order),
            _ => order.sort_unstable(),
        }
        for &index in &order {
            directory.go_to(before(index));
            let found = directory.step(600).unwrap();
            assert_eq!(found[..], all[index..][..found.len()], "{shown}: from before entry {index}");
            assert!(!found.is_empty());
            let now = directory.seek(0, libc::SEEK_CUR).unwrap();
            assert_eq!(now, found.last().unwrap().next, "{shown}: where it is then");
        }
    }
    // Behind the end is nothing.
    for position in [all.last().unwrap().next, all.last().unwrap().next + 1, i64::MAX] {
        directory.go_to(position);
        assert!(directory.step(600).unwrap().is_empty(), "{shown}: {position}");
    }
    directory.go_to(0);
    assert_eq!(directory.rest(65536), all, "{shown}: from the beginning again");
}

fn check_types(directory: &Directory, all: &[Entry]) {
    for entry in all {
        let path = directory.path.join(OsStr::from_bytes(&entry.name));
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!(found.mode() >> 12, u32::from(entry.kind), "{}", path.display());
        let leaves = entry.name == b".." && found.dev() != directory.file.metadata().unwrap().dev();
        assert!(leaves || entry.number == found.ino(), "{}: {} is {}", path.display(), entry.number, found.ino());
    }
}

/// The same where the kernel has no listing yet and never gets one, since nobody reads from the beginning to the end.
#[test]
fn places_are_the_same_for_who_leaps_first() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let all = Directory::open(user.mount(FQRN).path("many")).rest(65536);
    let mount = user.mount(FQRN);
    let directory = Directory::open(mount.path("many"));
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..300 {
        let index = random.usize(1..all.len());
        directory.go_to(all[index - 1].next);
        let room = random.usize(280..5000);
        let found = directory.step(room).unwrap();
        assert_eq!(found[..], all[index..][..found.len()], "from before entry {index}, {room} bytes");
    }
}

/// "Who shares a descriptor shares its place: each entry comes to one of them."
#[test]
fn readers_of_one_descriptor_share_the_entries() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    for state in ["cold", "warm"] {
        let mount = user.mount(FQRN);
        let directory = Directory::open(mount.path("many"));
        if state == "warm" {
            directory.rest(65536);
            directory.go_to(0);
        }
        let parts: Vec<Vec<Entry>> = std::thread::scope(|scope| {
            let directory = &directory;
            let readers = [280, 1000, 4096].map(|room| scope.spawn(move || directory.rest(room)));
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        let together = parts.concat();
        assert_eq!(names(&together), many(5000), "{state}");
    }
}

/// One reads what another one turns back all the time: what comes is always a piece of the listing.
#[test]
fn reading_and_leaping_with_one_descriptor() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let all = Directory::open(user.mount(FQRN).path("many")).rest(65536);
    let mount = user.mount(FQRN);
    let directory = Directory::open(mount.path("many"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (directory, all, stop) = (&directory, &all, &stop);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while !stop.load(Ordering::Relaxed) {
                    directory.go_to(if random.bool() { 0 } else { random.choice(all).unwrap().next });
                }
            });
        }
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for turn in 0..2000 {
                        let found = directory.step(280 + turn).unwrap();
                        let Some(first) = found.first() else { continue };
                        let index = all.iter().position(|entry| entry == first).unwrap();
                        assert_eq!(found[..], all[index..][..found.len()], "from entry {index}");
                    }
                })
            })
            .collect();
        let ends: Vec<_> = readers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
    });
}

/// A stream of the C library.
struct Stream(*mut libc::DIR);

impl Stream {
    fn open(path: &Path) -> Stream {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a path that ends with a zero.
        let stream = unsafe { libc::opendir(path.as_ptr()) };
        assert!(!stream.is_null());
        Stream(stream)
    }

    fn next(&self) -> Option<Vec<u8>> {
        // SAFETY: the stream is open, and nobody else's; what it points to is copied before the next call.
        unsafe {
            let entry = libc::readdir64(self.0);
            (!entry.is_null()).then(|| std::ffi::CStr::from_ptr((*entry).d_name.as_ptr()).to_bytes().to_vec())
        }
    }

    fn tell(&self) -> i64 {
        // SAFETY: the stream is open.
        unsafe { libc::telldir(self.0) }
    }

    fn seek(&self, place: i64) {
        // SAFETY: the stream is open, and told the place.
        unsafe { libc::seekdir(self.0, place) }
    }

    fn rewind(&self) {
        // SAFETY: the stream is open.
        unsafe { libc::rewinddir(self.0) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: open, and used by nobody any more.
        unsafe { libc::closedir(self.0) };
    }
}

/// `telldir`, `seekdir` and `rewinddir`, which seek and read the listing in pieces of their own.
#[test]
fn streams_of_the_c_library_go_back_and_forth() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    for (path, count) in [("empty", 0), ("one", 1), ("many", 5000)] {
        let stream = Stream::open(&mount.path(path));
        let mut places = vec![stream.tell()];
        let mut found = Vec::new();
        while let Some(name) = stream.next() {
            found.push(name);
            places.push(stream.tell());
        }
        assert_eq!(found.len(), count + 2);
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..500 {
            let index = random.usize(..places.len());
            stream.seek(places[index]);
            assert_eq!(stream.tell(), places[index]);
            // As often as one likes, and once more after the end was seen.
            for _ in 0..random.usize(1..3) {
                stream.seek(places[index]);
                assert_eq!(stream.next().as_ref(), found.get(index), "{path}: at {index}");
            }
        }
        for _ in 0..2 {
            stream.rewind();
            assert_eq!(std::iter::from_fn(|| stream.next()).collect::<Vec<_>>(), found, "{path}");
        }
    }
}

/// What other calls say of a directory, and calls for directories of other things.
#[test]
fn a_directory_is_no_file() {
    let Some(stage) = stage() else { return };
    let user = stage.user();
    let mount: Mount = user.mount(FQRN);
    let errno = |outcome: io::Result<usize>| outcome.unwrap_err().raw_os_error();
    let directory = Directory::open(mount.path("many"));
    assert_eq!(errno(directory.file.read_at(&mut [0; 10], 0)), Some(libc::EISDIR));
    assert_eq!(errno(directory.step(20).map(|some| some.len())), Some(libc::EINVAL), "no room for one entry");
    assert_eq!(directory.rest(65536).len(), 5002, "and none is lost by that");
    assert_eq!(directory.seek(-1, libc::SEEK_SET).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    let file = Directory { file: File::open(mount.path("one/only")).unwrap(), path: PathBuf::new() };
    assert_eq!(errno(file.step(4096).map(|some| some.len())), Some(libc::ENOTDIR));
}
