//! Directory streams, native ones too: all functions that take a `DIR` must agree on what it is, and those of the C
//! library would open and look at it by calls that the filter stops.
//!
//! As POSIX allows, threads that share a stream must take turns.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::place::Place;
use crate::route::{self, Way};
use crate::stream::{self, Listed, Stream};
use crate::sys::{self, Errno};
use crate::{open, present, start};
use cvmfs_index::walk::LastLink;
use cvmfs_index::{EntryKind, ino};
use libc::{AT_FDCWD, DIR, c_char, c_int, c_long, dirent};

const FLAGS: c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NONBLOCK;
/// Inode number of the mount directory, which holds the repositories.
const TOP_INO: u64 = 1;

pub(crate) unsafe fn opendir(path: *const c_char) -> *mut DIR {
    settle(open_path(path))
}

fn settle(stream: Result<*mut Stream, Errno>) -> *mut DIR {
    match stream {
        Ok(stream) => stream.cast(),
        Err(error) => {
            sys::set_errno(error);
            core::ptr::null_mut()
        }
    }
}

unsafe fn open_path(path: *const c_char) -> Result<*mut Stream, Errno> {
    let arguments = [AT_FDCWD as usize, path as usize, FLAGS as usize, 0, 0];
    let (fd, listed) = match route::path(AT_FDCWD, path, LastLink::Follow) {
        Way::Found(place) => match listed(&place)? {
            // A descriptor for `dirfd`; the names come from the index.
            Some(listed) => (open::open_name(&place, FLAGS | libc::O_NOFOLLOW), Some(listed)),
            None => (None, None),
        },
        Way::Fails(error) => return Err(error),
        Way::Native => match route::by_kernel(libc::SYS_openat, arguments, AT_FDCWD, path) {
            Some(result) => return stream(result? as c_int, None),
            None => (None, None),
        },
        Way::Supervisor => (None, None),
    };
    let fd = match fd {
        Some(fd) => fd,
        None => sys::plain(libc::SYS_openat, arguments)?,
    } as c_int;
    match (listed, start::control()) {
        // What the supervisor opened may be ours all the same, of a catalog that was not at hand before.
        (None, Some(_)) => stream(fd, of_descriptor(fd)?),
        (listed, _) => stream(fd, listed),
    }
}

/// Makes a stream that owns `fd`.
fn stream(fd: c_int, listed: Option<Listed>) -> Result<*mut Stream, Errno> {
    stream::make(fd, listed).ok_or_else(|| {
        let _ = sys::close(fd);
        Errno(libc::ENOMEM)
    })
}

/// The listing of a directory that everybody may read; `None` if the supervisor has to see to it.
fn listed(place: &Place) -> Result<Option<Listed>, Errno> {
    let Some(attributes) = present::attributes(place) else { return Ok(None) };
    if attributes.kind() != EntryKind::Directory {
        return Err(Errno(libc::ENOTDIR));
    }
    let Ok(inside) = place.inside() else { return Ok(None) };
    if attributes.mode & 0o444 != 0o444 {
        return Ok(None);
    }
    let parent = place.parent().and_then(|parent| Some(ino(&parent.entry()?, parent.catalog()?.salt())));
    Ok(Some(Listed { inside, ino: attributes.ino, parent_ino: parent.unwrap_or(TOP_INO) }))
}

/// The listing of an open directory, if it is one of ours.
fn of_descriptor(fd: c_int) -> Result<Option<Listed>, Errno> {
    match route::open_descriptor(fd) {
        // Who has it open was allowed to; what cannot be listed here, the kernel lists.
        Way::Found(place) => listed(&place),
        _ if is_directory(fd)? => Ok(None),
        _ => Err(Errno(libc::ENOTDIR)),
    }
}

