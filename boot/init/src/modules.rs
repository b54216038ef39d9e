//! Kernel modules: those of the initramfs are loaded, and later given to the operating system.

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// File with the modules to load, each after those that it needs; paths below the directory of modules.
const LIST: &str = "/etc/modules";

/// The release of the kernel that runs.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn directory() -> PathBuf {
    Path::new("/lib/modules").join(release())
}

/// Loads the list; names of those that could not be loaded. Many drivers find no device, which is no failure.
pub(crate) fn load() -> Result<Vec<String>> {
    let list = fs::read_to_string(LIST).context(LIST)?;
    let mut failed = Vec::new();
    for name in list.lines().filter(|line| !line.is_empty()) {
        if !load_one(&directory().join(name)) {
            failed.push(name.to_owned());
        }
    }
    Ok(failed)
}

fn load_one(file: &Path) -> bool {
    let Ok(file) = File::open(file) else { return false };
    matches!(rustix::system::finit_module(&file, c"", 0), Ok(()) | Err(Errno::EXIST | Errno::NODEV))
}

/// Copies the modules into the system below `root`, unless it has some for this kernel. `false` if it had.
pub(crate) fn post(root: &Path) -> Result<bool> {
    let target = root.join("lib/modules").join(release());
    if target.exists() {
        return Ok(false);
    }
    // What is cut short has another name, and is begun anew.
    let unfinished = target.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| unfinished.display().to_string())?;
    }
    copy(&directory(), &unfinished)?;
    rustix::fs::syncfs(File::open(&unfinished)?)?;
    fs::rename(&unfinished, &target).with_context(|| target.display().to_string())?;
    Ok(true)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}
