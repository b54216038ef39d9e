//! The steps around the snapshot: which one, mounting it, and going from one to another.

use super::Boot;
use crate::network::Network;
use crate::repository::{self, BASE, Kept, REPOSITORY, SCRATCH, Snapshot};
use crate::scratch;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use ucernvm_update::contract::{self, OURS, Verdict};
use ucernvm_update::journal::{self, Report, UPPER};
use ucernvm_update::plan::Trees;
use ucernvm_update::state::{self, Action, Pin, Wish};
use ucernvm_update::trial::{self, Trial};

/// A change that a power cut interrupted is gone on with, before anything else is looked at.
pub(super) fn finish_update(boot: &mut Boot) -> Result<()> {
    boot.changed = journal::finish(Path::new(SCRATCH))?.map(|_| Action::Rebase);
    Ok(())
}

pub(super) fn mount_repository(boot: &mut Boot) -> Result<()> {
    let Some(fqrn) = boot.settings.repository.clone() else { bail!("no repository: cvmfs_repos= is needed") };
    let scratch = Path::new(SCRATCH);
    let mut kept = Kept {
        pin: Pin::read(scratch, state::PIN),
        previous: Pin::read(scratch, state::PREVIOUS),
        wish: Wish::read(scratch),
    };
    boot.wished = kept.wish.is_some();
    if !boot.wished && !boot.settings.is_for_once() {
        kept.wish = way_back(boot, &kept);
    }
    let resolver = boot.network.as_ref().map(Network::resolver).unwrap_or_default();
    repository::furnish(&resolver)?;
    let snapshot = repository::choose(&boot.settings, &kept);
    let result = connect(boot, &fqrn, snapshot.clone());
    match (result, &kept.pin) {
        (Ok(()), _) => Ok(()),
        // The system that was there until now is better than none.
        (Err(error), Some(pin)) if snapshot.fresh => {
            boot.console.warn(format_args!("the update has to wait: {error:#}"));
            connect(boot, &fqrn, Snapshot::pinned(pin))
        }
        (Err(error), _) => Err(error),
    }
}

/// A snapshot with which the system did not come up is left again, where that is safe.
fn way_back(boot: &Boot, kept: &Kept) -> Option<Wish> {
    let pin = kept.pin.as_ref()?;
    let name = pin.tag.as_ref().unwrap_or(&pin.root_hash);
    match trial::judge(Trial::read(Path::new(SCRATCH)).as_ref(), pin, kept.previous.as_ref()) {
        trial::Verdict::Go => None,
        trial::Verdict::Return(before) => {
            boot.console.warn(format_args!("the system did not come up with snapshot {name}: back to the one before"));
            Some(Wish { action: Action::Diverge, root_hash: Some(before.root_hash), tag: before.tag })
        }
        trial::Verdict::Tell => {
            boot.console.warn(format_args!(
                "the system did not come up since it went to {name}; the boot menu has the snapshot before, and \
                 'cernvm-update rebase --previous' goes back for good"
            ));
            None
        }
    }
}

/// Mounts a snapshot, and has a look at it.
fn connect(boot: &mut Boot, fqrn: &str, snapshot: Snapshot) -> Result<()> {
    boot.console.begin("Starting CernVM File System");
    let parameters = parameters(boot, &snapshot)?;
    let result = repository::mount_repository(REPOSITORY, fqrn, &parameters, &boot.settings)
        .and_then(|()| repository::mounted_root_hash(Path::new(REPOSITORY)));
    match result {
        Ok(root_hash) => boot.root_hash = root_hash,
        Err(error) => {
            boot.console.failed();
            boot.console.line(fs::read_to_string(boot.scratch("ulogs/cvmfs.log")).unwrap_or_default().trim_end());
            parameters.iter().for_each(|(key, value)| boot.console.line(format_args!("{key}={value}")));
            return Err(error.context(format!("{fqrn} cannot be mounted")));
        }
    }
    boot.console.result(format_args!("connected to {fqrn}"));
    let tree = tree(boot, REPOSITORY)?;
    match contract::judge(fs::read_to_string(tree.join(contract::OF_TREE)).ok().as_deref(), OURS) {
        Verdict::Fits => {}
        Verdict::Lacks(theirs) => {
            boot.console.warn(format_args!("the operating system is of contract {theirs}, this loader of {OURS}"));
        }
        Verdict::Foreign(theirs) => {
            repository::unmount_repository(REPOSITORY);
            // Waiting does not help; a newer image does.
            Wish::forget(Path::new(SCRATCH))?;
            bail!(
                "the operating system is of contract {theirs}, this loader of {OURS}: it takes another image, or another \
                 snapshot (cvmfs_force_tag=)"
            );
        }
    }
    boot.snapshot = Some(snapshot);
    Ok(())
}

