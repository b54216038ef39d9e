//! Attempts to change the tree: refused in the words of a read-only file system.
//!
//! The order of the checks is the kernel's. Making a name that exists is `EEXIST`. Removing or renaming a name is
//! `EROFS` whether or not it exists, since the kernel looks at the mount before the name. Across the border of a
//! repository it is `EXDEV`. Changing the attributes of something is `EROFS`, or `ENOENT` if it does not exist.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::{Answer, Errno};
use crate::namespace::{self, FileKind, LastLink, Node, Resolved};
use crate::route::{self, C1, C2, C3, C4, C5, Parent, Step};
use crate::{errno, inside, place, sys, view};
use libc::{
    AT_FDCWD, c_char, c_int, c_uint, c_void, dev_t, gid_t, mode_t, off_t, size_t, timespec, timeval, uid_t, utimbuf,
};
use std::ffi::CString;

const READ_ONLY: Errno = Errno(libc::EROFS);

/// A call that would make a name.
unsafe fn make<R: Answer>(dir: c_int, path: *const c_char, native: impl Fn(c_int, *const c_char) -> R) -> R {
    let spelled = match route::virtual_or(dir, path, &native) {
        Ok(spelled) => spelled,
        Err(result) => return result,
    };
    route::end(inside::answer(|| new_name(&spelled)), native)
}

fn new_name<R>(spelled: &[u8]) -> Result<Step<R>, Errno> {
    match namespace::resolve(spelled, LastLink::Keep) {
        Ok(Resolved::Node(_)) => Err(Errno(libc::EEXIST)),
        Ok(Resolved::Outside(path)) => Ok(Step::Outside(CString::new(path)?)),
        Err(Errno(libc::ENOENT)) => in_parent(spelled),
        Err(error) => Err(error),
    }
}

/// A call that would remove a name.
unsafe fn unmake<R: Answer>(dir: c_int, path: *const c_char, native: impl Fn(c_int, *const c_char) -> R) -> R {
    let spelled = match route::virtual_or(dir, path, &native) {
        Ok(spelled) => spelled,
        Err(result) => return result,
    };
    route::end(inside::answer(|| in_parent(&spelled)), native)
}

fn in_parent<R>(spelled: &[u8]) -> Result<Step<R>, Errno> {
    match route::parent(spelled)? {
        Parent::Inside => Err(READ_ONLY),
        Parent::Outside(path) => Ok(Step::Outside(path)),
    }
}

/// A call that would change what is at a path.
unsafe fn alter<R: Answer>(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    native: impl Fn(c_int, *const c_char) -> R,
) -> R {
    route::path_or_descriptor(dir, path, flags, native, |_| Err(READ_ONLY))
}

/// A call that would change what a descriptor stands for: the cache's file, if it were let through.
fn alter_descriptor(fd: c_int, native: impl FnOnce() -> c_int) -> c_int {
    route::contents(fd, native, |_| Err(READ_ONLY))
}

const NO_FOLLOW: c_int = libc::AT_SYMLINK_NOFOLLOW;

pub(crate) unsafe fn mkdir(real: C2<*const c_char, mode_t, c_int>, path: *const c_char, mode: mode_t) -> c_int {
    make(AT_FDCWD, path, |_, path| real(path, mode))
}

pub(crate) unsafe fn mkdirat(
    real: C3<c_int, *const c_char, mode_t, c_int>,
    dir: c_int,
    path: *const c_char,
    mode: mode_t,
) -> c_int {
    make(dir, path, |dir, path| real(dir, path, mode))
}

pub(crate) unsafe fn mkfifo(real: C2<*const c_char, mode_t, c_int>, path: *const c_char, mode: mode_t) -> c_int {
    make(AT_FDCWD, path, |_, path| real(path, mode))
}

pub(crate) unsafe fn mkfifoat(
    real: C3<c_int, *const c_char, mode_t, c_int>,
    dir: c_int,
    path: *const c_char,
    mode: mode_t,
) -> c_int {
    make(dir, path, |dir, path| real(dir, path, mode))
}

pub(crate) unsafe fn mknod(path: *const c_char, mode: mode_t, device: dev_t) -> c_int {
    mknodat(AT_FDCWD, path, mode, device)
}

