//! Finding the control page, at the first call of all.

use crate::sys::{self, weak};
use core::sync::atomic::{AtomicUsize, Ordering};
use cvmfs_control::{Control, Page, session};
use libc::c_char;

const UNKNOWN: usize = 0;
const ABSENT: usize = 1;
/// Where the page is mapped, or one of the above. Threads that are first at once map it twice, and one mapping stays.
static PAGE: AtomicUsize = AtomicUsize::new(UNKNOWN);

/// The control page; `None` where there is no supervisor.
#[inline(always)]
pub(crate) fn control() -> Option<Control<'static>> {
    match PAGE.load(Ordering::Acquire) {
        UNKNOWN => find(),
        ABSENT => None,
        // SAFETY: mapped with this length by `find`, and never unmapped.
        address => unsafe { Control::at(address as *const u8, Page::LEN) },
    }
}

#[cold]
fn find() -> Option<Control<'static>> {
    let environment = weak!("environ").cast::<*const *const c_char>();
    if environment.is_null() {
        return None;
    }
    // SAFETY: the variable of this name has this type; a C library that has not started yet has null in it.
    let strings = unsafe { *environment };
    if strings.is_null() {
        return None;
    }
    // SAFETY: the environment is C strings, and null at their end.
    let value = unsafe { variable(strings, session::VARIABLE) };
    let Some((cookie, path)) = value.and_then(session::parse) else {
        PAGE.store(ABSENT, Ordering::Release);
        return None;
    };
    let Some((address, control)) = map(path, cookie) else {
        PAGE.store(ABSENT, Ordering::Release);
        return None;
    };
    sys::set_cookie(control.cookie());
    if PAGE.compare_exchange(UNKNOWN, address, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: our own mapping, which nobody was told of; the one that stays has the same content.
        let _ = unsafe { sys::cookied(libc::SYS_munmap, [address, Page::LEN, 0, 0, 0]) };
        return self::control();
    }
    Some(control)
}

/// # Safety
/// `strings` is an environment.
unsafe fn variable(strings: *const *const c_char, name: &[u8]) -> Option<&'static [u8]> {
    let mut at = strings;
    // SAFETY: until null, there are C strings.
    unsafe {
        while !(*at).is_null() {
            let entry = core::ffi::CStr::from_ptr(*at).to_bytes();
            if let Some(value) = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")) {
                return Some(value);
            }
            at = at.add(1);
        }
    }
    None
}

/// Maps the control file; `path` is the end of a C string.
fn map(path: &[u8], cookie: u64) -> Option<(usize, Control<'static>)> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let arguments = [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags as usize, 0, 0];
    // The cookie is tried out at once: without a filter it means nothing.
    sys::set_cookie(cookie);
    // SAFETY: a C string and plain flags.
    let opened = unsafe { sys::cookied(libc::SYS_openat, arguments) };
    let length = opened.ok().and_then(|fd| sys::fstat(fd as libc::c_int).ok()).map(|found| found.st_size as usize);
    // Whether the page is of a live session is not known yet.
    sys::set_cookie(0);
    let fd = opened.ok()?;
    let address = match length {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        Some(Page::LEN) => unsafe { map_shared(fd, 0, Page::LEN, 0) },
        _ => None,
    };
    let _ = sys::close(fd as libc::c_int);
    let address = address?;
    // SAFETY: just mapped with this length, never unmapped while it is used; only the supervisor writes to it.
    let control = unsafe { Control::at(address as *const u8, Page::LEN) }.filter(|control| control.cookie() == cookie);
    if control.is_none() {
        // SAFETY: our own mapping, which nobody was told of.
        let _ = unsafe { sys::cookied(libc::SYS_munmap, [address, Page::LEN, 0, 0, 0]) };
    }
    Some((address, control?))
}

/// Maps a file shared and read-only; `fixed` is 0 for an address of the kernel's choice.
///
/// # Safety
/// What is mapped at `fixed` is the caller's to replace.
pub(crate) unsafe fn map_shared(fd: usize, fixed: usize, length: usize, more: i32) -> Option<usize> {
    let flags = libc::MAP_SHARED | more;
    // `mmap` uses all six arguments, and the filter does not look at it.
    // SAFETY: the caller's promise.
    unsafe { sys::mmap(fixed, length, libc::PROT_READ, flags, fd as isize) }.ok()
}
