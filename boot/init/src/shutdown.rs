//! The end: called by systemd when all is stopped, as `/run/initramfs/shutdown`, with the old root at `/oldroot`.
//!
//! The scratch can only be unmounted when nothing uses it any more: the overlay first, then the program that serves the tree
//! below it gives up what it writes.

use crate::rescue;
use crate::{repository, switch};
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::RebootCommand;
use std::path::{Path, PathBuf};

const OLD_ROOT: &str = "/oldroot";

/// Takes everything apart and ends the machine as `word` says.
pub(crate) fn shut_down(word: Option<&str>) -> ! {
    let old = Path::new(OLD_ROOT);
    let jail = found_jail(old);
    if let Err(error) = repository::drop_writable(&jail) {
        say(&format!("[WRN] {error:#}"));
    }
    let scratch = jail.join("rw");
    let kept = [jail.clone(), scratch.clone(), jail.join("ro"), jail.join("proc"), PathBuf::from("/run")];
    // What was mounted last first, and again: some mounts only then have nothing below them.
    for _ in 0..3 {
        for place in mounts().iter().rev().filter(|place| place.starts_with(old) && !kept.contains(place)) {
            let _ = unmount(place.as_path(), UnmountFlags::empty());
        }
    }
    for place in mounts().iter().rev().filter(|place| place.starts_with(old) && !kept.contains(place)) {
        say(&format!("[WRN] {} is still in use", place.display()));
        let _ = unmount(place.as_path(), UnmountFlags::DETACH);
    }
    // Without the overlay the program behind it has nobody to serve.
    let _ = unmount(jail.join("ro").as_path(), UnmountFlags::DETACH);
    match unmount(scratch.as_path(), UnmountFlags::empty()) {
        Ok(()) => say("[INF] Unmounting root filesystem... check"),
        Err(_) => match mount_remount(scratch.as_path(), MountFlags::RDONLY, "") {
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

/// systemd moves `/run` out of the old root before it comes here.
fn found_jail(old: &Path) -> PathBuf {
    let moved = PathBuf::from(repository::JAIL);
    if moved.join("rw").exists() { moved } else { switch::jail_below(old) }
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
