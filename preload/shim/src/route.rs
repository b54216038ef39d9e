//! Which paths are ours, which are native, and which only the supervisor knows.

use crate::known::{self, Known};
use crate::place::{self, Lead, Place};
use crate::room;
use crate::start;
use crate::sys::{self, Errno};
use cvmfs_control::{Control, Snapshot};
use cvmfs_index::walk::{LastLink, strip_mount_dir};
use libc::{AT_FDCWD, c_char, c_int, c_long};

/// Longer paths are left to the supervisor: they would need room on a stack that may be small.
pub(crate) const PATH_LIMIT: usize = 448;

/// Where a call goes.
pub(crate) enum Way {
    /// The index has the answer: about this entry.
    Found(Place),
    /// The index has the answer: this error.
    Fails(Errno),
    /// The kernel has the answer.
    Native,
    /// The supervisor decides, by the caller's own system call.
    Supervisor,
}

impl From<Result<Lead, place::Unknown>> for Way {
    #[inline]
    fn from(lead: Result<Lead, place::Unknown>) -> Way {
        match lead {
            Ok(Lead::Place(place)) => Way::Found(place),
            Ok(Lead::Fails(error)) => Way::Fails(Errno(error)),
            Err(place::Unknown) => Way::Supervisor,
        }
    }
}

/// Whether a pointer cannot be one: the kernel says `EFAULT` for it, and we must not touch it.
#[inline]
pub(crate) fn is_wild<T>(pointer: *const T) -> bool {
    !(4096..1 << 47).contains(&(pointer as usize))
}

const PAGE: usize = 4096;

/// Whether a string has no end before memory that cannot be read: then the kernel says `EFAULT`. Only strings that cross
/// a page cost a look.
///
/// # Safety
/// The first byte can be read.
#[inline]
unsafe fn runs_into_nothing(path: *const c_char) -> bool {
    let room = PAGE - (path as usize & (PAGE - 1));
    if room > PATH_LIMIT {
        return false;
    }
    // SAFETY: all of it lies in the page of the first byte.
    let page = unsafe { core::slice::from_raw_parts(path.cast::<u8>(), room) };
    !page.contains(&0) && !is_readable(path as usize + room)
}

/// Asks the kernel whether the page at `address` can be read: it reads a signal mask there, and then refuses to use it.
#[cold]
fn is_readable(address: usize) -> bool {
    let nothing_to_do = usize::MAX;
    // SAFETY: the mask is read by the kernel, which checks it; nothing is changed, since there is no such operation.
    unsafe { sys::cookied(libc::SYS_rt_sigprocmask, [nothing_to_do, address, 0, 8, 0]) != Err(Errno(libc::EFAULT)) }
}

/// The bytes of a C string that is not too long.
///
/// # Safety
/// `path` is a C string.
#[inline]
unsafe fn bounded<'p>(path: *const c_char) -> Option<&'p [u8]> {
    let mut len = 0;
    // SAFETY: reads no further than the NUL.
    unsafe {
        while *path.add(len) != 0 {
            len += 1;
            if len > PATH_LIMIT {
                return None;
            }
        }
        Some(core::slice::from_raw_parts(path.cast(), len))
    }
}

/// Whether a C string starts with `prefix`.
///
/// # Safety
/// `path` is a C string.
#[inline]
unsafe fn starts_with(path: *const c_char, prefix: &[u8]) -> bool {
    // SAFETY: a byte is read only if all before it were equal to bytes that are not NUL.
    prefix.iter().enumerate().all(|(at, &byte)| unsafe { *path.add(at) } as u8 == byte)
}

/// Where a call about a path goes.
///
/// # Safety
/// `path` is a C string, or [wild](is_wild).
#[inline]
pub(crate) unsafe fn path(dir: c_int, path: *const c_char, last: LastLink) -> Way {
    let Some(control) = start::control() else { return Way::Supervisor };
    if is_wild(path) {
        return Way::Native;
    }
    // SAFETY: a C string has at least its end; what is read further is guarded likewise.
    unsafe {
        if runs_into_nothing(path) {
            return Way::Native;
        }
        match *path as u8 {
            b'/' => absolute(control, path, last),
            0 => Way::Native,
            _ => relative(control, dir, path, last),
        }
    }
}

