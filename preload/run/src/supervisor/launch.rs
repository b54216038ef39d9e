//! The processes of a run: launcher, supervisor, program.
//!
//! ```text
//! launcher      in the foreground: passes signals on, ends with the program's status; takes over from a supervisor that dies
//! └ supervisor  answers, and adopts what the program leaves behind; lives until the last of them is gone
//!   └ program   with the filter, and all that it starts
//! ```
//!
//! Where the kernel only lets ancestors look into a process (Yama), both are ancestors of all.

use super::engine::Engine;
use super::exchange::Exchange;
use super::in_flight::InFlight;
use super::listener::Listener;
use super::memory::Memory;
use super::rerun::{self, may_redirect};
use super::trace::{self, Tracer};
use super::{Supervisor, filter};
use crate::say::say;
use crate::supervise;
use anyhow::{Context as _, anyhow, bail};
use cvmfs_view::Errno;
use libc::c_int;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time between two looks whether the children of a dead supervisor are ours yet.
const ADOPTION: Duration = Duration::from_millis(5);

/// Time that a thread of the program is stopped to be redirected, about.
const STOP: Duration = Duration::from_micros(200);

/// What the supervisor tells the launcher.
#[repr(u8)]
enum News {
    /// The listener comes along, if there is one; the number is the program's process.
    Started = 1,
    /// The program's calls cannot be had; the number says why.
    Refused = 2,
    /// The program has ended; the number is its wait status.
    Ended = 3,
}

/// How the program's calls come to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As notifications of a seccomp filter.
    Listening,
    /// Where a thread is stopped by such a filter, for who traces it.
    Tracing,
}

/// Why a run under a supervisor ended without an exit status.
pub(crate) enum NotRun {
    /// This kernel or container does not allow what is needed: nothing has been started.
    Refused(io::Error),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for NotRun {
    fn from(error: anyhow::Error) -> NotRun {
        NotRun::Failed(error)
    }
}

/// Runs the program with these variables added, and tells its exit status. With `needs_all` it is not run where not
/// everything can be served, and never where nothing can. What was refused can be tried in another way.
pub(crate) fn run(
    supervisor: &Arc<Supervisor>,
    environment: &[(OsString, OsString)],
    command: &[OsString],
    way: Way,
    needs_all: bool,
) -> Result<u8, NotRun> {
    let in_flight: &'static InFlight = Box::leak(Box::new(InFlight::new().context("making a table")?));
    become_reaper();
    let signals = supervise::forwarded();
    // SAFETY: the set is initialised; only this thread's mask changes.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut()) };
    let (ours, theirs) = UnixStream::pair().context("making a socket")?;
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => return Err(anyhow!(io::Error::last_os_error()).context("starting the supervisor").into()),
        0 => {
            drop(ours);
            let program = Program { environment, command, signals: &signals, way };
            let code = supervise_program(supervisor, theirs, &program, needs_all, in_flight);
            // SAFETY: ends this process without what the launcher had planned for its own end.
            unsafe { libc::_exit(code) };
        }
        _ => {}
    }
    drop(theirs);
    close_inherited();
    let (listener, program) = match receive(&ours).context("the supervisor did not start")? {
        (News::Started, program, listener) => (listener, program),
        (News::Refused, errno, _) => return Err(NotRun::Refused(io::Error::from_raw_os_error(errno))),
        _ => return Err(anyhow!("the supervisor did not start").into()),
    };
    Ok(accompany(supervisor.clone(), &ours, listener, program, &signals, in_flight)?)
}

