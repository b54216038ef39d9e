//! Calls that would change something, and their neighbours that would not, on a mount and on another read-only file system
//! with the same tree.
//!
//! The sentences in quotation marks are those of `doc/SEMANTICS.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::borrow_as_ptr, reason = "arguments of the kernel's calls")]

mod common;

use common::stage::{FQRN, Stage};
use common::{output, text};
use cvmfs_tests::forge::Forge;
use cvmfs_tests::tools::is_root;
use libc::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, EROFS, LOCK_EX, LOCK_NB, MAP_PRIVATE, MAP_SHARED,
    O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE,
    O_TRUNC, O_WRONLY, PROT_READ, PROT_WRITE, R_OK, S_IFCHR, S_IFIFO, S_IFREG, S_IFSOCK, UTIME_NOW, UTIME_OMIT, W_OK,
    X_OK, c_char, c_int, timespec,
};
use std::cell::RefCell;
use std::ffi::CString;
use std::fs;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::{null, null_mut};

/// Numbers of `ioctl` that the crate lacks.
const SET_FLAGS: libc::Ioctl = 0x4008_6602;
const SET_EXTENDED_FLAGS: libc::Ioctl = 0x401c_5820;
const CLONE: libc::Ioctl = 0x4004_9409;
const DEDUPE: libc::Ioctl = 0xc018_9436;
const FCHMODAT2: libc::c_long = 452;

const NOBODY: u32 = 65534;

/// A call of the C library.
macro_rules! sys {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: paths and values that end with a zero or have the length that is told, all alive during the call.
        #[allow(clippy::unnecessary_cast)]
        let outcome = unsafe { libc::$name($($argument),*) } as i64;
        outcome
    }};
}

