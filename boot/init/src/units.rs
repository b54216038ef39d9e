//! Units of systemd: where a system has its own, and those that it gets from the loader.

use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where packages put units, in systemd's order.
pub(crate) const PACKAGES: [&str; 3] = ["usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
/// Units that no tree has to have: they move into the operating system with `/run`.
const ADDED: &str = "/run/systemd/system";

/// Whether a package of the system at `root` has this unit.
pub(crate) fn has(root: &Path, name: &str) -> bool {
    PACKAGES.iter().any(|place| root.join(place).join(name).exists())
}

/// Gives the system a unit, which `wanted_by` starts.
pub(crate) fn add(name: &str, text: &str, wanted_by: Option<&str>) -> Result<()> {
    let units = Path::new(ADDED);
    fs::create_dir_all(units).context(ADDED)?;
    let file = units.join(name);
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    match wanted_by {
        Some(target) => link(&Path::new("..").join(name), &units.join(format!("{target}.wants")).join(name)),
        None => Ok(()),
    }
}

/// Makes a link, and its directory, unless something is there.
pub(crate) fn link(to: &Path, place: &Path) -> Result<()> {
    let described = || place.display().to_string();
    if fs::symlink_metadata(place).is_ok() {
        return Ok(());
    }
    place.parent().map_or(Ok(()), fs::create_dir_all).with_context(described)?;
    symlink(to, place).with_context(described)
}
