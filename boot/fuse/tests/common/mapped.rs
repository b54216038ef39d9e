//! Files in memory, and what they should show.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

pub(crate) const PAGE: usize = 4096;

/// A part of a file in memory.
pub(crate) struct Mapped<'a> {
    start: *mut libc::c_void,
    length: usize,
    /// What it should show; behind that, zeros to the end of the page.
    bytes: &'a [u8],
    /// A private one that may be written to, and what was.
    written: Option<BTreeMap<usize, u8>>,
}

impl<'a> Mapped<'a> {
    /// Maps `length` bytes of a file from `at` on, of which `content` is all.
    pub(crate) fn of(
        file: &File,
        content: &'a [u8],
        at: usize,
        length: usize,
        (protection, flags): (i32, i32),
    ) -> Mapped<'a> {
        let (fd, offset) = (file.as_raw_fd(), at as libc::off_t);
        // SAFETY: a new mapping of an open file; its address is checked.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, offset) };
        assert_ne!(start, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let length = length.next_multiple_of(PAGE);
        let written = (protection & libc::PROT_WRITE != 0).then(BTreeMap::new);
        Mapped { start, length, bytes: &content[at..(at + length).min(content.len())], written }
    }

    /// Bytes that may be looked at: whole pages of which the file has a part.
    pub(crate) fn visible(&self) -> &[u8] {
        let length = self.bytes.len().next_multiple_of(PAGE).min(self.length);
        // SAFETY: mapped for as long as `self` lives, and nobody writes meanwhile.
        unsafe { std::slice::from_raw_parts(self.start.cast(), length) }
    }

    /// Writes a byte, if that is no other reader's business.
    pub(crate) fn write(&mut self, at: usize, value: u8) {
        let Some(written) = &mut self.written else { return };
        // SAFETY: this mapping is private and may be written to, and the byte is in a page of the file.
        unsafe { self.start.cast::<u8>().add(at).write(value) };
        written.insert(at, value);
    }

    /// Compares all of it.
    pub(crate) fn check(&self) {
        let mut expected = self.bytes.to_vec();
        expected.resize(self.visible().len(), 0);
        for (at, value) in self.written.iter().flatten() {
            expected[*at] = *value;
        }
        agree(self.visible(), &expected);
    }

    /// Gives the kernel advice after which it may read the file again, unless that would undo what was written.
    pub(crate) fn advise(&self, advice: i32) {
        if self.written.is_some() {
            return;
        }
        // SAFETY: the mapping is of a file and was not written to, so that it shows the same afterwards.
        unsafe { libc::madvise(self.start, self.visible().len(), advice) };
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        // SAFETY: mapped by this program, and used by nobody any more.
        unsafe { libc::munmap(self.start, self.length) };
    }
}

/// Compares without printing megabytes.
#[track_caller]
pub(crate) fn agree(found: &[u8], expected: &[u8]) {
    if found == expected {
        return;
    }
    let first = found.iter().zip(expected).position(|(one, other)| one != other);
    panic!("{} bytes instead of {}, the first difference at {first:?}", found.len(), expected.len());
}
