//! Contents, by every call that reads: random ones against a golden copy.
//!
//! Each thread does what its seed says, and prints the seed and its last steps when something is wrong. `CVMFS_TESTS_SEED` takes
//! that seed again, and `CVMFS_TESTS_SOAK_SECONDS` lets them go on for longer, as in `ci/full`.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::mapped::{Mapped, PAGE, agree};
use common::stage::{FQRN, Stage};
use common::{Mount, eventually};
use cvmfs_tests::forge::Forge;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

const THREADS: u64 = 4;
/// Steps that a thread prints.
const REMEMBERED: usize = 30;
/// What the kernel moves from file to file at once, at most.
const MOVED: usize = 300_000;

/// Random bytes that do not compress away.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// What is published: names and contents. Some are of one object and some of chunks, some lie in a nested catalog, some compress
/// well and some do not.
fn golden() -> (Forge, Vec<(String, Vec<u8>)>) {
    let sizes = [0, 1, 4095, 4096, 4097, 131_072, 262_144, 1_000_003, 5_000_000];
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut forge = Forge::new(FQRN).nested("/nested");
    for (number, size) in sizes.into_iter().enumerate() {
        let plain = (format!("plain{number}"), noise(size, number as u64));
        forge = forge.file(format!("/{}", plain.0), &plain.1);
        files.push(plain);
    }
    for (number, (size, chunk)) in [(8193, 4096), (1_000_003, 300_000), (20_000_001, 1 << 20)].into_iter().enumerate() {
        let chunked = (format!("nested/chunked{number}"), noise(size, 100 + number as u64));
        forge = forge.file(format!("/{}", chunked.0), &chunked.1).chunks_of(chunk);
        files.push(chunked);
    }
    let zeros = ("zeros".to_owned(), vec![0; 3_000_000]);
    forge = forge.file("/zeros", &zeros.1).chunks_of(700_000);
    files.push(zeros);
    let raw = ("uncompressed".to_owned(), noise(70_000, 200));
    forge = forge.file("/uncompressed", &raw.1).uncompressed();
    files.push(raw);
    (forge, files)
}

/// Memory that begins where the kernel wants it for reads past its page cache.
fn aligned(length: usize) -> (Vec<u8>, usize) {
    let memory = vec![0xaa; length + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    (memory, start)
}

/// The bytes of `of` from `at` on, at most `length`.
fn window(of: &[u8], at: u64, length: usize) -> &[u8] {
    let at = usize::try_from(at).map_or(of.len(), |at| at.min(of.len()));
    &of[at..(at + length).min(of.len())]
}

/// A file that is open, with the place that it should be at.
struct Open<'a> {
    file: File,
    bytes: &'a [u8],
    at: u64,
    direct: bool,
    name: &'a str,
}

/// What a call of the C library says.
fn number(outcome: isize) -> io::Result<usize> {
    usize::try_from(outcome).map_err(|_| io::Error::last_os_error())
}

/// Whether the kernel may refuse what was asked for: it is a matter of its own, not of the file.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::EXDEV | libc::EINVAL | libc::ENOSYS))
}

/// One who reads at random.
struct Reader<'a> {
    seed: u64,
    random: fastrand::Rng,
    mount: &'a Mount,
    files: &'a [(String, Vec<u8>)],
    open: Vec<Open<'a>>,
    mapped: Vec<Mapped<'a>>,
    log: VecDeque<String>,
    /// How often each call gave something.
    done: BTreeMap<&'static str, u64>,
    steps: u64,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log: Vec<String> = self.log.drain(..).collect();
            eprintln!("CVMFS_TESTS_SEED={}, step {}, the last ones:\n{}", self.seed, self.steps, log.join("\n"));
        }
    }
}

