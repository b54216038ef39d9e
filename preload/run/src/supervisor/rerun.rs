//! Making a call again with other arguments.
//!
//! The thread is seized while it waits for our answer, told `EINTR`, stopped before it is back in its program, given
//! other registers and let go: it makes the system call a second time, with the cookie that passes the filter. New
//! strings lie in a mapping of their own, for what is below its stack or near its own strings may belong to others: to a
//! goroutine, or to the parent of a `vfork`.

use super::calls::At;
use super::exchange::Exchange as _;
use super::listener::{Listener, Notification};
use super::memory::Memory;
use super::registers::{Registers, ptrace};
use cvmfs_view::Errno;
use libc::c_int;
use libcvmfs::namespace::LastLink;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A call to make instead of one that waits.
#[derive(Debug)]
pub(super) struct Rerun {
    pub(super) number: i64,
    arguments: [u64; 6],
    /// Strings, and which arguments point to them.
    strings: Vec<(usize, Vec<u8>)>,
    /// Which argument points to a list of strings, and the list.
    list: Option<(usize, Vec<Item>)>,
    /// Whether we wait for its end.
    brief: bool,
    /// What would do instead of all this, in the call as it is.
    pub(super) own: Option<Own>,
}

/// A path of the program's own, in the place of which another name makes the kernel do the same.
#[derive(Debug)]
pub(super) struct Own {
    /// Where it lies.
    pub(super) address: u64,
    /// The directory from which it is followed.
    pub(super) dir: c_int,
    pub(super) name: Vec<u8>,
    /// Whether the name may be a link that leads there.
    pub(super) follows: bool,
    /// Whether the name is of use after the call.
    pub(super) lasts: bool,
}

/// A string in a list.
#[derive(Debug)]
pub(super) enum Item {
    /// One that the program has.
    There(u64),
    New(Vec<u8>),
}

/// Where mappings for new strings begin: nothing else is found there, and a thread finds its own again.
const SCRATCH: u64 = 0x7e00_0000_0000;
const SCRATCH_ROOM: u64 = 16 << 20;
const SCRATCH_PLACES: u64 = 4096;

impl Rerun {
    /// One that ends at once: the thread finds its registers as they were, but for the result.
    pub(super) fn brief(number: i64, arguments: [u64; 6]) -> Rerun {
        Rerun { number, arguments, strings: Vec::new(), list: None, brief: true, own: None }
    }

    /// One that may take its time: the thread is let go when it begins, and keeps the new arguments in its registers.
    pub(super) fn long(number: i64, arguments: [u64; 6]) -> Rerun {
        Rerun { brief: false, ..Rerun::brief(number, arguments) }
    }

    /// The argument at `position` is this string.
    pub(super) fn with_string(mut self, position: usize, string: &[u8]) -> Rerun {
        self.strings.push((position, string.to_vec()));
        self
    }

    /// The call as it is does the same with `name` in the place of its path.
    pub(super) fn or_in_place(mut self, at: At, name: &[u8], last: LastLink) -> Rerun {
        self.own = Some(Own {
            address: at.path,
            dir: at.dir,
            name: name.to_vec(),
            follows: last == LastLink::Follow,
            lasts: self.number == libc::SYS_execve,
        });
        self
    }

    /// The argument at `position` is this list of strings.
    pub(super) fn with_list(mut self, position: usize, list: Vec<Item>) -> Rerun {
        self.list = Some((position, list));
        self
    }

    /// The path with which a call comes again that may take its time.
    pub(super) fn expected(&self) -> Option<&[u8]> {
        self.strings.first().filter(|_| !self.brief).map(|(_, path)| path.as_slice())
    }

    /// What lies in the scratch mapping at `base`, and the arguments that point there.
    pub(super) fn layout(&self, base: u64) -> (Vec<u8>, [u64; 6]) {
        let mut bytes = Vec::new();
        let mut arguments = self.arguments;
        let mut put = |string: &[u8]| {
            let address = base + bytes.len() as u64;
            bytes.extend_from_slice(string);
            bytes.push(0);
            address
        };
        for (position, string) in &self.strings {
            arguments[*position] = put(string);
        }
        if let Some((position, list)) = &self.list {
            let mut addresses: Vec<u64> = list
                .iter()
                .map(|item| match item {
                    Item::There(address) => *address,
                    Item::New(string) => put(string),
                })
                .collect();
            addresses.push(0);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            arguments[*position] = base + bytes.len() as u64;
            bytes.extend(addresses.iter().flat_map(|address| address.to_ne_bytes()));
        }
        (bytes, arguments)
    }
}

