//! Calls and answers by tracing: where no listener is to be had, because there is one already or the kernel is too old.
//!
//! The filter stops a thread before each call with a path. One thread of ours, the process's first, traces all threads
//! of the program: it gets these stops, and all others, which it passes on as if nobody traced. A call is answered in the
//! registers: skipped with a result, or made with other arguments and put right when it ends. New strings lie in memory
//! that the thread was made to map before.

mod family;
mod fatal;
mod trial;

use super::Answer;
use super::exchange::Exchange;
use super::listener::Notification;
use super::memory::Memory;
use super::registers::{Registers, ptrace};
use super::rerun::Rerun;
use cvmfs_view::Errno;
use family::{Family, Room, State};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::thread::ThreadId;
pub(super) use trial::works;

/// What we want to be told. When we end, so does the program: without us its calls would fail.
const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACESECCOMP
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// Starts to trace a thread of this user, which runs on.
pub(super) fn seize(tid: u32) -> io::Result<()> {
    ptrace(libc::PTRACE_SEIZE as _, tid, 0, OPTIONS as usize)
}

/// Milliseconds between two looks whether a thread that waits for an answer is to be ended.
const LOOK: i32 = 100;

/// Memory for strings is mapped in pieces of this many bytes.
const ROOM: u64 = 16 << 10;

/// Told once when the program's first process has ended, with its wait status.
type OnEnd = Box<dyn Fn(i32) + Send + Sync>;

/// The tracer of a program.
pub(super) struct Tracer {
    /// Lets a call pass the filter.
    cookie: u64,
    program: u32,
    on_end: OnEnd,
    /// The only thread that may give orders to those that it traces.
    own: ThreadId,
    family: Mutex<Family>,
    /// Answers that other threads have found.
    found: Mutex<Vec<(Notification, Answer)>>,
    /// Calls that nobody has answered yet, and their threads.
    waiting: Mutex<HashMap<u64, u32>>,
    /// Rings when there is an answer.
    bell: OwnedFd,
    /// Readable when a thread may have stopped.
    stops: OwnedFd,
}