pub(crate) unsafe fn mknodat(dir: c_int, path: *const c_char, mode: mode_t, device: dev_t) -> c_int {
    make(dir, path, |dir, path| {
        let arguments = [dir as usize, path as usize, mode as usize, device as usize, 0, 0];
        sys::call(libc::SYS_mknodat, arguments).map_or_else(c_int::fail, |_| 0)
    })
}

pub(crate) unsafe fn xmknod(_version: c_int, path: *const c_char, mode: mode_t, device: *mut dev_t) -> c_int {
    mknodat(AT_FDCWD, path, mode, *device)
}

pub(crate) unsafe fn xmknodat(
    _version: c_int,
    dir: c_int,
    path: *const c_char,
    mode: mode_t,
    device: *mut dev_t,
) -> c_int {
    mknodat(dir, path, mode, *device)
}

pub(crate) unsafe fn symlink(
    real: C2<*const c_char, *const c_char, c_int>,
    target: *const c_char,
    path: *const c_char,
) -> c_int {
    make(AT_FDCWD, path, |_, path| real(target, path))
}

pub(crate) unsafe fn symlinkat(
    real: C3<*const c_char, c_int, *const c_char, c_int>,
    target: *const c_char,
    dir: c_int,
    path: *const c_char,
) -> c_int {
    make(dir, path, |dir, path| real(target, dir, path))
}

pub(crate) unsafe fn link(
    real: C2<*const c_char, *const c_char, c_int>,
    from: *const c_char,
    to: *const c_char,
) -> c_int {
    hard_link(AT_FDCWD, from, AT_FDCWD, to, 0, |_, from, _, to| real(from, to))
}

pub(crate) unsafe fn linkat(
    real: C5<c_int, *const c_char, c_int, *const c_char, c_int, c_int>,
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    hard_link(from_dir, from, to_dir, to, flags, |from_dir, from, to_dir, to| real(from_dir, from, to_dir, to, flags))
}

/// One end of a call with two paths.
enum End {
    /// As the caller has it, or a native path in its place.
    Native(Option<CString>),
    /// In the tree; the repository it lies in.
    Virtual(Option<Node>),
}

impl End {
    fn path(&self, given: *const c_char) -> *const c_char {
        match self {
            End::Native(Some(path)) => path.as_ptr(),
            _ => given,
        }
    }

    /// Whether a link between the two would stay in one file system.
    fn same_file_system(&self, other: &End) -> bool {
        let dev = |node: &Option<Node>| node.as_ref().map(|node| node.attributes().dev);
        match (self, other) {
            (End::Native(_), End::Native(_)) => true,
            (End::Virtual(a), End::Virtual(b)) => dev(a) == dev(b),
            _ => false,
        }
    }
}

/// The directory that holds a name, as an end of a call.
unsafe fn holder(dir: c_int, path: *const c_char) -> Result<End, Errno> {
    if inside::is_inside() {
        return Ok(End::Native(None));
    }
    let Some(spelled) = place::spelled(dir, path) else { return Ok(End::Native(None)) };
    inside::answer(|| match route::parent(&spelled)? {
        Parent::Outside(path) => Ok(End::Native(Some(path))),
        Parent::Inside => {
            let end = spelled.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
            let slash = spelled.get(..end).and_then(|p| p.iter().rposition(|&b| b == b'/')).unwrap_or(0);
            match namespace::resolve(spelled.get(..slash).unwrap_or_default(), LastLink::Follow) {
                Ok(Resolved::Node(node)) => Ok(End::Virtual(Some(node))),
                _ => Ok(End::Virtual(None)),
            }
        }
    })
}

