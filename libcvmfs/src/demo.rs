//! A small signed repository that is part of this library, so that everything can be tried without a network.
//!
//! Its keys are public knowledge: it shows how things work and is to be trusted for nothing else. What is in it is
//! told by its own `README.txt`.

use crate::fqrn::Fqrn;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The name of the demo repository.
pub const FQRN: &str = "demo.example.org";

/// The demo repository on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoRepository {
    /// Its name, [`FQRN`].
    pub fqrn: Fqrn,
    /// The directory that a web server would show as `/cvmfs/demo.example.org`.
    pub web_root: PathBuf,
    /// The public master key, PEM.
    pub public_key: PathBuf,
}

impl DemoRepository {
    /// The parameters that mount it from disk: `CVMFS_SERVER_URL`, `CVMFS_HTTP_PROXY` and `CVMFS_PUBLIC_KEY`.
    pub fn options(&self) -> Vec<(String, String)> {
        vec![
            ("CVMFS_SERVER_URL".to_owned(), format!("file://{}", self.web_root.display())),
            ("CVMFS_HTTP_PROXY".to_owned(), "DIRECT".to_owned()),
            ("CVMFS_PUBLIC_KEY".to_owned(), self.public_key.display().to_string()),
        ]
    }
}

/// The embedded archive: a plain tar of the web root, public key included.
pub fn archive() -> &'static [u8] {
    include_bytes!("../data/demo.tar")
}

/// Writes the demo repository into a directory of its own below `dir`, which is made when missing. What is there
/// already is left as it is, so this can be called at every start and by many processes at once.
///
/// # Errors
/// What the file system says; `PermissionDenied` when the place is taken by something of another user, who could
/// have put another public key there.
pub fn unpack(dir: &Path) -> io::Result<DemoRepository> {
    fs::create_dir_all(dir)?;
    let digest = blake3::hash(archive()).to_hex();
    let web_root = fs::canonicalize(dir)?.join(format!("{FQRN}-{}", &digest[..12]));
    if !is_ours(&web_root)? {
        write(&web_root)?;
    }
    let fqrn = Fqrn::new(FQRN).expect("a constant that is a repository name");
    let public_key = web_root.join(format!("{FQRN}.pub"));
    Ok(DemoRepository { fqrn, web_root, public_key })
}

/// Whether the directory is there already, and ours.
fn is_ours(web_root: &Path) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(web_root) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    // SAFETY: geteuid takes nothing and cannot fail.
    let me = unsafe { libc::geteuid() };
    if metadata.is_dir() && metadata.uid() == me {
        return Ok(true);
    }
    let taken = format!("{} is no directory of this user", web_root.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, taken))
}

fn write(web_root: &Path) -> io::Result<()> {
    static UNPACKED: AtomicUsize = AtomicUsize::new(0);
    let number = UNPACKED.fetch_add(1, Ordering::Relaxed);
    let unfinished = web_root.with_file_name(format!("{FQRN}-unfinished-{}-{number}", std::process::id()));
    let renamed = unpack_at(&unfinished).and_then(|()| fs::rename(&unfinished, web_root));
    if renamed.is_err() {
        // Best effort: what counts is whether the place is filled.
        let _ = fs::remove_dir_all(&unfinished);
    }
    match renamed {
        // Somebody else was faster.
        Err(_) if is_ours(web_root)? => Ok(()),
        result => result,
    }
}

fn unpack_at(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory)?;
    tar::Archive::new(archive()).unpack(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_end_with_one_complete_directory() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("new/place");
        let unpacked: Vec<DemoRepository> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| unpack(&place).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(unpacked.iter().all(|repository| *repository == unpacked[0]));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
        let files = |path: &Path| fs::read(path).unwrap();
        assert!(files(&unpacked[0].public_key).starts_with(b"-----BEGIN PUBLIC KEY-----"));
        let manifest = files(&unpacked[0].web_root.join(".cvmfspublished"));
        assert!(manifest.windows(19).any(|window| window == b"\nNdemo.example.org\n"));
        assert!(unpacked[0].web_root.join(".cvmfswhitelist").is_file());
        assert_eq!(unpack(&place).unwrap(), unpacked[0]);
    }

    #[test]
    fn a_place_taken_by_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = unpack(dir.path()).unwrap().web_root;
        fs::rename(&place, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &place).unwrap();
        assert_eq!(unpack(dir.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
