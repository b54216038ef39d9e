//! Memory for directory streams: a few that are always there, the others mapped.

use crate::place::Place;
use crate::sys;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};
use libc::{DIR, c_int, c_long, dirent};

/// Bytes of names that the kernel is asked for at once, as glibc does.
const BUFFER: usize = 32 * 1024;
const MARK: u64 = 0x7368_696d_2044_4952;

/// What a `DIR` is here.
#[repr(C)]
pub(crate) struct Stream {
    mark: u64,
    pub(crate) fd: c_int,
    /// The directory in the index whose names are listed; `None` for a native one.
    pub(crate) listed: Option<Listed>,
    /// Native: what of the buffer was not given yet.
    pub(crate) next: usize,
    pub(crate) filled: usize,
    /// Where the stream stands: of a native one what the kernel said with the last entry, else the number of the next.
    pub(crate) position: c_long,
    pub(crate) entry: MaybeUninit<dirent>,
    pub(crate) buffer: Buffer,
}

/// Native entries as the kernel writes them.
#[repr(C, align(16))]
pub(crate) struct Buffer(pub(crate) [MaybeUninit<u8>; BUFFER]);

/// A directory in an index.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    /// Where the names lie: behind a mount point, the root of the catalog that is mounted there.
    pub(crate) inside: Place,
    pub(crate) ino: u64,
    pub(crate) parent_ino: u64,
}

const POOL: usize = 16;

struct Pool([UnsafeCell<MaybeUninit<Stream>>; POOL]);

// SAFETY: who has set a place's bit in `TAKEN` is the only one to use it.
unsafe impl Sync for Pool {}

static STREAMS: Pool = Pool([const { UnsafeCell::new(MaybeUninit::uninit()) }; POOL]);
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Makes a stream over `fd`; `None` if there is no memory.
pub(crate) fn make(fd: c_int, listed: Option<Listed>) -> Option<*mut Stream> {
    let stream = take().or_else(|| {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        unsafe { sys::mmap(0, size_of::<Stream>(), protection, flags, -1) }.ok().map(|address| address as *mut Stream)
    })?;
    // SAFETY: memory of a stream's size and alignment that nobody else knows. The buffer is left as it is.
    unsafe {
        (&raw mut (*stream).fd).write(fd);
        (&raw mut (*stream).listed).write(listed);
        (&raw mut (*stream).next).write(0);
        (&raw mut (*stream).filled).write(0);
        (&raw mut (*stream).position).write(0);
        (&raw mut (*stream).mark).write(MARK);
    }
    Some(stream)
}

fn take() -> Option<*mut Stream> {
    let mut taken = TAKEN.load(Ordering::Relaxed);
    loop {
        let free = taken.trailing_ones() as usize;
        let place = STREAMS.0.get(free)?;
        match TAKEN.compare_exchange_weak(taken, taken | 1 << free, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Some(place.get().cast()),
            Err(now) => taken = now,
        }
    }
}

/// The stream behind a pointer, if it is one of ours.
///
/// # Safety
/// `dir` is null, wild, or a directory stream of whomever's.
pub(crate) unsafe fn ours<'s>(dir: *mut DIR) -> Option<&'s mut Stream> {
    if crate::route::is_wild(dir) {
        return None;
    }
    let stream = dir.cast::<Stream>();
    // SAFETY: any library's stream has at least eight bytes, and ours is used by one thread at a time, as POSIX asks.
    unsafe { ((&raw const (*stream).mark).read() == MARK).then(|| &mut *stream) }
}

/// Gives a stream's memory back.
pub(crate) fn release(stream: &mut Stream) {
    stream.mark = 0;
    let address = stream as *mut Stream as usize;
    let first = STREAMS.0.as_ptr() as usize;
    if let Some(offset) = address.checked_sub(first)
        && offset < size_of::<Pool>()
    {
        TAKEN.fetch_and(!(1 << (offset / size_of::<Stream>())), Ordering::Release);
        return;
    }
    // SAFETY: mapped by `make` with this length, and the caller's last use.
    let _ = unsafe { sys::cookied(libc::SYS_munmap, [address, size_of::<Stream>(), 0, 0, 0]) };
}