impl<'a> Reader<'a> {
    fn new(seed: u64, mount: &'a Mount, files: &'a [(String, Vec<u8>)]) -> Reader<'a> {
        let random = fastrand::Rng::with_seed(seed);
        let (open, mapped, log, done) = (Vec::new(), Vec::new(), VecDeque::new(), BTreeMap::new());
        Reader { seed, random, mount, files, open, mapped, log, done, steps: 0 }
    }

    fn note(&mut self, what: String) {
        if self.log.len() == REMEMBERED {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} {what}", self.steps));
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// A place in a file or behind its end, now and then at a border.
    fn place(&mut self, size: usize) -> u64 {
        let size = size as u64;
        match self.random.u8(..20) {
            0 => size,
            1 => size.saturating_sub(1),
            2 => size + self.random.u64(..10_000),
            3 => u64::try_from(i64::MAX).unwrap() - self.random.u64(4_000_000..5_000_000),
            4..8 => self.random.u64(..=size) & !(PAGE as u64 - 1),
            _ => self.random.u64(..=size),
        }
    }

    fn length(&mut self) -> usize {
        match self.random.u8(..10) {
            0 => 0,
            1 => self.random.usize(..8),
            2 => PAGE * self.random.usize(1..40),
            3 => self.random.usize(..1_000_000),
            _ => self.random.usize(..70_000),
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        if self.open.is_empty() || (self.open.len() < 12 && self.random.u8(..6) == 0) {
            return self.open_one();
        }
        if self.mapped.len() > 6 || (!self.mapped.is_empty() && self.random.u8(..8) == 0) {
            return self.use_mapping();
        }
        let index = self.random.usize(..self.open.len());
        match self.random.u8(..17) {
            0 => {
                let open = self.open.swap_remove(index);
                self.note(format!("close {}", open.name));
            }
            1 | 2 => self.read(index),
            3..6 => self.pread(index),
            6 => self.readv(index),
            7 | 8 => self.preadv2(index),
            9 | 10 => self.map(index),
            11 => self.sendfile(index),
            12 => self.splice(index),
            13 => self.copy_file_range(index),
            14 => self.seek(index),
            15 => self.advise(index),
            _ => self.whole(index),
        }
    }

    fn open_one(&mut self) {
        let (name, bytes) = &self.files[self.random.usize(..self.files.len())];
        let direct = self.random.u8(..8) == 0;
        self.note(format!("open {name}, direct {direct}"));
        let flags = if direct { libc::O_DIRECT } else { 0 };
        let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(self.mount.path(name));
        let file = match opened {
            // A file system for the cache that cannot do it.
            Err(error) if direct && is_refusal(&error) => return,
            other => other.unwrap(),
        };
        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
        self.count(if direct { "open direct" } else { "open" });
        self.open.push(Open { file, bytes, at: 0, direct, name });
    }

    /// From where it is, to where that leads.
    fn read(&mut self, index: usize) {
        let mut length = self.length();
        if self.open[index].direct {
            length = length.next_multiple_of(PAGE);
        }
        let (at, name) = (self.open[index].at, self.open[index].name);
        self.note(format!("read {name} at {at}, {length} bytes"));
        let open = &mut self.open[index];
        if open.direct && !at.is_multiple_of(PAGE as u64) {
            open.at = open.file.seek(SeekFrom::Start(0)).unwrap();
        }
        let expected = window(open.bytes, open.at, length);
        let (mut memory, start) = aligned(length);
        let got = open.file.read(&mut memory[start..][..length]).unwrap();
        assert!(got == expected.len() || (0 < got && got < expected.len()), "{got} of {}", expected.len());
        agree(&memory[start..][..got], &expected[..got]);
        assert!(memory[start + got..].iter().all(|&byte| byte == 0xaa || open.direct), "more was written than told");
        open.at += got as u64;
        let now = open.file.stream_position().unwrap();
        assert_eq!(now, open.at);
        self.count("read");
    }

    fn pread(&mut self, index: usize) {
        let (mut at, mut length) = (self.place(self.open[index].bytes.len()), self.length());
        if self.open[index].direct {
            (at, length) = (at & !(PAGE as u64 - 1), length.next_multiple_of(PAGE));
        }
        self.note(format!("pread {} at {at}, {length} bytes", self.open[index].name));
        let open = &self.open[index];
        let expected = window(open.bytes, at, length);
        let (mut memory, start) = aligned(length);
        let mut got = 0;
        // What is short is at the end, or goes on.
        while got < length {
            match open.file.read_at(&mut memory[start + got..][..length - got], at + got as u64).unwrap() {
                0 => break,
                count => got += count,
            }
            if open.direct && !got.is_multiple_of(PAGE) {
                break;
            }
        }
        agree(&memory[start..][..got], expected);
        self.count("pread");
    }

    fn readv(&mut self, index: usize) {
        let parts: Vec<usize> = (0..self.random.usize(1..8)).map(|_| self.length().min(50_000)).collect();
        self.note(format!("readv {} at {}, {parts:?}", self.open[index].name, self.open[index].at));
        let open = &mut self.open[index];
        if open.direct {
            return;
        }
        let mut buffers: Vec<Vec<u8>> = parts.iter().map(|length| vec![0; *length]).collect();
        let mut slices: Vec<io::IoSliceMut<'_>> =
            buffers.iter_mut().map(|buffer| io::IoSliceMut::new(buffer)).collect();
        let got = open.file.read_vectored(&mut slices).unwrap();
        let expected = window(open.bytes, open.at, parts.iter().sum());
        assert!(got <= expected.len() && (got > 0 || expected.is_empty()), "{got} of {}", expected.len());
        agree(&buffers.concat()[..got], &expected[..got]);
        open.at += got as u64;
        self.count("readv");
    }

    fn preadv2(&mut self, index: usize) {
        let flags = *self.random.choice(&[0, libc::RWF_NOWAIT, libc::RWF_HIPRI]).unwrap();
        let (at, parts) = (self.place(self.open[index].bytes.len()), [self.length(), self.length()]);
        self.note(format!("preadv2 {} at {at}, {parts:?}, flags {flags}", self.open[index].name));
        let open = &self.open[index];
        if open.direct {
            return;
        }
        let mut buffers = parts.map(|length| vec![0; length]);
        let vector = buffers.each_mut().map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() });
        // SAFETY: two buffers with the lengths that are told.
        let got = unsafe { libc::preadv2(open.file.as_raw_fd(), vector.as_ptr(), 2, at.cast_signed(), flags) };
        let expected = window(open.bytes, at, parts.iter().sum());
        match number(got) {
            Ok(got) => {
                assert!(got <= expected.len() && (got > 0 || expected.is_empty() || flags != 0), "{got}");
                agree(&buffers.concat()[..got], &expected[..got]);
                self.count(if flags == libc::RWF_NOWAIT { "preadv2 nowait" } else { "preadv2" });
            }
            Err(error) => assert!(flags != 0 && is_refusal(&error), "{error}"),
        }
    }

    fn map(&mut self, index: usize) {
        let size = self.open[index].bytes.len();
        if size == 0 {
            return;
        }
        let at = self.random.usize(..size) & !(PAGE - 1);
        // Also beyond the end of the file, where nobody may look.
        let length = self.random.usize(1..=(size - at + 2 * PAGE).min(1 << 20));
        let (protection, flags) = *self
            .random
            .choice(&[
                (libc::PROT_READ, libc::MAP_SHARED),
                (libc::PROT_READ, libc::MAP_PRIVATE),
                (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE),
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE),
            ])
            .unwrap();
        self.note(format!("map {} at {at}, {length} bytes, {protection} {flags}", self.open[index].name));
        let open = &self.open[index];
        let mapped = Mapped::of(&open.file, open.bytes, at, length, (protection, flags));
        if self.random.bool() {
            mapped.check();
        }
        self.mapped.push(mapped);
        self.count("map");
    }

    /// Looks at what is mapped, also when its file was closed long ago; or gives advice, or writes, or ends it.
    fn use_mapping(&mut self) {
        let index = self.random.usize(..self.mapped.len());
        let what = self.random.u8(..5);
        self.note(format!("mapping {index}: {what}"));
        let visible = self.mapped[index].visible().len();
        match what {
            0 => drop(self.mapped.swap_remove(index)),
            1 => {
                let (at, value) = (self.random.usize(..visible), self.random.u8(..));
                self.mapped[index].write(at, value);
                self.mapped[index].check();
            }
            2 => {
                let advices = [libc::MADV_DONTNEED, libc::MADV_WILLNEED, libc::MADV_RANDOM, libc::MADV_POPULATE_READ];
                self.mapped[index].advise(*self.random.choice(&advices).unwrap());
                self.mapped[index].check();
            }
            _ => self.mapped[index].check(),
        }
        self.count("look into a mapping");
    }

    /// Bytes that the kernel moves into another file.
    fn moved(&mut self, index: usize, call: &'static str, f: impl Fn(i32, i64, i32, usize) -> isize) {
        let at = self.place(self.open[index].bytes.len());
        let length = self.length().min(MOVED);
        self.note(format!("{call} {} at {at}, {length} bytes", self.open[index].name));
        let open = &self.open[index];
        if open.direct {
            return;
        }
        let expected = window(open.bytes, at, length);
        let to = tempfile::tempfile_in(self.mount.home.path()).unwrap();
        match number(f(open.file.as_raw_fd(), at.cast_signed(), to.as_raw_fd(), length)) {
            Ok(got) => {
                assert!(got <= expected.len() && (got > 0 || expected.is_empty()), "{got} of {}", expected.len());
                let mut found = vec![0; got + 1];
                assert_eq!(to.read_at(&mut found, 0).unwrap(), got);
                agree(&found[..got], &expected[..got]);
                self.count(call);
            }
            // A place that no file of the other file system can have.
            Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => assert!(at > 1 << 43),
            Err(error) => assert!(call == "copy_file_range" && is_refusal(&error), "{error}"),
        }
    }

    fn sendfile(&mut self, index: usize) {
        self.moved(index, "sendfile", |from, mut at, to, length| {
            // SAFETY: two open files, and a place that lives on.
            unsafe { libc::sendfile(to, from, &raw mut at, length) }
        });
    }

    fn copy_file_range(&mut self, index: usize) {
        self.moved(index, "copy_file_range", |from, mut at, to, length| {
            // SAFETY: two open files, and a place that lives on.
            unsafe { libc::copy_file_range(from, &raw mut at, to, null_mut(), length, 0) }
        });
    }

    /// Through a pipe, as much as it holds.
    fn splice(&mut self, index: usize) {
        self.moved(index, "splice", |from, mut at, to, length| {
            let mut ends = [0; 2];
            // SAFETY: room for two descriptors, which are nobody else's.
            let [out, into] = unsafe {
                assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
                ends.map(|end| OwnedFd::from_raw_fd(end))
            };
            let length = length.min(65536);
            // SAFETY: open descriptors, and a place that lives on.
            let got =
                unsafe { libc::splice(from, &raw mut at, into.as_raw_fd(), null_mut(), length, libc::SPLICE_F_MOVE) };
            drop(into);
            if got > 0 {
                let mut bytes = Vec::new();
                File::from(out).read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len().cast_signed(), got);
                // SAFETY: the descriptor stays open: it is a copy that is closed here.
                let mut to = File::from(unsafe { OwnedFd::from_raw_fd(libc::dup(to)) });
                to.write_all(&bytes).unwrap();
            }
            got
        });
    }

    /// A file has no holes: data is everywhere up to the end, and there is the only hole.
    fn seek(&mut self, index: usize) {
        let size = self.open[index].bytes.len() as u64;
        let (place, whence) = (self.place(size as usize), self.random.u8(..5));
        self.note(format!("lseek {} to {place}, {whence}, from {}", self.open[index].name, self.open[index].at));
        let open = &mut self.open[index];
        let (position, whence, expected) = match whence {
            0 => (place.cast_signed(), libc::SEEK_SET, Some(place)),
            1 => (-1, libc::SEEK_CUR, open.at.checked_sub(1)),
            2 => (-1, libc::SEEK_END, size.checked_sub(1)),
            3 => (place.cast_signed(), libc::SEEK_DATA, (place < size).then_some(place)),
            _ => (place.cast_signed(), libc::SEEK_HOLE, (place < size).then_some(size)),
        };
        // SAFETY: it takes no pointer.
        let found = unsafe { libc::lseek(open.file.as_raw_fd(), position, whence) };
        let error = if whence == libc::SEEK_CUR || whence == libc::SEEK_END { libc::EINVAL } else { libc::ENXIO };
        match expected {
            Some(expected) => assert_eq!(found, expected.cast_signed()),
            None => assert_eq!((found, io::Error::last_os_error().raw_os_error()), (-1, Some(error))),
        }
        open.at = expected.unwrap_or(open.at);
        let now = open.file.stream_position().unwrap();
        assert_eq!(now, open.at, "what fails does not move it");
        self.count("lseek");
    }

    fn advise(&mut self, index: usize) {
        let (at, length) = (self.place(self.open[index].bytes.len()), self.length());
        let advices = [
            libc::POSIX_FADV_NORMAL,
            libc::POSIX_FADV_SEQUENTIAL,
            libc::POSIX_FADV_RANDOM,
            libc::POSIX_FADV_WILLNEED,
            libc::POSIX_FADV_DONTNEED,
        ];
        let advice = self.random.choice(advices).filter(|_| self.random.u8(..4) > 0);
        self.note(format!("advice {advice:?} for {} at {at}, {length} bytes", self.open[index].name));
        let fd = self.open[index].file.as_raw_fd();
        let at = at.cast_signed();
        // SAFETY: neither takes a pointer.
        let outcome = unsafe {
            match advice {
                Some(advice) => libc::posix_fadvise(fd, at, length as libc::off_t, advice) as isize,
                None => libc::readahead(fd, at, length),
            }
        };
        assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
        self.count("advice");
    }

    /// All of it, by its name; who has it open already is where he was.
    fn whole(&mut self, index: usize) {
        let (name, bytes) = (self.open[index].name, self.open[index].bytes);
        self.note(format!("all of {name}"));
        agree(&fs::read(self.mount.path(name)).unwrap(), bytes);
        let now = self.open[index].file.stream_position().unwrap();
        assert_eq!(now, self.open[index].at);
        self.count("all");
    }
}

