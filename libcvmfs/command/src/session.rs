//! What the commands share: the client made from the command line, and paths to nodes.

use crate::tree::MountedEntry;
use anyhow::{Context as _, Result, bail};
use cvmfs_pac::PacEngine;
use libcvmfs::cache::Cache;
use libcvmfs::client::{Client, ClientSettings};
use libcvmfs::config::Sources;
use libcvmfs::namespace::{LastLink, Node};
use libcvmfs::repository::open_cache;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

/// The client of one run.
pub struct Session {
    settings: ClientSettings,
    client: Client,
}

impl Session {
    /// A client for `-o` options, the environment and the usual configuration files.
    pub fn new(options: &[String]) -> Result<Session> {
        let mut settings = ClientSettings::from_process();
        settings.options = options.iter().map(|option| Sources::option(option)).collect::<Result<_, _>>()?;
        settings.pac = Some(Arc::new(PacEngine::default()));
        Session::with(settings)
    }

    /// A client like this one with further parameters.
    pub fn with_options(&self, more: Vec<(String, String)>) -> Result<Session> {
        let mut settings = self.settings.clone();
        settings.options.extend(more);
        Session::with(settings)
    }

    fn with(settings: ClientSettings) -> Result<Session> {
        let client = Client::new(settings.clone()).context("reading the configuration")?;
        Ok(Session { settings, client })
    }

    /// The tree of all repositories.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The node behind a path.
    pub fn resolve(&self, path: &Path, last: LastLink) -> Result<Node> {
        let namespace = self.client.namespace();
        let bytes = path.as_os_str().as_bytes();
        if namespace.strip(bytes).is_none() {
            let top = String::from_utf8_lossy(namespace.mount_dir()).into_owned();
            bail!("not below {top}: paths look like {top}/REPOSITORY/...");
        }
        Ok(namespace.resolve(bytes, last)?.node()?)
    }

    /// The entry behind a path, with a final link not followed unless a slash comes after it.
    pub fn entry(&self, path: &Path) -> Result<MountedEntry> {
        Ok(MountedEntry::new(self.resolve(path, LastLink::Keep)?))
    }

    /// The cache of a repository, or the one that all share, without mounting anything.
    pub fn open_cache(&self, repository: Option<&str>) -> Result<Cache> {
        let config = match repository {
            Some(name) => self.client.config(&self.repository_name(name)?)?,
            None => {
                let config = self.client.common_config()?;
                let directory = config.cache_directory()?;
                if directory.file_name() == Some(OsStr::new(config.fqrn().as_str())) {
                    bail!("every repository has a cache of its own here: name one with --repository");
                }
                config
            }
        };
        Ok(open_cache(&config)?)
    }

    /// The repository that an argument names: `sft.cern.ch`, or `/cvmfs/sft.cern.ch` with anything below.
    pub fn repository_name(&self, argument: &str) -> Result<String> {
        let Some(inside) = self.client.namespace().strip(argument.as_bytes()) else { return Ok(argument.to_owned()) };
        let name = inside.split(|&byte| byte == b'/').find(|component| !component.is_empty());
        let name = name.with_context(|| format!("{argument} names no repository"))?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// The repositories that arguments name, or those that are configured when there are none.
    pub fn repository_names(&self, arguments: &[String]) -> Result<Vec<String>> {
        if !arguments.is_empty() {
            return arguments.iter().map(|argument| self.repository_name(argument)).collect();
        }
        let known: Vec<String> = self.client.namespace().known().iter().map(|fqrn| fqrn.to_string()).collect();
        if known.is_empty() {
            bail!("no repository is named, and CVMFS_REPOSITORIES lists none");
        }
        Ok(known)
    }
}