#[inline]
unsafe fn absolute(control: Control<'static>, path: *const c_char, last: LastLink) -> Way {
    let mount_dir = control.mount_dir();
    // SAFETY: reads no further than the NUL.
    unsafe {
        if starts_with(path, mount_dir) && matches!(*path.add(mount_dir.len()) as u8, b'/' | 0) {
            let Some(path) = bounded(path) else { return Way::Supervisor };
            return ours(control, path, path.get(mount_dir.len()..).unwrap_or_default(), last);
        }
        if starts_with(path, control.view_prefix()) {
            return in_view(control, path, last);
        }
        // The kernel's own links and repeated slashes can lead to us.
        match *path.add(1) as u8 {
            b'p' if starts_with(path, b"/proc/") => {
                let process = matches!(*path.add(6) as u8, b'0'..=b'9' | b's' | b't');
                if process { Way::Supervisor } else { Way::Native }
            }
            b'd' if starts_with(path, b"/dev/fd") || starts_with(path, b"/dev/std") => Way::Supervisor,
            b'/' | b'.' => oddly_spelled(control, path, last),
            _ => Way::Native,
        }
    }
}

/// A path below the mount directory; `rest` is what follows that.
#[inline]
fn ours(control: Control<'static>, path: &[u8], rest: &[u8], last: LastLink) -> Way {
    if let Some(inside) = rest.strip_prefix(b"/") {
        let len = inside.iter().position(|&b| b == b'/').unwrap_or(inside.len());
        let (fqrn, inside) = inside.split_at(len);
        if let Some(snapshot) = control.newest(fqrn) {
            match place::look(snapshot, inside) {
                Ok(Lead::Place(place)) if last == LastLink::Keep || !is_link(&place) => return Way::Found(place),
                Ok(Lead::Fails(error)) => return Way::Fails(Errno(error)),
                _ => {}
            }
        }
    }
    place::walk(control, None, path, last).into()
}

fn is_link(place: &Place) -> bool {
    place.entry().is_none_or(|entry| entry.kind() == cvmfs_index::EntryKind::Symlink)
}

#[cold]
unsafe fn oddly_spelled(control: Control<'static>, path: *const c_char, last: LastLink) -> Way {
    // SAFETY: the caller's promise.
    let Some(path) = (unsafe { bounded(path) }) else { return Way::Supervisor };
    if strip_mount_dir(control.mount_dir(), path).is_none() {
        return Way::Native;
    }
    place::walk(control, None, path, last).into()
}

#[cold]
unsafe fn in_view(control: Control<'static>, path: *const c_char, last: LastLink) -> Way {
    // SAFETY: the caller's promise.
    let Some(path) = (unsafe { bounded(path) }) else { return Way::Supervisor };
    // What is beside the view's directories of snapshots is for the supervisor to know.
    let Some((snapshot, rest)) = split_view_name(control, path) else { return Way::Supervisor };
    match (rest, Place::root(snapshot)) {
        (_, None) => Way::Supervisor,
        (b"", Some(root)) => Way::Found(root),
        (rest, Some(root)) => {
            // Relative to the root; that it is a directory is seen where only slashes are left.
            let relative = rest.iter().position(|&b| b != b'/').and_then(|at| rest.get(at..)).unwrap_or(b".");
            place::walk(control, Some(root), relative, last).into()
        }
    }
}

/// Splits the name of something in a snapshot's part of the view: the snapshot, and the path inside the repository.
pub(crate) fn split_view_name<'p>(control: Control<'static>, name: &'p [u8]) -> Option<(Snapshot<'static>, &'p [u8])> {
    let below = name.strip_prefix(control.view_prefix())?.strip_prefix(b"/")?;
    let (key, rest) = below.split_at(below.iter().position(|&b| b == b'/')?);
    let rest = rest.strip_prefix(control.mount_dir())?.strip_prefix(b"/")?;
    let (fqrn, rest) = rest.split_at(rest.iter().position(|&b| b == b'/').unwrap_or(rest.len()));
    let snapshot = control.by_view_key(key)?;
    (snapshot.fqrn() == fqrn).then_some((snapshot, rest))
}

/// What a directory that relative paths start from is.
enum Base {
    Ours(Place),
    Native,
    Unknown,
}

impl From<Base> for Way {
    fn from(base: Base) -> Way {
        match base {
            Base::Ours(place) => Way::Found(place),
            Base::Native => Way::Native,
            Base::Unknown => Way::Supervisor,
        }
    }
}

