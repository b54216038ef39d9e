//! The demo repository `demo.example.org`, made from the files below `examples/demo/`.

use anyhow::Context as _;
use cvmfs_tests::forge::Forge;
use std::path::{Path, PathBuf};

const FQRN: &str = libcvmfs::demo::FQRN;

/// Publishes both revisions and packs the web root: the bytes of `libcvmfs/data/demo.tar`, always the same.
pub fn archive() -> anyhow::Result<Vec<u8>> {
    let web_root = tempfile::tempdir()?;
    publish(web_root.path())?;
    pack(web_root.path())
}

fn publish(web_root: &Path) -> anyhow::Result<()> {
    let first = tree()?.dir("/releases").symlink("/latest", "releases/v1").tag("v1");
    let first = release(first, "v1")?;
    let published = first.publish(web_root);
    let second = first.revision(2).symlink("/latest", "releases/v2").previous(&published);
    let second = second.tag_of("v1", &published).tag("v2");
    release(second, "v2")?.publish(web_root);
    Ok(())
}

fn tree() -> anyhow::Result<Forge> {
    let about = r#"{"description": "Demo repository", "organisation": "none", "recommended-stratum1s": []}"#;
    let mut forge = Forge::new(FQRN).page_size(512).meta_info(about).whitelist_expires("20560101000000");
    for file in ["analysis.py", "bin/hello.sh"] {
        forge = forge.file(format!("/{file}"), source(file)?).mode(0o755);
    }
    for file in [
        "README.txt",
        "data/dimuons.csv",
        "include/demo/units.h",
        "lib/python/physics/__init__.py",
        "lib/python/physics/constants.py",
        "lib/python/physics/kinematics.py",
    ] {
        forge = forge.file(format!("/{file}"), source(file)?);
    }
    Ok(forge
        .hardlink("/data/events.csv", "/data/dimuons.csv")
        .symlink("/current", "releases/$(CVMFS_DEMO_VERSION:-v2)")
        .symlink("/first", format!("/cvmfs/{FQRN}/releases/v1"))
        .at("/README.txt")
        .xattr("user.purpose", "demonstration"))
}

fn release(forge: Forge, version: &str) -> anyhow::Result<Forge> {
    let directory = format!("releases/{version}");
    let (notes, program) = (format!("{directory}/NOTES.txt"), format!("{directory}/bin/demo-version"));
    Ok(forge
        .nested(format!("/{directory}"))
        .file(format!("/{notes}"), source(&notes)?)
        .file(format!("/{program}"), source(&program)?)
        .mode(0o755))
}

fn source(name: &str) -> anyhow::Result<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(name);
    std::fs::read(&file).with_context(|| file.display().to_string())
}

/// Files only, sorted, without anything that differs between machines.
fn pack(web_root: &Path) -> anyhow::Result<Vec<u8>> {
    let mut files = Vec::new();
    list(web_root, &mut files)?;
    files.sort();
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let bytes = std::fs::read(&file)?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(cvmfs_tests::forge::DEFAULT_TIME as u64);
        archive.append_data(&mut header, file.strip_prefix(web_root)?, &bytes[..])?;
    }
    Ok(archive.into_inner()?)
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_archive_is_what_its_sources_give() {
        let embedded = libcvmfs::demo::archive();
        assert!(embedded.len() < 100_000, "{} bytes", embedded.len());
        let made = super::archive().unwrap();
        assert!(made == embedded, "changed sources or another SQLite? cargo run -p cvmfs-examples --bin make-demo");
    }
}