/// What is tried, under the name that it is written with.
type Call = (&'static str, fn(&Place) -> i64);

macro_rules! calls {
    ($place:ident; $($call:expr),* $(,)?) => {
        [$((stringify!($call), (|$place: &Place| $call) as fn(&Place) -> i64)),*]
    };
}

/// Somewhere in the machine the tree is.
struct Place {
    root: PathBuf,
    /// A directory on another file system, which can be written to.
    outside: PathBuf,
    /// What calls were given, kept alive.
    names: RefCell<Vec<CString>>,
    open: RefCell<Vec<OwnedFd>>,
}

impl Place {
    fn new(root: &Path, outside: &Path) -> Place {
        Place {
            root: root.to_owned(),
            outside: outside.to_owned(),
            names: RefCell::default(),
            open: RefCell::default(),
        }
    }

    fn keep(&self, path: &Path) -> *const c_char {
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let pointer = name.as_ptr();
        self.names.borrow_mut().push(name);
        pointer
    }

    /// The path of something in the tree.
    fn at(&self, name: &str) -> *const c_char {
        self.keep(&self.root.join(name))
    }

    /// A name as it stands.
    fn bare(&self, name: &str) -> *const c_char {
        self.keep(Path::new(name))
    }

    /// The path of a file that lies elsewhere.
    fn away(&self) -> *const c_char {
        self.keep(&self.outside.join("file"))
    }

    fn descriptor(&self, path: *const c_char, flags: c_int) -> c_int {
        let fd = sys!(open(path, flags)) as c_int;
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: just opened, and nobody else's.
        self.open.borrow_mut().push(unsafe { OwnedFd::from_raw_fd(fd) });
        fd
    }

    /// Something of the tree, opened.
    fn fd(&self, name: &str, flags: c_int) -> c_int {
        self.descriptor(self.at(name), flags)
    }

    /// A file elsewhere, opened for reading and writing.
    fn away_fd(&self) -> c_int {
        self.descriptor(self.away(), O_RDWR)
    }

    /// The name under which a descriptor can be opened once more.
    fn again(&self, fd: c_int) -> *const c_char {
        self.bare(&format!("/proc/thread-self/fd/{fd}"))
    }

    /// Whether it can be opened.
    fn open(&self, name: &str, flags: c_int) -> i64 {
        self.open_path(self.at(name), flags)
    }

    fn open_path(&self, path: *const c_char, flags: c_int) -> i64 {
        let fd = sys!(open(path, flags, 0o644));
        if fd < 0 { fd } else { sys!(close(fd as c_int)) }
    }

    /// Whether it can be mapped, and be given this protection `later`.
    fn map(&self, name: &str, protection: c_int, flags: c_int, later: Option<c_int>) -> i64 {
        self.mapped(name, protection, flags, |at| later.map_or(0, |protection| sys!(mprotect(at, 4096, protection))))
    }

    /// Lets the kernel itself write to what is mapped for reading.
    fn read_into(&self, name: &str) -> i64 {
        self.mapped(name, PROT_READ, MAP_SHARED, |at| sys!(pread(self.away_fd(), at, 4, 0)))
    }

    fn mapped(&self, name: &str, protection: c_int, flags: c_int, then: impl Fn(*mut libc::c_void) -> i64) -> i64 {
        let fd = self.fd(name, O_RDONLY);
        // SAFETY: a new mapping, which nobody looks into.
        let at = unsafe { libc::mmap(null_mut(), 4096, protection, flags, fd, 0) };
        if at == libc::MAP_FAILED {
            return -1;
        }
        let outcome = then(at);
        let error = std::io::Error::last_os_error().raw_os_error().unwrap();
        sys!(munmap(at, 4096));
        // SAFETY: this thread's own.
        unsafe { *libc::__errno_location() = error };
        outcome
    }

    /// Binds or connects a socket to a name.
    fn socket(&self, name: &str, binds: bool) -> i64 {
        let fd = sys!(socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) as c_int;
        // SAFETY: just made, and nobody else's.
        self.open.borrow_mut().push(unsafe { OwnedFd::from_raw_fd(fd) });
        let path = self.root.join(name);
        // SAFETY: an address of zeros.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as u16;
        for (to, from) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
            *to = *from as c_char;
        }
        let length = size_of::<libc::sockaddr_un>() as u32;
        let address = (&raw const address).cast();
        if binds { sys!(bind(fd, address, length)) } else { sys!(connect(fd, address, length)) }
    }

    /// What the kernel says of making one file share the blocks of another.
    fn dedupe(&self, from: &str, to: &str) -> i64 {
        // struct file_dedupe_range with one file_dedupe_range_info: length 4096, count 1, then descriptor and status.
        let mut range = [0u64; 7];
        range[1] = 7;
        range[2] = 1;
        range[3] = self.fd(to, O_RDONLY) as u64;
        match sys!(ioctl(self.fd(from, O_RDONLY), DEDUPE, range.as_mut_ptr())) {
            // The status is behind offset and number of bytes.
            0 => i64::from(range[6] as i32),
            error => error,
        }
    }
}

/// Both times, or neither, are left alone.
fn times(atime: i64, mtime: i64) -> [timespec; 2] {
    [timespec { tv_sec: 5, tv_nsec: atime }, timespec { tv_sec: 5, tv_nsec: mtime }]
}