#[inline(never)]
fn is_directory(fd: c_int) -> Result<bool, Errno> {
    Ok(sys::fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

pub(crate) unsafe fn fdopendir(fd: c_int) -> *mut DIR {
    settle(adopt(fd))
}

/// A stream over a descriptor, after what glibc checks.
fn adopt(fd: c_int) -> Result<*mut Stream, Errno> {
    // SAFETY: no memory is involved.
    let flags = unsafe { sys::cookied(libc::SYS_fcntl, [fd as usize, libc::F_GETFL as usize, 0, 0, 0]) }? as c_int;
    let listed = match flags & (libc::O_PATH | libc::O_ACCMODE) {
        libc::O_RDONLY | libc::O_RDWR => of_descriptor(fd)?,
        _ if !is_directory(fd)? => return Err(Errno(libc::ENOTDIR)),
        libc::O_WRONLY => return Err(Errno(libc::EINVAL)),
        // One that only names the directory does not list it.
        _ => None,
    };
    stream::make(fd, listed).ok_or(Errno(libc::ENOMEM))
}

/// The next entry; null at the end.
fn next(stream: &mut Stream) -> Result<*mut dirent, Errno> {
    match stream.listed {
        Some(listed) => Ok(next_listed(stream, listed)),
        None => next_native(stream),
    }
}

fn next_listed(stream: &mut Stream, listed: Listed) -> *mut dirent {
    let (Some(directory), Some(catalog)) = (listed.inside.entry(), listed.inside.catalog()) else {
        return core::ptr::null_mut();
    };
    let children = directory.children();
    loop {
        let position = stream.position;
        let (name, number, kind): (&[u8], u64, EntryKind) = match position {
            0 => (b".", listed.ino, EntryKind::Directory),
            1 => (b"..", listed.parent_ino, EntryKind::Directory),
            _ => match u32::try_from(position - 2).ok().and_then(|position| children.get(position)) {
                Some(entry) if entry.is_hidden() => {
                    stream.position += 1;
                    continue;
                }
                Some(entry) => (entry.name(), ino(&entry, catalog.salt()), entry.kind()),
                None => return core::ptr::null_mut(),
            },
        };
        stream.position += 1;
        return write(stream, name, number, kind);
    }
}

fn write(stream: &mut Stream, name: &[u8], number: u64, kind: EntryKind) -> *mut dirent {
    let entry = stream.entry.as_mut_ptr();
    let len = name.len().min(255);
    let size = (core::mem::offset_of!(dirent, d_name) + len + 1).next_multiple_of(8);
    // SAFETY: the entry is the stream's own and has room for 255 bytes and a NUL.
    unsafe {
        (&raw mut (*entry).d_ino).write(number);
        (&raw mut (*entry).d_off).write(stream.position);
        (&raw mut (*entry).d_type).write(kind.dirent_type());
        (&raw mut (*entry).d_reclen).write(size as u16);
        let to = (&raw mut (*entry).d_name).cast::<u8>();
        core::ptr::copy_nonoverlapping(name.as_ptr(), to, len);
        to.add(len).write(0);
    }
    entry
}

fn next_native(stream: &mut Stream) -> Result<*mut dirent, Errno> {
    if stream.next >= stream.filled {
        let buffer = &mut stream.buffer.0;
        let arguments = [stream.fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0];
        // SAFETY: a buffer with its length.
        let filled = match unsafe { sys::cookied(libc::SYS_getdents64, arguments) } {
            // The directory was removed meanwhile.
            Err(Errno(libc::ENOENT)) => 0,
            result => result?,
        };
        (stream.next, stream.filled) = (0, filled);
        if filled == 0 {
            return Ok(core::ptr::null_mut());
        }
    }
    let Some(place) = stream.buffer.0.get_mut(stream.next) else { return Ok(core::ptr::null_mut()) };
    let entry = place.as_mut_ptr().cast::<dirent>();
    // SAFETY: the kernel has filled the buffer up to `filled` with whole entries, aligned to eight bytes, of which the
    // structure of 64-bit C libraries is the same.
    let (length, offset) = unsafe { ((*entry).d_reclen, (*entry).d_off) };
    stream.next += usize::from(length).max(1);
    stream.position = offset;
    Ok(entry)
}

pub(crate) unsafe fn readdir(dir: *mut DIR) -> *mut dirent {
    let entry = match stream::ours(dir) {
        Some(stream) => next(stream),
        None => Err(Errno(libc::EBADF)),
    };
    match entry {
        Ok(entry) => entry,
        Err(error) => {
            sys::set_errno(error);
            core::ptr::null_mut()
        }
    }
}

pub(crate) unsafe fn readdir_r(dir: *mut DIR, entry: *mut dirent, result: *mut *mut dirent) -> c_int {
    let Some(stream) = stream::ours(dir) else { return libc::EBADF };
    result.write(core::ptr::null_mut());
    match next(stream) {
        Ok(found) if found.is_null() => 0,
        Ok(found) => {
            let size = usize::from((*found).d_reclen).min(size_of::<dirent>());
            core::ptr::copy_nonoverlapping(found.cast::<u8>(), entry.cast::<u8>(), size);
            result.write(entry);
            0
        }
        Err(Errno(error)) => error,
    }
}

pub(crate) unsafe fn closedir(dir: *mut DIR) -> c_int {
    let Some(stream) = stream::ours(dir) else { return sys::c_int_result(Err(Errno(libc::EINVAL))) };
    let fd = stream.fd;
    stream::release(stream);
    sys::c_int_result(sys::close(fd))
}

pub(crate) unsafe fn rewinddir(dir: *mut DIR) {
    seekdir(dir, 0);
}

pub(crate) unsafe fn seekdir(dir: *mut DIR, position: c_long) {
    let Some(stream) = stream::ours(dir) else { return };
    stream.position = position;
    if stream.listed.is_none() {
        (stream.next, stream.filled) = (0, 0);
        let arguments = [stream.fd as usize, position as usize, libc::SEEK_SET as usize, 0, 0];
        let _ = sys::cookied(libc::SYS_lseek, arguments);
    }
}

pub(crate) unsafe fn telldir(dir: *mut DIR) -> c_long {
    match stream::ours(dir) {
        Some(stream) => stream.position,
        None => sys::c_result(Err(Errno(libc::EBADF))) as c_long,
    }
}

pub(crate) unsafe fn dirfd(dir: *mut DIR) -> c_int {
    match stream::ours(dir) {
        Some(stream) => stream.fd,
        None => sys::c_int_result(Err(Errno(libc::EINVAL))),
    }
}
