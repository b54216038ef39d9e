//! A repository in a directory, as a web server shows it.

use super::{Body, Listed, Lock, Put, Storage, StorageError, object_path};
use libcvmfs::object::ObjectName;
use rustix::fs::{AtFlags, CWD, FlockOperation, flock};
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Where objects are before they have their name; the official publisher's directory for the same thing.
const STAGING: &str = "data/txn";
/// Locked by the one who publishes; its content says who.
const LOCK: &str = ".cvmfs_publisher";
/// What a web server may read.
const FILE_MODE: u32 = 0o644;

/// A directory.
pub struct LocalStorage {
    root: PathBuf,
}

impl LocalStorage {
    /// Opens the directory `root`; it is made with the first file.
    pub fn open(root: &Path) -> Result<LocalStorage, StorageError> {
        let failed = |source| StorageError::io(root.display().to_string(), source);
        Ok(LocalStorage { root: std::path::absolute(root).map_err(failed)? })
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Gives a complete temporary file its name, making the directory where it is missing.
    fn rename(&self, file: NamedTempFile, to: &Path) -> Result<(), StorageError> {
        let failed = |source| StorageError::io(to.display().to_string(), source);
        let missing = match file.persist(to) {
            Ok(_) => return Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::NotFound => error.file,
            Err(error) => return Err(failed(error.error)),
        };
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        missing.persist(to).map(drop).map_err(|error| failed(error.error))
    }

    fn written(&self, bytes: &[u8]) -> Result<NamedTempFile, StorageError> {
        let mut file = self.staging()?;
        file.write_all(bytes).map_err(|source| StorageError::io(file.path().display().to_string(), source))?;
        Ok(file)
    }

    fn walk(&self, directory: &Path, prefix: &str, visit: &mut dyn FnMut(Listed)) -> Result<(), StorageError> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|source| StorageError::io(directory.display().to_string(), source))?,
        };
        for entry in entries {
            let failed = |source| StorageError::io(directory.display().to_string(), source);
            let entry = entry.map_err(failed)?;
            let file = entry.path();
            let Some(path) = file.strip_prefix(&self.root).ok().and_then(Path::to_str) else { continue };
            let is_directory = entry.file_type().map_err(failed)?.is_dir();
            if is_directory && path != STAGING && (path.starts_with(prefix) || prefix.starts_with(path)) {
                self.walk(&file, prefix, visit)?;
            } else if !is_directory && path.starts_with(prefix) {
                // Deleted meanwhile: not there.
                let Ok(metadata) = entry.metadata() else { continue };
                let modified = u64::try_from(metadata.mtime()).unwrap_or(0);
                visit(Listed { path: path.to_owned(), size: metadata.len(), modified });
            }
        }
        Ok(())
    }
}

impl Storage for LocalStorage {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn staging(&self) -> Result<NamedTempFile, StorageError> {
        let directory = self.file(STAGING);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("publish.").permissions(fs::Permissions::from_mode(FILE_MODE));
        let made = builder.tempfile_in(&directory).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                fs::create_dir_all(&directory)?;
                builder.tempfile_in(&directory)
            }
            _ => Err(error),
        });
        made.map_err(|source| StorageError::io(directory.display().to_string(), source))
    }

    fn put_object(&self, name: &ObjectName, body: Body) -> Result<Put, StorageError> {
        let path = self.file(&object_path(name));
        let size = body.size().map_err(|source| StorageError::io(path.display().to_string(), source))?;
        // One of another size was cut short by a crash of the machine.
        if fs::symlink_metadata(&path).is_ok_and(|known| known.is_file() && known.len() == size) {
            return Ok(Put::Known);
        }
        let file = match body {
            Body::Bytes(bytes) => self.written(&bytes)?,
            Body::File(file) => file,
        };
        self.rename(file, &path)?;
        Ok(Put::New)
    }

    fn put_pointer(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let to = self.file(path);
        let file = self.written(bytes)?;
        let failed = |source| StorageError::io(to.display().to_string(), source);
        file.as_file().sync_all().map_err(failed)?;
        self.rename(file, &to)?;
        let directory = to.parent().unwrap_or(&self.root);
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        let to = self.file(path);
        let failed = |source: io::Error| StorageError::io(to.display().to_string(), source);
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let file = self.written(bytes)?;
        file.as_file().sync_all().map_err(failed)?;
        match rustix::fs::linkat(CWD, file.path(), CWD, &to, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(failed(error.into())),
        }
    }

    fn get(&self, path: &str, out: &mut dyn Write) -> Result<bool, StorageError> {
        let file = self.file(path);
        let failed = |source| StorageError::io(file.display().to_string(), source);
        match File::open(&file) {
            Ok(mut from) => io::copy(&mut from, out).map(|_| true).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let file = self.file(path);
        match fs::metadata(&file) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StorageError::io(file.display().to_string(), source)),
        }
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Listed)) -> Result<(), StorageError> {
        self.walk(&self.root, prefix, visit)
    }

    fn delete(&self, path: &str) -> Result<bool, StorageError> {
        let file = self.file(path);
        match fs::remove_file(&file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StorageError::io(file.display().to_string(), source)),
        }
    }

    fn sync(&self) -> Result<(), StorageError> {
        // All at once: a call for every object would take longer than everything else.
        let failed = |source| StorageError::io(self.root.display().to_string(), source);
        let root = File::open(&self.root).map_err(failed)?;
        rustix::fs::syncfs(&root).map_err(|error| failed(error.into()))
    }

    fn lock(&self, owner: &str) -> Result<Box<dyn Lock>, StorageError> {
        let path = self.file(LOCK);
        let failed = |source: io::Error| StorageError::io(path.display().to_string(), source);
        fs::create_dir_all(&self.root).map_err(failed)?;
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut other = String::new();
                let _ = file.read_to_string(&mut other);
                return Err(StorageError::Locked { place: self.describe(), owner: other.trim().to_owned() });
            }
            // Where there are no locks there is only care.
            Err(error) => log::warn!("{}: no locks here ({error}): nothing keeps two publishers apart", path.display()),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{owner}")).map_err(failed)?;
        self.clear_staging();
        Ok(Box::new(LocalLock(file)))
    }

    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

impl LocalStorage {
    /// Temporary files of a publisher that was killed; called by the only one there is.
    fn clear_staging(&self) {
        for entry in fs::read_dir(self.file(STAGING)).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

struct LocalLock(File);

impl Lock for LocalLock {}

impl Drop for LocalLock {
    fn drop(&mut self) {
        // The file stays: whoever removed it could remove that of a successor.
        let _ = self.0.set_len(0);
    }
}