/// Calls that fail with `EROFS`.
fn forbidden() -> Vec<Call> {
    let opening = calls![p;
        p.open("file", O_WRONLY),
        p.open("file", O_RDWR),
        p.open("file", O_RDWR | O_APPEND),
        p.open("file", O_WRONLY | O_DIRECT),
        p.open("file", O_RDONLY | O_TRUNC),
        p.open("file", O_WRONLY | O_CREAT),
        p.open("file", O_RDONLY | O_CREAT | O_TRUNC),
        p.open("empty", O_RDONLY | O_TRUNC),
        p.open("link", O_WRONLY),
        p.open("link", O_RDONLY | O_TRUNC),
        p.open("program", O_WRONLY),
        p.open("writable/mine", O_RDWR),
        p.open("new", O_RDONLY | O_CREAT),
        p.open("new", O_RDWR | O_CREAT | O_EXCL),
        p.open("dir/new", O_WRONLY | O_CREAT),
        p.open("dangling", O_WRONLY | O_CREAT),
        p.open(&"n".repeat(255), O_WRONLY | O_CREAT),
        p.open("", O_RDWR | O_TMPFILE),
        p.open("writable", O_WRONLY | O_TMPFILE | O_EXCL),
        p.open_path(p.again(p.fd("file", O_RDONLY)), O_RDWR),
        p.open_path(p.again(p.fd("file", O_PATH)), O_WRONLY),
        p.open_path(p.again(p.fd("file", O_RDONLY)), O_RDONLY | O_TRUNC),
        sys!(creat(p.at("file"), 0o644)),
        sys!(creat(p.at("new"), 0o644)),
        sys!(openat(p.fd("dir", O_PATH), p.bare("inner"), O_WRONLY)),
        sys!(openat(p.fd("dir", O_RDONLY), p.bare("new"), O_WRONLY | O_CREAT, 0o600)),
        sys!(acct(p.at("file"))),
        sys!(access(p.at("file"), W_OK)),
        sys!(access(p.at("dir"), R_OK | W_OK)),
        sys!(access(p.at("link"), W_OK)),
        sys!(faccessat(AT_FDCWD, p.at("writable"), W_OK | X_OK, 0)),
        sys!(faccessat(AT_FDCWD, p.at("writable/mine"), W_OK, libc::AT_EACCESS)),
    ];
    let names = calls![p;
        sys!(mkdir(p.at("new"), 0o755)),
        sys!(mkdir(p.at("new/"), 0o755)),
        sys!(mkdir(p.at("writable/new"), 0o755)),
        sys!(mkdirat(p.fd("dir", O_RDONLY), p.bare("new"), 0o755)),
        sys!(mknod(p.at("new"), S_IFREG | 0o644, 0)),
        sys!(mknod(p.at("new"), S_IFIFO | 0o644, 0)),
        sys!(mknod(p.at("new"), S_IFSOCK | 0o644, 0)),
        sys!(mknod(p.at("writable/new"), S_IFCHR | 0o644, libc::makedev(0, 0))),
        sys!(mknodat(p.fd("dir", O_RDONLY), p.bare("new"), S_IFIFO | 0o644, 0)),
        sys!(mkfifo(p.at("new"), 0o644)),
        p.socket("new", true),
        p.socket("file", false),
        sys!(symlink(p.bare("file"), p.at("new"))),
        sys!(symlinkat(p.bare("file"), p.fd("dir", O_RDONLY), p.bare("new"))),
        sys!(link(p.at("file"), p.at("new"))),
        sys!(link(p.at("fifo"), p.at("writable/new"))),
        sys!(link(p.away(), p.at("new"))),
        sys!(linkat(AT_FDCWD, p.at("link"), AT_FDCWD, p.at("new"), libc::AT_SYMLINK_FOLLOW)),
        sys!(linkat(p.fd("file", O_PATH), p.bare(""), AT_FDCWD, p.at("new"), AT_EMPTY_PATH)),
        sys!(unlink(p.at("file"))),
        sys!(unlink(p.at("link"))),
        sys!(unlink(p.at("fifo"))),
        sys!(unlink(p.at("dir"))),
        sys!(unlink(p.at("absent"))),
        sys!(unlink(p.at("writable/mine"))),
        sys!(unlinkat(p.fd("dir", O_RDONLY), p.bare("inner"), 0)),
        sys!(unlinkat(AT_FDCWD, p.at("emptydir"), AT_REMOVEDIR)),
        sys!(rmdir(p.at("emptydir"))),
        sys!(rmdir(p.at("dir"))),
        sys!(rmdir(p.at("file"))),
        sys!(rmdir(p.at("absent"))),
        sys!(rename(p.at("file"), p.at("new"))),
        sys!(rename(p.at("file"), p.at("other"))),
        sys!(rename(p.at("file"), p.at("file"))),
        sys!(rename(p.at("absent"), p.at("new"))),
        sys!(rename(p.at("dir"), p.at("emptydir"))),
        sys!(rename(p.at("dir"), p.at("file"))),
        sys!(rename(p.at("file"), p.at("dir"))),
        sys!(rename(p.at("dir"), p.at("dir/new"))),
        sys!(rename(p.at("writable/mine"), p.at("writable/new"))),
        sys!(renameat(p.fd("dir", O_RDONLY), p.bare("inner"), AT_FDCWD, p.at("new"))),
        sys!(renameat2(AT_FDCWD, p.at("file"), AT_FDCWD, p.at("other"), libc::RENAME_EXCHANGE)),
        sys!(renameat2(AT_FDCWD, p.at("file"), AT_FDCWD, p.at("new"), libc::RENAME_WHITEOUT)),
    ];
    let attributes = calls![p;
        sys!(chmod(p.at("file"), 0o600)),
        sys!(chmod(p.at("file"), 0o644)),
        sys!(chmod(p.at("link"), 0o600)),
        sys!(chmod(p.at("fifo"), 0o600)),
        sys!(chmod(p.at(""), 0o700)),
        sys!(fchmod(p.fd("file", O_RDONLY), 0o600)),
        sys!(fchmod(p.fd("dir", O_RDONLY), 0o700)),
        sys!(fchmodat(p.fd("dir", O_PATH), p.bare("inner"), 0o600, 0)),
        sys!(syscall(FCHMODAT2, AT_FDCWD, p.at("link"), 0o600, AT_SYMLINK_NOFOLLOW)),
        sys!(chmod(p.again(p.fd("file", O_PATH)), 0o600)),
        sys!(chown(p.at("file"), 1, 1)),
        sys!(chown(p.at("file"), u32::MAX, u32::MAX)),
        sys!(lchown(p.at("link"), 1, 1)),
        sys!(lchown(p.at("dangling"), 1, 1)),
        sys!(fchown(p.fd("file", O_RDONLY), 1, 1)),
        sys!(fchownat(AT_FDCWD, p.at("dir/inner"), 1, u32::MAX, AT_SYMLINK_NOFOLLOW)),
        sys!(fchownat(p.fd("file", O_PATH), p.bare(""), 1, 1, AT_EMPTY_PATH)),
        sys!(truncate(p.at("file"), 0)),
        sys!(truncate(p.at("file"), 8)),
        sys!(truncate(p.at("empty"), 1 << 40)),
        sys!(truncate(p.at("link"), 1)),
        sys!(truncate(p.at("writable/mine"), 1)),
        sys!(utime(p.at("file"), null())),
        sys!(utimes(p.at("file"), null())),
        sys!(lutimes(p.at("link"), null())),
        sys!(futimens(p.fd("file", O_RDONLY), null())),
        sys!(utimensat(AT_FDCWD, p.at("file"), null(), 0)),
        sys!(utimensat(AT_FDCWD, p.at("file"), times(UTIME_NOW, UTIME_OMIT).as_ptr(), 0)),
        sys!(utimensat(AT_FDCWD, p.at("file"), times(0, 999_999_999).as_ptr(), 0)),
        sys!(utimensat(AT_FDCWD, p.at("dangling"), null(), AT_SYMLINK_NOFOLLOW)),
        sys!(utimensat(AT_FDCWD, p.at("dir"), times(UTIME_OMIT, UTIME_NOW).as_ptr(), 0)),
        sys!(setxattr(p.at("file"), p.bare("user.x"), p.bare("v").cast(), 1, 0)),
        sys!(setxattr(p.at("file"), p.bare("user.known"), p.bare("v").cast(), 1, libc::XATTR_REPLACE)),
        sys!(setxattr(p.at("file"), p.bare("user.known"), p.bare("v").cast(), 1, libc::XATTR_CREATE)),
        sys!(setxattr(p.at("dir"), p.bare("trusted.x"), p.bare("v").cast(), 1, 0)),
        sys!(setxattr(p.at("program"), p.bare("security.capability"), p.bare("v").cast(), 1, 0)),
        sys!(setxattr(p.at("file"), p.bare("system.posix_acl_access"), p.bare("v").cast(), 1, 0)),
        sys!(lsetxattr(p.at("link"), p.bare("user.x"), p.bare("v").cast(), 1, 0)),
        sys!(fsetxattr(p.fd("file", O_RDONLY), p.bare("user.x"), p.bare("v").cast(), 1, 0)),
        sys!(removexattr(p.at("file"), p.bare("user.known"))),
        sys!(removexattr(p.at("file"), p.bare("user.absent"))),
        sys!(lremovexattr(p.at("link"), p.bare("user.x"))),
        sys!(fremovexattr(p.fd("file", O_RDONLY), p.bare("user.known"))),
        sys!(ioctl(p.fd("file", O_RDONLY), SET_FLAGS, &0u64)),
        sys!(ioctl(p.fd("dir", O_RDONLY), SET_FLAGS, &0x10u64)),
        sys!(ioctl(p.fd("file", O_RDONLY), SET_EXTENDED_FLAGS, &[0u32; 7])),
    ];
    [&opening[..], &names, &attributes].concat()
}

