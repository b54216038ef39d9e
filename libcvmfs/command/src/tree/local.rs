//! A directory tree of the local file system: what the listings are tested on, side by side with coreutils.

use super::{Entry, Facts, Kind, Time};
use anyhow::{Context, Result};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A file of the local file system.
#[derive(Debug, Clone)]
pub struct LocalEntry {
    path: PathBuf,
    facts: Facts,
}

impl LocalEntry {
    /// Looks at `path` without following a symbolic link.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<LocalEntry> {
        let path = path.into();
        let facts = facts(&path.symlink_metadata()?);
        Ok(LocalEntry { path, facts })
    }
}

fn facts(metadata: &std::fs::Metadata) -> Facts {
    let time = |seconds, nanoseconds: i64| Time { seconds, nanoseconds: nanoseconds as u32 };
    let birth = metadata.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    Facts {
        dev: metadata.dev(),
        ino: metadata.ino(),
        mode: metadata.mode(),
        nlink: metadata.nlink(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: metadata.rdev(),
        size: metadata.size(),
        blocks: metadata.blocks(),
        blksize: metadata.blksize(),
        atime: time(metadata.atime(), metadata.atime_nsec()),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        birth: birth.map(|since| Time { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }),
    }
}

impl Entry for LocalEntry {
    fn facts(&self) -> Result<Facts> {
        Ok(self.facts)
    }

    fn kind(&self) -> Kind {
        self.facts.kind()
    }

    fn list(&self) -> Result<Vec<(Vec<u8>, Self)>> {
        let mut entries = Vec::new();
        for item in std::fs::read_dir(&self.path).with_context(|| self.path.display().to_string())? {
            let item = item?;
            entries.push((item.file_name().into_vec(), LocalEntry::new(item.path())?));
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    fn parent(&self) -> Result<Self> {
        Ok(LocalEntry::new(self.path.join(".."))?)
    }

    fn target(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read_link(&self.path)?.into_os_string().into_vec())
    }

    fn followed(&self) -> Result<Option<Self>> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(Some(LocalEntry { path: self.path.clone(), facts: facts(&metadata) })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn has_acl(&self) -> bool {
        has_attribute(&self.path, "system.posix_acl_access") || has_attribute(&self.path, "system.posix_acl_default")
    }
}

fn has_attribute(path: &Path, name: &str) -> bool {
    let mut nothing = [0u8; 0];
    rustix::fs::lgetxattr(path, name, &mut nothing).is_ok_and(|size| size > 0)
}
