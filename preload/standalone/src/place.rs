//! Which paths and descriptors are ours.
//!
//! A path is ours when it is spelled below the mount directory or below the view (which is another spelling of it),
//! or relative to a directory in the view. A native path that merely leads to us, over a symbolic link of the host or
//! over `..`, is found out after the kernel said that it does not exist: [`host_link`].

use crate::errno;
use crate::{session, sys, view};
use cvmfs_index::walk::{PATH_MAX, strip_mount_dir};
use libc::{c_char, c_int};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU8, Ordering};

/// The absolute virtual path that `path`, relative to `dir`, spells; `None` if it is not ours or not a path.
///
/// # Safety
/// `path` is null or a C string.
pub(crate) unsafe fn spelled<'p>(dir: c_int, path: *const c_char) -> Option<Cow<'p, [u8]>> {
    if path.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string by the caller's promise.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    match path {
        [b'/', ..] => spelled_absolute(path).or_else(|| {
            let (base, rest) = behind_link_of_kernel(path)?;
            (!rest.is_empty()).then(|| Cow::Owned([&base, rest].concat()))
        }),
        [] => None,
        _ => {
            let base = if dir == libc::AT_FDCWD { working_directory() } else { of_descriptor(dir) }?;
            Some(Cow::Owned(join(&base, path)))
        }
    }
}

/// As [`spelled`], for an absolute path.
pub(crate) fn spelled_absolute(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !session::may_concern(path) {
        return None;
    }
    if strip_mount_dir(session::mount_dir(), path).is_some() {
        return Some(Cow::Borrowed(path));
    }
    view::strip(path).map(|virtual_path| Cow::Owned(virtual_path.to_vec()))
}

/// The virtual path behind a link of the kernel's that `path` is, such as `/proc/self/fd/N`: what a call that follows
/// links is about. The kernel would lead it to the file in the cache.
///
/// # Safety
/// `path` is null or a C string.
pub(crate) unsafe fn behind_link(path: *const c_char) -> Option<Vec<u8>> {
    if path.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string by the caller's promise.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    behind_link_of_kernel(path).filter(|(_, rest)| rest.is_empty()).map(|(base, _)| base)
}

/// The virtual path behind the link of the kernel's with which `path` begins, and the rest of `path`.
fn behind_link_of_kernel(path: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let len = link_of_kernel(path).filter(|_| session::is_made())?;
    let (link, rest) = path.split_at_checked(len)?;
    let link = CString::new(link).ok()?;
    let mut buf = [0; PATH_MAX + 1];
    let name = sys::readlink(&link, &mut buf).ok()?;
    Some((view::behind(&link, name)?, rest))
}

/// The length of `/dev/fd/N`, `/proc/P/fd/N`, `/proc/P/cwd`, `/proc/P/exe` or `/proc/P/task/T/...` at the start of `path`.
fn link_of_kernel(path: &[u8]) -> Option<usize> {
    let of_process = path.starts_with(b"/proc/");
    if !of_process && !path.starts_with(b"/dev/fd/") {
        return None;
    }
    let mut ends = (1..=path.len()).filter(|&at| path.get(at).is_none_or(|&b| b == b'/'));
    let mut start = 1;
    let mut next = || {
        let end = ends.next()?;
        let part = path.get(start..end)?;
        start = end + 1;
        Some((part, end))
    };
    next()?;
    if of_process {
        next()?;
        let (mut part, mut end) = next()?;
        if part == b"task" {
            next()?;
            (part, end) = next()?;
        }
        match part {
            b"cwd" | b"exe" => return Some(end),
            b"fd" => {}
            _ => return None,
        }
    } else {
        next()?;
    }
    next().filter(|(number, _)| !number.is_empty()).map(|(_, end)| end)
}

/// `base/path`.
pub(crate) fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(base.len() + 1 + path.len());
    joined.extend_from_slice(base);
    joined.push(b'/');
    joined.extend_from_slice(path);
    joined
}

/// The virtual path that descriptor `fd` stands for, if it stands for one.
pub(crate) fn of_descriptor(fd: c_int) -> Option<Vec<u8>> {
    let view = session::view()?;
    let stat = sys::fstat(fd).ok()?;
    if stat.st_dev == view.device() {
        let mut buf = [0; PATH_MAX + 1];
        let name = view::descriptor_name(fd, &mut buf).ok()?;
        if let Some(path) = view::strip(name) {
            return Some(path.to_vec());
        }
    }
    view::remembered(&stat)
}

const UNKNOWN: u8 = 0;
const NATIVE: u8 = 1;
const VIRTUAL: u8 = 2;
/// What is known of the working directory. A `vfork` child only ever makes it unknown.
static WORKING_DIRECTORY: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The working directory has changed, or is about to.
pub(crate) fn forget_working_directory() {
    WORKING_DIRECTORY.store(UNKNOWN, Ordering::Release);
}

/// The virtual path of the working directory, if it has one.
pub(crate) fn working_directory() -> Option<Vec<u8>> {
    if WORKING_DIRECTORY.load(Ordering::Acquire) == NATIVE {
        return None;
    }
    session::view()?;
    let mut buf = [0; PATH_MAX + 1];
    let path = view::strip(sys::getcwd(&mut buf).ok()?).map(<[u8]>::to_vec);
    if session::is_own_process() {
        WORKING_DIRECTORY.store(if path.is_some() { VIRTUAL } else { NATIVE }, Ordering::Release);
    }
    path
}

/// Whether a native call may have failed only because the kernel does not know our tree.
pub(crate) fn may_lead_here(error: c_int) -> bool {
    matches!(error, libc::ENOENT | libc::ENOTDIR)
}

/// The virtual path to which a native `path` leads that the kernel cannot follow: over symbolic links of the host, or
/// over `..`. `errno` is kept.
///
/// # Safety
/// `path` is null or a C string.
pub(crate) unsafe fn host_link(dir: c_int, path: *const c_char) -> Option<Vec<u8>> {
    if path.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string by the caller's promise.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if path.is_empty() || path.len() > PATH_MAX || !session::is_made() {
        return None;
    }
    let saved = errno::get();
    let found = follow(dir, path);
    errno::set(saved);
    found
}

fn follow(dir: c_int, path: &[u8]) -> Option<Vec<u8>> {
    let mut buf = [0; PATH_MAX + 1];
    let absolute = match path {
        [b'/', ..] => path.to_vec(),
        _ if dir == libc::AT_FDCWD => join(sys::getcwd(&mut buf).ok()?, path),
        _ => join(view::descriptor_name(dir, &mut buf).ok()?, path),
    };
    cvmfs_view::host::leads_here(&absolute, true, |path| spelled_absolute(path).is_some())
}