/// Calls that fail, whoever asks, though not because the file system is read-only.
fn impossible() -> Vec<Call> {
    let names = calls![p;
        // What exists is said to exist.
        p.open("file", O_WRONLY | O_CREAT | O_EXCL),
        p.open("dir", O_RDONLY | O_CREAT | O_EXCL),
        p.open("link", O_RDONLY | O_CREAT | O_EXCL),
        p.open("dangling", O_RDONLY | O_CREAT | O_EXCL),
        sys!(mkdir(p.at("file"), 0o755)),
        sys!(mkdir(p.at("dir"), 0o755)),
        sys!(mkdir(p.at("dir/"), 0o755)),
        sys!(mkdir(p.at("dir/."), 0o755)),
        sys!(mkdir(p.at("dir/.."), 0o755)),
        sys!(mkdir(p.at("dangling"), 0o755)),
        sys!(mkdir(p.at(""), 0o755)),
        sys!(mknod(p.at("file"), S_IFREG | 0o644, 0)),
        sys!(mknod(p.at("fifo"), S_IFIFO | 0o644, 0)),
        sys!(mkfifo(p.at("dir"), 0o644)),
        sys!(symlink(p.bare("x"), p.at("file"))),
        sys!(symlink(p.bare("x"), p.at("link"))),
        sys!(link(p.at("file"), p.at("other"))),
        sys!(link(p.at("file"), p.at("dangling"))),
        p.socket("socket", true),
        p.socket("file", true),
        // Paths that lead nowhere.
        sys!(access(p.at("absent"), R_OK)),
        sys!(access(p.at("file/x"), R_OK)),
        sys!(access(p.at("loop"), R_OK)),
        sys!(access(p.at(&"n".repeat(255)), R_OK)),
        sys!(access(p.at(&"n".repeat(256)), R_OK)),
        sys!(readlink(p.at("file"), [0 as c_char; 9].as_mut_ptr(), 9)),
        p.open("absent/new", O_RDONLY | O_CREAT),
        p.open("absent", O_WRONLY),
        p.open("file/new", O_RDONLY | O_CREAT),
        p.open("new/", O_RDONLY | O_CREAT),
        p.open("loop", O_WRONLY),
        p.open("loop", O_WRONLY | O_CREAT),
        p.open("link", O_WRONLY | O_NOFOLLOW),
        p.open(&"n".repeat(256), O_WRONLY | O_CREAT),
        p.open("dir", O_WRONLY),
        p.open("dir", O_RDONLY | O_CREAT),
        p.open("dir", O_RDONLY | O_TRUNC),
        p.open("file", O_RDONLY | O_TMPFILE),
        p.open("file", O_RDWR | O_TMPFILE),
        p.open("absent", O_RDWR | O_TMPFILE),
        p.open("file", O_RDONLY | O_DIRECTORY),
        sys!(mkdir(p.at("absent/new"), 0o755)),
        sys!(mkdir(p.at("file/new"), 0o755)),
        sys!(mkdir(p.at("loop/new"), 0o755)),
        sys!(mkdir(p.at(&"n".repeat(256)), 0o755)),
        sys!(mkdir(p.bare(""), 0o755)),
        sys!(symlink(p.bare(""), p.at("new"))),
        sys!(link(p.at("absent"), p.at("new"))),
        sys!(rmdir(p.at("dir/."))),
        sys!(rmdir(p.at("dir/.."))),
        sys!(unlink(p.at("file/x"))),
        sys!(unlink(p.at("dir/."))),
        sys!(rename(p.at("dir/."), p.at("new"))),
        sys!(rename(p.at("file"), p.at("dir/.."))),
        sys!(renameat2(AT_FDCWD, p.at("file"), AT_FDCWD, p.at("new"), 1 << 20)),
        sys!(unlinkat(AT_FDCWD, p.at("file"), 1 << 20)),
        // To and from another file system.
        sys!(link(p.away(), p.at("other"))),
        sys!(link(p.at("file"), p.keep(&p.outside.join("new")))),
        sys!(rename(p.away(), p.at("new"))),
        sys!(rename(p.at("file"), p.keep(&p.outside.join("new")))),
        sys!(ioctl(p.away_fd(), CLONE, p.fd("file", O_RDONLY))),
        // Attributes of what is not there, or values that make no sense.
        sys!(chmod(p.at("absent"), 0o600)),
        sys!(chmod(p.at("dangling"), 0o600)),
        sys!(chown(p.at("file/x"), 1, 1)),
        sys!(truncate(p.at("absent"), 0)),
        sys!(truncate(p.at("dir"), 0)),
        sys!(truncate(p.at("fifo"), 0)),
        sys!(truncate(p.at("file"), -1)),
        sys!(utimensat(AT_FDCWD, p.at("absent"), null(), 0)),
        sys!(utimensat(AT_FDCWD, p.at("file"), times(-1, 0).as_ptr(), 0)),
        sys!(setxattr(p.at("absent"), p.bare("user.x"), p.bare("v").cast(), 1, 0)),
        sys!(setxattr(p.at("file"), p.bare(""), p.bare("v").cast(), 1, 0)),
        sys!(setxattr(p.at("file"), p.bare("user.x"), p.bare("v").cast(), 1, 77)),
        sys!(setxattr(p.at("file"), p.bare("user.x"), p.bare("v").cast(), 65537, 0)),
        sys!(removexattr(p.at("file"), p.bare(""))),
        sys!(removexattr(p.at("absent"), p.bare("user.x"))),
    ];
    let descriptors = calls![p;
        sys!(write(p.fd("file", O_RDONLY), p.bare("x").cast(), 1)),
        sys!(pwrite(p.fd("file", O_RDONLY), p.bare("x").cast(), 1, 0)),
        sys!(write(p.fd("dir", O_RDONLY), p.bare("x").cast(), 1)),
        sys!(ftruncate(p.fd("file", O_RDONLY), 0)),
        sys!(ftruncate(p.fd("dir", O_RDONLY), 0)),
        sys!(fallocate(p.fd("file", O_RDONLY), 0, 0, 100)),
        sys!(fallocate(p.fd("file", O_RDONLY), libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, 4096)),
        sys!(copy_file_range(p.away_fd(), null_mut(), p.fd("file", O_RDONLY), null_mut(), 100, 0)),
        sys!(copy_file_range(p.fd("other", O_RDONLY), null_mut(), p.fd("file", O_RDONLY), null_mut(), 100, 0)),
        sys!(sendfile(p.fd("file", O_RDONLY), p.away_fd(), null_mut(), 100)),
        sys!(ioctl(p.fd("file", O_RDONLY), CLONE, p.fd("other", O_RDONLY))),
        sys!(fchmod(p.fd("file", O_PATH), 0o600)),
        sys!(fchown(p.fd("file", O_PATH), 1, 1)),
        sys!(fsetxattr(p.fd("file", O_PATH), p.bare("user.x"), p.bare("v").cast(), 1, 0)),
        sys!(read(p.fd("dir", O_RDONLY), null_mut(), 0)),
        sys!(fcntl(p.fd("file", O_RDONLY), libc::F_SETLEASE, libc::F_WRLCK)),
        p.map("file", PROT_READ | PROT_WRITE, MAP_SHARED, None),
        p.map("file", PROT_WRITE, MAP_SHARED, None),
        p.map("file", PROT_READ, MAP_SHARED, Some(PROT_READ | PROT_WRITE)),
        p.read_into("file"),
    ];
    // Devices are nobody's there, and at the other end of a pipe or socket is nobody.
    let special = calls![p;
        p.open("char", O_RDONLY),
        p.open("char", O_RDWR),
        p.open("block", O_RDONLY),
        p.open("fifo", O_WRONLY | O_NONBLOCK),
        p.open("socket", O_RDONLY),
        p.open("socket", O_RDWR),
        p.socket("socket", false),
    ];
    [&names[..], &descriptors, &special].concat()
}

