//! Files that a context brings along: `cernvm_inject`.

use crate::run;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

const ARCHIVE: &str = "/run/inject.tar.gz";

/// Unpacks a tar.gz, given as base64, over `root`.
pub(crate) fn unpack(archive: &str, root: &Path) -> Result<()> {
    let bytes = ucernvm_context::unwrap::base64(archive).context("Bad format")?;
    fs::write(ARCHIVE, bytes)?;
    let arguments = [Path::new("-xzf"), Path::new(ARCHIVE), Path::new("-C"), root];
    let result = run::tool("tar", arguments).and_then(run::Outcome::succeeded).context("Bad tarball");
    fs::remove_file(ARCHIVE)?;
    result
}