unsafe fn hard_link(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_int,
    native: impl Fn(c_int, *const c_char, c_int, *const c_char) -> c_int,
) -> c_int {
    let own = |from: &End, to: &End| matches!((from, to), (End::Native(None), End::Native(None)));
    let source = if flags & libc::AT_EMPTY_PATH != 0 && *from == 0 {
        place::of_descriptor(from_dir).map_or(Ok(End::Native(None)), |_| Ok(End::Virtual(None)))
    } else if flags & libc::AT_SYMLINK_FOLLOW != 0 && !inside::is_inside() && place::behind_link(from).is_some() {
        // The kernel would give the cache's file another name, by which it could be changed.
        Ok(End::Virtual(None))
    } else {
        holder(from_dir, from)
    };
    let (source, target) = match (source, holder(to_dir, to)) {
        (Ok(source), Ok(target)) => (source, target),
        (Err(error), _) | (_, Err(error)) => return c_int::fail(error),
    };
    if own(&source, &target) {
        return native(from_dir, from, to_dir, to);
    }
    // What is linked must exist, then the new name must not.
    if let (End::Virtual(_), Some(spelled)) = (&source, place::spelled(from_dir, from)) {
        let last = if flags & libc::AT_SYMLINK_FOLLOW != 0 { LastLink::Follow } else { LastLink::Keep };
        if let Err(error) = inside::answer(|| namespace::resolve(&spelled, last)) {
            return c_int::fail(error);
        }
    } else if let End::Native(_) = &source
        && let Err(error) = exists(from_dir, source.path(from))
    {
        return c_int::fail(error);
    }
    if let (End::Virtual(_), Some(spelled)) = (&target, place::spelled(to_dir, to)) {
        match inside::answer(|| namespace::resolve(&spelled, LastLink::Keep)) {
            Ok(_) => return c_int::fail(Errno(libc::EEXIST)),
            Err(Errno(libc::ENOENT)) => {}
            Err(error) => return c_int::fail(error),
        }
        // The kernel says this before it compares the file systems.
        if !source.same_file_system(&target) {
            return c_int::fail(READ_ONLY);
        }
    } else if matches!(target, End::Native(_)) && exists(to_dir, target.path(to)).is_ok() {
        return c_int::fail(Errno(libc::EEXIST));
    }
    match (&source, &target) {
        (End::Native(_), End::Native(_)) => native(from_dir, source.path(from), to_dir, target.path(to)),
        _ if source.same_file_system(&target) => c_int::fail(READ_ONLY),
        _ => c_int::fail(Errno(libc::EXDEV)),
    }
}

unsafe fn exists(dir: c_int, path: *const c_char) -> Result<(), Errno> {
    let mut buf = std::mem::zeroed();
    sys::fstatat(dir, path, &mut buf, NO_FOLLOW).map(|_| ())
}

pub(crate) unsafe fn rename(
    real: C2<*const c_char, *const c_char, c_int>,
    from: *const c_char,
    to: *const c_char,
) -> c_int {
    move_name(AT_FDCWD, from, AT_FDCWD, to, |_, from, _, to| real(from, to))
}

pub(crate) unsafe fn renameat(
    real: C4<c_int, *const c_char, c_int, *const c_char, c_int>,
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
) -> c_int {
    move_name(from_dir, from, to_dir, to, |from_dir, from, to_dir, to| real(from_dir, from, to_dir, to))
}

pub(crate) unsafe fn renameat2(
    real: C5<c_int, *const c_char, c_int, *const c_char, c_uint, c_int>,
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    move_name(from_dir, from, to_dir, to, |from_dir, from, to_dir, to| real(from_dir, from, to_dir, to, flags))
}

unsafe fn move_name(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    native: impl Fn(c_int, *const c_char, c_int, *const c_char) -> c_int,
) -> c_int {
    let (source, target) = match (holder(from_dir, from), holder(to_dir, to)) {
        (Ok(source), Ok(target)) => (source, target),
        (Err(error), _) | (_, Err(error)) => return c_int::fail(error),
    };
    match (&source, &target) {
        (End::Native(_), End::Native(_)) => native(from_dir, source.path(from), to_dir, target.path(to)),
        _ if source.same_file_system(&target) => c_int::fail(READ_ONLY),
        _ => c_int::fail(Errno(libc::EXDEV)),
    }
}

pub(crate) unsafe fn unlink(real: C1<*const c_char, c_int>, path: *const c_char) -> c_int {
    unmake(AT_FDCWD, path, |_, path| real(path))
}

pub(crate) unsafe fn unlinkat(
    real: C3<c_int, *const c_char, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    flags: c_int,
) -> c_int {
    unmake(dir, path, |dir, path| real(dir, path, flags))
}

pub(crate) unsafe fn rmdir(real: C1<*const c_char, c_int>, path: *const c_char) -> c_int {
    unmake(AT_FDCWD, path, |_, path| real(path))
}

pub(crate) unsafe fn remove(real: C1<*const c_char, c_int>, path: *const c_char) -> c_int {
    unmake(AT_FDCWD, path, |_, path| real(path))
}

pub(crate) unsafe fn chmod(real: C2<*const c_char, mode_t, c_int>, path: *const c_char, mode: mode_t) -> c_int {
    alter(AT_FDCWD, path, 0, |_, path| real(path, mode))
}

