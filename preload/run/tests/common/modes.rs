//! The ways in which programs are made to see `/cvmfs`, so that one test tries them all.

use super::User;
use std::cell::Cell;
use std::ffi::OsStr;
use std::process::Command;

/// One value of `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// As on the command line.
    pub(crate) name: &'static str,
    /// All that asks for it.
    pub(crate) arguments: &'static [&'static str],
    /// Static programs see `/cvmfs`, too, and whatever else does not ask the C library.
    pub(crate) serves_static: bool,
}

/// The preload library alone.
pub(crate) const PRELOAD: Mode = Mode { name: "preload", arguments: &["--mode=preload"], serves_static: false };

/// The supervisor alone.
pub(crate) const FULL: Mode = Mode { name: "full", arguments: &["--mode=full"], serves_static: true };

/// The supervisor, with the shim in the programs.
pub(crate) const SHIM: Mode = Mode { name: "shim", arguments: &["--mode=shim"], serves_static: true };

/// The supervisor alone, tracing.
pub(crate) const TRACE: Mode = Mode { name: "trace", arguments: &["--mode=trace", "--bare"], serves_static: true };

const ALL: [Mode; 4] = [PRELOAD, FULL, SHIM, TRACE];

thread_local! {
    static CURRENT: Cell<Mode> = const { Cell::new(PRELOAD) };
}

/// The mode in which [`User::run`] runs programs: that which [`in_every_mode`] has come to.
pub(crate) fn current() -> Mode {
    CURRENT.get()
}

/// Runs a test once in each mode.
pub(crate) fn in_every_mode(test: impl Fn()) {
    for mode in ALL {
        eprintln!("--mode={}", mode.name);
        CURRENT.set(mode);
        test();
    }
    CURRENT.set(PRELOAD);
}

/// All modes, or those that `CVMFS_TESTS_MODES` names.
pub(crate) fn modes() -> Vec<Mode> {
    let wanted = std::env::var("CVMFS_TESTS_MODES").ok();
    let wanted = |mode: &Mode| wanted.as_ref().is_none_or(|list| list.split(',').any(|name| name == mode.name));
    ALL.into_iter().filter(wanted).collect()
}

/// The modes in which static programs see `/cvmfs`.
pub(crate) fn modes_for_static() -> Vec<Mode> {
    modes().into_iter().filter(|mode| mode.serves_static).collect()
}

impl User {
    /// `cvmfs-run --mode=... -o ... -- program`, to which arguments can be added.
    pub(crate) fn run_in(&self, mode: Mode, program: impl AsRef<OsStr>) -> Command {
        self.run_with(mode.arguments, program)
    }
}
