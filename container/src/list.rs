//! Which instances there are.

use crate::store::{Known, Store};
use anyhow::Result;
use cvmfs_command::clock::Clock;
use cvmfs_command::output::Output;
use cvmfs_command::tree::Time;
use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;

/// An instance, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    /// `running`, `stopped` or `damaged`.
    state: &'static str,
    /// The process that started it.
    process: Option<u32>,
    /// The operating system's tree.
    root: Option<PathBuf>,
    /// How many layers lie over it.
    layers: usize,
    ephemeral: bool,
    /// Seconds since 1970.
    created: Option<i64>,
}

fn entry(known: Known) -> Entry {
    let state = match (&known.running, &known.description) {
        (Some(_), _) => "running",
        (None, Some(_)) => "stopped",
        (None, None) => "damaged",
    };
    let about = known.description.as_ref();
    Entry {
        name: known.name.as_str().to_owned(),
        state,
        process: known.running,
        layers: about.map_or(0, |about| about.layers.len()),
        ephemeral: about.is_some_and(|about| about.ephemeral),
        created: about.map(|about| about.created),
        root: known.description.map(|about| about.root),
    }
}

/// Prints them all.
pub(crate) fn run(out: &mut Output) -> Result<()> {
    let store = Store::open()?;
    let all = store.lock()?.all()?;
    let entries: Vec<Entry> = all.into_iter().map(entry).collect();
    if out.json() {
        return out.print_json(&entries);
    }
    let clock = Clock::system();
    for entry in entries {
        let state = entry.process.map_or(entry.state.to_owned(), |process| format!("{} {process}", entry.state));
        let created = entry.created.map(|seconds| clock.short(Time { seconds, nanoseconds: 0 })).unwrap_or_default();
        let root = entry.root.unwrap_or_default();
        let (name, layers) = (entry.name, entry.layers);
        writeln!(out, "{name:24} {state:16} {layers:3} layers  {created:12}  {}", root.display())?;
    }
    Ok(())
}