fn descriptor(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

impl Tracer {
    /// For `program`, which this thread traces already. `SIGCHLD` must be blocked in all threads of this process.
    pub(super) fn new(cookie: u64, program: u32, on_end: OnEnd) -> io::Result<Tracer> {
        // SAFETY: plain numbers; a zeroed set is initialised before it is read.
        let (bell, stops) = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
            (libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK), libc::signalfd(-1, &set, flags))
        };
        Ok(Tracer {
            cookie,
            program,
            on_end,
            own: std::thread::current().id(),
            family: Mutex::new(Family::new(program)),
            found: Mutex::default(),
            waiting: Mutex::default(),
            bell: descriptor(bell)?,
            stops: descriptor(stops)?,
        })
    }

    /// The next news of a thread; `None` if there are none any more.
    fn next_stop(&self) -> io::Result<Option<(u32, i32)>> {
        loop {
            // Only where others look for answers has somebody to wake us.
            let alone = self.waiting.lock().is_empty();
            let mut status = 0;
            let flags = libc::__WALL | if alone { 0 } else { libc::WNOHANG };
            // SAFETY: room for a status.
            let tid = unsafe { libc::waitpid(-1, &mut status, flags) };
            if tid > 0 {
                return Ok(Some((tid as u32, status)));
            }
            if tid < 0 {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::ECHILD) => return Ok(None),
                    Some(libc::EINTR) => continue,
                    _ => return Err(error),
                }
            }
            let wanted = |fd: &OwnedFd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let mut polls = [wanted(&self.bell), wanted(&self.stops)];
            let mut drained = [0u8; 4096];
            // SAFETY: an array with its length, and a buffer larger than what either descriptor gives.
            unsafe {
                libc::poll(polls.as_mut_ptr(), 2, LOOK);
                while libc::read(self.stops.as_raw_fd(), drained.as_mut_ptr().cast(), drained.len()) > 0 {}
                libc::read(self.bell.as_raw_fd(), drained.as_mut_ptr().cast(), 8);
            }
            self.give_found();
            self.let_signals_end();
        }
    }

    /// A thread that is stopped gets no signal. One that is to be ended makes its call once more, and never gets there.
    fn let_signals_end(&self) {
        let ending = |(_, tid): &(&u64, &u32)| fatal::is_pending(**tid);
        let ending: Vec<(u64, u32)> = self.waiting.lock().iter().filter(ending).map(|(id, tid)| (*id, *tid)).collect();
        for (id, tid) in ending {
            self.waiting.lock().remove(&id);
            let mut family = self.family.lock();
            if let Some(registers) = family.registers(tid) {
                family.end_call(tid);
                let _ = registers.beginning().write(tid);
                go_on(tid, 0);
            }
        }
    }

    fn give_found(&self) {
        let found = std::mem::take(&mut *self.found.lock());
        for (notification, answer) in found {
            self.give_here(&notification, answer);
        }
    }

    /// Deals with a stop; gives a call that has to be answered.
    fn look_at(&self, tid: u32, status: i32) -> Option<Notification> {
        if !libc::WIFSTOPPED(status) {
            self.forget(tid, status);
            return None;
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_SECCOMP => return self.ask(tid),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                self.born(tid, status >> 16);
                go_on(tid, 0);
            }
            libc::PTRACE_EVENT_EXEC => {
                let former = message(tid).unwrap_or(tid);
                self.family.lock().executed(tid, former);
                go_on(tid, 0);
            }
            libc::PTRACE_EVENT_STOP => match signal {
                // It is stopped as without us, until it is told to go on.
                libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => {
                    let _ = ptrace(libc::PTRACE_LISTEN as _, tid, 0, 0);
                }
                // A new one goes on when it is known whose it is.
                _ if self.family.lock().arrives(tid) => go_on(tid, 0),
                _ => {}
            },
            0 if signal == libc::SIGTRAP | 0x80 => self.call_ended(tid),
            0 => go_on(tid, signal),
            _ => go_on(tid, 0),
        }
        None
    }

    fn forget(&self, tid: u32, status: i32) {
        self.waiting.lock().retain(|_, waiting| *waiting != tid);
        for orphan in self.family.lock().gone(tid) {
            go_on(orphan, 0);
        }
        if tid == self.program {
            (self.on_end)(status);
        }
    }

    fn born(&self, parent: u32, event: i32) {
        let Some(child) = message(parent) else { return };
        let shares = match event {
            libc::PTRACE_EVENT_VFORK => true,
            libc::PTRACE_EVENT_CLONE => clone_flags(parent).is_none_or(|flags| flags & libc::CLONE_VM as u64 != 0),
            _ => false,
        };
        if self.family.lock().born(parent, child, shares) {
            go_on(child, 0);
        }
    }

    fn ask(&self, tid: u32) -> Option<Notification> {
        // Killed meanwhile: its end will be told.
        let registers = Registers::read(tid).ok()?;
        let kept = self.family.lock().take_kept(tid, &registers);
        if let Some((rerun, held)) = kept {
            self.make_or_fail(tid, registers, rerun, held);
            return None;
        }
        let id = self.family.lock().asks(tid, registers);
        self.waiting.lock().insert(id, tid);
        Some(Notification::of(id, tid, registers.number(), registers.arguments()))
    }

    fn give_here(&self, notification: &Notification, answer: Answer) {
        let tid = notification.tid;
        if self.waiting.lock().remove(&notification.id).is_none() {
            return;
        }
        let Some(registers) = self.family.lock().registers(tid) else { return };
        let fails = |error: &io::Error| skip(tid, &registers, -i64::from(error.raw_os_error().unwrap_or(libc::EIO)));
        let (rerun, held) = match answer {
            Answer::Resume => return go_on(tid, 0),
            Answer::Value(value) => return skip(tid, &registers, value),
            Answer::Rerun(rerun) => (rerun, None),
            Answer::Open { path, flags, mode } => {
                (Rerun::brief(libc::SYS_openat, opening(flags, mode)).with_string(1, path.as_os_str().as_bytes()), None)
            }
            Answer::Descriptor { file, close_on_exec } => match reopening(&file, close_on_exec) {
                Ok(rerun) => (rerun, Some(file)),
                Err(error) => return fails(&error),
            },
        };
        self.make_or_fail(tid, registers, rerun, held);
    }

    fn make_or_fail(&self, tid: u32, registers: Registers, rerun: Rerun, held: Option<OwnedFd>) {
        if let Err(Errno(errno)) = self.make(tid, registers, rerun, held) {
            self.family.lock().end_call(tid);
            skip(tid, &registers, -i64::from(errno));
        }
    }

    /// Makes the thread, which is before a call, make another one instead. `held` is open until that has ended.
    fn make(&self, tid: u32, registers: Registers, rerun: Rerun, held: Option<OwnedFd>) -> Result<(), Errno> {
        let length = rerun.layout(0).0.len() as u64;
        let mut family = self.family.lock();
        let room = match length {
            0 => None,
            length => match family.take_room(tid, length) {
                Some(room) => Some(room),
                None => {
                    // It maps some, and then makes its own call again, for which this answer is kept.
                    let size = length.next_multiple_of(ROOM);
                    family.set(tid, State::Mapping { registers, size, answer: (rerun, held) });
                    let protection = (libc::PROT_READ | libc::PROT_WRITE) as u64;
                    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
                    let map = registers.entering(libc::SYS_mmap, [0, size, protection, flags, u64::MAX, 0]);
                    return until_end(tid, &map);
                }
            },
        };
        let (bytes, mut arguments) = rerun.layout(room.map_or(0, |room| room.address));
        arguments[5] = self.cookie;
        let written = Memory(tid).write(room.map_or(0, |room| room.address), &bytes);
        family.set(tid, State::Calling { registers, room, held });
        written?;
        until_end(tid, &registers.entering(rerun.number, arguments))
    }

    /// A call has ended that we have put in the place of another.
    fn call_ended(&self, tid: u32) {
        let mut family = self.family.lock();
        match family.end_call(tid) {
            State::Mapping { registers, size, answer } => {
                let address = Registers::read(tid).map(|registers| registers.result()).unwrap_or(-1);
                let next = if (-4095..0).contains(&address) {
                    registers.ending(-i64::from(libc::ENOMEM))
                } else {
                    family.add_room(tid, Room { address: address as u64, size });
                    family.keep(tid, registers, answer);
                    registers.again()
                };
                let _ = next.write(tid);
            }
            State::Calling { registers, .. } => {
                if let Ok(now) = Registers::read(tid) {
                    let _ = registers.ending(now.result()).write(tid);
                }
            }
            _ => {}
        }
        go_on(tid, 0);
    }
}

