//! `posix_spawn`: everything is found out before the real function starts the child.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::environment::Environment;
use crate::errno::Errno;
use crate::exec::{self, Strings};
use crate::namespace::{self, LastLink, Resolved};
use crate::open;
use crate::route::{C2, C5, C6, Step};
use crate::{errno, inside, link, place, view};
use libc::{AT_FDCWD, c_char, c_int, mode_t, posix_spawn_file_actions_t, posix_spawnattr_t};
use std::ffi::{CStr, CString};

type Actions = *const posix_spawn_file_actions_t;
type Attributes = *const posix_spawnattr_t;
type Spawn = C6<*mut c_int, *const c_char, Actions, Attributes, Strings, Strings, c_int>;

pub(crate) unsafe fn posix_spawn(
    real: Spawn,
    pid: *mut c_int,
    path: *const c_char,
    actions: Actions,
    attributes: Attributes,
    argv: Strings,
    envp: Strings,
) -> c_int {
    if inside::is_inside() {
        return real(pid, path, actions, attributes, argv, envp);
    }
    let environment = Environment::complete(envp);
    let envp = environment.as_ptr();
    let saved = errno::get();
    // The real function returns the error number: the common part wants it in `errno`.
    let start = |file: *const c_char, argv: Strings| match real(pid, file, actions, attributes, argv, envp) {
        0 => 0,
        error => {
            errno::set(error);
            -1
        }
    };
    let result = exec::launch(AT_FDCWD, path, argv, || start(path, argv), start);
    let error = if result == 0 { 0 } else { errno::get() };
    errno::set(saved);
    error
}

pub(crate) unsafe fn posix_spawnp(
    real: Spawn,
    pid: *mut c_int,
    file: *const c_char,
    actions: Actions,
    attributes: Attributes,
    argv: Strings,
    envp: Strings,
) -> c_int {
    if inside::is_inside() || file.is_null() {
        return real(pid, file, actions, attributes, argv, envp);
    }
    let mut failure = libc::ENOENT;
    for candidate in exec::candidates(CStr::from_ptr(file)) {
        let mut stat = std::mem::zeroed();
        let there = crate::stat::stat(candidate.as_ptr(), &mut stat) == 0;
        if !there || stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            continue;
        }
        match posix_spawn(real, pid, candidate.as_ptr(), actions, attributes, argv, envp) {
            error @ (libc::EACCES | libc::ENOENT | libc::ENOTDIR) => failure = error,
            result => return result,
        }
    }
    failure
}

/// What a child is told to open is settled now: it will open in the C library, where nothing of ours is met.
pub(crate) unsafe fn addopen(
    real: C5<*mut posix_spawn_file_actions_t, c_int, *const c_char, c_int, mode_t, c_int>,
    actions: *mut posix_spawn_file_actions_t,
    fd: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    let name = translated(path, |spelled| match open::prepare(spelled, flags)? {
        Step::Done(name) | Step::Outside(name) => Ok(name),
    });
    real(actions, fd, name.as_deref().map_or(path, CStr::as_ptr), flags, mode)
}

pub(crate) unsafe fn addchdir(
    real: C2<*mut posix_spawn_file_actions_t, *const c_char, c_int>,
    actions: *mut posix_spawn_file_actions_t,
    path: *const c_char,
) -> c_int {
    let name = translated(path, |spelled| match namespace::resolve(spelled, LastLink::Follow)? {
        Resolved::Outside(path) => Ok(CString::new(path)?),
        Resolved::Node(node) => {
            link::directory_to_enter(&node)?;
            view::materialise(&node)
        }
    });
    real(actions, name.as_deref().map_or(path, CStr::as_ptr))
}

/// The real name for a virtual path. Errors are left for the child to meet.
unsafe fn translated(path: *const c_char, translate: impl FnOnce(&[u8]) -> Result<CString, Errno>) -> Option<CString> {
    if inside::is_inside() {
        return None;
    }
    let spelled = place::spelled(AT_FDCWD, path)?;
    inside::answer(|| translate(&spelled)).ok()
}