/// How long it takes: so many steps for each thread, or a time.
fn is_enough(steps: u64, begin: Instant) -> bool {
    let seconds = std::env::var("CVMFS_TESTS_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse::<f64>().ok());
    match seconds {
        // Shared by the four mounts.
        Some(seconds) => begin.elapsed() > Duration::from_secs_f64(seconds / 4.0) && steps >= 500,
        None => steps >= 500,
    }
}

/// "What is read, by whatever call and from as many threads as there are, are the published bytes."
#[test]
fn soak_random_reads_agree_with_a_golden_copy() {
    let (forge, files) = golden();
    let Some(stage) = Stage::of(forge) else { return };
    let given = std::env::var("CVMFS_TESTS_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut done: BTreeMap<&'static str, u64> = BTreeMap::new();
    for passthrough in ["no", "yes"] {
        let user = stage.user().option("CVMFS_FUSE_PASSTHROUGH", passthrough);
        for cache in ["cold", "warm"] {
            let mount = user.mount(FQRN);
            let begin = Instant::now();
            let counts: Vec<BTreeMap<&'static str, u64>> = std::thread::scope(|scope| {
                let readers: Vec<_> = (0..THREADS)
                    .map(|_| {
                        let (mount, files) = (&mount, &files);
                        scope.spawn(move || {
                            let seed = given.unwrap_or_else(|| fastrand::u64(..));
                            let mut reader = Reader::new(seed, mount, files);
                            reader.note(format!("begins with a {cache} cache, passthrough {passthrough}"));
                            while !is_enough(reader.steps, begin) {
                                reader.step();
                            }
                            reader.mapped.iter().for_each(Mapped::check);
                            std::mem::take(&mut reader.done)
                        })
                    })
                    .collect();
                readers.into_iter().map(|reader| reader.join().unwrap()).collect()
            });
            for (call, times) in counts.into_iter().flatten() {
                *done.entry(call).or_default() += times;
            }
            for (name, bytes) in &files {
                agree(&fs::read(mount.path(name)).unwrap(), bytes);
            }
            let place = mount.place.clone();
            drop(mount);
            eventually("it is unmounted", || !is_mounted(&place));
        }
    }
    println!("{done:?}");
    // Calls that the kernel may refuse are not among these.
    for call in ["read", "pread", "readv", "preadv2", "map", "sendfile", "splice", "lseek", "advice"] {
        assert!(done.get(call).is_some_and(|times| *times > 20), "{call}: {done:?}");
    }
    // A file is asked for once, whatever is read of it and by however many; equal chunks in a row, too.
    let mut asked: Vec<String> = stage.server.paths().into_iter().filter(|path| path.contains("/data/")).collect();
    let count = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(count, 2 * asked.len(), "once for each of two caches");
}