impl Listener {
    /// Lets the thread of `notification` make another call, and answers the notification; not if that is `EPERM`.
    pub(super) fn rerun(&self, notification: &Notification, rerun: &Rerun) -> Result<(), Errno> {
        let mut stopped = Stopped::seize(self, notification)?;
        let (length, _) = rerun.layout(0);
        let base = if length.is_empty() { 0 } else { stopped.map(length.len() as u64)? };
        let (bytes, mut arguments) = rerun.layout(base);
        Memory(notification.tid).write(base, &bytes)?;
        if !rerun.brief {
            // Without the cookie, which would stay in its register and let the thread's next calls pass: this one comes
            // to us again, and goes on in the kernel.
            return stopped.finish(&stopped.registers.call(rerun.number, arguments));
        }
        arguments[5] = self.cookie;
        let result = stopped.make(rerun.number, arguments)?;
        if rerun.number == libc::SYS_execve && result == 0 {
            // Another program, with registers of its own.
            stopped.let_go();
            return Ok(());
        }
        if base != 0 {
            stopped.make(libc::SYS_munmap, [base, length.len() as u64, 0, 0, 0, 0])?;
        }
        stopped.finish(&stopped.registers.returning(result))
    }
}

/// A thread that we hold, behind a system call that failed with `EINTR`. Dropped, it goes on from there.
struct Stopped {
    tid: u32,
    registers: Registers,
    mask: u64,
    held: bool,
}

fn lost(error: io::Error) -> Errno {
    // It was killed meanwhile: nobody will see the number.
    Errno(error.raw_os_error().unwrap_or(libc::ESRCH))
}

impl Stopped {
    /// Fails without an answer to the notification if the thread may not be traced.
    fn seize(listener: &Listener, notification: &Notification) -> Result<Stopped, Errno> {
        let tid = notification.tid;
        let mut refusals = 0;
        while let Err(error) = ptrace(libc::PTRACE_SEIZE as _, tid, 0, libc::PTRACE_O_TRACESYSGOOD as usize) {
            if error.raw_os_error() == Some(libc::ESRCH) || !listener.is_waiting(notification.id) {
                return Err(Errno(libc::ESRCH));
            }
            // A call that was interrupted and comes again may find the thread in our hands still, or just let go.
            if is_held_by_us(tid) {
                std::thread::sleep(RELEASED);
            } else if refusals > 0 {
                return Err(Errno(libc::EPERM));
            } else {
                refusals += 1;
            }
        }
        let interrupted = ptrace(libc::PTRACE_INTERRUPT as _, tid, 0, 0);
        if interrupted.is_err() || !listener.is_waiting(notification.id) {
            // Interrupted meanwhile, or gone: it can only be let go where it stops.
            if wait(tid).is_ok() {
                let _ = ptrace(libc::PTRACE_DETACH, tid, 0, 0);
            }
            return Err(Errno(libc::ESRCH));
        }
        listener.error(notification.id, libc::EINTR);
        // From here on the notification is answered: whatever fails, the program sees EINTR.
        let (_, event) = wait(tid).map_err(lost)?;
        let registers = Registers::read(tid).map_err(lost)?;
        let mut mask = 0u64;
        let at = std::ptr::from_mut(&mut mask) as usize;
        ptrace(libc::PTRACE_GETSIGMASK as _, tid, size_of::<u64>(), at).map_err(lost)?;
        let stopped = Stopped { tid, registers, mask, held: true };
        if event != Stop::Event || registers.result() != -i64::from(libc::EINTR) {
            return Err(Errno(libc::EINTR));
        }
        // No signal comes between before we are done.
        let all = u64::MAX;
        ptrace(libc::PTRACE_SETSIGMASK as _, tid, size_of::<u64>(), std::ptr::from_ref(&all) as usize).map_err(lost)?;
        Ok(stopped)
    }