unsafe fn relative(control: Control<'static>, dir: c_int, path: *const c_char, last: LastLink) -> Way {
    let base = if dir == AT_FDCWD { working_directory(control) } else { of_descriptor(control, dir) };
    match base {
        Base::Native => {
            // From the root, `cvmfs/x` leads to us.
            let mount_dir = control.mount_dir();
            let first = mount_dir.get(1..).and_then(|rest| rest.split(|&b| b == b'/').next()).unwrap_or_default();
            // SAFETY: the caller's promise.
            if unsafe { starts_with(path, first) } { Way::Supervisor } else { Way::Native }
        }
        Base::Unknown => Way::Supervisor,
        Base::Ours(place) => {
            // SAFETY: the caller's promise.
            let Some(path) = (unsafe { bounded(path) }) else { return Way::Supervisor };
            place::walk(control, Some(place), path, last).into()
        }
    }
}

#[inline(never)]
fn working_directory(control: Control<'static>) -> Base {
    room::with(|buf| {
        // SAFETY: a buffer with its length.
        match unsafe { sys::cookied(libc::SYS_getcwd, [buf.as_mut_ptr() as usize, buf.len(), 0, 0, 0]) } {
            Ok(len) => of_name(control, buf.get(..len.saturating_sub(1)).unwrap_or_default()),
            Err(_) => Base::Unknown,
        }
    })
}

/// What a directory's descriptor is. What is none, the kernel refuses.
fn of_descriptor(control: Control<'static>, fd: c_int) -> Base {
    glance(control, fd).map_or(Base::Native, |seen| resolve(control, fd, seen))
}

/// What something with this name is: an entry if it lies in the view.
fn of_name(control: Control<'static>, name: &[u8]) -> Base {
    if !name.starts_with(control.view_prefix()) {
        return Base::Native;
    }
    let Some((snapshot, rest)) = split_view_name(control, name) else { return Base::Unknown };
    match place::look(snapshot, rest) {
        Ok(Lead::Place(place)) => Base::Ours(place),
        _ => Base::Unknown,
    }
}

/// Where a call about an open descriptor goes.
pub(crate) fn open_descriptor(fd: c_int) -> Way {
    let Some(control) = start::control() else { return Way::Supervisor };
    glance(control, fd).map_or(Way::Supervisor, |seen| resolve(control, fd, seen).into())
}

/// Where a call about an open descriptor goes, of which the kernel says `found`.
pub(crate) fn descriptor(control: Control<'static>, fd: c_int, found: &libc::stat) -> Way {
    resolve(control, fd, seen(control, found)).into()
}

/// What is seen of an open descriptor without asking for its name.
enum Seen {
    Native,
    Ours(Place),
    /// Its name tells, and can be remembered under this.
    Named(Option<known::Key>),
}

/// Looks at an open descriptor. What the kernel says of it lies on the stack no longer than here.
#[inline(never)]
fn glance(control: Control<'static>, fd: c_int) -> Option<Seen> {
    Some(seen(control, &sys::fstat(fd).ok()?))
}

fn seen(control: Control<'static>, found: &libc::stat) -> Seen {
    use cvmfs_control::Flags;
    if found.st_dev != control.view_device() {
        return Seen::Native;
    }
    // A name in the view is one of several, or a copy that nobody may write to; what the cache has made itself, never.
    let unlike = found.st_nlink == 1 || control.flags().contains(Flags::VIEW_FILES_ARE_READ_ONLY);
    let writable = found.st_mode & 0o222 != 0 && unlike;
    match found.st_mode & libc::S_IFMT {
        libc::S_IFREG if writable => return Seen::Native,
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFLNK => {}
        // Pipes of a repository are made in the view, too.
        libc::S_IFIFO => {}
        _ => return Seen::Native,
    }
    let key = known::key(found);
    match key.as_ref().and_then(known::recall) {
        Some(Known::Ours(place)) => Seen::Ours(place),
        Some(Known::Native) => Seen::Native,
        None => Seen::Named(key),
    }
}

fn resolve(control: Control<'static>, fd: c_int, seen: Seen) -> Base {
    let key = match seen {
        Seen::Native => return Base::Native,
        Seen::Ours(place) => return Base::Ours(place),
        Seen::Named(key) => key,
    };
    let base = named(control, fd);
    match (&key, &base) {
        (Some(key), Base::Ours(place)) => known::remember(key, Some(place)),
        (Some(key), Base::Native) => known::remember(key, None),
        _ => {}
    }
    base
}