/// The launcher, while the program runs.
fn accompany(
    supervisor: Arc<Supervisor>,
    news: &UnixStream,
    mut listener: Option<OwnedFd>,
    program: i32,
    signals: &libc::sigset_t,
    in_flight: &'static InFlight,
) -> anyhow::Result<u8> {
    // SAFETY: an initialised set.
    let arriving = unsafe { libc::signalfd(-1, signals, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if arriving < 0 {
        return Err(io::Error::last_os_error()).context("waiting for signals");
    }
    // SAFETY: a new descriptor that nobody else knows.
    let arriving = unsafe { OwnedFd::from_raw_fd(arriving) };
    let mut serves = false;
    let mut adopted = true;
    loop {
        let wanted = |fd: i32| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // When the supervisor is gone there is no news any more.
        let watched = if serves { -1 } else { news.as_raw_fd() };
        let mut polls = [wanted(arriving.as_raw_fd()), wanted(watched)];
        // SAFETY: an array with its length.
        unsafe { libc::poll(polls.as_mut_ptr(), 2, if adopted { -1 } else { ADOPTION.as_millis() as i32 }) };
        while let Some((signal, from_kernel)) = next_signal(&arriving) {
            // What the terminal sends, the program gets by itself.
            if signal != libc::SIGCHLD && !from_kernel {
                // SAFETY: a number; the process is waited for by its parent, which tells us.
                unsafe { libc::kill(program, signal) };
            }
        }
        if polls[1].revents != 0 {
            match receive(news) {
                Ok((News::Ended, status, _)) => return Ok(supervise::exit_code(ExitStatus::from_raw(status))),
                Ok(_) => {}
                Err(_) => {
                    // It died: what it would have answered we answer, and its children are ours now.
                    let Some(listener) = listener.take() else {
                        bail!("the supervisor process died, and the program that it traced with it");
                    };
                    say!("the supervisor process died; going on without it");
                    if supervisor.record.is_some() {
                        say!("what it recorded is lost, no list will be written");
                    }
                    (serves, adopted) = (true, false);
                    rerun::PROGRAM.store(program as u32, Ordering::Relaxed);

                    let listener = Arc::new(Listener::new(listener, supervisor.cookie));
                    let engine = Engine::new(supervisor.clone(), listener, in_flight);
                    engine.take_over();
                    start_clock(&engine)?;
                    start_leader(&engine)?;
                }
            }
        }
        if serves {
            let mut status = 0;
            // SAFETY: room for a status. Threads of ours wait for threads that they trace; those are not meant.
            let found = unsafe { libc::waitpid(program, &mut status, libc::WNOHANG | libc::__WNOTHREAD) };
            if found == program {
                return Ok(supervise::exit_code(ExitStatus::from_raw(status)));
            }
            // A process that dies closes its sockets before its children are given to us.
            adopted = found == 0;
            // SAFETY: no signal is sent.
            if !adopted && unsafe { libc::kill(program, 0) } < 0 {
                bail!("the program was lost together with its supervisor");
            }
        }
    }
}

fn next_signal(arriving: &OwnedFd) -> Option<(i32, bool)> {
    // SAFETY: a structure of plain numbers.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: room for one structure.
    let read = unsafe { libc::read(arriving.as_raw_fd(), std::ptr::from_mut(&mut info).cast(), size) };
    (read == size as isize).then_some((info.ssi_signo as i32, info.ssi_code > 0))
}

/// What is to be run.
struct Program<'a> {
    environment: &'a [(OsString, OsString)],
    command: &'a [OsString],
    /// Blocked here, and not in the program.
    signals: &'a libc::sigset_t,
    way: Way,
}

/// The supervisor process, from its beginning to its end.
fn supervise_program(
    supervisor: &Arc<Supervisor>,
    news: UnixStream,
    to_run: &Program<'_>,
    needs_all: bool,
    in_flight: &'static InFlight,
) -> i32 {
    become_reaper();
    if to_run.way == Way::Tracing
        && let Err(error) = trace::works()
    {
        send(&news, News::Refused, error.raw_os_error().unwrap_or(libc::EIO), None);
        return 0;
    }
    let Ok((ours, theirs)) = UnixStream::pair() else { return 1 };
    // SAFETY: this process has one thread.
    let program = unsafe { libc::fork() };
    if program < 0 {
        return 1;
    }
    if program == 0 {
        drop((ours, news));
        // SAFETY: ends this process without what the launcher had planned for its own end.
        unsafe { libc::_exit(start_program(supervisor, theirs, to_run)) };
    }
    drop(theirs);
    let listener = match receive(&ours) {
        Ok((News::Started, _, listener)) => listener,
        Ok((_, errno, _)) => {
            send(&news, News::Refused, errno, None);
            return 0;
        }
        Err(_) => return 1,
    };
    let looked = may_look_into(program);
    let allowed = looked.and_then(|()| match to_run.way {
        // From here on it is traced.
        Way::Tracing => Ok(trace::seize(program as u32)?),
        Way::Listening if needs_all => may_redirect(program as u32),
        Way::Listening => Ok(()),
    });
    if let Err(Errno(errno)) = allowed {
        // It waits for us, and has done nothing yet.
        // SAFETY: a child of ours that has not been waited for.
        unsafe {
            libc::kill(program, libc::SIGKILL);
            libc::waitpid(program, std::ptr::null_mut(), 0);
        }
        send(&news, News::Refused, errno, None);
        return 0;
    }
    let _ = (&ours).write_all(&[0]);
    drop(ours);
    close_inherited();
    // What the terminal sends is not meant for us.
    // SAFETY: no arguments.
    unsafe { libc::setsid() };
    detach(&[0, 1]);
    send(&news, News::Started, program, listener.as_ref());
    if let Err(error) = serve(supervisor, news, listener, program, in_flight) {
        say!("{error:#}");
        return 1;
    }
    supervisor.end();
    0
}

/// Answers until nobody is left who could ask.
fn serve(
    supervisor: &Arc<Supervisor>,
    news: UnixStream,
    listener: Option<OwnedFd>,
    program: i32,
    in_flight: &'static InFlight,
) -> anyhow::Result<()> {
    // Nothing of what runs in a root of its own goes on alone.
    let launcher = match supervisor.rooted {
        Some(_) => Some(news.try_clone().context("watching the launcher")?),
        None => None,
    };
    let recorder = supervisor.clone();
    let ended = move |status| {
        // Before the end is told: whoever waits for it finds the list. What stays in the background may add to it.
        recorder.write_record();
        send(&news, News::Ended, status, None);
        // Whoever reads what the program wrote should see its end, though something stays in the background.
        detach(&[2]);
    };

    rerun::PROGRAM.store(program as u32, Ordering::Relaxed);
    let Some(listener) = listener else {
        // The thread that traces is told of all ends, too.
        let tracer = Tracer::new(supervisor.cookie, program as u32, Box::new(ended)).context("tracing")?;
        let engine = Engine::new(supervisor.clone(), Arc::new(tracer), in_flight);
        start_clock(&engine)?;
        return engine.lead().context("waiting for system calls");
    };
    let listener: Arc<dyn Exchange> = Arc::new(Listener::new(listener, supervisor.cookie));
    let engine = Engine::new(supervisor.clone(), listener, in_flight);
    start_clock(&engine)?;
    let leader = start_leader(&engine)?;
    if let Some(launcher) = launcher {
        std::thread::Builder::new()
            .name("cvmfs-launcher".to_owned())
            .spawn(move || end_with_launcher(&launcher, program))
            .context("starting a thread")?;
    }
    hear_of_children().context("waiting for children")?;
    reap(program, supervisor.rooted.is_some(), ended);
    // Everybody who could ask is gone, or will ask no more.
    let _ = leader.join();
    Ok(())
}

fn start_clock(engine: &Arc<Engine>) -> anyhow::Result<()> {
    let ticking = engine.clone();
    std::thread::Builder::new()
        .name("cvmfs-clock".to_owned())
        .spawn(move || ticking.tick())
        .map(drop)
        .context("starting a thread")
}

fn start_leader(engine: &Arc<Engine>) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let leading = engine.clone();
    std::thread::Builder::new()
        .name("cvmfs-leader".to_owned())
        .spawn(move || {
            if let Err(error) = leading.lead() {
                say!("waiting for system calls: {error}");
            }
        })
        .context("starting a thread")
}

