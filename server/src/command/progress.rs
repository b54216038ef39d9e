//! Signs of life for people at a terminal.

use cvmfs_command::output::Output;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;

/// The usual line: how long it has taken, and a message.
pub const LINE: &str = "{spinner} {elapsed} {msg}";

/// Does something; meanwhile `show` puts how far it has come into a line that changes.
pub fn during<R, T>(
    out: &Output,
    template: &str,
    show: impl Fn(&ProgressBar, &R) + Sync,
    work: impl FnOnce(&mut (dyn FnMut(&R) + Send)) -> T,
) -> T {
    let bar = bar(out, template);
    let done = work(&mut |report: &R| {
        show(&bar, report);
        bar.tick();
    });
    bar.finish_and_clear();
    done
}

/// Nothing where nobody looks.
fn bar(out: &Output, template: &str) -> ProgressBar {
    if out.quiet() || out.json() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
