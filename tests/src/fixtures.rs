//! Repositories written by the official tools, and the truth about them recorded through the official client.
//!
//! The archives lie below `tests/fixtures/`; they are unpacked once for all test processes into the cargo target
//! directory, under a name made from their content.

mod truth;

pub use truth::{FIND_FORMAT, FileType, Magic, Truth, found_by_find, truth};

use serde::Deserialize;
use std::fs::{self, Permissions};
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A repository that lies on disk, ready to be served or mounted through `file://`.
#[derive(Debug, Clone)]
pub struct RepositoryFixture {
    /// The directory that a web server shows as `/cvmfs/<fqrn>`.
    pub web_root: PathBuf,
    /// The name under which the repository was signed.
    pub fqrn: String,
    /// The public master key, PEM.
    pub public_key: PathBuf,
}

impl RepositoryFixture {
    /// Parameters that mount it straight from disk: server URL, no proxy, public key.
    pub fn options(&self) -> Vec<(String, String)> {
        self.options_at(format!("file://{}", self.web_root.display()))
    }

    /// The same with another server.
    pub fn options_at(&self, server_url: String) -> Vec<(String, String)> {
        let mut options = vec![
            ("CVMFS_SERVER_URL".into(), server_url),
            ("CVMFS_HTTP_PROXY".into(), "DIRECT".into()),
            ("CVMFS_PUBLIC_KEY".into(), self.public_key.display().to_string()),
        ];
        // The truth was told to root, from whom no permission bits keep anything.
        if !crate::tools::is_root() && self.web_root.starts_with(root()) {
            options.push(("CVMFS_CHECK_PERMISSIONS".into(), "no".into()));
        }
        options
    }
}

/// One damaged or hostile repository, and what the official client made of it.
#[derive(Debug, Clone, Deserialize)]
pub struct BadCase {
    /// Directory name below `bad/`.
    pub case: String,
    /// What was done to it.
    pub what: String,
    /// How the official client's mount ended: 0 mounted, 16 refused, something else: it died.
    pub mount_rc: i32,
    /// What the official client wrote into the system log.
    #[serde(default)]
    pub syslog: Vec<String>,
    /// Commands tried on the mounted tree, each with its outcome.
    #[serde(default)]
    pub probes: Vec<(String, String)>,
}

/// The directory with all unpacked fixtures: one web root per repository, `bad/`, `external-data/`, `truth/`.
///
/// # Panics
/// When the archives cannot be unpacked.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| unpack().unwrap_or_else(|e| panic!("unpacking the fixtures: {e}")))
}

/// A good repository by its name, for instance `small.test.example`.
pub fn repository(fqrn: &str) -> RepositoryFixture {
    at(root().join(fqrn), fqrn)
}

/// A damaged variant of `small.test.example` by the name of its case.
pub fn bad(case: &str) -> RepositoryFixture {
    at(root().join("bad").join(case), "small.test.example")
}

/// All damaged variants with their stories.
pub fn bad_cases() -> Vec<BadCase> {
    let file = archives().join("bad.json");
    let text = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The bytes of `external.test.example`'s external files: the tree behind `CVMFS_EXTERNAL_URL`.
pub fn external_data() -> PathBuf {
    root().join("external-data")
}

fn at(web_root: PathBuf, fqrn: &str) -> RepositoryFixture {
    assert!(web_root.is_dir(), "no fixture {}", web_root.display());
    // The master key of a damaged variant is that of the repository it was made from.
    let public_key = root().join(fqrn).join(format!("{fqrn}.pub"));
    RepositoryFixture { web_root, fqrn: fqrn.to_owned(), public_key }
}

fn archives() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn unpack() -> io::Result<PathBuf> {
    let packed = ["repositories.tar.zst", "truth.tar.zst"].map(|name| archives().join(name));
    let mut key = blake3::Hasher::new();
    key.update(b"external data that its owner can read");
    for archive in &packed {
        key.update_reader(fs::File::open(archive)?)?;
    }
    let place = target_directory();
    let done = place.join(format!("cvmfs-fixtures-{}", &key.finalize().to_hex()[..16]));
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(&place)?;
    let unfinished = tempfile::Builder::new().prefix("cvmfs-fixtures-unfinished-").tempdir_in(&place)?;
    for archive in &packed {
        let mut decoder = zstd::Decoder::new(BufReader::new(fs::File::open(archive)?))?;
        // Packed with a window of 128 MB, more than a decoder accepts unasked.
        decoder.window_log_max(27)?;
        tar::Archive::new(decoder).unpack(unfinished.path())?;
    }
    fs::set_permissions(unfinished.path(), Permissions::from_mode(0o755))?;
    make_readable(&unfinished.path().join("external-data"))?;
    match fs::rename(unfinished.path(), &done) {
        Ok(()) => {
            // Renamed: there is nothing left to delete.
            let _ = unfinished.keep();
            Ok(done)
        }
        // Another process was faster; ours is deleted on drop.
        Err(_) if done.is_dir() => Ok(done),
        Err(e) => Err(e),
    }
}

/// A server shows them all; the modes that users see are in the catalogs.
fn make_readable(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => make_readable(&entry.path())?,
            kind if kind.is_file() => fs::set_permissions(entry.path(), Permissions::from_mode(0o644))?,
            _ => {}
        }
    }
    Ok(())
}

/// The cargo target directory this test runs from, or a directory for temporary files where there is none.
fn target_directory() -> PathBuf {
    let of_cargo = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf));
    of_cargo.unwrap_or_else(std::env::temp_dir)
}