/// Calls that change nothing there, though they look like it, and may be made.
fn harmless() -> Vec<Call> {
    calls![p;
        p.open("file", O_RDONLY | O_CREAT),
        p.open("link", O_RDONLY | O_CREAT),
        p.open("file", O_RDONLY | O_APPEND),
        p.open("file", O_RDONLY | libc::O_SYNC),
        p.open("file", O_PATH | O_WRONLY | O_TRUNC),
        // What is written to a pipe, or to where a link leads, goes not to this file system.
        p.open("leaving", O_WRONLY | O_CREAT | O_TRUNC),
        p.open("fifo", O_RDWR | O_NONBLOCK),
        p.open("fifo", O_RDONLY | O_NONBLOCK | O_TRUNC),
        sys!(access(p.at("fifo"), W_OK)),
        sys!(access(p.at("socket"), W_OK)),
        sys!(access(p.at("char"), W_OK)),
        sys!(write(p.fd("fifo", O_RDWR | O_NONBLOCK), p.bare("x").cast(), 1)),
        sys!(utimensat(AT_FDCWD, p.at("file"), times(UTIME_OMIT, UTIME_OMIT).as_ptr(), 0)),
        sys!(futimens(p.fd("file", O_RDONLY), times(UTIME_OMIT, UTIME_OMIT).as_ptr())),
        sys!(fsync(p.fd("file", O_RDONLY))),
        sys!(fdatasync(p.fd("file", O_RDONLY))),
        sys!(fsync(p.fd("dir", O_RDONLY))),
        sys!(syncfs(p.fd("", O_RDONLY))),
        sys!(sync_file_range(p.fd("file", O_RDONLY), 0, 0, libc::SYNC_FILE_RANGE_WRITE)),
        sys!(flock(p.fd("file", O_RDONLY), LOCK_EX | LOCK_NB)),
        sys!(flock(p.fd("dir", O_RDONLY), LOCK_EX | LOCK_NB)),
        p.map("file", PROT_READ, MAP_SHARED, None),
        p.map("file", PROT_READ | PROT_WRITE, MAP_PRIVATE, None),
        p.map("file", PROT_READ, MAP_PRIVATE, Some(PROT_READ | PROT_WRITE)),
        sys!(rename(p.away(), p.away())),
    ]
    .to_vec()
}

