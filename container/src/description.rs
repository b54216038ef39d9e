//! What is kept about an instance: a small JSON file.

use crate::arguments::Os;
use crate::ids::Ids;
use crate::kept::Kept;
use crate::layer::LayerId;
use crate::layout::Layout;
use crate::sandbox::root;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The version of the file.
const FORMAT: u32 = 1;
const FILE: &str = "instance.json";

/// How what an instance wrote is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// As the kernel's overlayfs keeps it.
    #[default]
    Overlay,
    /// As `cvmfs-run --root` keeps it.
    Interposed,
    /// As it is, in a root laid out by rules.
    Laid,
}

impl Form {
    /// The most layers that can be laid upon each other.
    pub(crate) fn most_layers(self) -> usize {
        match self {
            Form::Overlay => root::MOST_LAYERS,
            Form::Interposed => cvmfs_union::MOST_LAYERS,
            Form::Laid => 1,
        }
    }
}

/// What an instance consists of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) format: u32,
    /// The operating system's tree; for one in a repository, where it would be on a host that has mounted it.
    pub(crate) root: PathBuf,
    /// That tree, if it is in a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) os: Option<Os>,
    /// The snapshot of that repository, as soon as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root_hash: Option<String>,
    /// The layers over it: the first is written to, the others never again.
    pub(crate) layers: Vec<LayerId>,
    #[serde(default)]
    pub(crate) form: Form,
    /// The rules by which its root is laid out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layout: Option<Layout>,
    /// Options that it was made with.
    #[serde(default)]
    pub(crate) kept: Kept,
    /// Whose the files in the layers are.
    pub(crate) ids: Ids,
    /// It goes when its program ends.
    pub(crate) ephemeral: bool,
    /// Seconds since 1970.
    pub(crate) created: i64,
}

impl Description {
    /// An instance without layers.
    pub(crate) fn new(root: PathBuf, form: Form, ids: Ids, ephemeral: bool) -> Description {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let created = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Description {
            format: FORMAT,
            root,
            os: None,
            root_hash: None,
            layers: Vec::new(),
            form,
            layout: None,
            kept: Kept::default(),
            ids,
            ephemeral,
            created,
        }
    }

    /// An instance without layers over a tree in a repository.
    pub(crate) fn over(os: Os, form: Form, ids: Ids, ephemeral: bool) -> Description {
        let root = Path::new("/cvmfs").join(os.fqrn.as_str()).join(&os.path);
        Description { os: Some(os), ..Description::new(root, form, ids, ephemeral) }
    }

    /// Reads that of the instance in this directory.
    pub(crate) fn read(instance: &Path) -> Result<Description> {
        let path = instance.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let description: Description = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        if description.format != FORMAT || description.layers.is_empty() {
            bail!("{} was not written by this version of cernvm-fork", path.display());
        }
        Ok(description)
    }

    /// Puts this one in the place of the one before.
    pub(crate) fn write(&self, instance: &Path) -> Result<()> {
        let (path, new) = (instance.join(FILE), instance.join(".instance.json"));
        let text = serde_json::to_string_pretty(self)? + "\n";
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| format!("writing {}", path.display()))
    }
}
