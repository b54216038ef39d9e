//! `open` and its sisters.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::place::Place;
use crate::room::{self, ROOM};
use crate::route::{self, Way};
use crate::sys;
use crate::{known, present, start};
use cvmfs_control::page::{FILLED_MODE, PLACEHOLDER_MODE};
use cvmfs_index::EntryKind;
use cvmfs_index::walk::LastLink;
use libc::{AT_FDCWD, c_char, c_int, mode_t};

pub(crate) unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    sys::c_int_result(at(AT_FDCWD, path, flags, mode))
}

pub(crate) unsafe fn open_checked(path: *const c_char, flags: c_int) -> c_int {
    sys::c_int_result(at(AT_FDCWD, path, flags, 0))
}

pub(crate) unsafe fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    sys::c_int_result(at(dir, path, flags, mode))
}

pub(crate) unsafe fn openat_checked(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    sys::c_int_result(at(dir, path, flags, 0))
}

pub(crate) unsafe fn creat(path: *const c_char, mode: mode_t) -> c_int {
    sys::c_int_result(at(AT_FDCWD, path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode))
}

/// Flags of an open that only reads; with any other, the supervisor judges.
const READING: c_int = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_LARGEFILE
    // What the kernel itself calls `O_LARGEFILE` on x86-64.
    | 0o100_000;

pub(crate) unsafe fn at(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> sys::Result {
    // The kernel takes a mode where the caller gave none for garbage, and ignores it.
    let arguments = [dir as usize, path as usize, flags as usize, mode as usize, 0];
    let last = if flags & libc::O_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    match route::path(dir, path, last) {
        Way::Found(place) if flags & !(READING | libc::O_DIRECTORY) == 0 => match open_entry(&place, flags) {
            Some(fd) => Ok(fd),
            None => sys::plain(libc::SYS_openat, arguments),
        },
        Way::Fails(error) if flags & !(READING | libc::O_DIRECTORY) == 0 => Err(error),
        Way::Native => route::native(libc::SYS_openat, arguments, dir, path),
        Way::Found(_) | Way::Fails(_) | Way::Supervisor => sys::plain(libc::SYS_openat, arguments),
    }
}

/// Opens what stands in the view for a file or directory, if it is there with all that is in it, and everybody may
/// read it.
#[inline(never)]
fn open_entry(place: &Place, flags: c_int) -> Option<usize> {
    let attributes = present::attributes(place)?;
    let kind = match attributes.kind() {
        EntryKind::Regular if flags & libc::O_DIRECTORY == 0 => libc::S_IFREG,
        EntryKind::Directory => libc::S_IFDIR,
        _ => return None,
    };
    if attributes.mode & 0o444 != 0o444 {
        return None;
    }
    let fd = open_name(place, flags | libc::O_NOFOLLOW)?;
    let found = sys::fstat(fd as c_int).ok().filter(|found| found.st_mode & libc::S_IFMT == kind);
    let complete = found.is_some_and(|found| {
        if let Some(key) = known::key(&found) {
            known::remember(&key, Some(place));
        }
        match attributes.kind() {
            EntryKind::Directory => found.st_mode & 0o7777 == FILLED_MODE,
            // A placeholder for what was not fetched yet may be opened by root.
            _ => found.st_mode & 0o777 != PLACEHOLDER_MODE,
        }
    });
    if complete {
        return Some(fd);
    }
    let _ = sys::close(fd as c_int);
    None
}

/// Opens what stands for an entry in the view.
pub(crate) fn open_name(place: &Place, flags: c_int) -> Option<usize> {
    room::with(|buffer| {
        let name = view_name(place, buffer)?;
        let arguments = [AT_FDCWD as usize, name.as_ptr() as usize, flags as usize, 0, 0];
        // SAFETY: a C string and plain flags.
        unsafe { sys::cookied(libc::SYS_openat, arguments) }.ok()
    })
}

/// Writes the name of an entry in the view, with its final NUL, to the end of `buffer`.
pub(crate) fn view_name<'b>(place: &Place, buffer: &'b mut [u8; ROOM]) -> Option<&'b [u8]> {
    let control = start::control()?;
    let snapshot = place.catalog()?.snapshot()?;
    let (path_room, end) = buffer.split_at_mut(ROOM - 1);
    end.fill(0);
    let mut start = ROOM - 1 - place.path(path_room)?.len();
    let parts = [snapshot.fqrn(), b"/", control.mount_dir(), snapshot.view_key(), b"/", control.view_prefix()];
    for part in parts {
        let from = start.checked_sub(part.len())?;
        buffer.get_mut(from..start)?.copy_from_slice(part);
        start = from;
    }
    buffer.get(start..)
}
