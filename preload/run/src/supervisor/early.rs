//! Calls that fail, or are done, before the kernel has looked at their path: these it answers itself, whatever the
//! path is.

use super::memory::Memory;
use libc::{
    AT_EACCESS, AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_REMOVEDIR, AT_STATX_SYNC_TYPE, AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW, c_int, c_long,
};

/// The longest value of an extended attribute, and the longest name.
const LONGEST_VALUE: u64 = 65536;
const LONGEST_NAME: usize = 255;

/// Whether the kernel will not come to the path of this call.
pub(super) fn is_settled(number: i32, arguments: &[u64; 6], memory: Memory) -> bool {
    let number = c_long::from(number);
    let [_, _, c, d, e, _] = *arguments;
    let unknown = |flags: u64, known: c_int| flags as u32 as c_int & !known != 0;
    let stat_flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    match number {
        libc::SYS_newfstatat => unknown(d, stat_flags),
        libc::SYS_statx => {
            let both = c as u32 as c_int & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE;
            unknown(c, stat_flags) || both || d & 0x8000_0000 != 0
        }
        libc::SYS_faccessat2 => unknown(d, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH),
        libc::SYS_execveat => unknown(e, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW),
        libc::SYS_unlinkat => unknown(c, AT_REMOVEDIR),
        libc::SYS_linkat => unknown(e, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH),
        libc::SYS_fchownat => unknown(e, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH),
        cvmfs_view::SYS_fchmodat2 => unknown(d, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH),
        libc::SYS_utimensat => unknown(d, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) || leaves_both(memory, c),
        libc::SYS_renameat2 => {
            const EXCHANGE: u64 = 2;
            unknown(e, 7) || e & EXCHANGE != 0 && e & !EXCHANGE & 7 != 0
        }
        libc::SYS_mknodat => !is_made(c),
        libc::SYS_symlinkat => !is_text(memory, arguments[0]),
        libc::SYS_truncate => (arguments[1] as i64) < 0,
        libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_fsetxattr => {
            let name = memory.string(arguments[1], LONGEST_NAME + 1).unwrap_or_default();
            unknown(e, libc::XATTR_CREATE | libc::XATTR_REPLACE) || d > LONGEST_VALUE || name.is_empty()
        }
        _ => is_old_call_settled(number, arguments, memory),
    }
}

#[cfg(target_arch = "x86_64")]
fn is_old_call_settled(number: c_long, arguments: &[u64; 6], memory: Memory) -> bool {
    match number {
        libc::SYS_mknod => !is_made(arguments[1]),
        libc::SYS_symlink => !is_text(memory, arguments[0]),
        _ => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn is_old_call_settled(_number: c_long, _arguments: &[u64; 6], _memory: Memory) -> bool {
    false
}

/// Whether `mknod` makes something of this type; 0 is a regular file.
fn is_made(mode: u64) -> bool {
    matches!(
        mode as u32 & libc::S_IFMT,
        0 | libc::S_IFREG | libc::S_IFCHR | libc::S_IFBLK | libc::S_IFIFO | libc::S_IFSOCK
    )
}

/// Whether there is a text that is not empty: what a link is to say.
fn is_text(memory: Memory, address: u64) -> bool {
    !matches!(memory.path(address).as_deref(), Err(_) | Ok([]))
}

/// Whether both times of `utimensat` are to be left: then nothing is done.
fn leaves_both(memory: Memory, times: u64) -> bool {
    times != 0
        && nanoseconds(memory, times).is_some_and(|both| both.iter().all(|time| *time == libc::UTIME_OMIT as u64))
}

/// Whether the times of `utimensat` mean something. The kernel asks this after the path.
pub(super) fn are_times(memory: Memory, times: u64) -> bool {
    let is_time = |time: &u64| *time < 1_000_000_000 || [libc::UTIME_OMIT, libc::UTIME_NOW].contains(&(*time as i64));
    times == 0 || nanoseconds(memory, times).is_none_or(|both| both.iter().all(is_time))
}

fn nanoseconds(memory: Memory, times: u64) -> Option<[u64; 2]> {
    Some([memory.word(times + 8).ok()?, memory.word(times + 24).ok()?])
}
