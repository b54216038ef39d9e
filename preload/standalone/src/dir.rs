//! Directory streams.
//!
//! A stream over a virtual directory is ours; the C library sees none of it. Ours are told from its own by an odd
//! address, which memory of `malloc` never has.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::errno::Errno;
use crate::namespace::{self, FileKind, LastLink, Listing, Node, Resolved};
use crate::route::{self, C1, C2, C3};
use crate::{inside, sys, view};
use libc::{AT_FDCWD, DIR, c_char, c_int, c_long, dirent};
use parking_lot::Mutex;

struct Stream {
    /// On the directory in the view.
    fd: c_int,
    /// Guarded, since POSIX lets threads share a stream in turns.
    state: Mutex<State>,
}

struct State {
    node: Node,
    listing: Listing,
    /// Position of the next entry: 0 is `.`, 1 is `..`, then the names.
    next: usize,
    /// What `readdir` gave last.
    entry: dirent,
}

/// The stream behind a pointer, if it is one of ours.
unsafe fn ours<'s>(dir: *mut DIR) -> Option<&'s Stream> {
    let address = dir as usize;
    (address & 1 == 1).then(|| &*((address & !1) as *const Stream))
}

fn hand_out(fd: c_int, node: Node) -> Result<*mut DIR, Errno> {
    // SAFETY: a structure of plain numbers and bytes.
    let entry = unsafe { std::mem::zeroed() };
    let state = State { listing: node.list()?, node, next: 0, entry };
    let stream = Box::new(Stream { fd, state: Mutex::new(state) });
    Ok((Box::into_raw(stream) as usize | 1) as *mut DIR)
}

fn close(fd: c_int) -> Result<usize, Errno> {
    // SAFETY: no memory is involved.
    unsafe { sys::call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) }
}

/// Opens a virtual directory as the real functions do.
pub(crate) fn open_node(node: &Node) -> Result<*mut DIR, Errno> {
    if node.kind() != FileKind::Directory {
        return Err(Errno(libc::ENOTDIR));
    }
    namespace::check_access(node, libc::R_OK)?;
    let name = view::materialise(node)?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let arguments = [AT_FDCWD as usize, name.as_ptr() as usize, flags as usize, 0, 0, 0];
    // SAFETY: a C string and plain flags.
    let fd = unsafe { sys::call(libc::SYS_openat, arguments) }? as c_int;
    hand_out(fd, node.clone()).inspect_err(|_| {
        let _ = close(fd);
    })
}

pub(crate) unsafe fn opendir(real: C1<*const c_char, *mut DIR>, path: *const c_char) -> *mut DIR {
    route::path(AT_FDCWD, path, LastLink::Follow, |_, path| real(path), open_node)
}

pub(crate) unsafe fn fdopendir(real: C1<c_int, *mut DIR>, fd: c_int) -> *mut DIR {
    route::descriptor(
        fd,
        || real(fd),
        |node| {
            if node.kind() != FileKind::Directory {
                return Err(Errno(libc::ENOTDIR));
            }
            hand_out(fd, node.clone())
        },
    )
}

/// Writes the entry at the stream's position and moves on; `false` at the end.
fn next(state: &mut State) -> bool {
    let own;
    let (name, ino, kind): (&[u8], u64, FileKind) = match state.next {
        0 => (b".", state.node.attributes().ino, FileKind::Directory),
        1 => {
            own = state.node.parent().map_or(1, |parent| parent.attributes().ino);
            (b"..", own, FileKind::Directory)
        }
        n => match state.listing.get(n - 2) {
            Some(item) => (&item.name, item.ino, item.kind),
            None => return false,
        },
    };
    state.next += 1;
    let entry = &mut state.entry;
    entry.d_ino = ino;
    entry.d_off = state.next as i64;
    entry.d_type = kind.dirent_type();
    let len = name.len().min(entry.d_name.len() - 1);
    for (to, from) in entry.d_name.iter_mut().zip(name.iter().take(len)) {
        *to = *from as c_char;
    }
    entry.d_name[len] = 0;
    let size = std::mem::offset_of!(dirent, d_name) + len + 1;
    entry.d_reclen = (size.next_multiple_of(8)) as u16;
    true
}

