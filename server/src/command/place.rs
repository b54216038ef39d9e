//! Places of repositories for commands that sign nothing.

use crate::keys::KeyFiles;
use crate::repository::Repository;
use anyhow::{Result, bail};
use clap::Args;
use libcvmfs::fqrn::Fqrn;
use std::path::PathBuf;

/// Which repository, and the public key that it is verified with.
#[derive(Debug, Clone, Args)]
pub struct PublicPlace {
    /// The repository's fully qualified name, such as my.repo.example
    pub fqrn: Fqrn,
    /// Where it lies: the directory that a web server shows as its base URL, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "DIR")]
    pub storage: String,
    /// How it is verified.
    #[command(flatten)]
    pub key: PublicKey,
}

/// The public master key.
#[derive(Debug, Clone, Args)]
pub struct PublicKey {
    /// Directory with the public master key FQRN.pub
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// The public master key
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    pub public_key: Option<PathBuf>,
}

impl PublicKey {
    /// The files of which only the public key is used.
    pub fn files(&self, fqrn: &Fqrn) -> Result<KeyFiles> {
        match (&self.keys, &self.public_key) {
            (Some(directory), _) => Ok(KeyFiles::new(fqrn, directory, None)),
            (None, Some(file)) => Ok(KeyFiles { public: file.clone(), ..KeyFiles::new(fqrn, &PathBuf::new(), None) }),
            (None, None) => {
                bail!("which key signed the whitelist? --keys DIR (with {fqrn}.pub in it) or --public-key FILE")
            }
        }
    }
}

impl PublicPlace {
    /// The repository.
    pub fn open(&self) -> Result<Repository> {
        Repository::new(self.fqrn.clone(), &self.storage, self.key.files(&self.fqrn)?)
    }
}
