//! A client as a user has one: options, a cache of its own, and short patience.

use crate::fixtures::RepositoryFixture;
use crate::server::WebRoot;
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::namespace::{LastLink, Node, Resolved};
use libcvmfs::repository::Repository;
use libcvmfs::{Error, cache};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Seconds: short for who has to wait, and longer than a busy machine lets a server stand still.
const TIMEOUT: &str = "3";

/// Describes how a repository is mounted. Clones share the cache, as processes of one user do.
#[derive(Clone)]
pub struct Mount {
    fqrn: String,
    options: Vec<(String, String)>,
    environment: Vec<(OsString, OsString)>,
    roots: Vec<PathBuf>,
    cache: PathBuf,
    _directory: Option<Arc<TempDir>>,
}

/// What `-o` has to say for a repository of `server` without a proxy.
pub fn parameters(server: &WebRoot, key: &Path, cache: &Path) -> [(&'static str, String); 4] {
    [
        ("CVMFS_SERVER_URL", server.server_url()),
        ("CVMFS_HTTP_PROXY", "DIRECT".to_owned()),
        ("CVMFS_PUBLIC_KEY", key.display().to_string()),
        ("CVMFS_CACHE_BASE", cache.display().to_string()),
    ]
}

/// A client from the lines `NAME=value` in a variable of the environment, for a child process; `None` in the process
/// that runs the tests.
pub fn client_from_environment(variable: &str) -> Option<Client> {
    let lines = std::env::var(variable).ok()?;
    let options = lines.lines().filter_map(|line| line.split_once('='));
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = ClientSettings { options, config_roots: Some(Vec::new()), ..ClientSettings::default() };
    Some(Client::new(settings).unwrap_or_else(|error| panic!("{error}")))
}

impl Mount {
    /// Straight from disk.
    pub fn of(repository: &RepositoryFixture) -> Mount {
        let directory = tempfile::Builder::new().prefix("cvmfs-cache-").tempdir().expect("a temporary directory");
        let mut mount = Mount {
            fqrn: repository.fqrn.clone(),
            options: repository.options(),
            environment: Vec::new(),
            roots: Vec::new(),
            cache: directory.path().join("cache"),
            _directory: Some(Arc::new(directory)),
        };
        mount.options.extend(
            [
                ("CVMFS_TIMEOUT", TIMEOUT),
                ("CVMFS_TIMEOUT_DIRECT", TIMEOUT),
                ("CVMFS_MAX_RETRIES", "0"),
                ("CVMFS_BACKOFF_INIT", "1"),
                ("CVMFS_BACKOFF_MAX", "1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let cache = mount.cache.display().to_string();
        mount.option("CVMFS_CACHE_BASE", &cache)
    }

    /// Over HTTP from these servers, without a proxy.
    pub fn over(repository: &RepositoryFixture, servers: &[&WebRoot]) -> Mount {
        let urls: Vec<String> = servers.iter().map(|server| server.server_url()).collect();
        Mount::of(repository).option("CVMFS_SERVER_URL", &urls.join(";"))
    }

    /// Sets a parameter, in the place of what it was before.
    pub fn option(mut self, name: &str, value: &str) -> Mount {
        self.options.retain(|(other, _)| other != name);
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a parameter to the configuration files.
    pub fn without_option(mut self, name: &str) -> Mount {
        self.options.retain(|(other, _)| other != name);
        self
    }

    /// Sets a variable of the environment.
    pub fn environment(mut self, name: &str, value: &str) -> Mount {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Reads configuration files below `directory`, which is laid out like `/etc/cvmfs`.
    pub fn configured_by(mut self, directory: &Path) -> Mount {
        self.roots.push(directory.to_owned());
        self
    }

    /// The same with another, empty cache.
    pub fn with_new_cache(&self) -> Mount {
        let directory = tempfile::Builder::new().prefix("cvmfs-cache-").tempdir().expect("a temporary directory");
        let cache = directory.path().join("cache");
        let text = cache.display().to_string();
        let mount = Mount { cache, _directory: Some(Arc::new(directory)), ..self.clone() };
        mount.option("CVMFS_CACHE_BASE", &text)
    }

    /// All parameters, as for `-o`.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `CVMFS_CACHE_BASE`.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The name of the repository.
    pub fn fqrn(&self) -> &str {
        &self.fqrn
    }

    /// A new client, as in a new process.
    ///
    /// # Panics
    /// When the parameters that concern no repository are wrong.
    pub fn client(&self) -> Mounted {
        let client = self.try_client().expect("right parameters");
        Mounted { fqrn: self.fqrn.clone(), client, _directory: self._directory.clone() }
    }

    /// The same where they may be wrong.
    pub fn try_client(&self) -> Result<Client, Error> {
        Client::new(ClientSettings {
            options: self.options.clone(),
            environment: self.environment.clone(),
            config_roots: Some(self.roots.clone()),
            pac: None,
        })
    }
}

/// A client with the repository a test is about.
#[derive(Clone)]
pub struct Mounted {
    fqrn: String,
    client: Client,
    /// The cache lives as long as somebody uses it.
    _directory: Option<Arc<TempDir>>,
}

impl Mounted {
    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The repository, mounted now.
    pub fn repository(&self) -> Result<Repository, Error> {
        self.client.repository(&self.fqrn)
    }

    /// The entry at a path inside the repository; links are followed.
    pub fn node(&self, path: impl AsRef<[u8]>) -> Result<Node, Error> {
        self.resolve(path, LastLink::Follow).and_then(Resolved::node)
    }

    /// The entry at a path inside the repository, itself if it is a link.
    pub fn link(&self, path: impl AsRef<[u8]>) -> Result<Node, Error> {
        self.resolve(path, LastLink::Keep).and_then(Resolved::node)
    }

    /// Where a path inside the repository leads.
    pub fn resolve(&self, path: impl AsRef<[u8]>, last: LastLink) -> Result<Resolved, Error> {
        let path = [b"/cvmfs/", self.fqrn.as_bytes(), path.as_ref()].concat();
        self.client.namespace().resolve(&path, last)
    }

    /// A file's content.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        read(&self.node(path)?)
    }

    /// A directory's names, lossily as text.
    pub fn list(&self, path: impl AsRef<[u8]>) -> Result<Vec<String>, Error> {
        let listing = self.node(path)?.list()?;
        Ok(listing.iter().map(|item| String::from_utf8_lossy(&item.name).into_owned()).collect())
    }
}

/// The content of a file.
///
/// # Panics
/// When the descriptor handed out cannot be read.
pub fn read(node: &Node) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    node.open()?.read_to_end(&mut bytes).expect("a file of the cache");
    Ok(bytes)
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asserts that a complete check finds nothing wrong in a cache, and that nothing was left half done.
///
/// # Panics
/// When it does.
pub fn assert_clean(cache: &cache::Cache) {
    let options = cache::FsckOptions { grace: std::time::Duration::ZERO, ..cache::FsckOptions::default() };
    let report = cache.fsck(&options, &mut |_| {}).expect("the cache can be checked");
    assert!(report.damaged.is_empty(), "{report:?}");
    let directory = &cache.settings().directory;
    for transactions in ["txn", "local/txn"] {
        let left: Vec<_> = std::fs::read_dir(directory.join(transactions)).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}
