//! The working directory: really one in the view, shown under its virtual name.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::{Answer as _, Errno};
use crate::namespace::LastLink;
use crate::route::{self, C1, C2, C3};
use crate::{inside, link, place, sys, view};
use libc::{AT_FDCWD, c_char, c_int, size_t};

pub(crate) unsafe fn getcwd(real: C2<*mut c_char, size_t, *mut c_char>, buf: *mut c_char, size: size_t) -> *mut c_char {
    current(buf, size, || real(buf, size))
}

pub(crate) unsafe fn getcwd_checked(
    real: C3<*mut c_char, size_t, size_t, *mut c_char>,
    buf: *mut c_char,
    size: size_t,
    room: size_t,
) -> *mut c_char {
    current(buf, size.min(room), || real(buf, size, room))
}

pub(crate) unsafe fn getwd(real: C1<*mut c_char, *mut c_char>, buf: *mut c_char) -> *mut c_char {
    current(buf, libc::PATH_MAX as size_t, || real(buf))
}

pub(crate) unsafe fn getwd_checked(
    real: C2<*mut c_char, size_t, *mut c_char>,
    buf: *mut c_char,
    room: size_t,
) -> *mut c_char {
    current(buf, room, || real(buf, room))
}

unsafe fn current(buf: *mut c_char, size: size_t, native: impl FnOnce() -> *mut c_char) -> *mut c_char {
    if inside::is_inside() {
        return native();
    }
    let Some(path) = place::working_directory() else { return native() };
    let result = inside::answer(|| {
        if buf.is_null() {
            // With a size, glibc allocates exactly that much.
            if size != 0 && size <= path.len() {
                return Err(Errno(libc::ERANGE));
            }
            return link::give(&path, buf, size);
        }
        if size == 0 {
            return Err(Errno(libc::EINVAL));
        }
        link::give(&path, buf, size).map_err(|_| Errno(libc::ERANGE))
    });
    result.unwrap_or_else(<*mut c_char>::fail)
}

pub(crate) unsafe fn get_current_dir_name(real: unsafe extern "C" fn() -> *mut c_char) -> *mut c_char {
    if inside::is_inside() {
        return real();
    }
    let Some(path) = place::working_directory() else { return real() };
    // `PWD` may spell it with links, and is then preferred.
    let spelled = libc::getenv(c"PWD".as_ptr());
    let same = !spelled.is_null() && {
        let mut here = std::mem::zeroed();
        let mut there = std::mem::zeroed();
        crate::stat::stat(c".".as_ptr(), &mut here) == 0
            && crate::stat::stat(spelled, &mut there) == 0
            && (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
    };
    if same {
        return libc::strdup(spelled);
    }
    inside::answer(|| link::give(&path, std::ptr::null_mut(), 0)).unwrap_or_else(<*mut c_char>::fail)
}

pub(crate) unsafe fn chdir(real: C1<*const c_char, c_int>, path: *const c_char) -> c_int {
    let native = |_: c_int, path: *const c_char| {
        let result = real(path);
        place::forget_working_directory();
        result
    };
    route::path(AT_FDCWD, path, LastLink::Follow, native, |node| {
        link::directory_to_enter(node)?;
        let name = view::materialise(node)?;
        let result = sys::call(libc::SYS_chdir, [name.as_ptr() as usize, 0, 0, 0, 0, 0]);
        place::forget_working_directory();
        result.map(|_| 0)
    })
}

pub(crate) unsafe fn fchdir(real: C1<c_int, c_int>, fd: c_int) -> c_int {
    let result = real(fd);
    place::forget_working_directory();
    result
}

pub(crate) unsafe fn daemon(real: C2<c_int, c_int, c_int>, keep_directory: c_int, keep_descriptors: c_int) -> c_int {
    let result = real(keep_directory, keep_descriptors);
    place::forget_working_directory();
    result
}
