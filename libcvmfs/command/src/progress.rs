//! Bars for jobs that take long.

use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

/// Jobs that are done sooner show no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// A bar on the error stream that appears when the job turns out to take long, if anybody watches.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    wanted: bool,
}

impl Progress {
    /// A bar; `template` is one of indicatif's.
    pub fn new(output: &Output, template: &str) -> Progress {
        let wanted = io::stderr().is_terminal() && !output.quiet();
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar, started: Instant::now(), wanted }
    }

    /// So much is done of so much.
    pub fn set(&mut self, done: u64, total: u64, message: String) {
        if !self.wanted || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
