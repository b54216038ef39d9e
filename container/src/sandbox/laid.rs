//! The tree of an instance without layers: laid out by rules, with mounts where it shows the operating system's.

use super::mounts::{self, Mount};
use super::root::by_number;
use crate::layout::lay::{Showing, lay};
use crate::layout::{Layout, Part, Plan};
use crate::remove;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What the tree is made of.
pub(crate) struct Laid {
    /// Where it is mounted before it becomes the root.
    pub(crate) place: PathBuf,
    /// The instance's own files, which are there as soon as they are complete.
    pub(crate) written: PathBuf,
    /// Where they are made.
    pub(crate) work: PathBuf,
    /// The operating system: a directory, and a path in it that leads nowhere else.
    pub(crate) system: (PathBuf, PathBuf),
    pub(crate) layout: Layout,
}

impl Laid {
    /// Lays the tree out if that was not done, and gives what of the operating system is shown, with its places. Later a
    /// program may have put links anywhere, so nothing is written then, and places are found when the tree is the root.
    pub(crate) fn prepare(&self) -> Result<Vec<(PathBuf, Mount)>> {
        let mut open = Vec::new();
        let tree = by_number(&self.system.0, &self.system.1, &mut open)?;
        let tree = Path::new(&tree);
        let plan = Plan::new(&self.layout, tree).context("--layout")?;
        if !self.written.exists() {
            remove::everything_in(&self.work)?;
            let root = self.work.join("root");
            fs::create_dir(&root).with_context(|| format!("making {}", root.display()))?;
            lay(&plan, tree, &root, Showing::Places)?.tell();
            fs::rename(&root, &self.written).with_context(|| format!("making {}", self.written.display()))?;
        }
        let shown = plan.parts().filter(|(_, part)| **part == Part::Shown);
        let mount = |(path, _): (&Path, &Part)| {
            let mount = mounts::copy(tree.join(path))?;
            mount.make_read_only().with_context(|| format!("making /{} read-only", path.display()))?;
            Ok((Path::new("/").join(path), mount))
        };
        shown.map(mount).collect()
    }

    /// Mounts the tree.
    pub(crate) fn mount(&self) -> Result<()> {
        mounts::copy(&self.written)?.attach(&self.place)
    }
}