impl Exchange for Tracer {
    fn receive(&self) -> io::Result<Option<Notification>> {
        while let Some((tid, status)) = self.next_stop()? {
            if let Some(notification) = self.look_at(tid, status) {
                return Ok(Some(notification));
            }
        }
        Ok(None)
    }

    fn is_waiting(&self, id: u64) -> bool {
        self.waiting.lock().contains_key(&id)
    }

    fn give(&self, notification: &Notification, answer: Answer) -> Result<(), Box<Rerun>> {
        if std::thread::current().id() == self.own {
            self.give_here(notification, answer);
        } else {
            self.found.lock().push((*notification, answer));
            let one = 1u64;
            // SAFETY: eight bytes, which is what this descriptor takes.
            unsafe { libc::write(self.bell.as_raw_fd(), std::ptr::from_ref(&one).cast(), size_of::<u64>()) };
        }
        Ok(())
    }

    fn takes_time(&self, _answer: &Answer) -> bool {
        false
    }
}

/// Lets a stopped thread go on, with a signal if that is not 0.
fn go_on(tid: u32, signal: i32) {
    // One that was killed meanwhile needs nothing.
    let _ = ptrace(libc::PTRACE_CONT, tid, 0, signal as usize);
}

/// The thread, which is before a call, finds this result of it.
fn skip(tid: u32, registers: &Registers, result: i64) {
    let _ = registers.skipping(result).write(tid);
    go_on(tid, 0);
}

/// Lets a thread go on with these registers until its call has ended.
fn until_end(tid: u32, registers: &Registers) -> Result<(), Errno> {
    registers.write(tid)?;
    Ok(ptrace(libc::PTRACE_SYSCALL, tid, 0, 0)?)
}

/// What comes along with an event.
fn message(tid: u32) -> Option<u32> {
    let mut message: libc::c_ulong = 0;
    ptrace(libc::PTRACE_GETEVENTMSG as _, tid, 0, std::ptr::from_mut(&mut message) as usize).ok()?;
    u32::try_from(message).ok()
}

/// The flags of the `clone` or `clone3` that a thread is in.
fn clone_flags(tid: u32) -> Option<u64> {
    let registers = Registers::read(tid).ok()?;
    let [first, ..] = registers.arguments();
    if libc::c_long::from(registers.number()) == libc::SYS_clone3 { Memory(tid).word(first).ok() } else { Some(first) }
}

fn opening(flags: i32, mode: u32) -> [u64; 6] {
    [libc::AT_FDCWD as u64, 0, u64::from(flags as u32), mode.into(), 0, 0]
}

/// The call that opens once more what is open here.
fn reopening(file: &OwnedFd, close_on_exec: bool) -> io::Result<Rerun> {
    // SAFETY: plain numbers.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let name = std::fs::read_link(&own)?;
    let (here, there) = (std::fs::metadata(own), std::fs::symlink_metadata(&name));
    let is_there = matches!((here, there), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()));
    // What has no name any more is found through us.
    let ours = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let name = if is_there { name.as_os_str().as_bytes() } else { ours.as_bytes() };
    let flags = flags | if close_on_exec { libc::O_CLOEXEC } else { 0 };
    Ok(Rerun::brief(libc::SYS_openat, opening(flags, 0)).with_string(1, name))
}
