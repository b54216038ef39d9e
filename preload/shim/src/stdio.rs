//! `fopen`.
//!
//! The C library's own opens the file, and later looks at it to find a size for its buffer, by calls that the filter
//! stops. So the file is opened here and given to `fdopen`; and in glibc a regular file's stream gets its buffer here,
//! of the size that glibc would have found. `freopen` is left to the supervisor.
#![allow(unsafe_op_in_unsafe_fn, reason = "every line works on the caller's arguments under the caller's promises")]

use crate::open;
use crate::route;
use crate::sys::{self, Errno, weak};
use core::mem::transmute;
use libc::{AT_FDCWD, FILE, c_char, c_int, c_void, size_t};

type Fopen = extern "C" fn(*const c_char, *const c_char) -> *mut FILE;

pub(crate) unsafe fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    match open_stream(path, mode) {
        Ok(stream) => stream,
        Err(error) => {
            sys::set_errno(error);
            core::ptr::null_mut()
        }
    }
}

unsafe fn open_stream(path: *const c_char, mode: *const c_char) -> Result<*mut FILE, Errno> {
    let fdopen = weak!("fdopen");
    let flags = if route::is_wild(mode) { None } else { flags_of(mode) };
    let Some(flags) = flags.filter(|_| !fdopen.is_null()) else { return by_library(path, mode) };
    let fd = open::at(AT_FDCWD, path, flags | libc::O_LARGEFILE, 0o666)? as c_int;
    // SAFETY: the function of this name has this type in every C library.
    let fdopen: extern "C" fn(c_int, *const c_char) -> *mut FILE = transmute(fdopen);
    let stream = fdopen(fd, mode);
    if stream.is_null() {
        // It has set `errno`, but for what closing may do to it, which is nothing here.
        let _ = sys::close(fd);
        return Ok(stream);
    }
    if !weak!("gnu_get_libc_version").is_null() {
        give_buffer(fd, stream);
    }
    Ok(stream)
}

/// The flags that a mode stands for; `None` if it is wrong, or asks for a conversion of characters.
unsafe fn flags_of(mode: *const c_char) -> Option<c_int> {
    let mut flags = match *mode as u8 {
        b'r' => libc::O_RDONLY,
        b'w' => libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        b'a' => libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
        _ => return None,
    };
    // glibc looks no further.
    for at in 1..7 {
        match *mode.add(at) as u8 {
            0 => break,
            b'+' => flags = (flags & !libc::O_ACCMODE) | libc::O_RDWR,
            b'x' => flags |= libc::O_EXCL,
            b'e' => flags |= libc::O_CLOEXEC,
            b'b' | b't' => {}
            // Characters in another code, files mapped into memory.
            _ => return None,
        }
    }
    Some(flags)
}

/// Goes on to the real function.
unsafe fn by_library(path: *const c_char, mode: *const c_char) -> Result<*mut FILE, Errno> {
    let dlsym = weak!("dlsym");
    if dlsym.is_null() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: the function of this name has this type in every C library.
    let dlsym: extern "C" fn(*mut c_void, *const c_char) -> *mut c_void = transmute(dlsym);
    let real = dlsym(libc::RTLD_NEXT, c"fopen".as_ptr());
    if real.is_null() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: as above.
    let real: Fopen = transmute(real);
    let stream = real(path, mode);
    Ok(stream)
}

/// What a `FILE` of glibc starts with, and two of its marks, as its public headers have them.
const MAGIC: c_int = 0xfbad_0000_u32 as c_int;
const MAGIC_MASK: c_int = 0xffff_0000_u32 as c_int;
const USER_BUFFER: c_int = 1;

/// Gives a stream of glibc the buffer that it would make for itself, and the duty to free it.
unsafe fn give_buffer(fd: c_int, stream: *mut FILE) {
    let flags = stream.cast::<c_int>();
    let (malloc, setvbuf) = (weak!("malloc"), weak!("setvbuf"));
    if malloc.is_null() || setvbuf.is_null() || *flags & (MAGIC_MASK | USER_BUFFER) != MAGIC {
        return;
    }
    // A terminal's stream has rules of its own.
    let size = match sys::fstat(fd) {
        Ok(found) if found.st_mode & libc::S_IFMT == libc::S_IFREG => found.st_blksize as size_t,
        _ => return,
    };
    // SAFETY: the function of this name has this type in every C library.
    let malloc: extern "C" fn(size_t) -> *mut c_void = transmute(malloc);
    // SAFETY: as above.
    let setvbuf: extern "C" fn(*mut FILE, *mut c_char, c_int, size_t) -> c_int = transmute(setvbuf);
    let size = if (1..libc::BUFSIZ as size_t).contains(&size) { size } else { libc::BUFSIZ as size_t };
    let buffer = malloc(size);
    if !buffer.is_null() && setvbuf(stream, buffer.cast(), libc::_IOFBF, size) == 0 && *flags & USER_BUFFER != 0 {
        // From `malloc` as its own would be: so it is freed with the stream, or before another one is set.
        *flags &= !USER_BUFFER;
    }
}
