//! What happens when the boot cannot go on.

use crate::console::Console;
use crate::run;
use rustix::system::{RebootCommand, reboot};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;
use ucernvm_context::settings::Rescue;

/// How long the message stays where nobody can answer it.
const READING: Duration = Duration::from_secs(10);

/// Tells why, and what there is; then a shell, and after it a new start.
pub(crate) fn give_up(console: &Console, reason: &anyhow::Error, how: Rescue) -> ! {
    console.error(format_args!("{reason:#}"));
    for line in std::fs::read_to_string("/proc/partitions").unwrap_or_default().lines() {
        console.line(line);
    }
    match how {
        Rescue::Shell => {
            console.line("* Starting a rescue shell; the machine restarts when it ends");
            shell(console);
            end(RebootCommand::Restart)
        }
        Rescue::Reboot => {
            std::thread::sleep(READING);
            end(RebootCommand::Restart)
        }
        Rescue::PowerOff => {
            std::thread::sleep(READING);
            end(RebootCommand::PowerOff)
        }
    }
}

/// A shell on the console, until it ends.
pub(crate) fn shell(console: &Console) {
    let mut command = Command::new("/bin/sh");
    command.env("PS1", "(initrd) ").env("PATH", run::PATH).env("HOME", "/").env("TERM", "linux");
    let own_session = || {
        // So that Ctrl-C ends a command, and not the machine.
        let _ = rustix::process::setsid();
        // SAFETY: descriptor 0 is the console; the call takes a number.
        unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 1) };
        Ok(())
    };
    // SAFETY: two system calls.
    unsafe { command.pre_exec(own_session) };
    match command.status() {
        Ok(_) => {}
        Err(error) => {
            console.error(format_args!("no shell: {error}"));
            std::thread::sleep(READING);
        }
    }
}

/// Everything is written; then the machine ends.
pub(crate) fn end(command: RebootCommand) -> ! {
    rustix::fs::sync();
    loop {
        let _ = reboot(command);
        std::thread::sleep(Duration::from_secs(1));
    }
}
