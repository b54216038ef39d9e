//! The system calls that concern paths: one table, from number and arguments to what is asked.

use libc::{AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, c_int, c_long};
#[cfg(target_arch = "x86_64")]
use libc::{O_CREAT, O_TRUNC, O_WRONLY};

/// The architecture that the filter looks for (`AUDIT_ARCH_*`).
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// A path: a directory descriptor (or `AT_FDCWD`) and the address of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) dir: c_int,
    pub(super) path: u64,
}

/// What a call is about: the descriptor, or the path with its `AT_*` flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Descriptor(c_int),
    Path(At, c_int),
}

/// A place in the caller's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buffer {
    pub(super) address: u64,
    pub(super) size: u64,
}

/// What a call asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Open {
        at: At,
        flags: c_int,
        mode: u32,
    },
    /// `openat2`: the address and size of its `struct open_how`.
    OpenHow {
        at: At,
        how: Buffer,
    },
    Stat {
        of: Object,
        buf: u64,
    },
    Statx {
        of: Object,
        buf: u64,
    },
    Access {
        at: At,
        mode: c_int,
        flags: c_int,
    },
    ReadLink {
        at: At,
        into: Buffer,
    },
    WorkingDirectory {
        into: Buffer,
    },
    ChangeDirectory {
        at: At,
    },
    Execute {
        at: At,
        arguments: u64,
        environment: u64,
        flags: c_int,
    },
    StatFs {
        of: Object,
        buf: u64,
    },
    GetAttribute {
        of: Object,
        name: u64,
        into: Buffer,
    },
    ListAttributes {
        of: Object,
        into: Buffer,
    },
    Watch {
        at: At,
        descriptor: c_int,
        mask: u32,
    },
    /// Makes a name.
    Make {
        at: At,
        what: Made,
    },
    /// Removes a name.
    Remove {
        at: At,
        directory: bool,
    },
    Rename {
        from: At,
        to: At,
        flags: u32,
    },
    Link {
        from: At,
        to: At,
        flags: c_int,
    },
    Truncate {
        at: At,
        length: u64,
    },
    /// Changes what is there.
    Alter {
        of: Object,
        how: Alteration,
    },
    Handle {
        of: Object,
    },
    /// Tells the three numbers of the user or the group.
    Identity {
        into: [u64; 3],
    },
    /// Programs fall back to something else.
    Refuse {
        errno: c_int,
    },
}

/// What is made under a new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Directory {
        mode: u32,
    },
    Node {
        mode: u32,
    },
    /// A symbolic link with the target at this address.
    Link {
        target: u64,
    },
}

/// What is changed of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alteration {
    Mode(u32),
    /// `u32::MAX` leaves one as it is.
    Owner(u32, u32),
    Times(Times),
    SetAttribute {
        name: u64,
        value: Buffer,
        flags: c_int,
    },
    RemoveAttribute {
        name: u64,
    },
    /// What only the kernel knows.
    Other,
}

/// Two times, at an address; of null it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Seconds(u64),
    Microseconds(u64),
    Nanoseconds(u64),
}

type Arguments = [u64; 6];

/// No architecture has as many system calls.
const MOST_NUMBERS: i32 = 1024;

/// `setxattrat`, `getxattrat`, `listxattrat`, `removexattrat` (Linux 6.13), `file_getattr` and `file_setattr` (6.17): who
/// uses them goes back to older calls where there are none.
const NEWER: [i32; 6] = [463, 464, 465, 466, 468, 469];

/// The numbers that come to us; with a root of its own for the program, also those that tell who it is.
pub(super) fn numbers(rooted: bool) -> Vec<u32> {
    let comes = |number: &i32| match decode(*number, &[0; 6]) {
        None => false,
        Some(Identity { .. }) => rooted,
        Some(_) => true,
    };
    (0..MOST_NUMBERS).filter(comes).map(|number| number as u32).collect()
}

/// Calls that tell or change users and groups: in a root of its own the program is root, for which all of them return 0.
pub(super) const IDENTITY: [c_long; 14] = [
    libc::SYS_getgroups,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
];

fn fd(value: u64) -> c_int {
    value as u32 as c_int
}

