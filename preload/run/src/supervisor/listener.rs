//! The kernel's end of the conversation: notifications come, answers go.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// A system call that waits for our answer (`struct seccomp_notif`).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Notification {
    /// Names it in the answer.
    pub(super) id: u64,
    /// The thread, in our pid namespace.
    pub(super) tid: u32,
    flags: u32,
    /// The system call's number on its architecture.
    pub(super) number: i32,
    architecture: u32,
    instruction: u64,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct AddDescriptor {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

const fn ioctl(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'!' as u64) << 8 | number
}
const RECEIVE: u64 = ioctl(3, 0, size_of::<Notification>());
const SEND: u64 = ioctl(3, 1, size_of::<Response>());
const IS_VALID: u64 = ioctl(1, 2, size_of::<u64>());
const ADD_DESCRIPTOR: u64 = ioctl(1, 3, size_of::<AddDescriptor>());
const SET_FLAGS: u64 = ioctl(1, 4, size_of::<u64>());

const CONTINUE: u32 = 1;
const AND_SEND: u32 = 2;
const SYNC_WAKE_UP: u64 = 1;

/// The listener of a filter.
pub(super) struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    pub(super) fn new(fd: OwnedFd) -> Listener {
        let listener = Listener(fd);
        // Linux 6.6: the answer wakes the caller on this processor. Older kernels say EINVAL.
        // SAFETY: the argument is a number.
        unsafe { libc::ioctl(listener.0.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
        listener
    }

    fn call<T>(&self, request: u64, argument: &mut T) -> io::Result<i32> {
        // SAFETY: each request of this module goes with its own structure, which the kernel reads or fills.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(argument)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    /// Waits for the next notification; `None` when nobody is left who could send one.
    pub(super) fn receive(&self) -> io::Result<Option<Notification>> {
        loop {
            let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one `pollfd`.
            if unsafe { libc::poll(&mut poll, 1, -1) } < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            if poll.revents & libc::POLLIN == 0 && poll.revents & (libc::POLLHUP | libc::POLLERR) != 0 {
                return Ok(None);
            }
            let mut notification = Notification::default();
            match self.call(RECEIVE, &mut notification) {
                Ok(_) => return Ok(Some(notification)),
                // The caller was killed or interrupted before it could be received.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the caller still waits: what is written to its memory would otherwise hit somebody else.
    pub(super) fn is_valid(&self, id: u64) -> bool {
        let mut id = id;
        self.call(IS_VALID, &mut id).is_ok()
    }

    fn respond(&self, id: u64, value: i64, error: i32, flags: u32) {
        // Gone callers need no answer.
        let _ = self.call(SEND, &mut Response { id, value, error, flags });
    }

    /// The call returns `value`.
    pub(super) fn value(&self, id: u64, value: i64) {
        self.respond(id, value, 0, 0);
    }

    /// The call fails with `errno`.
    pub(super) fn error(&self, id: u64, errno: i32) {
        self.respond(id, 0, -errno, 0);
    }

    /// The kernel goes on with the call as if nothing had happened.
    pub(super) fn resume(&self, id: u64) {
        self.respond(id, 0, 0, CONTINUE);
    }

    /// The call returns a new descriptor for `file`.
    pub(super) fn descriptor(&self, id: u64, file: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<()> {
        let target_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
        let mut add = AddDescriptor { id, flags: AND_SEND, source: file.as_raw_fd() as u32, target: 0, target_flags };
        self.call(ADD_DESCRIPTOR, &mut add).map(drop)
    }
}
