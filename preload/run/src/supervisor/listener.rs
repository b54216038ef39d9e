//! The kernel's end of the conversation: notifications come, answers go.

use super::Answer;
use super::exchange::Exchange;
use super::leftover::{Leftover, Leftovers};
use super::rerun::Rerun;
use cvmfs_view::Errno;
use rustix::fs::{CWD, Mode, OFlags};
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

impl Notification {
    /// One that did not come from a listener.
    pub(super) fn of(id: u64, tid: u32, number: i32, arguments: [u64; 6]) -> Notification {
        Notification { id, tid, number, arguments, ..Notification::default() }
    }
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
const AT_TARGET: u32 = 1;
const SYNC_WAKE_UP: u64 = 1;

/// The listener of a filter.
pub(super) struct Listener {
    fd: OwnedFd,
    /// Lets a call pass the filter.
    pub(super) cookie: u64,
    leftovers: Leftovers,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Listener {
    pub(super) fn new(fd: OwnedFd, cookie: u64) -> Listener {
        let listener = Listener { fd, cookie, leftovers: Leftovers::default() };
        // Linux 6.6: the answer wakes the caller on this processor. Older kernels say EINVAL.
        // SAFETY: the argument is a number.
        unsafe { libc::ioctl(listener.fd.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
        listener
    }

    fn call<T>(&self, request: u64, argument: &mut T) -> io::Result<i32> {
        // SAFETY: each request of this module goes with its own structure, which the kernel reads or fills.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    /// The same for what must not be lost when we are stopped, as with a whole job, while others hold the kernel's lock.
    fn call_until_done<T>(&self, request: u64, argument: &mut T) -> io::Result<i32> {
        loop {
            match self.call(request, argument) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Whether the caller has got the answer. Gone callers need none.
    fn respond(&self, id: u64, value: i64, error: i32, flags: u32) -> bool {
        self.call_until_done(SEND, &mut Response { id, value, error, flags }).is_ok()
    }

    /// The call fails with `errno`.
    pub(super) fn error(&self, id: u64, errno: i32) {
        let _ = self.respond(id, 0, -errno, 0);
    }

    /// The call returns a new descriptor for `file`.
    ///
    /// In two steps. The kernel can also add and answer in one; but when it is we who are stopped or killed in the middle of
    /// that, as a job is that is suspended, then the call returns 0, and the program takes its standard input for the file.
    fn descriptor(&self, notification: &Notification, file: BorrowedFd<'_>, close_on_exec: bool) {
        let (id, source) = (notification.id, file.as_raw_fd() as u32);
        let target_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
        let leftover = self.leftovers.take(notification.tid);
        let (flags, target) = leftover.as_ref().map_or((0, 0), |leftover| (AT_TARGET, leftover.number));
        let mut add = AddDescriptor { id, flags, source, target, target_flags };
        let untold = match self.call_until_done(ADD_DESCRIPTOR, &mut add) {
            Ok(number) if self.respond(id, number.into(), 0, 0) => None,
            Ok(number) => {
                let number = number as u32;
                file.try_clone_to_owned().ok().map(|file| Leftover { number, file })
            }
            // It was interrupted or killed, and asks again if it still wants it.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => leftover,
            Err(error) => {
                self.error(id, error.raw_os_error().unwrap_or(libc::EIO));
                leftover
            }
        };
        if let Some(untold) = untold {
            self.leftovers.note(notification.tid, untold);
        }
    }
}

impl Exchange for Listener {
    fn receive(&self) -> io::Result<Option<Notification>> {
        loop {
            // Also where the kernel would tell the end of all programs to who receives: a process that was killed while it
            // waits in that call still takes the next notification with it, and nobody ever answers that.
            let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
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

    fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.call_until_done(IS_VALID, &mut id).is_ok()
    }

    fn give(&self, notification: &Notification, answer: Answer) -> Result<(), Box<Rerun>> {
        let id = notification.id;
        match answer {
            Answer::Resume => {
                let _ = self.respond(id, 0, 0, CONTINUE);
            }
            Answer::Value(value) => {
                let _ = self.respond(id, value, 0, 0);
            }
            Answer::Descriptor { file, close_on_exec } => self.descriptor(notification, file.as_fd(), close_on_exec),
            Answer::Open { path, flags, mode } => {
                let given = OFlags::from_bits_retain(flags as u32) | OFlags::CLOEXEC;
                match rustix::fs::openat(CWD, path, given, Mode::from_raw_mode(mode)) {
                    Ok(file) => self.descriptor(notification, file.as_fd(), flags & libc::O_CLOEXEC != 0),
                    Err(errno) => self.error(id, errno.raw_os_error()),
                }
            }
            Answer::Rerun(rerun) => match self.rerun(notification, &rerun) {
                Err(Errno(libc::EPERM)) => return Err(Box::new(rerun)),
                // Gone, or interrupted.
                Ok(()) | Err(Errno(libc::ESRCH | libc::EINTR)) => {}
                Err(Errno(errno)) => self.error(id, errno),
            },
        }
        Ok(())
    }

    fn takes_time(&self, answer: &Answer) -> bool {
        matches!(answer, Answer::Rerun(_))
    }
}
