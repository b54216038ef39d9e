//! The end: called by systemd when all is stopped, as `/run/initramfs/shutdown`, with the old root at `/oldroot`.
//!
//! The scratch can only be unmounted when nothing uses it any more: the overlay first, then the program that serves the tree
//! below it gives up what it writes.

use crate::{repository, rescue};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::mount::{mount_change, mount_move, mount_remount, unmount};
use rustix::system::RebootCommand;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OLD_ROOT: &str = "/oldroot";
/// Where scratch and repository are put out of the old root's way.
const SCRATCH: &str = "/scratch";
const REPOSITORY: &str = "/repository";

/// Takes everything apart and ends the machine as `word` says.
pub(crate) fn shut_down(word: Option<&str>) -> ! {
    let old = Path::new(OLD_ROOT);
    let jail = old.join(repository::JAIL.trim_start_matches('/'));
    if let Err(error) = repository::drop_writable(&jail) {
        say(&format!("[WRN] {error:#}"));
    }
    // Mounts can be moved only where nobody else sees them.
    let _ = mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC);
    for (from, to) in [("rw", SCRATCH), ("ro", REPOSITORY)] {
        if let Err(error) = mount_move(jail.join(from), to) {
            say(&format!("[WRN] {from}: {error}"));
        }
    }
    // What was mounted last first, and again: some mounts only then have nothing below them.
    for _ in 0..3 {
        for place in mounts().iter().rev().filter(|place| place.starts_with(old)) {
            let _ = unmount(place.as_path(), UnmountFlags::empty());
        }
    }
    // The program that serves the tree has its root there; it ends when the tree is unmounted.
    for place in mounts().iter().rev().filter(|place| place.starts_with(old)) {
        let _ = unmount(place.as_path(), UnmountFlags::DETACH);
    }
    let _ = unmount(REPOSITORY, UnmountFlags::DETACH);
    match settled(|| unmount(SCRATCH, UnmountFlags::empty())) {
        Ok(()) => say("[INF] Unmounting root filesystem... check"),
        Err(_) => match mount_remount(SCRATCH, MountFlags::RDONLY, "") {
            Ok(()) => say("[INF] Unmounting root filesystem... read-only"),
            Err(error) => say(&format!("[ERR] Unmounting root filesystem: {error}")),
        },
    }
    rescue::end(match word {
        Some("reboot") => RebootCommand::Restart,
        Some("halt") => RebootCommand::Halt,
        Some("kexec") => RebootCommand::Kexec,
        _ => RebootCommand::PowerOff,
    })
}

/// Tries for some seconds: a program that ends has descriptors until it has ended.
fn settled(attempt: impl Fn() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    for _ in 0..50 {
        if attempt().is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    attempt()
}

/// Places of all mounts, in the order of mounting.
fn mounts() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(|place| PathBuf::from(unescaped(place))).collect()
}

/// Spaces and the like are octal in that table.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn say(line: &str) {
    use std::io::Write as _;
    let console = std::fs::OpenOptions::new().write(true).open("/dev/console");
    let _ = console.and_then(|mut console| writeln!(console, "{line}\r"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_mounts_read_as_they_are() {
        assert_eq!(unescaped("/a\\040b\\134c\\"), "/a b\\c\\");
    }
}
