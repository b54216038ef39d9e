//! The C library functions that an interposer takes over: one table, written once.
//!
//! [`every_hook!`](crate::every_hook) hands each row of the table to a macro of the caller, which makes out of it what its kind of interposer
//! needs. A row reads
//!
//! ```text
//! family::function kind [symbol symbol ...] (argument: type, ...) -> type
//! ```
//!
//! *family* and *function* name the implementation; the *symbols* are the C names that share it, because they differ
//! only in what a 64-bit system does not have (`open64`) or what a checking compiler adds elsewhere. The *kind* is
//!
//! * `wrapped`: the C library has the symbol, and calls that do not concern us go on to it;
//! * `remade`: there may be no such symbol to go on to (names that only old binaries import, names that old C
//!   libraries lack), so the implementation does the native work by itself.
//!
//! Functions with a variable number of arguments appear with the most they can have: on x86-64 and on 64-bit ARM
//! those that are not given arrive as garbage and are not looked at. `execl` and its sisters cannot be written that
//! way; nor can `dlopen`, which must see its caller's return address. They are not in the table.
//!
//! Left out on purpose: what only the kernel does (`getdents`), and what the C library does with files of its own
//! (locales, name service switch).
#![no_std]
#![deny(unsafe_code)]

pub mod fill;

/// The C types that the table uses, for the modules it is expanded in.
pub mod c {
    pub use libc::{
        DIR, FILE, c_char, c_int, c_long, c_uint, c_ulong, c_void, dev_t, dirent, gid_t, glob_t, mode_t, off_t,
        posix_spawn_file_actions_t, posix_spawnattr_t, size_t, ssize_t, timespec, timeval, uid_t, utimbuf,
    };
    // An interposer has functions, and may have types, under the lower-case names.
    pub use libc::{stat as Stat, statfs as Statfs, statvfs as Statvfs, statx as Statx};

    /// The filter of `scandir`.
    pub type Select = Option<unsafe extern "C" fn(*const dirent) -> c_int>;
    /// The order of `scandir`.
    pub type Compare = Option<unsafe extern "C" fn(*mut *const dirent, *mut *const dirent) -> c_int>;
    /// The visitor of `ftw`.
    pub type Visit = Option<unsafe extern "C" fn(*const c_char, *const Stat, c_int) -> c_int>;
    /// The visitor of `nftw`; the last argument points to the C library's `struct FTW`.
    pub type VisitMore = Option<unsafe extern "C" fn(*const c_char, *const Stat, c_int, *mut c_int) -> c_int>;
    /// What `glob` calls for a directory that it cannot read.
    pub type GlobError = Option<extern "C" fn(*const c_char, c_int) -> c_int>;
}