pub(crate) unsafe fn lchmod(real: C2<*const c_char, mode_t, c_int>, path: *const c_char, mode: mode_t) -> c_int {
    alter(AT_FDCWD, path, NO_FOLLOW, |_, path| real(path, mode))
}

pub(crate) unsafe fn fchmod(real: C2<c_int, mode_t, c_int>, fd: c_int, mode: mode_t) -> c_int {
    alter_descriptor(fd, || real(fd, mode))
}

pub(crate) unsafe fn fchmodat(
    real: C4<c_int, *const c_char, mode_t, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    mode: mode_t,
    flags: c_int,
) -> c_int {
    alter(dir, path, flags, |dir, path| real(dir, path, mode, flags))
}

type Chown = C3<*const c_char, uid_t, gid_t, c_int>;

pub(crate) unsafe fn chown(real: Chown, path: *const c_char, uid: uid_t, gid: gid_t) -> c_int {
    alter(AT_FDCWD, path, 0, |_, path| real(path, uid, gid))
}

pub(crate) unsafe fn lchown(real: Chown, path: *const c_char, uid: uid_t, gid: gid_t) -> c_int {
    alter(AT_FDCWD, path, NO_FOLLOW, |_, path| real(path, uid, gid))
}

pub(crate) unsafe fn fchown(real: C3<c_int, uid_t, gid_t, c_int>, fd: c_int, uid: uid_t, gid: gid_t) -> c_int {
    alter_descriptor(fd, || real(fd, uid, gid))
}

pub(crate) unsafe fn fchownat(
    real: C5<c_int, *const c_char, uid_t, gid_t, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    uid: uid_t,
    gid: gid_t,
    flags: c_int,
) -> c_int {
    alter(dir, path, flags, |dir, path| real(dir, path, uid, gid, flags))
}

pub(crate) unsafe fn truncate(real: C2<*const c_char, off_t, c_int>, path: *const c_char, length: off_t) -> c_int {
    let native = |_: c_int, path: *const c_char| real(path, length);
    route::path(AT_FDCWD, path, LastLink::Follow, native, |node| {
        Err(match node.kind() {
            FileKind::Directory => Errno(libc::EISDIR),
            FileKind::Regular => READ_ONLY,
            _ => Errno(libc::EINVAL),
        })
    })
}

pub(crate) unsafe fn utime(
    real: C2<*const c_char, *const utimbuf, c_int>,
    path: *const c_char,
    times: *const utimbuf,
) -> c_int {
    alter(AT_FDCWD, path, 0, |_, path| real(path, times))
}

pub(crate) unsafe fn utimes(
    real: C2<*const c_char, *const timeval, c_int>,
    path: *const c_char,
    times: *const timeval,
) -> c_int {
    alter(AT_FDCWD, path, 0, |_, path| real(path, times))
}

pub(crate) unsafe fn lutimes(
    real: C2<*const c_char, *const timeval, c_int>,
    path: *const c_char,
    times: *const timeval,
) -> c_int {
    alter(AT_FDCWD, path, NO_FOLLOW, |_, path| real(path, times))
}

pub(crate) unsafe fn futimes(real: C2<c_int, *const timeval, c_int>, fd: c_int, times: *const timeval) -> c_int {
    alter_descriptor(fd, || real(fd, times))
}

pub(crate) unsafe fn futimesat(
    real: C3<c_int, *const c_char, *const timeval, c_int>,
    dir: c_int,
    path: *const c_char,
    times: *const timeval,
) -> c_int {
    // A null path means the descriptor.
    let flags = if path.is_null() { libc::AT_EMPTY_PATH } else { 0 };
    alter(dir, path, flags, |dir, path| real(dir, path, times))
}

pub(crate) unsafe fn futimens(real: C2<c_int, *const timespec, c_int>, fd: c_int, times: *const timespec) -> c_int {
    alter_descriptor(fd, || real(fd, times))
}

pub(crate) unsafe fn utimensat(
    real: C4<c_int, *const c_char, *const timespec, c_int, c_int>,
    dir: c_int,
    path: *const c_char,
    times: *const timespec,
    flags: c_int,
) -> c_int {
    // Unlike the kernel, the C library takes no null path here, not even for the descriptor itself.
    alter(dir, path, flags, |dir, path| real(dir, path, times, flags))
}

type SetAttribute = C5<*const c_char, *const c_char, *const c_void, size_t, c_int, c_int>;

