//! Where the kernel comes from: Debian's archive, a package of it, or a directory.

use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The package that always needs the newest kernel.
const NEWEST: &str = "linux-image-amd64";

/// A kernel with its modules.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The file that a boot loader loads.
    pub(crate) image: PathBuf,
    /// Its release, as `uname -r` says it.
    pub(crate) release: String,
    /// Directory of its modules.
    pub(crate) modules: PathBuf,
    /// When the image was made, in seconds since 1970.
    pub(crate) built: u64,
}

/// Finds the kernel that `wanted` means. Packages are unpacked into `scratch`.
pub(crate) fn find(wanted: &str, scratch: &Path) -> Result<Kernel> {
    let path = Path::new(wanted);
    if wanted == "debian" {
        let package = newest()?;
        inside(&unpacked(&package, scratch)?)
    } else if path.is_dir() {
        inside(path)
    } else if path.extension().is_some_and(|extension| extension == "deb") {
        inside(&unpacked(path, scratch)?)
    } else {
        bail!("--kernel takes 'debian', a .deb file or a directory, and not {wanted}")
    }
}

/// The newest kernel package, fetched once into the user's cache.
fn newest() -> Result<PathBuf> {
    let depends = tools::output(tools::command("apt-cache", 0)?.args(["depends", "--important", NEWEST]))?;
    let mut words = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let name = words.find(|name| name.starts_with("linux-image-")).context("apt knows no kernel: apt-get update?")?;
    let cache = cache_directory()?;
    let described = || cache.display().to_string();
    fs::create_dir_all(&cache).with_context(described)?;
    if let Some(file) = package_in(&cache, name)? {
        return Ok(file);
    }
    // Into a directory of its own first: what was cut short is not taken for a package.
    let arriving = tempfile::tempdir_in(&cache).with_context(described)?;
    let mut download = tools::command("apt-get", 0)?;
    download.args(["-q", "-o", "APT::Sandbox::User=root", "download", name]).current_dir(&arriving);
    tools::output(&mut download)?;
    let file = package_in(arriving.path(), name)?.context("apt-get downloaded nothing")?;
    let kept = cache.join(file.file_name().unwrap_or_default());
    fs::rename(&file, &kept).with_context(described)?;
    Ok(kept)
}

fn cache_directory() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("ucernvm"))
}

/// The newest package called `name` in `directory`.
fn package_in(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let prefix = format!("{name}_");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        if file_name.starts_with(&prefix) && file_name.ends_with(".deb") {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(found.into_iter().max().map(|(_, path)| path))
}

fn unpacked(package: &Path, scratch: &Path) -> Result<PathBuf> {
    let directory = scratch.join("kernel");
    tools::output(tools::command("dpkg-deb", 0)?.arg("-x").arg(package).arg(&directory))?;
    Ok(directory)
}

/// The kernel below `directory`, of which there has to be one.
fn inside(directory: &Path) -> Result<Kernel> {
    let mut images = Vec::new();
    for entry in fs::read_dir(directory.join("boot")).with_context(|| directory.join("boot").display().to_string())? {
        let entry = entry?;
        if let Some(release) = entry.file_name().to_string_lossy().strip_prefix("vmlinuz-") {
            images.push((release.to_owned(), entry.path()));
        }
    }
    images.sort();
    let (release, image) = match images.as_slice() {
        [one] => one.clone(),
        [] => bail!("{}: no boot/vmlinuz-*", directory.display()),
        _ => bail!("{}: several kernels; give the package of one", directory.display()),
    };
    let places = ["lib/modules", "usr/lib/modules"].map(|place| directory.join(place).join(&release));
    let modules = places.into_iter().find(|place| place.is_dir());
    let modules = modules.with_context(|| format!("{}: no modules for {release}", directory.display()))?;
    let modified = fs::metadata(&image)?.modified()?;
    let built = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Kernel { image, release, modules, built })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_kernel_with_modules() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        fs::create_dir_all(root.join("boot")).expect("a directory");
        assert!(inside(root).expect_err("no kernel").to_string().contains("no boot/vmlinuz"));
        fs::write(root.join("boot/vmlinuz-6.1"), "").expect("a file");
        assert!(inside(root).expect_err("no modules").to_string().contains("no modules for 6.1"));
        fs::create_dir_all(root.join("usr/lib/modules/6.1")).expect("a directory");
        assert_eq!(inside(root).expect("a kernel").release, "6.1");
        fs::write(root.join("boot/vmlinuz-6.2"), "").expect("a file");
        assert!(inside(root).expect_err("two kernels").to_string().contains("several kernels"));
    }

    #[test]
    fn what_is_no_kernel_is_said() {
        let error = find("fedora", Path::new("/nowhere")).expect_err("not known");
        assert!(error.to_string().contains("and not fedora"));
    }
}