/// Lets the end of any child interrupt this thread's waiting: a thread of ours that traced the child may have been told
/// of it first.
fn hear_of_children() -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: zeroed, both are valid; the handler does nothing, and only this thread takes the signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        // Not of its stops, which are for who traces it.
        action.sa_flags = libc::SA_NOCLDSTOP;
        action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        if libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()) < 0
            || libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Waits for the program and for all that it leaves behind; with `ends_all`, that ends with it.
fn reap(program: i32, ends_all: bool, ended: impl Fn(i32)) {
    while let Some((child, status)) = next_end() {
        if child == program {
            PROGRAM_ENDED.store(true, Ordering::Release);
            if ends_all {
                end_children();
            }
            ended(status);
        }
    }
}

/// Waits for the end of a child, and tells its number and status; `None` without children.
///
/// It is looked at before it is taken. For the kernel tells this thread also of the stops of a child that another thread
/// of ours traces, and who takes them has them alone.
fn next_end() -> Option<(i32, i32)> {
    loop {
        // SAFETY: a structure of plain numbers.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let wanted = libc::WEXITED | libc::WNOWAIT | libc::__WNOTHREAD;
        // SAFETY: room for what is told.
        if unsafe { libc::waitid(libc::P_ALL, 0, &mut info, wanted) } < 0 {
            if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return None;
        }
        if !matches!(info.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED) {
            // It will go on in a moment.
            std::thread::sleep(STOP);
            continue;
        }
        // SAFETY: what was told is about a child.
        let child = unsafe { info.si_pid() };
        let mut status = 0;
        // SAFETY: room for a status.
        if unsafe { libc::waitpid(child, &mut status, libc::__WNOTHREAD | libc::WNOHANG) } == child {
            return Some((child, status));
        }
    }
}