/// Whether something is mounted there.
fn is_mounted(place: &std::path::Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == place.to_str())
}

/// "Files have no holes: `SEEK_DATA` finds the place it is given, `SEEK_HOLE` the end."
#[test]
fn files_have_no_holes() {
    let (forge, files) = golden();
    let Some(stage) = Stage::of(forge) else { return };
    for passthrough in ["no", "yes"] {
        let mount = stage.user().option("CVMFS_FUSE_PASSTHROUGH", passthrough).mount(FQRN);
        for (name, bytes) in &files {
            let file = File::open(mount.path(name)).unwrap();
            let size = bytes.len() as i64;
            let seek = |position: i64, whence: i32| {
                // SAFETY: it takes no pointer.
                let found = unsafe { libc::lseek(file.as_raw_fd(), position, whence) };
                if found < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap()) } else { Ok(found) }
            };
            let places = [0, 1, 511, 4095, 4096, 4097, 65_536, size / 2, size - 4097, size - 1];
            for place in places.into_iter().filter(|place| (0..size).contains(place)) {
                assert_eq!(seek(place, libc::SEEK_DATA), Ok(place), "{name}");
                assert_eq!(seek(0, libc::SEEK_CUR), Ok(place), "{name}");
                assert_eq!(seek(place, libc::SEEK_HOLE), Ok(size), "{name}");
                assert_eq!(seek(0, libc::SEEK_CUR), Ok(size), "{name}");
            }
            assert_eq!(seek(size, libc::SEEK_SET), Ok(size));
            for place in [size, size + 1, size + 4096, i64::MAX, -1, i64::MIN] {
                for whence in [libc::SEEK_DATA, libc::SEEK_HOLE] {
                    assert_eq!(seek(place, whence), Err(libc::ENXIO), "{name} at {place}");
                    assert_eq!(seek(0, libc::SEEK_CUR), Ok(size), "{name}: what fails does not move it");
                }
            }
            assert_eq!(seek(-size - 1, libc::SEEK_END), Err(libc::EINVAL));
            assert_eq!(seek(0, 99), Err(libc::EINVAL));
        }
    }
}
