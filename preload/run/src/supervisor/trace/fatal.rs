//! Signals that would end a thread, and cannot while it is stopped.

/// Signals that end nobody unless he says so: they are ignored, or stop.
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Whether a signal waits for this thread, or for any thread of its process, that will end it.
pub(super) fn is_pending(tid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{tid}/status")).is_ok_and(|status| is_in(&status))
}

fn is_in(status: &str) -> bool {
    let mask = |name: &str| {
        let digits = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
    };
    let harmless = HARMLESS.iter().fold(0, |all, signal| all | 1_u64 << (signal - 1));
    let pending = mask("SigPnd") | mask("ShdPnd");
    pending & !(mask("SigBlk") | mask("SigIgn") | mask("SigCgt") | harmless) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pending: &str, shared: &str, blocked: &str, ignored: &str, caught: &str) -> bool {
        is_in(&format!(
            "Name:\tcat\nSigQ:\t1/95\nSigPnd:\t{pending}\nShdPnd:\t{shared}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\n\
             SigCgt:\t{caught}\nCapInh:\t0\n"
        ))
    }

    #[test]
    fn only_what_nobody_waits_for_ends_a_thread() {
        assert!(status("2", "0", "0", "0", "0"), "SIGINT for the thread");
        assert!(status("0", "4000", "0", "0", "0"), "SIGTERM for the process");
        for (blocked, ignored, caught) in [("2", "0", "0"), ("0", "2", "0"), ("0", "0", "2")] {
            assert!(!status("2", "2", blocked, ignored, caught));
            assert!(status("2", "4000", blocked, ignored, caught), "the other one");
        }
        assert!(!status("0", "0", "0", "0", "0"));
        assert!(!status("10000", "8080000", "0", "0", "0"), "SIGCHLD, SIGTSTP, SIGWINCH");
        assert!(!is_pending(u32::MAX), "who is gone waits for nothing");
    }
}
