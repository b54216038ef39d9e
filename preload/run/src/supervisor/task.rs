//! A thread of the program, as the kernel shows it.

use super::exchange::Exchange;
use super::listener::Notification;
use super::memory::Memory;
use cvmfs_view::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

/// A thread of the program that waits for an answer.
#[derive(Clone, Copy)]
pub(super) struct Task<'l> {
    pub(super) tid: u32,
    pub(super) memory: Memory,
    exchange: &'l dyn Exchange,
    /// Names what it waits for.
    id: u64,
}

fn read_link(path: impl AsRef<Path>) -> Option<Vec<u8>> {
    std::fs::read_link(path).ok().map(|name| name.into_os_string().into_vec())
}

impl<'l> Task<'l> {
    pub(super) fn of(exchange: &'l dyn Exchange, notification: &Notification) -> Task<'l> {
        let tid = notification.tid;
        Task { tid, memory: Memory(tid), exchange, id: notification.id }
    }

    /// Writes to its memory. Nothing is written once it waits no more: its number may be another thread's by then.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if !self.exchange.is_waiting(self.id) {
            return Err(Errno(libc::ESRCH));
        }
        self.memory.write(address, bytes)
    }

    /// As [`Task::write`], also where the program itself may only read.
    pub(super) fn write_private(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if !self.exchange.is_waiting(self.id) {
            return Err(Errno(libc::ESRCH));
        }
        self.memory.write_private(address, bytes)
    }

    /// The name of its working directory.
    pub(super) fn working_directory(&self) -> Option<Vec<u8>> {
        read_link(format!("/proc/{}/cwd", self.tid))
    }

    /// The name behind one of its descriptors.
    pub(super) fn descriptor(&self, fd: i32) -> Option<Vec<u8>> {
        read_link(format!("/proc/{}/fd/{fd}", self.tid))
    }

    /// Whether one of its descriptors was opened with `O_PATH`.
    pub(super) fn is_path_only(&self, fd: i32) -> bool {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", self.tid)) else { return false };
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| flags & libc::O_PATH != 0)
    }

    /// Bits that it does not want files to have which it makes.
    pub(super) fn umask(&self) -> u32 {
        let mask = self.status("Umask:").and_then(|text| u32::from_str_radix(&text, 8).ok());
        mask.unwrap_or(0o022)
    }

    /// The number of its process.
    pub(super) fn process(&self) -> u32 {
        self.status("Tgid:").and_then(|text| text.parse().ok()).unwrap_or(self.tid)
    }

    fn status(&self, field: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.tid)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
    }

    /// A path in which `/proc/self`, `/proc/thread-self`, `/dev/fd` and `/dev/stdin` mean this thread and not us.
    pub(super) fn own(&self, path: &[u8]) -> Vec<u8> {
        let process = format!("/proc/{}", self.tid);
        let process = process.as_bytes();
        for (prefix, instead) in [
            (&b"/proc/self"[..], &b""[..]),
            (b"/proc/thread-self", b""),
            (b"/dev/fd", b"/fd"),
            (b"/dev/stdin", b"/fd/0"),
            (b"/dev/stdout", b"/fd/1"),
            (b"/dev/stderr", b"/fd/2"),
        ] {
            if let Some(rest) = path.strip_prefix(prefix)
                && (rest.is_empty() || rest.starts_with(b"/"))
            {
                return [process, instead, rest].concat();
            }
        }
        path.to_vec()
    }

    /// Where a link of the kernel's leads, by the name that it tells.
    pub(super) fn kernel_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        read_link(Path::new(OsStr::from_bytes(path)))
    }

    /// Splits `/proc/<number>/cwd/rest` and its like behind the link.
    pub(super) fn split_kernel_link<'p>(&self, path: &'p [u8]) -> Option<(&'p [u8], &'p [u8])> {
        let rest = path.strip_prefix(b"/proc/")?;
        let process = rest.iter().position(|&b| b == b'/')?;
        let (number, after) = rest.split_at(process);
        if !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let names = [&b"/cwd/"[..], b"/root/", b"/fd/"];
        let which = names.iter().find(|name| after.starts_with(name))?;
        let mut end = b"/proc/".len() + process + which.len() - 1;
        if *which == b"/fd/" {
            end += 1 + path.get(end + 1..)?.iter().position(|&b| b == b'/')?;
        }
        Some(path.split_at(end))
    }
}

#[cfg(test)]
mod tests {
    use super::super::listener::Listener;
    use super::*;

    /// A listener to which nobody listens.
    fn nowhere() -> Listener {
        Listener::new(std::fs::File::open("/dev/null").unwrap().into(), 0)
    }

    fn seven(listener: &Listener) -> Task<'_> {
        let mut notification = Notification::default();
        notification.tid = 7;
        Task::of(listener, &notification)
    }

    #[test]
    fn who_waits_no_more_is_not_written_to() {
        let listener = nowhere();
        let mut notification = Notification::default();
        notification.tid = std::process::id();
        let mut byte = 1u8;
        let address = std::ptr::from_mut(&mut byte) as u64;
        assert_eq!(Task::of(&listener, &notification).write(address, &[2]), Err(Errno(libc::ESRCH)));
        assert_eq!(byte, 1);
    }

    #[test]
    fn self_means_the_program() {
        let listener = nowhere();
        let task = seven(&listener);
        assert_eq!(task.own(b"/proc/self/exe"), b"/proc/7/exe");
        assert_eq!(task.own(b"/proc/selfish"), b"/proc/selfish");
        assert_eq!(task.own(b"/dev/fd/3"), b"/proc/7/fd/3");
        assert_eq!(task.own(b"/dev/stdin"), b"/proc/7/fd/0");
    }

    #[test]
    fn links_of_the_kernel_are_split_behind_themselves() {
        let listener = nowhere();
        let split = |path: &'static [u8]| seven(&listener).split_kernel_link(path);
        assert_eq!(split(b"/proc/7/cwd/a/b"), Some((&b"/proc/7/cwd"[..], &b"/a/b"[..])));
        assert_eq!(split(b"/proc/7/fd/12/a"), Some((&b"/proc/7/fd/12"[..], &b"/a"[..])));
        assert_eq!(split(b"/proc/7/fd/12"), None);
        assert_eq!(split(b"/proc/sys/cwd/a"), None);
    }
}