fn here(path: u64) -> At {
    At { dir: AT_FDCWD, path }
}

fn at(dir: u64, path: u64) -> At {
    At { dir: fd(dir), path }
}

fn plain(path: u64) -> Object {
    Object::Path(here(path), 0)
}

fn link(path: u64) -> Object {
    Object::Path(here(path), AT_SYMLINK_NOFOLLOW)
}

fn buffer(address: u64, size: u64) -> Buffer {
    Buffer { address, size }
}

/// All of them.
mod numbers {
    pub(super) use cvmfs_view::SYS_fchmodat2;
    pub(super) use libc::*;
}

macro_rules! table {
    ($($(#[$only:meta])* $number:ident ($a:ident) => $call:expr;)*) => {
        /// What the call with this number and these arguments asks.
        pub(super) fn decode(number: i32, arguments: &Arguments) -> Option<Call> {
            $(
                $(#[$only])*
                if libc::c_long::from(number) == numbers::$number {
                    let $a = arguments;
                    return Some($call);
                }
            )*
            NEWER.contains(&number).then_some(Call::Refuse { errno: libc::ENOSYS })
        }
    };
}

use Call::*;

table! {
    SYS_openat(a) => Open { at: at(a[0], a[1]), flags: fd(a[2]), mode: a[3] as u32 };
    SYS_newfstatat(a) => Stat { of: Object::Path(at(a[0], a[1]), fd(a[3])), buf: a[2] };
    SYS_fstat(a) => Stat { of: Object::Descriptor(fd(a[0])), buf: a[1] };
    SYS_statx(a) => Statx { of: Object::Path(at(a[0], a[1]), fd(a[2])), buf: a[4] };
    SYS_readlinkat(a) => ReadLink { at: at(a[0], a[1]), into: buffer(a[2], u64::from(a[3] as u32)) };
    SYS_faccessat(a) => Access { at: at(a[0], a[1]), mode: fd(a[2]), flags: 0 };
    SYS_faccessat2(a) => Access { at: at(a[0], a[1]), mode: fd(a[2]), flags: fd(a[3]) };
    SYS_getcwd(a) => WorkingDirectory { into: buffer(a[0], a[1]) };
    SYS_chdir(a) => ChangeDirectory { at: here(a[0]) };
    SYS_execve(a) => Execute { at: here(a[0]), arguments: a[1], environment: a[2], flags: 0 };
    SYS_execveat(a) => Execute { at: at(a[0], a[1]), arguments: a[2], environment: a[3], flags: fd(a[4]) };
    #[cfg(target_arch = "x86_64")]
    SYS_open(a) => Open { at: here(a[0]), flags: fd(a[1]), mode: a[2] as u32 };
    #[cfg(target_arch = "x86_64")]
    SYS_creat(a) => Open { at: here(a[0]), flags: O_CREAT | O_WRONLY | O_TRUNC, mode: a[1] as u32 };
    SYS_openat2(a) => OpenHow { at: at(a[0], a[1]), how: buffer(a[2], a[3]) };
    #[cfg(target_arch = "x86_64")]
    SYS_stat(a) => Stat { of: plain(a[0]), buf: a[1] };
    #[cfg(target_arch = "x86_64")]
    SYS_lstat(a) => Stat { of: link(a[0]), buf: a[1] };
    #[cfg(target_arch = "x86_64")]
    SYS_access(a) => Access { at: here(a[0]), mode: fd(a[1]), flags: 0 };
    #[cfg(target_arch = "x86_64")]
    SYS_readlink(a) => ReadLink { at: here(a[0]), into: buffer(a[1], u64::from(a[2] as u32)) };
    SYS_statfs(a) => StatFs { of: plain(a[0]), buf: a[1] };
    SYS_fstatfs(a) => StatFs { of: Object::Descriptor(fd(a[0])), buf: a[1] };
    SYS_getxattr(a) => GetAttribute { of: plain(a[0]), name: a[1], into: buffer(a[2], a[3]) };
    SYS_lgetxattr(a) => GetAttribute { of: link(a[0]), name: a[1], into: buffer(a[2], a[3]) };
    SYS_fgetxattr(a) => GetAttribute { of: Object::Descriptor(fd(a[0])), name: a[1], into: buffer(a[2], a[3]) };
    SYS_listxattr(a) => ListAttributes { of: plain(a[0]), into: buffer(a[1], a[2]) };
    SYS_llistxattr(a) => ListAttributes { of: link(a[0]), into: buffer(a[1], a[2]) };
    SYS_flistxattr(a) => ListAttributes { of: Object::Descriptor(fd(a[0])), into: buffer(a[1], a[2]) };
    SYS_inotify_add_watch(a) => Watch { at: here(a[1]), descriptor: fd(a[0]), mask: a[2] as u32 };
    SYS_name_to_handle_at(a) => Handle { of: Object::Path(at(a[0], a[1]), handle_flags(fd(a[4]))) };
    #[cfg(target_arch = "x86_64")]
    SYS_mkdir(a) => Make { at: here(a[0]), what: Made::Directory { mode: a[1] as u32 } };
    SYS_mkdirat(a) => Make { at: at(a[0], a[1]), what: Made::Directory { mode: a[2] as u32 } };
    #[cfg(target_arch = "x86_64")]
    SYS_mknod(a) => Make { at: here(a[0]), what: Made::Node { mode: a[1] as u32 } };
    SYS_mknodat(a) => Make { at: at(a[0], a[1]), what: Made::Node { mode: a[2] as u32 } };
    #[cfg(target_arch = "x86_64")]
    SYS_symlink(a) => Make { at: here(a[1]), what: Made::Link { target: a[0] } };
    SYS_symlinkat(a) => Make { at: at(a[1], a[2]), what: Made::Link { target: a[0] } };
    #[cfg(target_arch = "x86_64")]
    SYS_unlink(a) => Remove { at: here(a[0]), directory: false };
    SYS_unlinkat(a) => Remove { at: at(a[0], a[1]), directory: fd(a[2]) & AT_REMOVEDIR != 0 };
    #[cfg(target_arch = "x86_64")]
    SYS_rmdir(a) => Remove { at: here(a[0]), directory: true };
    #[cfg(target_arch = "x86_64")]
    SYS_rename(a) => Rename { from: here(a[0]), to: here(a[1]), flags: 0 };
    SYS_renameat(a) => Rename { from: at(a[0], a[1]), to: at(a[2], a[3]), flags: 0 };
    SYS_renameat2(a) => Rename { from: at(a[0], a[1]), to: at(a[2], a[3]), flags: a[4] as u32 };
    #[cfg(target_arch = "x86_64")]
    SYS_link(a) => Link { from: here(a[0]), to: here(a[1]), flags: 0 };
    SYS_linkat(a) => Link { from: at(a[0], a[1]), to: at(a[2], a[3]), flags: fd(a[4]) };
    #[cfg(target_arch = "x86_64")]
    SYS_chmod(a) => Alter { of: plain(a[0]), how: Alteration::Mode(a[1] as u32) };
    // Only the requests that change something get here.
    SYS_ioctl(a) => Alter { of: Object::Descriptor(fd(a[0])), how: Alteration::Other };
    SYS_fchmod(a) => Alter { of: Object::Descriptor(fd(a[0])), how: Alteration::Mode(a[1] as u32) };
    SYS_fchmodat(a) => Alter { of: Object::Path(at(a[0], a[1]), 0), how: Alteration::Mode(a[2] as u32) };
    SYS_fchmodat2(a) => Alter { of: Object::Path(at(a[0], a[1]), fd(a[3])), how: Alteration::Mode(a[2] as u32) };
    #[cfg(target_arch = "x86_64")]
    SYS_chown(a) => Alter { of: plain(a[0]), how: owner(a[1], a[2]) };
    #[cfg(target_arch = "x86_64")]
    SYS_lchown(a) => Alter { of: link(a[0]), how: owner(a[1], a[2]) };
    SYS_fchown(a) => Alter { of: Object::Descriptor(fd(a[0])), how: owner(a[1], a[2]) };
    SYS_fchownat(a) => Alter { of: Object::Path(at(a[0], a[1]), fd(a[4])), how: owner(a[2], a[3]) };
    SYS_truncate(a) => Truncate { at: here(a[0]), length: a[1] };
    #[cfg(target_arch = "x86_64")]
    SYS_utime(a) => Alter { of: plain(a[0]), how: Alteration::Times(Times::Seconds(a[1])) };
    #[cfg(target_arch = "x86_64")]
    SYS_utimes(a) => Alter { of: plain(a[0]), how: Alteration::Times(Times::Microseconds(a[1])) };
    #[cfg(target_arch = "x86_64")]
    SYS_futimesat(a) => Alter { of: times(at(a[0], a[1]), 0), how: Alteration::Times(Times::Microseconds(a[2])) };
    SYS_utimensat(a) => Alter { of: times(at(a[0], a[1]), fd(a[3])), how: Alteration::Times(Times::Nanoseconds(a[2])) };
    SYS_setxattr(a) => Alter { of: plain(a[0]), how: set(a) };
    SYS_lsetxattr(a) => Alter { of: link(a[0]), how: set(a) };
    SYS_fsetxattr(a) => Alter { of: Object::Descriptor(fd(a[0])), how: set(a) };
    SYS_removexattr(a) => Alter { of: plain(a[0]), how: Alteration::RemoveAttribute { name: a[1] } };
    SYS_lremovexattr(a) => Alter { of: link(a[0]), how: Alteration::RemoveAttribute { name: a[1] } };
    SYS_fremovexattr(a) => Alter { of: Object::Descriptor(fd(a[0])), how: Alteration::RemoveAttribute { name: a[1] } };
    SYS_fanotify_mark(a) => Handle { of: marked(at(a[3], a[4]), a[1]) };
    SYS_getresuid(a) => Identity { into: [a[0], a[1], a[2]] };
    SYS_getresgid(a) => Identity { into: [a[0], a[1], a[2]] };
    SYS_io_uring_setup(a) => Refuse { errno: { let _ = a; libc::ENOSYS } };
}

fn owner(uid: u64, gid: u64) -> Alteration {
    Alteration::Owner(uid as u32, gid as u32)
}

fn set(arguments: &Arguments) -> Alteration {
    let [_, name, value, size, flags, _] = *arguments;
    Alteration::SetAttribute { name, value: buffer(value, size), flags: fd(flags) }
}

/// `utimensat` and `futimesat` take a null path for the descriptor itself.
fn times(at: At, flags: c_int) -> Object {
    if at.path == 0 { Object::Descriptor(at.dir) } else { Object::Path(at, flags) }
}

/// What `fanotify_mark` marks: the descriptor itself where there is no path.
fn marked(at: At, flags: u64) -> Object {
    const DONT_FOLLOW: u64 = 4;
    match at.path {
        0 => Object::Descriptor(at.dir),
        _ => Object::Path(at, if flags & DONT_FOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 }),
    }
}

/// `name_to_handle_at` does not follow a link unless it is told to.
fn handle_flags(flags: c_int) -> c_int {
    let empty = flags & libc::AT_EMPTY_PATH;
    if flags & libc::AT_SYMLINK_FOLLOW == 0 { empty | AT_SYMLINK_NOFOLLOW } else { empty }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_paths_come_to_us_and_others_do_not() {
        let numbers = numbers(false);
        for number in [libc::SYS_openat, libc::SYS_execveat, libc::SYS_io_uring_setup, cvmfs_view::SYS_fchmodat2] {
            assert!(numbers.contains(&(number as u32)));
        }
        for number in [libc::SYS_read, libc::SYS_write, libc::SYS_getdents64, libc::SYS_close, libc::SYS_fchdir] {
            assert!(!numbers.contains(&(number as u32)));
        }
    }

    #[test]
    fn descriptors_are_numbers_of_32_bits() {
        let call = decode(libc::SYS_openat as i32, &[0xffff_ff9c, 5, 0, 0, 0, 0]);
        assert_eq!(call, Some(Open { at: At { dir: AT_FDCWD, path: 5 }, flags: 0, mode: 0 }));
        let call = decode(libc::SYS_openat as i32, &[AT_FDCWD as i64 as u64, 5, 0, 0, 0, 0]);
        assert_eq!(call, Some(Open { at: At { dir: AT_FDCWD, path: 5 }, flags: 0, mode: 0 }));
    }
}
