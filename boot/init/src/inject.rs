//! Archives that a context brings along: `cernvm_inject`, and `pickup.tar.gz` of a medium.

use crate::run;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

const ARCHIVE: &str = "/run/inject.tar.gz";

/// Unpacks a tar.gz, given as base64, over `root`.
pub(crate) fn unpack(archive: &str, root: &Path) -> Result<()> {
    let bytes = ucernvm_context::unwrap::base64(archive).context("Bad format")?;
    fs::write(ARCHIVE, bytes)?;
    let result = unpack_file(Path::new(ARCHIVE), root);
    fs::remove_file(ARCHIVE)?;
    result
}

/// Unpacks a tar.gz over `root`.
pub(crate) fn unpack_file(archive: &Path, root: &Path) -> Result<()> {
    let arguments = [Path::new("-xzf"), archive, Path::new("-C"), root];
    run::tool("tar", arguments).and_then(run::Outcome::succeeded).context("Bad tarball")
}
