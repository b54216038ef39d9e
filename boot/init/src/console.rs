//! What the console shows: one line for each step.

use std::fmt::Display;
use std::io::Write as _;

/// The console of the machine.
#[derive(Debug)]
pub(crate) struct Console {
    coloured: bool,
}

const GREEN: &str = "32";
const RED: &str = "31";

impl Console {
    /// Colours are for screens: who reads a serial line is often a program.
    pub(crate) fn open() -> Console {
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let serial = active.split_whitespace().any(|name| !name.starts_with("tty") || name.starts_with("ttyS"));
        Console { coloured: !active.trim().is_empty() && !serial }
    }

    /// The first lines.
    pub(crate) fn welcome(&self, release: &str) {
        write(&format!("* Welcome to micro-CernVM\n* Release {release}\n"));
    }

    /// Says what begins now; the end of the line is one of the next three.
    pub(crate) fn begin(&self, what: impl Display) {
        write(&format!("[INF] {what}... "));
    }

    /// It was done.
    pub(crate) fn check(&self) {
        write(&format!("{}\n", self.painted(GREEN, "check")));
    }

    /// It was done, with this result.
    pub(crate) fn result(&self, what: impl Display) {
        write(&format!("{}\n", self.painted(GREEN, what)));
    }

    /// It was not done.
    pub(crate) fn failed(&self) {
        write(&format!("{}\n", self.painted(RED, "failed")));
    }

    /// Something that should be known and stops nothing.
    pub(crate) fn warn(&self, what: impl Display) {
        write(&format!("[WRN] {what}\n"));
    }

    /// Something that stops the boot.
    pub(crate) fn error(&self, what: impl Display) {
        write(&format!("[ERR] {what}\n"));
    }

    /// The last line.
    pub(crate) fn result_line(&self, what: impl Display) {
        write(&format!("{}\n", self.painted(GREEN, what)));
    }

    /// A line as it is.
    pub(crate) fn line(&self, what: impl Display) {
        write(&format!("{what}\n"));
    }

    fn painted(&self, colour: &str, what: impl Display) -> String {
        if self.coloured { format!("\x1b[{colour}m{what}\x1b[0m") } else { what.to_string() }
    }
}

/// Nothing depends on whether anybody sees it.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
