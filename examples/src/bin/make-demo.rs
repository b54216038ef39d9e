//! Writes the archive of the demo repository that libcvmfs embeds.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../libcvmfs/data/demo.tar");
    let bytes = cvmfs_examples::demo::archive()?;
    std::fs::write(&file, &bytes)?;
    println!("{}: {} bytes", file.display(), bytes.len());
    Ok(())
}
