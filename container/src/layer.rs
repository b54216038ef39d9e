//! Layers: what instances wrote, each in a directory of its own, named by a number that nobody else has.
//!
//! | in a layer | what |
//! |---|---|
//! | `fs` | files, as overlayfs keeps them: deleted ones are devices 0/0, replaced directories are marked; or as [`cvmfs_union`] does; or a root laid out by rules |
//! | `work` | what overlayfs needs beside them; a root that is being laid out |
//! | `gone` | without overlayfs: which names were taken away |
//! | `ids` | whose they are, if they may be somebody else's than the caller's |

use crate::description::Form;
use crate::ids::Ids;
use anyhow::{Context as _, Result};
use cvmfs_union::Layer;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Whose the files are.
const IDS: &str = "ids";

/// The name of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct LayerId(u64);

impl TryFrom<String> for LayerId {
    type Error = String;

    fn try_from(text: String) -> Result<LayerId, String> {
        let number = u64::from_str_radix(&text, 16).ok().filter(|number| format!("{number:016x}") == text);
        number.map(LayerId).ok_or_else(|| format!("'{}' is no layer", text.escape_debug()))
    }
}

impl From<LayerId> for String {
    fn from(id: LayerId) -> String {
        id.file_name()
    }
}

impl LayerId {
    /// As the directory is called.
    pub(crate) fn file_name(&self) -> String {
        format!("{:016x}", self.0)
    }

    /// The files of this layer.
    pub(crate) fn files(&self, layers: &Path) -> PathBuf {
        layers.join(self.file_name()).join("fs")
    }

    /// Its directory.
    pub(crate) fn directory(&self, layers: &Path) -> PathBuf {
        layers.join(self.file_name())
    }

    /// What overlayfs needs beside them.
    pub(crate) fn work(&self, layers: &Path) -> PathBuf {
        layers.join(self.file_name()).join("work")
    }
}

/// Makes an empty layer in the directory `layers`.
pub(crate) fn make(layers: &Path, form: Form, ids: &Ids) -> Result<LayerId> {
    loop {
        let id = LayerId(fastrand::u64(..));
        let directory = layers.join(id.file_name());
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.with_context(|| format!("making {}", directory.display()))?,
        }
        let made = match form {
            // Its files come when they are complete.
            Form::Laid => DirBuilder::new().mode(0o700).create(id.work(layers)),
            Form::Overlay => DirBuilder::new()
                .mode(0o755)
                .create(id.files(layers))
                .and_then(|()| DirBuilder::new().mode(0o700).create(id.work(layers))),
            Form::Interposed => Layer::at(&directory).make(),
        };
        made.with_context(|| format!("making a layer in {}", directory.display()))?;
        if ids.has_others() {
            let text = serde_json::to_string(ids)?;
            fs::write(directory.join(IDS), text).with_context(|| format!("writing into {}", directory.display()))?;
        }
        return Ok(id);
    }
}

/// Whose the files of a layer are, if it says so.
pub(crate) fn ids_of(layer: &Path) -> Result<Option<Ids>> {
    match fs::read_to_string(layer.join(IDS)) {
        Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| format!("{}/{IDS}", layer.display()))?)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}/{IDS}", layer.display())),
    }
}

/// Whether nothing was written into a layer.
pub(crate) fn is_empty(layers: &Path, form: Form, id: &LayerId) -> bool {
    if form == Form::Interposed {
        return Layer::at(id.directory(layers)).is_empty();
    }
    fs::read_dir(id.files(layers)).is_ok_and(|mut entries| entries.next().is_none())
}
