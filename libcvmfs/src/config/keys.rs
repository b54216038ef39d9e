//! Master keys and blacklists of a repository.

use std::path::{Path, PathBuf};

use super::effective::{Config, Source};
use super::error::ConfigError;
use super::load::read_bounded;
use super::{domains, table};

/// A public master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Where it comes from: a path, or what is built in.
    pub name: String,
    /// The key as PEM text, not looked at.
    pub pem: Vec<u8>,
}

impl Config {
    /// The master keys, any of which may have signed the whitelist.
    ///
    /// The files of `CVMFS_PUBLIC_KEY`; else all `*.pub` of `CVMFS_KEYS_DIR`; else the ones built in for the
    /// domain; else all in `keys/` of a configuration root. One unreadable file fails them all, as in the official client.
    pub fn master_keys(&self) -> Result<Vec<KeySource>, ConfigError> {
        let no_key = |reason: String| ConfigError::NoKey { fqrn: self.fqrn.to_string(), reason };
        if self.value(table::PUBLIC_KEY.name).is_some() {
            let files = self.list(&table::PUBLIC_KEY)?;
            let keys: Vec<_> = files.iter().map(|file| self.key(Path::new(file))).collect::<Result<_, _>>()?;
            return if keys.is_empty() { Err(no_key("CVMFS_PUBLIC_KEY names no file".into())) } else { Ok(keys) };
        }
        let mut looked = Vec::new();
        if let Some(value) = self.value(table::KEYS_DIR.name) {
            let directory = self.path(&table::KEYS_DIR)?.unwrap_or_default();
            let keys = self.keys_in(&directory)?;
            if !keys.is_empty() {
                return Ok(keys);
            }
            // What the user names by hand is meant; a shipped file may point to a configuration repository out of reach.
            if !matches!(value.source, Source::File { .. }) {
                return Err(no_key(format!("{} holds no *.pub file", directory.display())));
            }
            looked.push(directory);
        }
        if let Some(domain) = domains::find(&self.fqrn) {
            let built_in = domain.keys().into_iter();
            return Ok(built_in
                .map(|(name, pem)| KeySource { name: format!("built-in {name}"), pem: pem.into_bytes() })
                .collect());
        }
        for root in self.roots.iter().rev() {
            let directory = root.join("keys");
            let keys = self.keys_in(&directory)?;
            if !keys.is_empty() {
                return Ok(keys);
            }
            looked.push(directory);
        }
        let looked: Vec<_> = looked.iter().map(|d| d.display().to_string()).collect();
        Err(no_key(format!("no *.pub file in {}, and the domain is not built in", looked.join(", "))))
    }

    fn key(&self, path: &Path) -> Result<KeySource, ConfigError> {
        let name = path.display().to_string();
        if let Some(pem) = self.repository_files.get(path) {
            return Ok(KeySource { name, pem: pem.clone() });
        }
        let unreadable = |cause| ConfigError::KeyUnreadable { path: path.to_owned(), cause };
        match read_bounded(path).map_err(unreadable)? {
            Some(pem) => Ok(KeySource { name, pem }),
            None => Err(unreadable(std::io::ErrorKind::NotFound.into())),
        }
    }

    fn keys_in(&self, directory: &Path) -> Result<Vec<KeySource>, ConfigError> {
        let is_key = |path: &PathBuf| path.extension().is_some_and(|e| e == "pub");
        let mut paths: Vec<PathBuf> = self
            .repository_files
            .keys()
            .filter(|p| p.parent() == Some(directory))
            .filter(|p| is_key(p))
            .cloned()
            .collect();
        if paths.is_empty() {
            match std::fs::read_dir(directory) {
                Ok(entries) => paths.extend(entries.filter_map(|e| Some(e.ok()?.path())).filter(is_key)),
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(ConfigError::KeyUnreadable { path: directory.to_owned(), cause }),
            }
        }
        paths.sort();
        paths.iter().map(|path| self.key(path)).collect()
    }

    /// The blacklists: that of the configuration repository and the local one; those that do not exist are left out.
    pub fn blacklists(&self) -> Result<Vec<Vec<u8>>, ConfigError> {
        let is_blacklist = |path: &&PathBuf| path.file_name().is_some_and(|n| n == "blacklist");
        let repository = self.repository_files.keys().filter(is_blacklist);
        let mut lists: Vec<Vec<u8>> = repository.map(|path| self.repository_files[path].clone()).collect();
        if let Some(path) = self.path(&table::BLACKLIST)? {
            let local = read_bounded(&path).map_err(|cause| ConfigError::Unreadable { path, cause })?;
            lists.extend(local);
        }
        Ok(lists)
    }
}
