//! The file into which the list of what was used is written.

use anyhow::{Context as _, bail};
use libcvmfs::Error;
use libcvmfs::client::Client;
use libcvmfs::namespace::Node;
use libcvmfs::prefetch::Record;
use parking_lot::Mutex;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A list and where it goes.
pub(crate) struct RecordFile {
    path: PathBuf,
    record: Record,
    /// What was written last: who has taken the file away already does not want the same again.
    written: Mutex<Vec<u8>>,
}

impl RecordFile {
    /// Makes sure that the file can be written, so that a long run is not for nothing.
    pub(crate) fn new(path: &Path) -> anyhow::Result<RecordFile> {
        let path = std::path::absolute(path).context("--record")?;
        if path.file_name().is_none() || path.exists() && !path.is_file() {
            bail!("--record={}: this is no regular file", path.display());
        }
        let file = RecordFile { path, record: Record::default(), written: Mutex::default() };
        let temporary = file.temporary();
        File::create(&temporary)
            .and_then(|_| std::fs::remove_file(&temporary))
            .with_context(|| format!("--record={} cannot be written", file.path.display()))?;
        Ok(file)
    }

    /// Notes that a file or directory was handed out.
    pub(crate) fn note(&self, node: &Node) -> Result<(), Error> {
        self.record.note(node)
    }

    /// Puts the list there, in one step, unless it was written before.
    pub(crate) fn write(&self, client: &Client) -> anyhow::Result<()> {
        let list = self.record.to_list(client);
        let mut before = self.written.lock();
        if *before == list {
            return Ok(());
        }
        let temporary = self.temporary();
        let written = File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(&list)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&temporary, &self.path));
        match written {
            Ok(()) => *before = list,
            Err(_) => drop(std::fs::remove_file(&temporary)),
        }
        written.with_context(|| format!("writing the list {}", self.path.display()))
    }

    fn temporary(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".new-{}", std::process::id()));
        self.path.with_file_name(name)
    }
}
