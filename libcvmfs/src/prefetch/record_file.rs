//! The file into which the list of what was used is written.

use super::Record;
use crate::Error;
use crate::client::Client;
use crate::namespace::Node;
use parking_lot::Mutex;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A list and where it goes.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    record: Record,
    /// What was written last: who has taken the file away already does not want the same again.
    written: Mutex<Vec<u8>>,
}

impl RecordFile {
    /// Makes sure that the file can be written, so that a long run is not for nothing.
    ///
    /// # Errors
    /// If it cannot.
    pub fn new(path: &Path) -> io::Result<RecordFile> {
        let path = std::path::absolute(path)?;
        if path.file_name().is_none() || path.exists() && !path.is_file() {
            return Err(io::Error::other("this is no regular file"));
        }
        let file = RecordFile { path, record: Record::default(), written: Mutex::default() };
        let temporary = file.temporary();
        File::create(&temporary).and_then(|_| std::fs::remove_file(&temporary))?;
        Ok(file)
    }

    /// Where it goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that a file or directory was handed out.
    ///
    /// # Errors
    /// As [`Record::note`].
    pub fn note(&self, node: &Node) -> Result<(), Error> {
        self.record.note(node)
    }

    /// Puts the list there, in one step, unless it was written before.
    ///
    /// # Errors
    /// If it cannot be written; what was there before stays.
    pub fn write(&self, client: &Client) -> io::Result<()> {
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
        written
    }

    fn temporary(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".new-{}", std::process::id()));
        self.path.with_file_name(name)
    }
}