/// What the kernel says: a number, or that of an error.
fn outcome(place: &Place, call: fn(&Place) -> i64) -> Result<i64, i32> {
    match call(place) {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        number => Ok(number),
    }
}

/// Tries everything at both places; the kernel's FUSE knows no exception. As root, calls have to fail in the way that their group says.
fn compare(mount: &Place, twin: &Place, as_root: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let groups: [(&str, Vec<Call>); 3] =
        [("forbidden", forbidden()), ("impossible", impossible()), ("harmless", harmless())];
    for (group, calls) in groups {
        for (name, call) in calls {
            let (found, expected) = (outcome(mount, call), outcome(twin, call));
            let fits = match group {
                "forbidden" if as_root => expected == Err(EROFS),
                "impossible" => expected.is_err() && expected != Err(EROFS),
                "harmless" => expected.is_ok() || !as_root,
                _ => expected.is_err(),
            };
            if !fits || found != expected {
                wrong.push(format!("{group}, root {as_root}: {name}: {found:?}, elsewhere {expected:?}"));
            }
        }
    }
    // Nor do two files share blocks.
    let (found, expected) = (mount.dedupe("file", "other"), twin.dedupe("file", "other"));
    if found != expected {
        wrong.push(format!("dedupe, root {as_root}: {found}, elsewhere {expected}"));
    }
    wrong
}

