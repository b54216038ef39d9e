//! Files as an archive that is the same whenever it is written: sorted, owned by root, without times.

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tar::{Builder, EntryType, Header};

/// Files and directories by their paths, without a slash at the beginning.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Bits, and the content; `None` for directories.
    entries: BTreeMap<String, (u32, Option<Vec<u8>>)>,
}

impl Layer {
    /// Adds a directory with these bits, and those above it.
    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.above(path);
        self.entries.insert(path.to_owned(), (mode, None));
    }

    /// Adds a file with these bits, and the directories above it.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        let path = path.trim_start_matches('/');
        self.above(path);
        self.entries.insert(path.to_owned(), (mode, Some(content)));
    }

    fn above(&mut self, path: &str) {
        for (slash, _) in path.match_indices('/') {
            if let Some(directory) = path.get(..slash) {
                self.entries.entry(directory.to_owned()).or_insert((0o755, None));
            }
        }
    }

    /// The archive.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (path, (mode, content)) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_mode(*mode);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            let content = content.as_deref();
            header.set_entry_type(if content.is_some() { EntryType::Regular } else { EntryType::Directory });
            header.set_size(content.map_or(0, <[u8]>::len) as u64);
            let name = if content.is_some() { path.clone() } else { format!("{path}/") };
            archive.append_data(&mut header, name, content.unwrap_or_default()).context("writing the archive")?;
        }
        archive.into_inner().context("writing the archive")
    }
}

/// An archive, compressed.
pub(super) fn packed(archive: &[u8]) -> Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(archive).context("compressing the archive")?;
    out.finish().context("compressing the archive")
}

/// The loader of a program and the libraries that this finds; none for a static program.
pub(super) fn libraries(program: &Path, bytes: &[u8]) -> Result<Vec<PathBuf>> {
    let Some(loader) = loader(bytes).with_context(|| format!("understanding {}", program.display()))? else {
        return Ok(Vec::new());
    };
    let mut found = Command::new(&loader);
    found.arg("--list").arg(program).env_clear();
    let told = found.output().with_context(|| format!("running {}", loader.display()))?;
    if !told.status.success() {
        bail!("{} does not tell what {} needs: {}", loader.display(), program.display(), told.stderr.escape_ascii());
    }
    // NAME => PATH (ADDRESS), or PATH (ADDRESS); what the kernel gives has no path.
    let told = String::from_utf8(told.stdout).context("names of libraries")?;
    let paths =
        told.lines().filter_map(|line| line.split_whitespace().rev().nth(1)).filter(|path| path.starts_with('/'));
    Ok(paths.map(PathBuf::from).chain([loader.clone()]).collect())
}

/// The loader that a program asks for.
fn loader(program: &[u8]) -> Result<Option<PathBuf>> {
    let header = FileHeader64::<LittleEndian>::parse(program)?;
    for segment in header.program_headers(LittleEndian, program)? {
        if let Some(name) = segment.interpreter(LittleEndian, program)? {
            return Ok(Some(PathBuf::from(OsStr::from_bytes(name))));
        }
    }
    Ok(None)
}
