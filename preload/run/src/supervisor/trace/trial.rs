//! Whether tracing works here, found out by trying.

use super::super::filter;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

/// Calls that have to arrive: a filter around this one may take them for itself.
const TRIED: [libc::c_long; 3] = [libc::SYS_openat, libc::SYS_faccessat, libc::SYS_readlinkat];

/// Lets a child make calls and sees whether they come to us.
///
/// # Errors
/// What the kernel says; `EBUSY` if somebody else gets the calls.
pub(crate) fn works() -> io::Result<()> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(ours);
            let code = child(&mut theirs).err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            // SAFETY: ends this process without what its parent had planned for its own end.
            unsafe { libc::_exit(code) }
        }
        child => {
            drop(theirs);
            let seen = super::seize(child as u32).and_then(|()| {
                ours.write_all(&[0])?;
                watch(child)
            });
            // SAFETY: a child of ours; if it has been waited for, its number is not in use again so soon.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, std::ptr::null_mut(), libc::__WALL);
            }
            if seen? >= TRIED.len() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBUSY)) }
        }
    }
}

fn child(from_parent: &mut UnixStream) -> io::Result<()> {
    from_parent.read_exact(&mut [0])?;
    filter::install_traced(filter::Purpose { cookie: 0, rooted: false })?;
    for call in TRIED {
        // SAFETY: a C string; what there may be room for has none.
        unsafe { libc::syscall(call, libc::AT_FDCWD, c"/".as_ptr(), 0, 0, 0, 1) };
    }
    Ok(())
}

/// How many calls came.
fn watch(child: libc::pid_t) -> io::Result<usize> {
    let mut seen = 0;
    loop {
        let mut status = 0;
        // SAFETY: room for a status.
        if unsafe { libc::waitpid(child, &mut status, libc::__WALL) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0 {
            return Err(io::Error::from_raw_os_error(libc::WEXITSTATUS(status)));
        }
        if !libc::WIFSTOPPED(status) {
            return Ok(seen);
        }
        seen += usize::from(status >> 16 == libc::PTRACE_EVENT_SECCOMP);
        super::go_on(child as u32, 0);
    }
}