#[inline(never)]
fn named(control: Control<'static>, fd: c_int) -> Base {
    room::with(|buf| match sys::descriptor_name(fd, buf) {
        Ok(name) => of_name(control, name),
        Err(_) => Base::Unknown,
    })
}

/// Issues a native call. Where it fails because something is not there, it may be only the kernel that does not know
/// it: then the supervisor decides.
///
/// # Safety
/// As for the call; `path` is its path argument, relative to `dir`.
#[inline]
pub(crate) unsafe fn native(number: c_long, arguments: [usize; 5], dir: c_int, path: *const c_char) -> sys::Result {
    // SAFETY: passed on.
    unsafe {
        match by_kernel(number, arguments, dir, path) {
            Some(result) => result,
            None => sys::plain(number, arguments),
        }
    }
}

/// As [`native`]; `None` if the supervisor has to decide.
///
/// # Safety
/// As for the call; `path` is its path argument, relative to `dir`.
#[inline]
pub(crate) unsafe fn by_kernel(
    number: c_long,
    arguments: [usize; 5],
    dir: c_int,
    path: *const c_char,
) -> Option<sys::Result> {
    // SAFETY: passed on.
    unsafe {
        match sys::cookied(number, arguments) {
            Err(Errno(libc::ENOENT | libc::ENOTDIR)) if !is_certain(dir, path) => None,
            result => Some(result),
        }
    }
}

/// `struct open_how` of `openat2`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const RESOLVE_NO_SYMLINKS: u64 = 4;

/// Whether a native path is certainly absent: there is neither a link on it that could lead to us, nor a `..`.
#[inline(never)]
unsafe fn is_certain(dir: c_int, path: *const c_char) -> bool {
    if is_wild(path) {
        return true;
    }
    // SAFETY: the caller's promise.
    let Some(bytes) = (unsafe { bounded(path) }) else { return false };
    if bytes.is_empty() {
        return true;
    }
    if bytes.starts_with(b"..") || bytes.windows(3).any(|window| window == b"/..") {
        return false;
    }
    let how = OpenHow { flags: (libc::O_PATH | libc::O_CLOEXEC) as u64, mode: 0, resolve: RESOLVE_NO_SYMLINKS };
    let open = |path: *const u8, how: &OpenHow| {
        let arguments = [dir as usize, path as usize, how as *const OpenHow as usize, size_of::<OpenHow>(), 0];
        // SAFETY: a C string and a structure with its length.
        unsafe { sys::cookied(libc::SYS_openat2, arguments) }
    };
    match open(bytes.as_ptr(), &how) {
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => true,
        // A link on the way. If it leads to a directory of the kernel's, all that is missing is the last name.
        Err(Errno(libc::ELOOP)) => last_is_missing(dir, bytes),
        Err(_) => false,
        // Somebody has just made it.
        Ok(fd) => {
            let _ = sys::close(fd as c_int);
            false
        }
    }
}

/// Whether the directory of the last name is there, and that name is not.
#[inline(never)]
fn last_is_missing(dir: c_int, path: &[u8]) -> bool {
    let Some(slash) = path.iter().rposition(|&b| b == b'/') else { return false };
    let parent_is_there = room::with(|parent| {
        match (parent.get_mut(..slash), path.get(..slash)) {
            (Some(to), Some(from)) if slash > 0 => to.copy_from_slice(from),
            _ => return false,
        }
        let Some(end) = parent.get_mut(slash) else { return false };
        *end = 0;
        let arguments = [dir as usize, parent.as_ptr() as usize, libc::F_OK as usize, 0, 0];
        // SAFETY: a C string.
        unsafe { sys::cookied(libc::SYS_faccessat, arguments) }.is_ok()
    });
    if !parent_is_there {
        return false;
    }
    let mut target = [0u8; 1];
    let arguments = [dir as usize, path.as_ptr() as usize, target.as_mut_ptr() as usize, target.len(), 0];
    // SAFETY: the caller's C string, and a buffer with its length.
    unsafe { sys::cookied(libc::SYS_readlinkat, arguments) == Err(Errno(libc::ENOENT)) }
}