/// Hands every row of the table to the macro `$row`; see the crate's documentation for what a row holds.
#[macro_export]
macro_rules! every_hook {
    ($row:ident) => {
        // Descriptors.
        $row! { open::open wrapped [open open64] (path: *const c_char, flags: c_int, mode: mode_t) -> c_int }
        $row! { open::open_checked wrapped [__open_2 __open64_2] (path: *const c_char, flags: c_int) -> c_int }
        $row! { open::openat wrapped [openat openat64] (dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int }
        $row! { open::openat_checked wrapped [__openat_2 __openat64_2] (dir: c_int, path: *const c_char, flags: c_int) -> c_int }
        $row! { open::creat wrapped [creat creat64] (path: *const c_char, mode: mode_t) -> c_int }

        // Streams.
        $row! { stdio::fopen wrapped [fopen fopen64] (path: *const c_char, mode: *const c_char) -> *mut FILE }
        $row! { stdio::freopen wrapped [freopen freopen64] (path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE }

        // Attributes.
        $row! { stat::stat remade [stat stat64] (path: *const c_char, buf: *mut Stat) -> c_int }
        $row! { stat::lstat remade [lstat lstat64] (path: *const c_char, buf: *mut Stat) -> c_int }
        $row! { stat::fstat remade [fstat fstat64] (fd: c_int, buf: *mut Stat) -> c_int }
        $row! { stat::fstatat remade [fstatat fstatat64] (dir: c_int, path: *const c_char, buf: *mut Stat, flags: c_int) -> c_int }
        $row! { stat::xstat remade [__xstat __xstat64] (version: c_int, path: *const c_char, buf: *mut Stat) -> c_int }
        $row! { stat::lxstat remade [__lxstat __lxstat64] (version: c_int, path: *const c_char, buf: *mut Stat) -> c_int }
        $row! { stat::fxstat remade [__fxstat __fxstat64] (version: c_int, fd: c_int, buf: *mut Stat) -> c_int }
        $row! { stat::fxstatat remade [__fxstatat __fxstatat64] (version: c_int, dir: c_int, path: *const c_char, buf: *mut Stat, flags: c_int) -> c_int }
        $row! { stat::statx remade [statx] (dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, buf: *mut Statx) -> c_int }
        $row! { stat::access wrapped [access] (path: *const c_char, mode: c_int) -> c_int }
        $row! { stat::faccessat wrapped [faccessat] (dir: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int }
        $row! { stat::euidaccess wrapped [euidaccess eaccess] (path: *const c_char, mode: c_int) -> c_int }
        $row! { statfs::statfs wrapped [statfs statfs64] (path: *const c_char, buf: *mut Statfs) -> c_int }
        $row! { statfs::fstatfs wrapped [fstatfs fstatfs64] (fd: c_int, buf: *mut Statfs) -> c_int }
        $row! { statfs::statvfs wrapped [statvfs statvfs64] (path: *const c_char, buf: *mut Statvfs) -> c_int }
        $row! { statfs::fstatvfs wrapped [fstatvfs fstatvfs64] (fd: c_int, buf: *mut Statvfs) -> c_int }
        $row! { statfs::pathconf wrapped [pathconf] (path: *const c_char, name: c_int) -> c_long }
        $row! { xattr::getxattr wrapped [getxattr] (path: *const c_char, name: *const c_char, value: *mut c_void, size: size_t) -> ssize_t }
        $row! { xattr::lgetxattr wrapped [lgetxattr] (path: *const c_char, name: *const c_char, value: *mut c_void, size: size_t) -> ssize_t }
        $row! { xattr::fgetxattr wrapped [fgetxattr] (fd: c_int, name: *const c_char, value: *mut c_void, size: size_t) -> ssize_t }
        $row! { xattr::listxattr wrapped [listxattr] (path: *const c_char, list: *mut c_char, size: size_t) -> ssize_t }
        $row! { xattr::llistxattr wrapped [llistxattr] (path: *const c_char, list: *mut c_char, size: size_t) -> ssize_t }
        $row! { xattr::flistxattr wrapped [flistxattr] (fd: c_int, list: *mut c_char, size: size_t) -> ssize_t }

        // Links and names.
        $row! { link::readlink wrapped [readlink] (path: *const c_char, buf: *mut c_char, size: size_t) -> ssize_t }
        $row! { link::readlinkat wrapped [readlinkat] (dir: c_int, path: *const c_char, buf: *mut c_char, size: size_t) -> ssize_t }
        $row! { link::readlink_checked wrapped [__readlink_chk] (path: *const c_char, buf: *mut c_char, size: size_t, room: size_t) -> ssize_t }
        $row! { link::readlinkat_checked wrapped [__readlinkat_chk] (dir: c_int, path: *const c_char, buf: *mut c_char, size: size_t, room: size_t) -> ssize_t }
        $row! { link::realpath wrapped [realpath] (path: *const c_char, resolved: *mut c_char) -> *mut c_char }
        $row! { link::realpath_checked wrapped [__realpath_chk] (path: *const c_char, resolved: *mut c_char, room: size_t) -> *mut c_char }
        $row! { link::canonicalize_file_name wrapped [canonicalize_file_name] (path: *const c_char) -> *mut c_char }
        $row! { link::name_to_handle_at wrapped [name_to_handle_at] (dir: c_int, path: *const c_char, handle: *mut c_void, mount_id: *mut c_int, flags: c_int) -> c_int }

        // The working directory.
        $row! { cwd::getcwd wrapped [getcwd] (buf: *mut c_char, size: size_t) -> *mut c_char }
        $row! { cwd::getcwd_checked wrapped [__getcwd_chk] (buf: *mut c_char, size: size_t, room: size_t) -> *mut c_char }
        $row! { cwd::getwd wrapped [getwd] (buf: *mut c_char) -> *mut c_char }
        $row! { cwd::getwd_checked wrapped [__getwd_chk] (buf: *mut c_char, room: size_t) -> *mut c_char }
        $row! { cwd::get_current_dir_name wrapped [get_current_dir_name] () -> *mut c_char }
        $row! { cwd::chdir wrapped [chdir] (path: *const c_char) -> c_int }
        $row! { cwd::fchdir wrapped [fchdir] (fd: c_int) -> c_int }
        $row! { cwd::daemon wrapped [daemon] (keep_directory: c_int, keep_descriptors: c_int) -> c_int }

        // Directories.
        $row! { dir::opendir wrapped [opendir] (path: *const c_char) -> *mut DIR }
        $row! { dir::fdopendir wrapped [fdopendir] (fd: c_int) -> *mut DIR }
        $row! { dir::readdir wrapped [readdir readdir64] (dir: *mut DIR) -> *mut dirent }
        $row! { dir::readdir_r wrapped [readdir_r readdir64_r] (dir: *mut DIR, entry: *mut dirent, result: *mut *mut dirent) -> c_int }
        $row! { dir::closedir wrapped [closedir] (dir: *mut DIR) -> c_int }
        $row! { dir::rewinddir wrapped [rewinddir] (dir: *mut DIR) -> () }
        $row! { dir::seekdir wrapped [seekdir] (dir: *mut DIR, position: c_long) -> () }
        $row! { dir::telldir wrapped [telldir] (dir: *mut DIR) -> c_long }
        $row! { dir::dirfd wrapped [dirfd] (dir: *mut DIR) -> c_int }
        $row! { tree::scandir wrapped [scandir scandir64] (path: *const c_char, list: *mut *mut *mut dirent, select: Select, compare: Compare) -> c_int }
        $row! { tree::scandirat wrapped [scandirat scandirat64] (dir: c_int, path: *const c_char, list: *mut *mut *mut dirent, select: Select, compare: Compare) -> c_int }
        $row! { tree::ftw wrapped [ftw ftw64] (path: *const c_char, visit: Visit, descriptors: c_int) -> c_int }
        $row! { tree::nftw wrapped [nftw nftw64] (path: *const c_char, visit: VisitMore, descriptors: c_int, flags: c_int) -> c_int }
        $row! { tree::glob wrapped [glob glob64] (pattern: *const c_char, flags: c_int, failed: GlobError, found: *mut glob_t) -> c_int }

        // Programs.
        $row! { exec::execve wrapped [execve] (path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int }
        $row! { exec::execv wrapped [execv] (path: *const c_char, argv: *const *const c_char) -> c_int }
        $row! { exec::execvp wrapped [execvp] (file: *const c_char, argv: *const *const c_char) -> c_int }
        $row! { exec::execvpe wrapped [execvpe] (file: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int }
        $row! { exec::execveat wrapped [execveat] (dir: c_int, path: *const c_char, argv: *const *const c_char, envp: *const *const c_char, flags: c_int) -> c_int }
        $row! { exec::fexecve wrapped [fexecve] (fd: c_int, argv: *const *const c_char, envp: *const *const c_char) -> c_int }
        $row! { spawn::posix_spawn wrapped [posix_spawn] (pid: *mut c_int, path: *const c_char, actions: *const posix_spawn_file_actions_t, attributes: *const posix_spawnattr_t, argv: *const *const c_char, envp: *const *const c_char) -> c_int }
        $row! { spawn::posix_spawnp wrapped [posix_spawnp] (pid: *mut c_int, file: *const c_char, actions: *const posix_spawn_file_actions_t, attributes: *const posix_spawnattr_t, argv: *const *const c_char, envp: *const *const c_char) -> c_int }
        $row! { spawn::addopen wrapped [posix_spawn_file_actions_addopen] (actions: *mut posix_spawn_file_actions_t, fd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int }
        $row! { spawn::addchdir wrapped [posix_spawn_file_actions_addchdir_np] (actions: *mut posix_spawn_file_actions_t, path: *const c_char) -> c_int }

        // Attempts to change something.
        $row! { change::mkdir wrapped [mkdir] (path: *const c_char, mode: mode_t) -> c_int }
        $row! { change::mkdirat wrapped [mkdirat] (dir: c_int, path: *const c_char, mode: mode_t) -> c_int }
        $row! { change::mkfifo wrapped [mkfifo] (path: *const c_char, mode: mode_t) -> c_int }
        $row! { change::mkfifoat wrapped [mkfifoat] (dir: c_int, path: *const c_char, mode: mode_t) -> c_int }
        $row! { change::mknod remade [mknod] (path: *const c_char, mode: mode_t, device: dev_t) -> c_int }
        $row! { change::mknodat remade [mknodat] (dir: c_int, path: *const c_char, mode: mode_t, device: dev_t) -> c_int }
        $row! { change::xmknod remade [__xmknod] (version: c_int, path: *const c_char, mode: mode_t, device: *mut dev_t) -> c_int }
        $row! { change::xmknodat remade [__xmknodat] (version: c_int, dir: c_int, path: *const c_char, mode: mode_t, device: *mut dev_t) -> c_int }
        $row! { change::symlink wrapped [symlink] (target: *const c_char, path: *const c_char) -> c_int }
        $row! { change::symlinkat wrapped [symlinkat] (target: *const c_char, dir: c_int, path: *const c_char) -> c_int }
        $row! { change::link wrapped [link] (from: *const c_char, to: *const c_char) -> c_int }
        $row! { change::linkat wrapped [linkat] (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_int) -> c_int }
        $row! { change::rename wrapped [rename] (from: *const c_char, to: *const c_char) -> c_int }
        $row! { change::renameat wrapped [renameat] (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int }
        $row! { change::renameat2 wrapped [renameat2] (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> c_int }
        $row! { change::unlink wrapped [unlink] (path: *const c_char) -> c_int }
        $row! { change::unlinkat wrapped [unlinkat] (dir: c_int, path: *const c_char, flags: c_int) -> c_int }
        $row! { change::rmdir wrapped [rmdir] (path: *const c_char) -> c_int }
        $row! { change::remove wrapped [remove] (path: *const c_char) -> c_int }
        $row! { change::chmod wrapped [chmod] (path: *const c_char, mode: mode_t) -> c_int }
        $row! { change::lchmod wrapped [lchmod] (path: *const c_char, mode: mode_t) -> c_int }
        $row! { change::fchmod wrapped [fchmod] (fd: c_int, mode: mode_t) -> c_int }
        $row! { change::fchmodat wrapped [fchmodat] (dir: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int }
        $row! { change::chown wrapped [chown] (path: *const c_char, uid: uid_t, gid: gid_t) -> c_int }
        $row! { change::lchown wrapped [lchown] (path: *const c_char, uid: uid_t, gid: gid_t) -> c_int }
        $row! { change::fchown wrapped [fchown] (fd: c_int, uid: uid_t, gid: gid_t) -> c_int }
        $row! { change::fchownat wrapped [fchownat] (dir: c_int, path: *const c_char, uid: uid_t, gid: gid_t, flags: c_int) -> c_int }
        $row! { change::truncate wrapped [truncate truncate64] (path: *const c_char, length: off_t) -> c_int }
        $row! { change::utime wrapped [utime] (path: *const c_char, times: *const utimbuf) -> c_int }
        $row! { change::utimes wrapped [utimes] (path: *const c_char, times: *const timeval) -> c_int }
        $row! { change::lutimes wrapped [lutimes] (path: *const c_char, times: *const timeval) -> c_int }
        $row! { change::futimes wrapped [futimes] (fd: c_int, times: *const timeval) -> c_int }
        $row! { change::futimesat wrapped [futimesat] (dir: c_int, path: *const c_char, times: *const timeval) -> c_int }
        $row! { change::futimens wrapped [futimens] (fd: c_int, times: *const timespec) -> c_int }
        $row! { change::utimensat wrapped [utimensat] (dir: c_int, path: *const c_char, times: *const timespec, flags: c_int) -> c_int }
        $row! { change::setxattr wrapped [setxattr] (path: *const c_char, name: *const c_char, value: *const c_void, size: size_t, flags: c_int) -> c_int }
        $row! { change::lsetxattr wrapped [lsetxattr] (path: *const c_char, name: *const c_char, value: *const c_void, size: size_t, flags: c_int) -> c_int }
        $row! { change::fsetxattr wrapped [fsetxattr] (fd: c_int, name: *const c_char, value: *const c_void, size: size_t, flags: c_int) -> c_int }
        $row! { change::removexattr wrapped [removexattr] (path: *const c_char, name: *const c_char) -> c_int }
        $row! { change::lremovexattr wrapped [lremovexattr] (path: *const c_char, name: *const c_char) -> c_int }
        $row! { change::fremovexattr wrapped [fremovexattr] (fd: c_int, name: *const c_char) -> c_int }
        $row! { change::mkstemp wrapped [mkstemp mkstemp64] (template: *mut c_char) -> c_int }
        $row! { change::mkostemp wrapped [mkostemp mkostemp64] (template: *mut c_char, flags: c_int) -> c_int }
        $row! { change::mkstemps wrapped [mkstemps mkstemps64] (template: *mut c_char, suffix: c_int) -> c_int }
        $row! { change::mkostemps wrapped [mkostemps mkostemps64] (template: *mut c_char, suffix: c_int, flags: c_int) -> c_int }
        $row! { change::mkdtemp wrapped [mkdtemp] (template: *mut c_char) -> *mut c_char }
        $row! { change::inotify_add_watch wrapped [inotify_add_watch] (fd: c_int, path: *const c_char, mask: c_uint) -> c_int }

        // Everything at once.
        $row! { raw::syscall wrapped [syscall] (number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long }
    };
}