/// Everything about the tree that a change could show in.
fn state(of: &Path) -> String {
    text(Command::new("find").arg(of).args(["-printf", "%P %y %m %U %G %s %T@ %l %n\\n"]))
}

fn tree() -> Forge {
    let content = "content of this file\n".repeat(300);
    Forge::new(FQRN)
        .file("/file", &content)
        .xattr("user.known", "value")
        .file("/other", &content)
        .file("/empty", "")
        .file("/program", "#!/bin/sh\n")
        .mode(0o755)
        .file("/secret", "secret")
        .mode(0o600)
        .file("/dir/inner", "inner")
        .dir("/emptydir")
        .dir("/writable")
        .mode(0o777)
        .file("/writable/mine", "mine")
        .owner(NOBODY, NOBODY)
        .symlink("/link", "file")
        .symlink("/dangling", "nowhere")
        .symlink("/loop", "loop")
        .symlink("/leaving", "/dev/null")
        .special("/fifo", S_IFIFO, 0)
        .mode(0o666)
        .special("/socket", S_IFSOCK, 0)
        .mode(0o666)
        .special("/char", S_IFCHR, libc::makedev(1, 3))
        .mode(0o666)
        .special("/block", libc::S_IFBLK, libc::makedev(7, 250))
        .mode(0o666)
}

