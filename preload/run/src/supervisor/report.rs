//! What the user is told: each trouble once, on the standard error that `cvmfs-run` was started with.

use crate::say::say;
use parking_lot::Mutex;
use std::collections::HashSet;

/// Different troubles told in one run.
const MOST: usize = 20;

static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Says it, if it has not been said.
pub(super) fn say(message: String) {
    let mut told = TOLD.lock();
    let told = told.get_or_insert_with(HashSet::new);
    if told.len() < MOST && !told.contains(&message) {
        say!("{message}");
        told.insert(message);
    }
}

/// Says what the library warns of.
pub(super) fn listen_to_the_library() {
    let _ = log::set_logger(&Once).map(|()| log::set_max_level(log::LevelFilter::Warn));
}

struct Once;

impl log::Log for Once {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        say(record.args().to_string());
    }

    fn flush(&self) {}
}
