use super::{Action, FindArgs, Order, Printer, Search, Visit};
use crate::output::Output;
use crate::record::Record;
use crate::session::Session;
use crate::tree::MountedEntry;
use anyhow::Result;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Runs `cvmfs find`.
pub fn run(args: FindArgs, session: &Session, output: &mut Output) -> Result<()> {
    let search = args.parse()?;
    for path in &search.paths {
        let name = path.as_os_str().as_bytes();
        match session.entry(path) {
            Err(error) => output.complain(name, &error),
            Ok(entry) if output.json() => json(&search, path, entry, output)?,
            Ok(entry) => text(&search, path, entry, output)?,
        }
    }
    Ok(())
}

fn text(search: &Search, path: &Path, entry: MountedEntry, output: &mut Output) -> Result<()> {
    let mut complaints = Vec::new();
    let mut complain = |path: &[u8], error: anyhow::Error| complaints.push((path.to_vec(), error));
    let mut printer = Printer::new(&mut *output);
    let mut act = |action: &Action, visit: &Visit<MountedEntry>| printer.act(action, visit);
    search.walk(path.as_os_str().as_bytes(), entry, Order::Tree, &mut act, &mut complain)?;
    complaints.iter().for_each(|(path, error)| output.complain(path, error));
    Ok(())
}

/// Paths are those inside the repository, as they are the same wherever it is mounted; its root is `/`.
fn json(search: &Search, path: &Path, entry: MountedEntry, output: &mut Output) -> Result<()> {
    let mut complaints = Vec::new();
    let mut failures = Vec::new();
    let mut complain = |path: &[u8], error: anyhow::Error| complaints.push((path.to_vec(), error));
    let start = match entry.node() {
        Ok(node) if node.fqrn().is_some() => node.inner_path(),
        // The top has no repository; names of repositories come first in the paths below it.
        Ok(_) => Vec::new(),
        Err(error) => {
            output.complain(path.as_os_str().as_bytes(), &error.into());
            return Ok(());
        }
    };
    let mut act = |_: &Action, visit: &Visit<MountedEntry>| {
        let path = if visit.path.is_empty() { b"/" } else { visit.path };
        match Record::new(path, visit.entry, search.sha256) {
            Ok(record) => output.print_json(&record),
            Err(error) => {
                failures.push((path.to_vec(), error));
                Ok(())
            }
        }
    };
    search.walk(&start, entry, Order::Path, &mut act, &mut complain)?;
    complaints.iter().chain(&failures).for_each(|(path, error)| output.complain(path, error));
    Ok(())
}
