//! A root laid out by rules, where no layer can be laid over a tree: some parts are shown, others are copied, others are empty.
//!
//! | module | job |
//! |---|---|
//! | [`rules`] | the text that says what becomes of which path |
//! | [`plan`] | what the root consists of: rules applied to a tree |
//! | [`lay`] | making that in a directory |

pub(crate) mod lay;
pub(crate) mod plan;
pub(crate) mod rules;

pub(crate) use plan::{Part, Plan};
pub(crate) use rules::Layout;

use crate::arguments::LayOut;
use crate::say::say;
use anyhow::{Context as _, Result, bail};
use lay::{Outcome, Showing};
use std::fs;
use std::path::Path;

/// Names the rules that need no file.
const USUAL: &str = "usual";
/// The most paths that are told one by one.
const MOST_TOLD: usize = 10;

/// Reads a file of rules; `usual` stands for those that fit most trees.
pub(crate) fn read(file: &Path) -> Result<Layout> {
    let text = match file.to_str() {
        Some(USUAL) => rules::USUAL.to_owned(),
        _ => fs::read_to_string(file).with_context(|| format!("--layout {}", file.display()))?,
    };
    text.parse().with_context(|| file.display().to_string())
}

/// Lays a root out in a directory, with links to the tree.
pub(crate) fn run(wanted: &LayOut) -> Result<u8> {
    let layout = read(&wanted.rules)?;
    if !wanted.root.is_absolute() || !wanted.root.is_dir() {
        bail!("--root {} must be an absolute path to a directory: links will lead there", wanted.root.display());
    }
    if !wanted.target.is_dir() {
        bail!("{} is no directory", wanted.target.display());
    }
    let plan = Plan::new(&layout, &wanted.root)?;
    let mut outcome = lay::lay(&plan, &wanted.root, &wanted.target, Showing::Links)?;
    for directory in plan::NOT_OF_THE_TREE {
        let place = wanted.target.join(directory);
        if fs::symlink_metadata(&place).is_err() {
            fs::create_dir(&place).with_context(|| format!("making {}", place.display()))?;
        }
    }
    for (name, _) in layout.variables() {
        say!("set {name}: links have no variables; set it where the program is started");
    }
    // Copies of an earlier time are meant to be there.
    let part = |path: &Path| path.strip_prefix(&wanted.target).ok().and_then(|path| plan.part(path));
    outcome.there.retain(|path| matches!(part(path), Some(Part::Shown | Part::Link(_))));
    outcome.tell();
    Ok(0)
}

impl Outcome {
    /// Tells what was not made.
    pub(crate) fn tell(&self) {
        for (paths, why) in [
            (&self.there, "something else is there, and stays"),
            (&self.left_out, "left out: it cannot be read, or is a device, pipe or socket"),
        ] {
            for path in paths.iter().take(MOST_TOLD) {
                say!("{}: {why}", path.display());
            }
            if let Some(more) = paths.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
                say!("and {more} more: {why}");
            }
        }
    }
}
