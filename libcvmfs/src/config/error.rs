//! What can go wrong with a configuration.

use std::path::PathBuf;

use thiserror::Error;

use super::effective::Source;
use super::shell::ShellError;
use crate::error::{Origin, Retry};
use crate::fqrn::FqrnError;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A configuration file exists and cannot be read.
    #[error("cannot read configuration file {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A configuration file cannot be evaluated.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The text of a parameter is not of its type.
    #[error("{name}='{text}' ({origin}): expected {expected}")]
    NotOfType {
        /// The parameter.
        name: String,
        /// Its text.
        text: String,
        /// What it should be.
        expected: String,
        /// Where it was set.
        origin: Source,
    },
    /// The text of a parameter depends on a command that is not run.
    #[error(
        "{name} ({origin}) needs the output of {command}, and commands in configuration files are not run; set {name} with -o or in a .local file"
    )]
    NeedsCommand {
        /// The parameter.
        name: String,
        /// The command and its place.
        command: String,
        /// Where it was set.
        origin: Source,
    },
    /// A parameter that is needed is not set anywhere.
    #[error("{name} is not set for {fqrn}: {hint}")]
    Missing {
        /// The parameter.
        name: &'static str,
        /// The repository.
        fqrn: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// There is no master key to check the repository with.
    #[error("no master key for {fqrn}: {reason}; set CVMFS_PUBLIC_KEY to its .pub file")]
    NoKey {
        /// The repository.
        fqrn: String,
        /// Where keys were looked for.
        reason: String,
    },
    /// A key file or directory of keys cannot be read.
    #[error("cannot read master key {}: {cause}", path.display())]
    KeyUnreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A name is no repository name.
    #[error(transparent)]
    Name(#[from] FqrnError),
    /// A name without a dot, and no default domain.
    #[error("'{0}' has no domain and CVMFS_DEFAULT_DOMAIN is not set")]
    NoDomain(String),
    /// `-o` without `KEY=VALUE`.
    #[error("'-o {0}' is not KEY=VALUE")]
    NotAnOption(String),
    /// The configuration repository is required and was not given.
    #[error("configuration repository {0} is required (CVMFS_CONFIG_REPO_REQUIRED) and is not available")]
    RepositoryRequired(String),
}

impl ConfigError {
    /// The party responsible: always the configuration.
    pub fn origin(&self) -> Origin {
        Origin::Config
    }

    /// Nothing gets better by itself.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}