/// Copies the tree to a file system of the kernel's own, read-only from then on; only this thread and what it starts see it.
fn make_twin(of: &Path, at: &Path) {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
    assert_eq!(sys!(unshare(libc::CLONE_NEWNS)), 0, "{}", std::io::Error::last_os_error());
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("twin", at, "tmpfs", flags, Some(c"mode=755")).unwrap();
    output(Command::new("cp").arg("-a").arg("--").arg(of.join(".")).arg(at));
    mount_remount(at, flags | MountFlags::RDONLY, c"").unwrap();
}

/// "A call that would change something is refused as on every file system that is mounted read-only."
#[test]
fn nothing_can_be_changed() {
    if !is_root() {
        return cvmfs_tests::tools::skip("only root can mount a file system to compare with");
    }
    let Some(stage) = Stage::of(tree()) else { return };
    let user = stage.user();
    let mount = user.mount(FQRN);
    let (twin, outside) = (user.path("twin"), user.path("outside"));
    fs::create_dir(&twin).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "elsewhere").unwrap();
    for (path, mode) in [(user.home.path(), 0o755), (&outside, 0o777), (&outside.join("file"), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let before = state(&mount.place);
    let wrong = std::thread::scope(|scope| {
        let tried = scope.spawn(|| {
            make_twin(&mount.place, &twin);
            let places = || (Place::new(&mount.place, &outside), Place::new(&twin, &outside));
            let (one, other) = places();
            let mut wrong = compare(&one, &other, true);
            drop((one, other));
            // Only this thread becomes somebody else; it is not needed any more.
            assert_eq!(sys!(syscall(libc::SYS_setgroups, 0, null::<u32>())), 0);
            assert_eq!(sys!(syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY)), 0);
            assert_eq!(sys!(syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY)), 0);
            let (one, other) = places();
            wrong.extend(compare(&one, &other, false));
            wrong
        });
        tried.join().unwrap()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(state(&mount.place), before);
}