pub(crate) unsafe fn setxattr(
    real: SetAttribute,
    path: *const c_char,
    name: *const c_char,
    value: *const c_void,
    size: size_t,
    flags: c_int,
) -> c_int {
    alter(AT_FDCWD, path, 0, |_, path| real(path, name, value, size, flags))
}

pub(crate) unsafe fn lsetxattr(
    real: SetAttribute,
    path: *const c_char,
    name: *const c_char,
    value: *const c_void,
    size: size_t,
    flags: c_int,
) -> c_int {
    alter(AT_FDCWD, path, NO_FOLLOW, |_, path| real(path, name, value, size, flags))
}

pub(crate) unsafe fn fsetxattr(
    real: C5<c_int, *const c_char, *const c_void, size_t, c_int, c_int>,
    fd: c_int,
    name: *const c_char,
    value: *const c_void,
    size: size_t,
    flags: c_int,
) -> c_int {
    alter_descriptor(fd, || real(fd, name, value, size, flags))
}

pub(crate) unsafe fn removexattr(
    real: C2<*const c_char, *const c_char, c_int>,
    path: *const c_char,
    name: *const c_char,
) -> c_int {
    alter(AT_FDCWD, path, 0, |_, path| real(path, name))
}

pub(crate) unsafe fn lremovexattr(
    real: C2<*const c_char, *const c_char, c_int>,
    path: *const c_char,
    name: *const c_char,
) -> c_int {
    alter(AT_FDCWD, path, NO_FOLLOW, |_, path| real(path, name))
}

pub(crate) unsafe fn fremovexattr(real: C2<c_int, *const c_char, c_int>, fd: c_int, name: *const c_char) -> c_int {
    alter_descriptor(fd, || real(fd, name))
}

/// A template for a temporary name: a native one, also where only links lead out, goes on as it is.
unsafe fn temporary<R: Answer>(template: *mut c_char, native: impl Fn() -> R) -> R {
    if inside::is_inside() {
        return native();
    }
    match place::spelled(AT_FDCWD, template) {
        None => native(),
        Some(spelled) => match inside::answer(|| in_parent::<R>(&spelled)) {
            // The caller wants the name back in its own buffer, which has no room for another directory.
            Ok(_) => R::fail(Errno(libc::EXDEV)),
            Err(error) => R::fail(error),
        },
    }
}

pub(crate) unsafe fn mkstemp(real: C1<*mut c_char, c_int>, template: *mut c_char) -> c_int {
    temporary(template, || real(template))
}

pub(crate) unsafe fn mkostemp(real: C2<*mut c_char, c_int, c_int>, template: *mut c_char, flags: c_int) -> c_int {
    temporary(template, || real(template, flags))
}

pub(crate) unsafe fn mkstemps(real: C2<*mut c_char, c_int, c_int>, template: *mut c_char, suffix: c_int) -> c_int {
    temporary(template, || real(template, suffix))
}

pub(crate) unsafe fn mkostemps(
    real: C3<*mut c_char, c_int, c_int, c_int>,
    template: *mut c_char,
    suffix: c_int,
    flags: c_int,
) -> c_int {
    temporary(template, || real(template, suffix, flags))
}

pub(crate) unsafe fn mkdtemp(real: C1<*mut c_char, *mut c_char>, template: *mut c_char) -> *mut c_char {
    temporary(template, || real(template))
}

/// Nothing changes while a revision is mounted: the watch lies on an empty directory in which nothing ever happens.
pub(crate) unsafe fn inotify_add_watch(
    real: C3<c_int, *const c_char, c_uint, c_int>,
    fd: c_int,
    path: *const c_char,
    mask: c_uint,
) -> c_int {
    let last = if mask & libc::IN_DONT_FOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    route::path(
        AT_FDCWD,
        path,
        last,
        |_, path| real(fd, path, mask),
        |node| {
            if mask & libc::IN_ONLYDIR != 0 && node.kind() != FileKind::Directory {
                return Err(Errno(libc::ENOTDIR));
            }
            namespace::check_access(node, libc::R_OK)?;
            let name = view::quiet_directory()?;
            let result = real(fd, name.as_ptr(), mask & !(libc::IN_DONT_FOLLOW | libc::IN_ONLYDIR));
            if result == -1 { Err(Errno(errno::get())) } else { Ok(result) }
        },
    )
}