pub(crate) unsafe fn readdir(real: C1<*mut DIR, *mut dirent>, dir: *mut DIR) -> *mut dirent {
    let Some(stream) = ours(dir) else { return real(dir) };
    let result = inside::answer(|| {
        let mut state = stream.state.lock();
        Ok(if next(&mut state) { &raw mut state.entry } else { std::ptr::null_mut() })
    });
    result.unwrap_or(std::ptr::null_mut())
}

pub(crate) unsafe fn readdir_r(
    real: C3<*mut DIR, *mut dirent, *mut *mut dirent, c_int>,
    dir: *mut DIR,
    entry: *mut dirent,
    result: *mut *mut dirent,
) -> c_int {
    let Some(stream) = ours(dir) else { return real(dir, entry, result) };
    let answer = inside::answer(|| {
        let mut state = stream.state.lock();
        *result = std::ptr::null_mut();
        if next(&mut state) {
            let size = usize::from(state.entry.d_reclen).min(size_of::<dirent>());
            std::ptr::copy_nonoverlapping((&raw const state.entry).cast::<u8>(), entry.cast(), size);
            *result = entry;
        }
        Ok(0)
    });
    answer.unwrap_or_else(|error| error.0)
}

pub(crate) unsafe fn closedir(real: C1<*mut DIR, c_int>, dir: *mut DIR) -> c_int {
    if ours(dir).is_none() {
        return real(dir);
    }
    let result = inside::answer(|| {
        let stream = Box::from_raw((dir as usize & !1) as *mut Stream);
        close(stream.fd).map(|_| 0)
    });
    result.unwrap_or_else(<c_int as crate::errno::Answer>::fail)
}

pub(crate) unsafe fn rewinddir(real: C1<*mut DIR, ()>, dir: *mut DIR) {
    match ours(dir) {
        None => real(dir),
        Some(stream) => stream.state.lock().next = 0,
    }
}

pub(crate) unsafe fn seekdir(real: C2<*mut DIR, c_long, ()>, dir: *mut DIR, position: c_long) {
    match ours(dir) {
        None => real(dir, position),
        Some(stream) => stream.state.lock().next = usize::try_from(position).unwrap_or(0),
    }
}

pub(crate) unsafe fn telldir(real: C1<*mut DIR, c_long>, dir: *mut DIR) -> c_long {
    match ours(dir) {
        None => real(dir),
        Some(stream) => stream.state.lock().next as c_long,
    }
}

pub(crate) unsafe fn dirfd(real: C1<*mut DIR, c_int>, dir: *mut DIR) -> c_int {
    match ours(dir) {
        None => real(dir),
        Some(stream) => stream.fd,
    }
}

/// Lists a virtual path for the functions that read a whole directory: names with `.` and `..`, as `struct dirent`.
pub(crate) fn entries(spelled: &[u8]) -> Result<Listed, Errno> {
    let node = match namespace::resolve(spelled, LastLink::Follow)? {
        Resolved::Node(node) => node,
        Resolved::Outside(path) => return Ok(Listed::Outside(std::ffi::CString::new(path)?)),
    };
    if node.kind() != FileKind::Directory {
        return Err(Errno(libc::ENOTDIR));
    }
    namespace::check_access(&node, libc::R_OK)?;
    // SAFETY: a structure of plain numbers and bytes.
    let entry = unsafe { std::mem::zeroed() };
    let mut state = State { listing: node.list()?, node, next: 0, entry };
    let mut all = Vec::with_capacity(state.listing.len() + 2);
    while next(&mut state) {
        all.push(state.entry);
    }
    Ok(Listed::Entries(all))
}

/// What [`entries`] found.
pub(crate) enum Listed {
    /// The entries in order.
    Entries(Vec<dirent>),
    /// The path leads to this native directory.
    Outside(std::ffi::CString),
}
