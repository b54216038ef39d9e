//! The tree of an instance: layers over the operating system, or one laid out by rules, and nothing else.

use super::ALWAYS;
use super::laid::Laid;
use super::mounts::Mount;
use anyhow::{Context as _, Result, bail};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// The tree of an instance.
pub(crate) enum Tree {
    Layered(Layers),
    Laid(Laid),
}

impl Tree {
    /// Makes ready what can only be made ready while the host's tree is there; gives mounts for places in this one.
    pub(crate) fn prepare(&self) -> Result<Vec<(PathBuf, Mount)>> {
        match self {
            Tree::Layered(_) => Ok(Vec::new()),
            Tree::Laid(laid) => laid.prepare(),
        }
    }

    /// Mounts it; gives the place.
    fn mount(&self) -> Result<&Path> {
        match self {
            Tree::Layered(layers) => layers.mount().map(|()| layers.place.as_path()),
            Tree::Laid(laid) => laid.mount().map(|()| laid.place.as_path()),
        }
    }

    /// What is written to.
    pub(crate) fn written(&self) -> &Path {
        match self {
            Tree::Layered(layers) => &layers.written,
            Tree::Laid(laid) => &laid.written,
        }
    }
}

/// The most layers: their names must fit into one page for the kernel.
pub(crate) const MOST_LAYERS: usize = 200;

/// What the tree is made of.
pub(crate) struct Layers {
    /// Where it is mounted before it becomes the root.
    pub(crate) place: PathBuf,
    /// What is written to.
    pub(crate) written: PathBuf,
    /// What overlayfs needs beside it.
    pub(crate) work: PathBuf,
    /// What is only read, the topmost first.
    pub(crate) read: Vec<PathBuf>,
    /// Below that, the operating system: a directory, and a path in it that leads nowhere else.
    pub(crate) system: (PathBuf, PathBuf),
    /// Below the operating system: places to mount upon that it lacks.
    pub(crate) places: PathBuf,
}

impl Layers {
    /// Makes the places to mount upon anew.
    pub(crate) fn make_places(&self, directories: &[PathBuf], files: &[PathBuf]) -> Result<()> {
        let context = || format!("making {}", self.places.display());
        match fs::remove_dir_all(&self.places) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(context),
            _ => {}
        }
        let inner = |path: &Path| self.places.join(path.strip_prefix("/").unwrap_or(path));
        for directory in ALWAYS {
            fs::create_dir_all(inner(Path::new(directory))).with_context(context)?;
        }
        for directory in directories {
            fs::create_dir_all(inner(directory)).with_context(context)?;
        }
        for file in files {
            let file = inner(file);
            fs::create_dir_all(file.parent().unwrap_or(&self.places)).with_context(context)?;
            fs::write(&file, "").with_context(context)?;
        }
        Ok(())
    }

    /// Mounts the tree.
    pub(crate) fn mount(&self) -> Result<()> {
        if self.read.len() > MOST_LAYERS {
            bail!(
                "there are {} layers, which are more than {MOST_LAYERS}; begin a new instance from a commit",
                self.read.len()
            );
        }
        // By number, whatever is in their names.
        let mut open = Vec::new();
        let mut lower = Vec::new();
        for path in &self.read {
            lower.push(by_number(path, Path::new("."), &mut open)?);
        }
        lower.push(by_number(&self.system.0, &self.system.1, &mut open)?);
        lower.push(by_number(&self.places, Path::new("."), &mut open)?);
        let (written, work) =
            (by_number(&self.written, Path::new("."), &mut open)?, by_number(&self.work, Path::new("."), &mut open)?);
        let options = format!("lowerdir={},upperdir={written},workdir={work},userxattr", lower.join(":"));
        let options = CString::new(options).context("naming layers")?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("cernvm-fork", &self.place, "overlay", flags, Some(options.as_c_str())).with_context(|| {
            format!(
                "laying {} over the operating system (overlayfs in a user namespace: Linux 5.11 or later, and a local \
                 file system; XDG_STATE_HOME can name another place)",
                self.written.display()
            )
        })
    }
}

/// A name for the directory `path` in `top`, whose links lead to places in `top` only.
pub(super) fn by_number(top: &Path, path: &Path, open: &mut Vec<OwnedFd>) -> Result<String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, top, flags, Mode::empty())
        .and_then(|top| openat2(top, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS))
        .with_context(|| format!("opening {}", top.join(path).display()))?;
    let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
    open.push(directory);
    Ok(name)
}

/// Mounts the tree and makes it the root of this process. Nothing of the tree before is left.
pub(crate) fn enter(tree: &Tree) -> Result<()> {
    let place = tree.mount()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, place, flags, Mode::empty()).context("opening the new root")?;
    fchdir(&root).context("entering the new root")?;
    // The old root comes to lie upon the new one, and goes from there.
    pivot_root(".", ".").context("changing the root")?;
    unmount(".", UnmountFlags::DETACH).context("leaving the old root")?;
    chdir("/").context("entering the new root")
}