fn parameters(boot: &Boot, snapshot: &Snapshot) -> Result<Vec<(String, String)>> {
    let quota = scratch::quota(scratch::size(Path::new(SCRATCH))?);
    repository::parameters(&boot.settings, snapshot, quota)
}

/// The root tree below a mounted repository.
fn tree(boot: &Boot, repository: &str) -> Result<PathBuf> {
    let Some(tree) = boot.settings.tree() else {
        bail!("cernvm_path={} leads out of the repository", boot.settings.path)
    };
    Ok(Path::new(repository).join(tree))
}

/// Lets the overlay fit to another snapshot, if that is wished.
pub(super) fn rebase(boot: &mut Boot) -> Result<()> {
    let scratch = Path::new(SCRATCH);
    let Some(snapshot) = boot.snapshot.clone().filter(|snapshot| snapshot.fresh) else { return Ok(()) };
    let Some(old) = Pin::read(scratch, state::PIN).filter(|old| old.root_hash != boot.root_hash) else { return Ok(()) };
    // What is in the cache is of another snapshot.
    let _ = fs::remove_file(boot.scratch("cache/pinned"));
    let changed = snapshot.change.filter(|_| boot.wished);
    if snapshot.change != Some(Action::Rebase) {
        boot.changed = changed;
        return Ok(());
    }
    let Some(fqrn) = boot.settings.repository.clone() else { return Ok(()) };
    boot.console.begin("Rebasing system to new version");
    let report = match prepared(boot, &fqrn, &old, snapshot.tag.clone()) {
        Ok(report) => report,
        Err(error) => {
            boot.console.failed();
            boot.console.warn(format_args!("the update has to wait: {error:#}"));
            repository::unmount_repository(REPOSITORY);
            return connect(boot, &fqrn, Snapshot::pinned(&old));
        }
    };
    boot.note("rebase: journal");
    journal::finish(scratch)?;
    boot.note("rebase: done");
    boot.changed = changed;
    boot.console.check();
    tell(boot, &report);
    if report.maps_changed {
        // Whom files are shown to belong to is told when they are mounted.
        repository::unmount_repository(REPOSITORY);
        let exactly = Snapshot { root_hash: Some(boot.root_hash.clone()), ..snapshot };
        connect(boot, &fqrn, exactly)?;
    }
    Ok(())
}

/// Writes the journal, with the old snapshot at hand if it can still be had.
fn prepared(boot: &Boot, fqrn: &str, old: &Pin, tag: Option<String>) -> Result<Report> {
    let parameters = parameters(boot, &Snapshot::pinned(old))?;
    let mounted = repository::mount_repository(BASE, fqrn, &parameters, &boot.settings);
    if let Err(error) = &mounted {
        boot.console.warn(format_args!("what was changed cannot be compared with {}: {error:#}", old.root_hash));
    }
    let (base, new) = (tree(boot, BASE)?, tree(boot, REPOSITORY)?);
    let upper = boot.scratch(UPPER);
    let trees = Trees { base: mounted.is_ok().then_some(base.as_path()), new: &new, upper: &upper };
    let pin = Pin { root_hash: boot.root_hash.clone(), tag };
    let report = journal::prepare(&trees, Path::new(SCRATCH), &pin).context("preparing");
    if mounted.is_ok() {
        repository::unmount_repository(BASE);
    }
    report
}

fn tell(boot: &Boot, report: &Report) {
    let log = report.log.strip_prefix(SCRATCH).unwrap_or(&report.log).display().to_string();
    if report.conflicts > 0 {
        let count = report.conflicts;
        boot.console.warn(format_args!("{count} entries have changed here and in the system; yours are kept: {log}"));
    }
    if !report.packages.is_empty() {
        boot.console.warn(format_args!("packages of yours are kept: {}", report.packages.join(" ")));
    }
    if report.packages_unknown {
        boot.console.warn("the package database is the new system's; packages that you added are not in it");
    }
}
