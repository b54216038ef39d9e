//! Indexes of catalogs, mapped when a path first leads into them and kept.

use crate::start;
use crate::sys::{self, Errno};
use core::sync::atomic::{AtomicUsize, Ordering};
use cvmfs_control::Catalog;
use cvmfs_control::page::CATALOGS;
use cvmfs_index::Index;

/// What lies in the page before a mapped index, so that nothing has to be allocated for it.
struct Mapped {
    address: usize,
    length: usize,
}

const PAGE: usize = 4096;
const UNKNOWN: usize = 0;
const UNUSABLE: usize = 1;
/// By number of the catalog: address of a [`Mapped`], or one of the above.
static MAPPED: [AtomicUsize; CATALOGS] = [const { AtomicUsize::new(UNKNOWN) }; CATALOGS];

/// The index of the catalog with this number; `None` if it cannot be mapped.
#[inline]
pub(crate) fn index(catalog: u32) -> Option<Index<'static>> {
    let place = MAPPED.get(catalog as usize)?;
    match place.load(Ordering::Acquire) {
        UNKNOWN => map(start::control()?.catalog(catalog)?, place),
        UNUSABLE => None,
        // SAFETY: made by `map`, never unmapped and never written to again.
        address => Some(unsafe { of(address as *const Mapped) }),
    }
}

/// # Safety
/// `mapped` was made by `map` and stays.
unsafe fn of(mapped: *const Mapped) -> Index<'static> {
    // SAFETY: the caller's promise; the bytes are those of an index file, which is never modified.
    unsafe {
        let mapped = &*mapped;
        let bytes = core::slice::from_raw_parts(mapped.address as *const u8, mapped.length);
        Index::of_checked(bytes)
    }
}

#[cold]
fn map(catalog: Catalog<'static>, place: &AtomicUsize) -> Option<Index<'static>> {
    let address = match try_map(catalog) {
        Ok(address) => address,
        Err(error) => {
            // What may be different next time is tried again.
            let passing = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR].contains(&error.0);
            if !passing {
                let _ = place.compare_exchange(UNKNOWN, UNUSABLE, Ordering::AcqRel, Ordering::Acquire);
            }
            return None;
        }
    };
    let kept = match place.compare_exchange(UNKNOWN, address, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => address,
        Err(other) => {
            let length = PAGE + catalog.length() as usize;
            // SAFETY: our own mapping, which nobody was told of.
            let _ = unsafe { sys::cookied(libc::SYS_munmap, [address, length, 0, 0, 0]) };
            other
        }
    };
    if kept == UNUSABLE {
        return None;
    }
    // SAFETY: made by this function, here or in another thread.
    Some(unsafe { of(kept as *const Mapped) })
}

fn try_map(catalog: Catalog<'static>) -> Result<usize, Errno> {
    let unusable = Errno(libc::EINVAL);
    let length = usize::try_from(catalog.length()).ok().filter(|&len| len > 0 && len < 1 << 40).ok_or(unusable)?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let arguments = [libc::AT_FDCWD as usize, catalog.file().as_ptr() as usize, flags as usize, 0, 0];
    // SAFETY: a text of the control page has a NUL behind it; plain flags.
    let fd = unsafe { sys::cookied(libc::SYS_openat, arguments) }?;
    let mapped = map_file(fd, length);
    let _ = sys::close(fd as libc::c_int);
    mapped
}

fn map_file(fd: usize, length: usize) -> Result<usize, Errno> {
    let unusable = Errno(libc::EINVAL);
    if sys::fstat(fd as libc::c_int)?.st_size as usize != length {
        return Err(unusable);
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { sys::mmap(0, PAGE + length, protection, flags, -1) }?;
    let address = start + PAGE;
    // SAFETY: replaces all but the first page of the mapping just made.
    let done = unsafe { start::map_shared(fd, address, length, libc::MAP_FIXED) };
    let bytes = match done {
        // SAFETY: just mapped with this length; index files are never modified.
        Some(_) => unsafe { core::slice::from_raw_parts(address as *const u8, length) },
        None => &[],
    };
    match Index::open_any(bytes) {
        Ok(_) => {
            let mapped = Mapped { address, length };
            // SAFETY: the first page is ours, aligned, large enough, and nobody knows of it yet.
            unsafe { (start as *mut Mapped).write(mapped) };
            Ok(start)
        }
        Err(_) => {
            // SAFETY: our own mapping, which nobody was told of.
            let _ = unsafe { sys::cookied(libc::SYS_munmap, [start, PAGE + length, 0, 0, 0]) };
            Err(unusable)
        }
    }
}
