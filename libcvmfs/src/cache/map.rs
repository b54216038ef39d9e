use super::{Cache, CacheError, Key};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;

/// A file's bytes in memory, never changing. It holds no descriptor: a client maps as many indexes as there are nested
/// catalogs on its way, and a program of others closes descriptors that it did not open. Pages stay when the file is
/// evicted.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is read-only and private to this value, which alone unmaps it; reading from any thread is fine.
unsafe impl Send for Mapping {}
// SAFETY: as above, shared access only reads.
unsafe impl Sync for Mapping {}

impl Cache {
    /// Maps a cached file; `None` if it is not there.
    ///
    /// Only a file that nobody else can write, on a local file system, is mapped itself; of any other the bytes are
    /// copied into sealed memory, since a file truncated by others or a server that goes away would kill the process.
    pub fn map(&self, key: &Key) -> Result<Option<Mapping>, CacheError> {
        let Some(found) = self.find(key, None)? else { return Ok(None) };
        let failed = |e| CacheError::from_io(&found.path, "mapping", e);
        let own = self.top.own(key.namespace()) && found.found != super::Found::Foreign;
        let mapping = match own && self.capabilities().local_file_system {
            true => Mapping::of(&found.file),
            false => sealed_copy(&found.file).and_then(|copy| Mapping::of(&copy)),
        };
        mapping.map(Some).map_err(failed)
    }
}

impl Mapping {
    /// Maps a file that a process of ours has found in its own cache. A file that somebody else could write or that
    /// lies on a network file system must not be given, as [`Cache::map`] explains.
    pub fn of_own_file(path: &std::path::Path) -> io::Result<Mapping> {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
        Mapping::of(&file)
    }

    fn of(file: &File) -> io::Result<Mapping> {
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        if length == 0 {
            return Ok(Mapping { address: NonNull::dangling(), length });
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0)? };
        let address = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Mapping { address, length })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped readable from `address` until drop (or `length` is 0). Nobody changes or
        // shortens the file: it is sealed, or lies in a directory only we can write, where files are never modified.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: exactly the mapping made in `of`; slices borrowed from it cannot outlive `self`.
            let _ = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.length) };
        }
    }
}

fn sealed_copy(source: &File) -> io::Result<File> {
    let fd = rustix::fs::memfd_create("cvmfs", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut copy = File::from(fd);
    io::copy(&mut super::find::AtOffset { file: source, at: 0 }, &mut copy)?;
    rustix::fs::fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(copy)
}
