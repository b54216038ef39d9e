//! A loader for machines that boot another image already: kernel and initramfs, with words that say what they are.

use crate::image::Parts;
use anyhow::{Result, bail};
use ucernvm_update::contract::OURS;
use ucernvm_update::loader::{Loader, Part, is_version};
use ucernvm_update::pack::archived;

/// What a pack of this kernel and initramfs says of itself.
pub(crate) fn describe(release: &str, kernel: &[u8], initramfs: &[u8]) -> Result<Loader> {
    if !is_version(release) {
        bail!("--release: a loader cannot call itself '{}'", release.escape_debug());
    }
    Ok(Loader { version: release.to_owned(), contract: OURS, kernel: Part::of(kernel), initrd: Part::of(initramfs) })
}

/// One file with all of it.
pub(crate) fn write(release: &str, parts: &Parts<'_>) -> Result<Vec<u8>> {
    let time = u32::try_from(parts.epoch).unwrap_or(u32::MAX);
    let kernel = parts.kernel_bytes()?;
    let loader = describe(release, &kernel, parts.initramfs)?;
    Ok(archived(&loader, &kernel, parts.initramfs, time)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use ucernvm_update::pack::Pack;

    #[test]
    fn a_pack_is_the_same_each_time_and_reads_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let kernel = directory.path().join("vmlinuz");
        fs::write(&kernel, vec![7; 100_001]).expect("a kernel");
        let parts = Parts { kernel: &kernel, initramfs: b"initramfs", entries: &[], seconds: 2, epoch: 1_700_000_000 };
        let bytes = write("2.0-1", &parts).expect("a pack");
        assert!(bytes == write("2.0-1", &parts).expect("a pack"), "two of one kernel differ");
        let file = directory.path().join("2.0-1.pack");
        fs::write(&file, &bytes).expect("a file");
        let loader = Pack::open(&file).expect("a pack").loader;
        assert_eq!(
            (loader.version.as_str(), loader.kernel.size, loader.initrd),
            ("2.0-1", 100_001, Part::of(b"initramfs"))
        );
        assert!(write("2.0\n", &parts).is_err(), "nobody could show that");
    }
}
