//! Programs of this machine that do parts of the work.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which Debian package a program comes from.
const PACKAGES: [(&str, &str); 10] = [
    ("apt-cache", "apt"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("e2fsck", "e2fsprogs"),
    ("mformat", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("objcopy", "binutils"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("xorriso", "xorriso"),
];

/// Directories with programs that ordinary users may not have in their PATH.
const ALSO: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Where the program `name` is.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(ALSO.iter().map(PathBuf::from));
    let found = directories.map(|directory| directory.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not installed{}", hint(name)))
}

/// A file that a Debian package brings.
pub(crate) fn file(path: &str, package: &str) -> Result<PathBuf> {
    let file = PathBuf::from(path);
    if !file.exists() {
        bail!("{path} is not there; on Debian: apt-get install {package}");
    }
    Ok(file)
}

fn hint(name: &str) -> String {
    let package = PACKAGES.iter().find(|(program, _)| *program == name).map(|(_, package)| *package);
    package.map(|package| format!("; on Debian: apt-get install {package}")).unwrap_or_default()
}

/// A command that has not been started; its time is `epoch` where it asks for one.
pub(crate) fn command(name: &str, epoch: u64) -> Result<Command> {
    let mut command = Command::new(find(name)?);
    command.stdin(Stdio::null()).env("SOURCE_DATE_EPOCH", epoch.to_string()).env("TZ", "UTC").env("LC_ALL", "C");
    Ok(command)
}

/// Runs a command to its end; what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert_eq!(super::hint("xorriso"), "; on Debian: apt-get install xorriso");
        let error = super::find("no-such-program").expect_err("there is none");
        assert_eq!(error.to_string(), "no-such-program is not installed");
    }
}