/// Kills the program when its launcher is gone. The launcher waits for the program, so that does not end before.
fn end_with_launcher(launcher: &UnixStream, program: i32) {
    let mut poll = libc::pollfd { fd: launcher.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one `pollfd`.
    while unsafe { libc::poll(&mut poll, 1, -1) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
    if !PROGRAM_ENDED.load(Ordering::Acquire) {
        // SAFETY: a child that has not been waited for.
        unsafe { libc::kill(program, libc::SIGKILL) };
    }
}

/// Whether the program has been waited for, so that its number may be another's.
static PROGRAM_ENDED: AtomicBool = AtomicBool::new(false);

/// Kills all that the program left behind, which are children of this process now, and those that come to be its
/// children by that.
fn end_children() {
    loop {
        for child in children() {
            // SAFETY: a child of ours that has not been waited for, so the number is still its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        if next_end().is_none() {
            return;
        }
    }
}

fn children() -> Vec<i32> {
    let own = std::process::id().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter(|number| {
            let status = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            // Behind the name, which may hold anything: state, and the parent.
            status.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(own.as_str())
        })
        .collect()
}

/// The program's process, until it is the program.
fn start_program(supervisor: &Supervisor, mut news: UnixStream, to_run: &Program<'_>) -> i32 {
    // SAFETY: the set is initialised; only this thread's mask changes.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, to_run.signals, std::ptr::null_mut()) };
    for (name, value) in to_run.environment {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var(name, value) };
    }
    if let Some(directory) = supervisor.start_directory()
        && let Err(error) = std::env::set_current_dir(&directory)
    {
        say!("{}: {error}", directory.display());
        return 1;
    }
    let installed = match to_run.way {
        Way::Listening => filter::install(supervisor.purpose()).map(Some),
        Way::Tracing => filter::install_traced(supervisor.purpose()).map(|()| None),
    };
    match installed {
        Ok(listener) => send(&news, News::Started, 0, listener.as_ref()),
        Err(error) => {
            send(&news, News::Refused, error.raw_os_error().unwrap_or(libc::EIO), None);
            return 0;
        }
    }
    // Until it is known whether all is allowed that is needed.
    if news.read_exact(&mut [0]).is_err() {
        return 1;
    }
    drop(news);
    i32::from(supervise::execute(to_run.command))
}

/// Whether the memory of the program can be read: without that nothing can be answered.
fn may_look_into(program: i32) -> Result<(), Errno> {
    static ANYTHING: u64 = 0;
    // It is a copy of this process.
    Memory(program as u32).word(std::ptr::from_ref(&ANYTHING) as u64).map(drop)
}

fn become_reaper() {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Closes what was meant for the program: held open here, a pipe would never end. Ours are all marked to be closed on
/// exec.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: plain numbers; a descriptor without this mark belongs to nothing of ours.
        unsafe {
            let flags = libc::fcntl(number, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(number);
            }
        }
    }
}

fn detach(descriptors: &[i32]) {
    let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") else { return };
    for descriptor in descriptors {
        // SAFETY: descriptors, and no memory.
        unsafe { libc::dup2(null.as_raw_fd(), *descriptor) };
    }
}

/// Room for one descriptor beside a message, aligned as its header wants.
#[repr(C, align(8))]
struct Beside([u8; 64]);

fn send(to: &UnixStream, news: News, number: i32, descriptor: Option<&OwnedFd>) {
    let [a, b, c, d] = number.to_ne_bytes();
    let mut bytes = [news as u8, a, b, c, d];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut beside = Beside([0; 64]);
    // SAFETY: a structure of null pointers and plain numbers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if let Some(descriptor) = descriptor {
        message.msg_control = beside.0.as_mut_ptr().cast();
        // SAFETY: the room beside is larger than one header with one descriptor, and aligned.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(4) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header).cast::<i32>().write_unaligned(descriptor.as_raw_fd());
        }
    }
    // SAFETY: all parts of the message live until it is sent. A launcher that is gone misses nothing.
    unsafe { libc::sendmsg(to.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
}

fn receive(from: &UnixStream) -> io::Result<(News, i32, Option<OwnedFd>)> {
    let mut bytes = [0; 5];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut beside = Beside([0; 64]);
    // SAFETY: a structure of null pointers and plain numbers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = beside.0.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Beside>() as _;
    let got = loop {
        // SAFETY: all parts of the message live until it is received.
        let got = unsafe { libc::recvmsg(from.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        if got >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break got;
        }
    };
    if got != 5 {
        return Err(if got < 0 { io::Error::last_os_error() } else { io::ErrorKind::UnexpectedEof.into() });
    }
    // SAFETY: the kernel has filled in the headers, and gave us every descriptor in them.
    let descriptor = unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (!header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS)
            .then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned()))
    };
    let news = match bytes[0] {
        1 => News::Started,
        2 => News::Refused,
        _ => News::Ended,
    };
    let number = i32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
    Ok((news, number, descriptor))
}
