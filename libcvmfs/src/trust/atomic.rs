use super::TrustError;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Puts `bytes` in the place of `path` in one step; creates its directory where needed.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TrustError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let unique = format!("tmp.{}.{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{unique}"));
    let temporary = std::path::PathBuf::from(temporary);
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        TrustError::Memory { path: path.to_owned(), source }
    })
}

/// Reads at most `limit` bytes; a file that is not there is `None`.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TrustError> {
    use std::io::Read as _;
    let failed = |source| TrustError::Memory { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}
