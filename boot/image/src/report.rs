//! How large an image and its parts are.

use anyhow::Result;
use cvmfs_command::output::Output;
use serde::Serialize;
use std::io::Write as _;

/// Sizes in bytes; those inside the initramfs are before it was compressed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The release of the kernel.
    pub(crate) kernel_release: String,
    /// The kernel.
    pub(crate) kernel: u64,
    /// The initramfs as it is in the image.
    pub(crate) initramfs: u64,
    /// The modules in it.
    pub(crate) modules: u64,
    /// How many those are.
    pub(crate) module_count: usize,
    /// `ucernvm-init`.
    pub(crate) init: u64,
    /// All else in it: the shell, programs for file systems, their libraries.
    pub(crate) tools: u64,
    /// Boot loaders, as they are in the image.
    pub(crate) loaders: u64,
    /// The image.
    pub(crate) image: u64,
    /// Modules of the list that this kernel does not have.
    pub(crate) absent_modules: Vec<String>,
    /// SHA-256 of the image, in hexadecimal; empty for a directory.
    pub(crate) sha256: String,
}

impl Report {
    /// Prints it as a table, or as JSON.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let mut out = Output::new(json, false);
        if json {
            out.print_json(self)?;
        } else {
            for (name, bytes) in [
                ("kernel", self.kernel),
                ("initramfs, packed", self.initramfs),
                ("  modules", self.modules),
                ("  ucernvm-init", self.init),
                ("  tools and libraries", self.tools),
                ("boot loaders", self.loaders),
                ("image", self.image),
            ] {
                writeln!(out, "{name:<22}{:>10.2} MB", bytes as f64 / 1e6)?;
            }
            writeln!(out, "kernel {}, {} modules", self.kernel_release, self.module_count)?;
        }
        out.finish()?;
        Ok(())
    }
}
