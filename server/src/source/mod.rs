//! Where entries come from.

mod archive;
mod graft;
mod image;
mod owners;
mod sparse;
mod tree;

pub use archive::Archive;
pub(crate) use archive::{inner_path, plain};
pub use graft::Graft;
pub use image::Image;
pub use owners::Owners;
pub use tree::Tree;

use crate::publish::Publication;
use anyhow::{Context as _, Result};
use std::path::Path;

/// Something that can be published.
pub trait Source {
    /// Adds all its entries below the directory `into` (empty: the root of the repository).
    fn read(&mut self, into: &[u8], publication: &mut Publication<'_, '_>) -> Result<()>;
}

/// How sources are read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Who owns what.
    pub owners: Owners,
    /// What cannot be read is left out instead of ending everything.
    pub skip_unreadable: bool,
    /// Archives are layers of container images: whiteouts in them remove what is there.
    pub layers: bool,
}

/// Opens the source that a command line names: a directory, an image, an archive, or an archive from the standard input (`-`).
pub fn open(place: &Path, reading: &Reading) -> Result<Box<dyn Source>> {
    if place == Path::new("-") {
        return Ok(Box::new(Archive::new("standard input", std::io::stdin(), reading.clone())));
    }
    let metadata = std::fs::metadata(place).with_context(|| place.display().to_string())?;
    if metadata.is_dir() && Image::is_image(place) {
        return Ok(Box::new(Image::open(place, reading.clone())?));
    }
    if metadata.is_dir() {
        return Ok(Box::new(Tree::open(place, reading.clone())?));
    }
    let file = std::fs::File::open(place).with_context(|| place.display().to_string())?;
    Ok(Box::new(Archive::new(place.display().to_string(), file, reading.clone())))
}
