//! From the initramfs to the operating system.

use crate::repository::{self, JAIL, REPOSITORY, SCRATCH};
use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount, mount_move};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Where the operating system's root is put together.
pub(crate) const ROOT: &str = "/root";
/// The init of the operating system.
const INIT: &str = "/sbin/init";

/// Puts the overlay over the tree.
pub(crate) fn overlay(tree: &str) -> Result<()> {
    let lower = Path::new(REPOSITORY).join(tree);
    if !lower.is_dir() {
        bail!("/{tree} is no directory in the repository");
    }
    let (upper, work) = (Path::new(SCRATCH).join("persistent"), Path::new(SCRATCH).join("work"));
    // Copies must stay complete files that a later boot can compare with another lower tree.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,xino=auto,metacopy=off,redirect_dir=off",
        escaped(&lower),
        escaped(&upper),
        escaped(&work)
    );
    fs::create_dir_all(ROOT)?;
    mount("overlay", ROOT, "overlay", MountFlags::empty(), Some(CString::new(options)?.as_c_str())).context("overlay")
}

/// Colons and commas separate in these options.
fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.chars()
        .flat_map(|character| [Some('\\').filter(|_| ":,\\".contains(character)), Some(character)])
        .flatten()
        .collect()
}

/// Makes what the operating system expects of a loader.
pub(crate) fn prepare(resolver: &str) -> Result<()> {
    let root = Path::new(ROOT);
    for (name, mode) in [
        ("proc", 0o555),
        ("sys", 0o555),
        ("dev", 0o755),
        ("run", 0o755),
        ("mnt", 0o755),
        ("cvmfs", 0o755),
        ("tmp", 0o1777),
    ] {
        directory(&root.join(name), mode)?;
    }
    // The two branches of the overlay, for tools.
    for (name, branch) in [("mnt/.rw", SCRATCH), ("mnt/.ro", REPOSITORY)] {
        let link = root.join(name);
        if fs::read_link(&link).ok().as_deref() != Some(Path::new(branch)) {
            let _ = fs::remove_file(&link);
            symlink(branch, &link).with_context(|| link.display().to_string())?;
        }
    }
    let own = root.join("etc/resolv.conf");
    if !resolver.is_empty() && fs::symlink_metadata(&own).is_err() {
        fs::write(&own, resolver)?;
    }
    exitrd()
}

fn directory(path: &Path, mode: u32) -> Result<()> {
    let described = || path.display().to_string();
    if path.is_symlink() {
        // It leads somewhere only once this is the root.
        return Ok(());
    }
    if !path.is_dir() {
        fs::create_dir(path).with_context(described)?;
    } else if path.metadata()?.mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(described)
}

/// The small system that systemd returns to when it has stopped everything: it takes the disks apart.
fn exitrd() -> Result<()> {
    let exitrd = Path::new("/run/initramfs");
    for name in ["dev", "proc", "sys", "run", "oldroot", "etc", "scratch", "repository"] {
        fs::create_dir_all(exitrd.join(name))?;
    }
    // All names of this program are one file, since it lies in memory.
    let shutdown = exitrd.join("shutdown");
    fs::hard_link(repository::program_in(Path::new(JAIL)), &shutdown)
        .with_context(|| shutdown.display().to_string())?;
    fs::write(exitrd.join("etc/initrd-release"), "NAME=\"micro-CernVM\"\n")?;
    Ok(())
}

/// Replaces this process by the operating system's init.
pub(crate) fn switch() -> Result<Infallible> {
    let root = Path::new(ROOT);
    if !root.join(INIT.trim_start_matches('/')).exists() && fs::symlink_metadata(root.join("sbin/init")).is_err() {
        bail!("Unable to invoke init! The tree has no {INIT}");
    }
    for name in ["dev", "proc", "sys", "run"] {
        mount_move(Path::new("/").join(name), root.join(name)).with_context(|| format!("/{name}"))?;
    }
    free_memory();
    rustix::process::chdir(root)?;
    mount_move(".", "/").context("/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    let console = rustix::fs::open("/dev/console", OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    if let Ok(console) = console {
        rustix::stdio::dup2_stdin(&console)?;
        rustix::stdio::dup2_stdout(&console)?;
        rustix::stdio::dup2_stderr(&console)?;
    }
    let arguments = std::env::args_os().skip(1);
    let error = Command::new(INIT).args(arguments).env_clear().env("HOME", "/").env("TERM", "linux").exec();
    Err(error).context("Unable to invoke init!")
}

/// The files of the initramfs lie in memory.
fn free_memory() {
    let Ok(metadata) = fs::metadata("/") else { return };
    for name in ["bin", "sbin", "lib", "lib64", "usr", "etc", "init"] {
        let path = Path::new("/").join(name);
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        // Never out of the initramfs.
        if found.dev() == metadata.dev() {
            let _ = if found.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        assert_eq!(escaped(Path::new("/a:b,c\\d")), "/a\\:b\\,c\\\\d");
    }
}
