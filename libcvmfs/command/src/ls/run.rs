use super::{Lister, LsArgs, join};
use crate::output::Output;
use crate::record::Record;
use crate::session::Session;
use crate::tree::{Entry as _, Kind, MountedEntry};
use anyhow::Result;
use std::os::unix::ffi::OsStrExt as _;

/// Runs `cvmfs ls`.
pub fn run(args: &LsArgs, session: &Session, output: &mut Output) -> Result<()> {
    let mut found = Vec::new();
    for path in &args.paths {
        let name = path.as_os_str().as_bytes();
        match session.entry(path) {
            Ok(entry) => found.push((name.to_vec(), entry)),
            Err(error) => output.complain(name, &error),
        }
    }
    if output.json() {
        return found.into_iter().try_for_each(|(name, entry)| json(args, name, entry, output));
    }
    let mut complaints = Vec::new();
    let terminal = output.terminal();
    let mut complain = |path: &[u8], error: anyhow::Error| complaints.push((path.to_vec(), error));
    Lister::new(args, &mut *output, terminal, &mut complain).arguments(found, args.paths.len())?;
    complaints.iter().for_each(|(path, error)| output.complain(path, error));
    Ok(())
}

/// The entries that would be listed, one object a line, with their whole paths.
fn json(args: &LsArgs, name: Vec<u8>, entry: MountedEntry, output: &mut Output) -> Result<()> {
    let entry = match entry.kind() {
        Kind::Symlink if !args.is_long() && !args.directory => entry.followed()?.unwrap_or(entry),
        _ => entry,
    };
    if entry.kind() != Kind::Directory || args.directory {
        return print(&name, &entry, output);
    }
    let children = match entry.list() {
        Ok(children) => children,
        Err(error) => {
            output.complain(&name, &error);
            return Ok(());
        }
    };
    let visible = children.into_iter().filter(|(name, _)| args.all || args.almost_all || !name.starts_with(b"."));
    for (child, entry) in visible {
        let path = join(&name, &child);
        print(&path, &entry, output)?;
        if args.recursive && entry.kind() == Kind::Directory {
            json(args, path, entry, output)?;
        }
    }
    Ok(())
}

fn print(path: &[u8], entry: &MountedEntry, output: &mut Output) -> Result<()> {
    match Record::new(path, entry, false) {
        Ok(record) => output.print_json(&record),
        Err(error) => {
            output.complain(path, &error);
            Ok(())
        }
    }
}