    /// Makes the thread map memory, and tells where.
    fn map(&mut self, length: u64) -> Result<u64, Errno> {
        let length = length.next_multiple_of(4096);
        let place = SCRATCH + u64::from(self.tid) % SCRATCH_PLACES * SCRATCH_ROOM;
        let there = Memory(self.tid);
        let mut map = |address: u64, fixed: c_int| -> Result<i64, Errno> {
            let protection = (libc::PROT_READ | libc::PROT_WRITE) as u64;
            let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed) as u64;
            self.make(libc::SYS_mmap, [address, length, protection, flags, u64::MAX, 0])
        };
        let mut address = -1;
        if length <= SCRATCH_ROOM {
            address = map(place, libc::MAP_FIXED_NOREPLACE)?;
            // What it mapped before, and still has because the mapping is shared with a parent.
            if address == -i64::from(libc::EEXIST) && length <= 4096 && there.word(place).is_ok() {
                return Ok(place);
            }
        }
        if !(0..).contains(&address) {
            address = map(0, 0)?;
        }
        u64::try_from(address).map_err(|_| Errno(libc::ENOMEM))
    }

    /// Makes a call and tells its result.
    fn make(&mut self, number: i64, arguments: [u64; 6]) -> Result<i64, Errno> {
        self.registers.call(number, arguments).write(self.tid).map_err(lost)?;
        for _ in 0..2 {
            loop {
                ptrace(libc::PTRACE_SYSCALL, self.tid, 0, 0).map_err(lost)?;
                let (tid, stop) = wait(self.tid).map_err(lost)?;
                // A thread that runs another program becomes its process's first one.
                self.tid = tid;
                if stop == Stop::Call {
                    break;
                }
            }
        }
        Ok(Registers::read(self.tid).map_err(lost)?.result())
    }

    /// Lets the thread go on with these registers.
    fn finish(&mut self, registers: &Registers) -> Result<(), Errno> {
        registers.write(self.tid).map_err(lost)?;
        self.let_go();
        Ok(())
    }

    fn let_go(&mut self) {
        self.held = false;
        let mask = std::ptr::from_ref(&self.mask) as usize;
        let _ = ptrace(libc::PTRACE_SETSIGMASK as _, self.tid, size_of::<u64>(), mask);
        let _ = ptrace(libc::PTRACE_DETACH, self.tid, 0, 0);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if self.held {
            let _ = self.registers.write(self.tid);
            self.let_go();
        }
    }
}

/// Time between two looks at whether another thread of ours has let go what it holds.
const RELEASED: Duration = Duration::from_micros(50);

/// Whether a thread of ours traces this one.
fn is_held_by_us(tid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else { return false };
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
    tracer.is_some_and(|tracer| tracer != "0" && Path::new("/proc/self/task").join(tracer).exists())
}

#[derive(PartialEq, Eq)]
enum Stop {
    /// At the beginning or end of a system call.
    Call,
    /// Because we interrupted it, or with its whole group.
    Event,
    Signal,
}

/// Whether calls of this child of ours, which waits for something, could be redirected.
pub(super) fn may_redirect(tid: u32) -> Result<(), Errno> {
    let refused = |_| Errno(libc::EPERM);
    ptrace(libc::PTRACE_SEIZE as _, tid, 0, 0).map_err(refused)?;
    ptrace(libc::PTRACE_INTERRUPT as _, tid, 0, 0).map_err(refused)?;
    wait(tid).map_err(refused)?;
    ptrace(libc::PTRACE_DETACH, tid, 0, 0).map_err(refused)
}

/// The program's first process. Who started it has to learn how it ended; but the kernel tells the end of a child only
/// once to all threads of a process, and who traces it would be the one.
pub(super) static PROGRAM: AtomicU32 = AtomicU32::new(0);

/// Waits until the thread `traced` of the program stops, or has ended, which stays to be told.
fn wait_for_program(traced: u32) -> io::Result<()> {
    loop {
        // SAFETY: a structure of plain numbers.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let wanted = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
        // SAFETY: room for what is told.
        let found = unsafe { libc::waitid(libc::P_PID, traced, &mut info, wanted) };
        let error = io::Error::last_os_error();
        if found < 0 && error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        if found == 0 && matches!(info.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        if found == 0 {
            return Ok(());
        }
    }
}

/// Waits for the one thread that this thread of ours traces, and tells its number too.
fn wait(traced: u32) -> io::Result<(u32, Stop)> {
    let is_program = traced == PROGRAM.load(Ordering::Relaxed);
    if is_program {
        wait_for_program(traced)?;
    }
    // A thread that runs another program gets the number of its process.
    let of = if is_program { traced as i32 } else { -1 };
    let mut status = 0;
    let tid = loop {
        // SAFETY: room for a status.
        let found = unsafe { libc::waitpid(of, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        if found >= 0 {
            break found as u32;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    if !libc::WIFSTOPPED(status) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    let stop = if libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80 {
        Stop::Call
    } else if status >> 16 == libc::PTRACE_EVENT_STOP {
        Stop::Event
    } else {
        Stop::Signal
    };
    Ok((tid, stop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_lists_point_to_each_other() {
        let rerun = Rerun::long(59, [1, 2, 3, 0, 0, 0])
            .with_string(0, b"/bin/sh")
            .with_list(1, vec![Item::New(b"sh".to_vec()), Item::There(77)]);
        let (bytes, arguments) = rerun.layout(0x1000);
        assert_eq!(arguments[0], 0x1000);
        assert_eq!(&bytes[..11], b"/bin/sh\0sh\0");
        assert_eq!(arguments[1] % 8, 0);
        let list: Vec<u64> = bytes[(arguments[1] - 0x1000) as usize..]
            .chunks(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(list, [0x1008, 77, 0]);
        assert_eq!(arguments[2], 3);
    }
}
