//! Another loader, on the scratch: putting it there, taking it away, and saying that it works; the same of a snapshot.

use super::say;
use crate::repository::{self, REPOSITORY};
use anyhow::Result;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use ucernvm_context::CommandLine;
use ucernvm_update::contract::OF_TREE;
use ucernvm_update::loader::WORD;
use ucernvm_update::pack::Pack;
use ucernvm_update::staged::{self, Staged, TRIES};
use ucernvm_update::trial;

/// On the scratch: what the loader that has booted calls itself.
pub(crate) const RELEASE: &str = "aux/ucernvm-version";

/// One line about the loaders of this machine.
pub(super) fn told(scratch: &Path) -> String {
    let release = fs::read_to_string(scratch.join(RELEASE)).unwrap_or_default();
    let staged = Staged::read(scratch);
    let staged = staged.as_ref().map(Option::as_ref).map_err(ToString::to_string);
    line(release.trim(), staged, running().as_deref())
}

fn line(release: &str, staged: Result<Option<&Staged>, String>, running: Option<&str>) -> String {
    match staged {
        Ok(None) => format!("loader:    {release}, the image's own"),
        Ok(Some(staged)) => {
            let is_running = running == Some(staged.loader.id().as_str());
            let which =
                if is_running { ", staged".to_owned() } else { format!("; {} is staged", staged.loader.version) };
            let proven = if staged.proven { "it has come up" } else { "it has not come up yet" };
            format!("loader:    {release}{which}, {proven}, {} of {TRIES} tries left", staged.tries)
        }
        Err(error) => format!("loader:    {release}; what is staged cannot be read: {error}"),
    }
}

/// The loader that this kernel was started with, by its short name; `None` if it is the image's own.
fn running() -> Option<String> {
    let line = fs::read_to_string("/proc/cmdline").ok()?;
    CommandLine::parse(&line).value(WORD).map(str::to_owned)
}

pub(super) fn stage(pack: &Path, scratch: &Path) -> Result<()> {
    let pack = Pack::open(pack)?;
    let version = pack.loader.version.clone();
    let tree = fs::read_to_string(Path::new("/").join(OF_TREE)).ok();
    for remark in staged::stage(scratch, pack, tree.as_deref())? {
        let _ = writeln!(std::io::stderr(), "cernvm-update: {remark}");
    }
    say(&format!(
        "loader {version} is started at the next boot, and given up if the system does not come up {TRIES} times"
    ));
    Ok(())
}

pub(super) fn forget(scratch: &Path) -> Result<()> {
    say(match staged::forget(scratch)? {
        true => "the image's own loader goes on at the next boot",
        false => "there is no other loader than the image's own",
    });
    Ok(())
}

/// The system is up, with this loader and this snapshot. Nothing is said where nothing depends on it.
pub(super) fn approve(scratch: &Path) -> Result<()> {
    if let Ok(root_hash) = repository::mounted_root_hash(Path::new(REPOSITORY))
        && trial::approve(scratch, &root_hash)?
    {
        say(&format!("snapshot {root_hash} works"));
    }
    if let Some(staged) = staged::approve(scratch, running().as_deref())? {
        say(&format!("loader {} works", staged.loader.version));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ucernvm_update::contract::OURS;
    use ucernvm_update::loader::{Loader, Part};

    #[test]
    fn what_is_told() {
        let part = Part::of(b"x");
        let loader = Loader { version: "2.0".to_owned(), contract: OURS, kernel: part.clone(), initrd: part };
        let id = loader.id();
        let staged = Staged { loader, tries: 3, proven: false, image: None };
        assert_eq!(line("1.0", Ok(None), None), "loader:    1.0, the image's own");
        assert_eq!(
            line("1.0", Ok(Some(&staged)), None),
            "loader:    1.0; 2.0 is staged, it has not come up yet, 3 of 3 tries left"
        );
        let proven = Staged { proven: true, tries: 2, ..staged };
        assert_eq!(
            line("2.0", Ok(Some(&proven)), Some(&id)),
            "loader:    2.0, staged, it has come up, 2 of 3 tries left"
        );
        assert!(line("1.0", Err("no".to_owned()), None).ends_with("cannot be read: no"));
    }
}
