//! What kind of machine a system is to be: which target of systemd it starts, and which units besides.
//!
//! A role is a few links in the overlay, as `systemctl set-default` and `systemctl enable` make them; the system can change them
//! like its own.

use crate::units::PACKAGES;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where administrators put units, and links to units.
const ADMINISTRATOR: &str = "etc/systemd/system";
/// What units are for where no target was told.
const USUAL: &str = "multi-user.target";

/// Gives the system at `root` its role; what could not be done, in words for a person.
pub(crate) fn assign(root: &Path, target: Option<&str>, units: &[String]) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    let own = root.join(ADMINISTRATOR);
    let mut usable = |unit: &str| match find(root, unit) {
        Ok(path) => Some(path),
        Err(reason) => {
            remarks.push(reason);
            None
        }
    };
    let target = target.filter(|target| target.ends_with(".target")).and_then(|target| Some((target, usable(target)?)));
    if let Some((_, path)) = &target {
        link(path, &own.join("default.target"))?;
    }
    let wants = own.join(format!("{}.wants", target.as_ref().map_or(USUAL, |(target, _)| target)));
    for unit in units {
        if let Some(path) = usable(unit) {
            link(&path, &wants.join(unit))?;
        }
    }
    Ok(remarks)
}

/// The path of a unit as the system will see it, or why it cannot be used.
fn find(root: &Path, unit: &str) -> Result<String, String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || ":-_.\\@".contains(character);
    let (stem, kind) = unit.rsplit_once('.').unwrap_or_default();
    if stem.is_empty() || kind.is_empty() || unit.len() > 255 || !unit.chars().all(is_name) {
        return Err(format!("'{}' is no name of a unit", unit.escape_default()));
    }
    if fs::read_link(root.join(ADMINISTRATOR).join(unit)).is_ok_and(|link| link == Path::new("/dev/null")) {
        return Err(format!("{unit} is masked in the system"));
    }
    let template = stem.split_once('@').map(|(template, _)| format!("{template}@.{kind}"));
    let names = [Some(unit.to_owned()), template];
    let places = std::iter::once(ADMINISTRATOR).chain(PACKAGES);
    let paths = places.flat_map(|place| names.iter().flatten().map(move |name| format!("{place}/{name}")));
    let found = paths.into_iter().find(|path| fs::symlink_metadata(root.join(path)).is_ok());
    found.map(|path| format!("/{path}")).ok_or_else(|| format!("the system has no {unit}"))
}

fn link(to: &str, place: &Path) -> Result<()> {
    let described = || place.display().to_string();
    place.parent().map_or(Ok(()), fs::create_dir_all).with_context(described)?;
    if fs::symlink_metadata(place).is_ok() {
        fs::remove_file(place).with_context(described)?;
    }
    symlink(to, place).with_context(described)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(units: &[&str]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("a directory");
        for unit in units {
            let file = tree.path().join(unit);
            fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
            fs::write(file, "").expect("a unit");
        }
        tree
    }

    fn leads(tree: &Path, link: &str) -> Option<String> {
        let to = fs::read_link(tree.join(ADMINISTRATOR).join(link)).ok()?;
        Some(to.display().to_string())
    }

    #[test]
    fn a_role_is_links() {
        let tree = tree(&[
            "lib/systemd/system/batch.target",
            "usr/lib/systemd/system/condor@.service",
            "etc/systemd/system/a.service",
        ]);
        symlink("/lib/systemd/system/graphical.target", tree.path().join(ADMINISTRATOR).join("default.target"))
            .expect("a link");
        let units = ["condor@head.service".to_owned(), "a.service".to_owned()];
        let remarks = assign(tree.path(), Some("batch.target"), &units).expect("a role");
        assert_eq!(remarks, [""; 0]);
        assert_eq!(leads(tree.path(), "default.target").as_deref(), Some("/lib/systemd/system/batch.target"));
        let instance = leads(tree.path(), "batch.target.wants/condor@head.service");
        assert_eq!(instance.as_deref(), Some("/usr/lib/systemd/system/condor@.service"));
        assert_eq!(
            leads(tree.path(), "batch.target.wants/a.service").as_deref(),
            Some("/etc/systemd/system/a.service")
        );
    }

    #[test]
    fn what_is_not_there_or_no_unit_is_remarked() {
        let tree = tree(&["usr/lib/systemd/system/a.service", "etc/systemd/system/multi-user.target.wants/x"]);
        symlink("/dev/null", tree.path().join(ADMINISTRATOR).join("masked.service")).expect("a link");
        let units =
            ["../../../a.service", "masked.service", "b.service", "a.service", "a b.service", "a"].map(str::to_owned);
        let remarks = assign(tree.path(), Some("desktop.target"), &units).expect("remarks");
        assert_eq!(remarks.len(), 6, "{remarks:?}");
        assert_eq!(remarks[0], "the system has no desktop.target");
        assert_eq!(leads(tree.path(), "default.target"), None);
        assert_eq!(
            leads(tree.path(), "multi-user.target.wants/a.service").as_deref(),
            Some("/usr/lib/systemd/system/a.service")
        );
    }
}
