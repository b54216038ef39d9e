//! The loop-back of a network of its own, and the name servers of the host's network.

use super::PRIVATE;
use super::mounts;
use anyhow::{Context as _, Result};
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// Where name servers are told.
pub(crate) const FILE: &str = "/etc/resolv.conf";
/// Links that lead to links that lead to ...
const MOST_LINKS: usize = 40;

/// What the host has in `/etc/resolv.conf`.
pub(crate) fn name_servers() -> Option<String> {
    fs::read_to_string(FILE).ok()
}

/// Puts the host's name servers into the new root. They are not written into a layer: the next start may have others.
pub(crate) fn tell_name_servers(text: &str) -> Result<()> {
    let ours = Path::new(PRIVATE).join("resolv.conf");
    fs::write(&ours, text).with_context(|| format!("writing {}", ours.display()))?;
    match end_of_links(Path::new(FILE)) {
        // It was deleted inside.
        None => Ok(()),
        Some(file) => mounts::copy(&ours)?.attach(&file),
    }
}

/// The file behind links, which need not be there; `None` if there is not even a link.
fn end_of_links(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    fs::symlink_metadata(&path).ok()?;
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Some(path) };
        path = path.parent()?.join(target);
    }
    None
}

/// Switches on the only device of a new network.
pub(crate) fn loop_back() -> io::Result<()> {
    // Any socket will do.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: numbers and arrays of them may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: an open socket, and the structure that this request reads.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
