//! Running the few programs that the initramfs has besides this one.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Where the programs of the initramfs are.
pub(crate) const PATH: &str = "/bin:/sbin";

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    name: String,
    /// Its exit status; 128 and more if a signal ended it.
    pub(crate) status: i32,
    /// All that it wrote.
    pub(crate) output: String,
}

impl Outcome {
    /// An error unless the program says that all is well.
    pub(crate) fn succeeded(self) -> Result<()> {
        if self.status != 0 {
            bail!("{}: status {}: {}", self.name, self.status, self.output.trim());
        }
        Ok(())
    }
}

/// Runs `name` to its end.
pub(crate) fn tool(name: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Outcome> {
    use std::os::unix::process::ExitStatusExt as _;
    let mut command = Command::new(name);
    let output =
        command.args(arguments).env("PATH", PATH).stdin(Stdio::null()).output().with_context(|| name.to_owned())?;
    let status = output.status.code().or(output.status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    let text = [output.stdout, output.stderr].concat();
    Ok(Outcome { name: name.to_owned(), status, output: String::from_utf8_lossy(&text).into_owned() })
}
