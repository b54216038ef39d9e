//! Signs of life for people at a terminal.

use super::args::Cli;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;

/// A line that changes; nothing where nobody looks.
pub fn spinner(cli: &Cli) -> ProgressBar {
    if cli.quiet || cli.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}
