//! Where a hooked call goes: on to the real function, or to a node of the tree.

use crate::errno::{self, Answer, Errno};
use crate::namespace::{self, LastLink, Node, Resolved};
use crate::{inside, place};
use libc::{AT_FDCWD, c_char, c_int};
use std::borrow::Cow;
use std::ffi::CString;

/// C functions of one to six arguments.
pub(crate) type C1<A, R> = unsafe extern "C" fn(A) -> R;
pub(crate) type C2<A, B, R> = unsafe extern "C" fn(A, B) -> R;
pub(crate) type C3<A, B, C, R> = unsafe extern "C" fn(A, B, C) -> R;
pub(crate) type C4<A, B, C, D, R> = unsafe extern "C" fn(A, B, C, D) -> R;
pub(crate) type C5<A, B, C, D, E, R> = unsafe extern "C" fn(A, B, C, D, E) -> R;
pub(crate) type C6<A, B, C, D, E, F, R> = unsafe extern "C" fn(A, B, C, D, E, F) -> R;

/// What a virtual path turned out to be.
pub(crate) enum Step<R> {
    /// The call is answered.
    Done(R),
    /// The call goes on with this native path.
    Outside(CString),
}

/// The virtual path of a call, or the answer of the real function.
///
/// # Safety
/// `path` is null or a C string.
pub(crate) unsafe fn virtual_or<'p, R: Answer>(
    dir: c_int,
    path: *const c_char,
    native: impl Fn(c_int, *const c_char) -> R,
) -> Result<Cow<'p, [u8]>, R> {
    if inside::is_inside() {
        return Err(native(dir, path));
    }
    // SAFETY: passed on.
    if let Some(spelled) = unsafe { place::spelled(dir, path) } {
        return Ok(spelled);
    }
    let before = errno::get();
    let result = native(dir, path);
    if result.is_failure() && place::may_lead_here(errno::get()) {
        // SAFETY: passed on.
        if let Some(found) = unsafe { place::host_link(dir, path) } {
            errno::set(before);
            return Ok(Cow::Owned(found));
        }
    }
    Err(result)
}

/// Ends a call: the answer, `errno`, or the real function for a path that leads out of the tree.
pub(crate) fn end<R: Answer>(step: Result<Step<R>, Errno>, native: impl Fn(c_int, *const c_char) -> R) -> R {
    match step {
        Ok(Step::Done(result)) => result,
        Ok(Step::Outside(path)) => native(AT_FDCWD, path.as_ptr()),
        Err(error) => R::fail(error),
    }
}

/// A call about what is at a path: `ours` answers it for a node, `native` is the real function.
///
/// # Safety
/// `path` is null or a C string.
pub(crate) unsafe fn path<R: Answer>(
    dir: c_int,
    path: *const c_char,
    last: LastLink,
    native: impl Fn(c_int, *const c_char) -> R,
    ours: impl FnOnce(&Node) -> Result<R, Errno>,
) -> R {
    if last == LastLink::Follow
        && !inside::is_inside()
        // SAFETY: passed on.
        && let Some(found) = unsafe { place::behind_link(path) }
    {
        return known(&found, || native(dir, path), ours);
    }
    // SAFETY: passed on.
    let spelled = match unsafe { virtual_or(dir, path, &native) } {
        Ok(spelled) => spelled,
        Err(result) => return result,
    };
    let step = inside::answer(|| match namespace::resolve(&spelled, last)? {
        Resolved::Node(node) => ours(&node).map(Step::Done),
        Resolved::Outside(path) => Ok(Step::Outside(CString::new(path)?)),
    });
    end(step, native)
}

/// A call about an open descriptor.
pub(crate) fn descriptor<R: Answer>(
    fd: c_int,
    native: impl FnOnce() -> R,
    ours: impl FnOnce(&Node) -> Result<R, Errno>,
) -> R {
    if inside::is_inside() {
        return native();
    }
    let Some(path) = place::of_descriptor(fd) else { return native() };
    known(&path, native, ours)
}

/// A call about what an open descriptor leads to: one that only names something (`O_PATH`) the kernel refuses.
pub(crate) fn contents<R: Answer>(
    fd: c_int,
    native: impl FnOnce() -> R,
    ours: impl FnOnce(&Node) -> Result<R, Errno>,
) -> R {
    if crate::sys::is_path_only(fd) { native() } else { descriptor(fd, native, ours) }
}

/// A call about what is open, by its virtual path.
fn known<R: Answer>(path: &[u8], native: impl FnOnce() -> R, ours: impl FnOnce(&Node) -> Result<R, Errno>) -> R {
    let step = inside::answer(|| match namespace::resolve(path, LastLink::Keep) {
        Ok(Resolved::Node(node)) => ours(&node).map(Some),
        // Of a revision that this process does not know: the kernel tells what is there.
        Ok(Resolved::Outside(_)) | Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error),
    });
    match step {
        Ok(Some(result)) => result,
        Ok(None) => native(),
        Err(error) => R::fail(error),
    }
}

/// A call on a path, or on the descriptor itself where the path is empty and `flags` has `AT_EMPTY_PATH`.
///
/// # Safety
/// `path` is null or a C string.
pub(crate) unsafe fn path_or_descriptor<R: Answer>(
    dir: c_int,
    name: *const c_char,
    flags: c_int,
    native: impl Fn(c_int, *const c_char) -> R,
    ours: impl FnOnce(&Node) -> Result<R, Errno>,
) -> R {
    // SAFETY: read only if not null, and then a C string has at least its end.
    if flags & libc::AT_EMPTY_PATH != 0 && (name.is_null() || unsafe { *name } == 0) {
        if dir != AT_FDCWD {
            return descriptor(dir, || native(dir, name), ours);
        }
        // SAFETY: a C string.
        return unsafe { path(dir, c".".as_ptr(), LastLink::Follow, |_, _| native(dir, name), ours) };
    }
    let last = if flags & libc::AT_SYMLINK_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    // SAFETY: passed on.
    unsafe { path(dir, name, last, native, ours) }
}

/// The directory in which a path's last name lies, or would lie.
pub(crate) enum Parent {
    /// A directory of the tree.
    Inside,
    /// The whole path with its beginning replaced by a native one.
    Outside(CString),
}

/// Finds the directory of the last name of `path`, for calls that make or remove a name.
pub(crate) fn parent(path: &[u8]) -> Result<Parent, Errno> {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    let slash = path.get(..end).and_then(|p| p.iter().rposition(|&b| b == b'/')).unwrap_or(0);
    let (directory, name) = (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default());
    if place::spelled_absolute(directory).is_none() {
        // The mount directory itself: its parent is the host's.
        return Ok(Parent::Inside);
    }
    match namespace::resolve(directory, LastLink::Follow)? {
        Resolved::Node(node) if node.kind() == namespace::FileKind::Directory => {
            namespace::check_access(&node, libc::X_OK)?;
            Ok(Parent::Inside)
        }
        Resolved::Node(_) => Err(Errno(libc::ENOTDIR)),
        Resolved::Outside(outside) => Ok(Parent::Outside(CString::new(place::join(&outside, name))?)),
    }
}
