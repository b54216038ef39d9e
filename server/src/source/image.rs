//! A container image as an OCI layout directory: its layers, one on top of the other.

use super::{Archive, Reading, Source};
use crate::publish::Publication;
use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The file that makes a directory an OCI layout.
const MARK: &str = "oci-layout";
/// Indexes may lead to indexes, but not for ever.
const DEPTH: usize = 4;

/// An image.
pub struct Image {
    directory: PathBuf,
    layers: Vec<Blob>,
    reading: Reading,
}

#[derive(Debug, Clone, Deserialize)]
struct Blob {
    digest: String,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// An index or a manifest: the one has manifests, the other layers.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Blob>,
    #[serde(default)]
    layers: Vec<Blob>,
}

impl Image {
    /// Whether a directory is an OCI layout.
    pub fn is_image(directory: &Path) -> bool {
        directory.join(MARK).is_file() && directory.join("index.json").is_file()
    }

    /// Reads the manifest: of several images the one for this machine.
    pub fn open(directory: &Path, reading: Reading) -> Result<Image> {
        let index = directory.join("index.json");
        let text = std::fs::read(&index).with_context(|| index.display().to_string())?;
        let mut document: Document = serde_json::from_slice(&text).with_context(|| index.display().to_string())?;
        for _ in 0..DEPTH {
            if document.manifests.is_empty() {
                let directory = directory.to_owned();
                return Ok(Image { directory, layers: document.layers, reading });
            }
            let manifest = choose(&document.manifests)?;
            let file = checked(directory, manifest)?;
            document = serde_json::from_reader(io::BufReader::new(file)).with_context(|| manifest.digest.clone())?;
        }
        bail!("{}: indexes lead to indexes without end", index.display())
    }
}

impl Source for Image {
    fn read(&mut self, into: &[u8], publication: &mut Publication<'_, '_>) -> Result<()> {
        for layer in &self.layers {
            ensure!(!layer.media_type.contains("nondistributable"), "layer {} is not in the image", layer.digest);
            let file = checked(&self.directory, layer)?;
            let reading = Reading { layers: true, ..self.reading.clone() };
            Archive::new(layer.digest.clone(), file, reading).read(into, publication)?;
        }
        Ok(())
    }
}

fn choose(manifests: &[Blob]) -> Result<&Blob> {
    if let [only] = manifests {
        return Ok(only);
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |blob: &&Blob| {
        blob.platform.as_ref().is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
    };
    manifests.iter().find(fits).with_context(|| format!("the image has no variant for linux/{architecture}"))
}

/// A blob whose content is what its name says.
fn checked(directory: &Path, blob: &Blob) -> Result<File> {
    let Some(hex) = blob.digest.strip_prefix("sha256:").filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) else {
        bail!("'{}' is no SHA-256 digest", blob.digest.escape_debug());
    };
    let path = directory.join("blobs/sha256").join(hex);
    let mut file = File::open(&path).with_context(|| path.display().to_string())?;
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher).with_context(|| path.display().to_string())?;
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == hex, "{} is damaged: its content has the digest {found}", path.display());
    io::Seek::rewind(&mut file)?;
    Ok(file)
}
