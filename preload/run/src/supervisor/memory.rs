//! The memory of the program.

use cvmfs_view::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Longest path with its final NUL.
pub(super) const PATH_ROOM: usize = 4096;
const PAGE: u64 = 4096;

/// The memory of the process of one thread. It is somebody else's as soon as that thread is gone: whoever writes
/// looks first whether the notification is still valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory(pub(super) u32);

impl Memory {
    /// Fills the whole buffer from `address`.
    pub(super) fn read(self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
        // SAFETY: `local` is our buffer, and `remote` is not our memory.
        let read = unsafe { libc::process_vm_readv(self.0 as i32, &local, 1, &remote, 1, 0) };
        if read >= 0 {
            return if read as usize == into.len() { Ok(()) } else { Err(Errno(libc::EFAULT)) };
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EFAULT) => Err(Errno(libc::EFAULT)),
            // Forbidden by a container's rules, which seldom know the other way.
            _ => self.file(false)?.read_exact_at(into, address).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Errno(libc::EFAULT),
                _ => Errno(if error.raw_os_error() == Some(libc::EIO) { libc::EFAULT } else { libc::EPERM }),
            }),
        }
    }

    /// Writes all of `from` to `address`.
    pub(super) fn write(self, address: u64, from: &[u8]) -> Result<(), Errno> {
        if from.is_empty() {
            return Ok(());
        }
        let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: from.len() };
        // SAFETY: `local` is only read, and `remote` is not our memory.
        let written = unsafe { libc::process_vm_writev(self.0 as i32, &local, 1, &remote, 1, 0) };
        if written >= 0 {
            return if written as usize == from.len() { Ok(()) } else { Err(Errno(libc::EFAULT)) };
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EFAULT) => Err(Errno(libc::EFAULT)),
            _ => self.file(true)?.write_all_at(from, address).map_err(|_| Errno(libc::EFAULT)),
        }
    }

    /// `EPERM`, whatever the kernel says, if the process may not be looked at.
    /// Writes all of `from` to `address`, also where the program itself may only read: the kernel gives it a copy of the
    /// page, which nobody else sees. Memory that is shared and may only be read is not written to.
    pub(super) fn write_private(self, address: u64, from: &[u8]) -> Result<(), Errno> {
        match self.write(address, from) {
            Err(Errno(libc::EFAULT)) => self.file(true)?.write_all_at(from, address).map_err(|_| Errno(libc::EFAULT)),
            written => written,
        }
    }

    fn file(self, write: bool) -> Result<File, Errno> {
        File::options().read(true).write(write).open(format!("/proc/{}/mem", self.0)).map_err(|_| Errno(libc::EPERM))
    }

    /// The C string at `address`, without its NUL, at most `room` bytes with it.
    ///
    /// `ENAMETOOLONG` if there is no NUL so far, `EFAULT` if it is not readable, `EPERM` if the process may not be
    /// looked at.
    pub(super) fn string(self, address: u64, room: usize) -> Result<Vec<u8>, Errno> {
        if address == 0 {
            return Err(Errno(libc::EFAULT));
        }
        let mut string = Vec::new();
        let mut at = address;
        // Most paths are short; and no read crosses into a page that may not be there.
        let mut most = 256;
        while string.len() < room {
            let until_page = (PAGE - at % PAGE) as usize;
            let length = until_page.min(most).min(room - string.len());
            let start = string.len();
            string.resize(start + length, 0);
            self.read(at, &mut string[start..])?;
            if let Some(end) = string[start..].iter().position(|&b| b == 0) {
                string.truncate(start + end);
                return Ok(string);
            }
            at += length as u64;
            most = PAGE as usize;
        }
        Err(Errno(libc::ENAMETOOLONG))
    }

    /// A path.
    pub(super) fn path(self, address: u64) -> Result<Vec<u8>, Errno> {
        self.string(address, PATH_ROOM)
    }

    /// The number at `address`.
    pub(super) fn word(self, address: u64) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// The addresses in an array that ends with a null, such as `argv`; a null array is an empty one.
    pub(super) fn addresses(self, address: u64) -> Result<Vec<u64>, Errno> {
        /// As many as fit into the largest argument list that the kernel takes.
        const MOST: usize = 1 << 20;
        let mut all = Vec::new();
        let mut at = address;
        while at != 0 {
            let room = ((PAGE - at % PAGE) as usize / 8).max(1);
            let mut bytes = vec![0; room * 8];
            self.read(at, &mut bytes)?;
            for word in bytes.chunks_exact(8) {
                let word = u64::from_ne_bytes(word.try_into().unwrap_or_default());
                if word == 0 {
                    return Ok(all);
                }
                all.push(word);
            }
            if all.len() > MOST {
                return Err(Errno(libc::E2BIG));
            }
            at += bytes.len() as u64;
        }
        Ok(all)
    }
}

/// The bytes of one of the kernel's structures.
pub(super) fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the structures that are sent are made of zeroed bytes and plain numbers, so all bytes are initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
