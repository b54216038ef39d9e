//! Who failed, and whether trying again can help: the vocabulary shared by the errors of every module.

/// The party responsible for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A parameter, a file of parameters or a key file.
    Config,
    /// The server (Stratum 0 or 1), as far as can be told.
    Host,
    /// A proxy between us and the server.
    Proxy,
    /// Bytes that arrived whole but are not what their hash, signature or format says.
    Content,
    /// The local cache: disk full, permissions, damaged files.
    Cache,
    /// A mistake in this program.
    Bug,
}

impl Origin {
    /// The word used in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Config => "config",
            Origin::Host => "host",
            Origin::Proxy => "proxy",
            Origin::Content => "content",
            Origin::Cache => "cache",
            Origin::Bug => "bug",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether repeating the same operation can succeed without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The cause is likely to pass by itself (a connection that broke, a slow server).
    Later,
    /// It will fail again until a file, a parameter or the repository is changed.
    Never,
}

use crate::cache::CacheError;
use crate::catalog::{AttachError, CatalogError};
use crate::config::ConfigError;
use crate::fqrn::FqrnError;
use crate::hash::ContentHash;
use crate::history::HistoryError;
use crate::transport::{ProxyListError, TransportError};
use crate::trust::TrustError;
use thiserror::Error;

/// Why an operation on the tree of `/cvmfs` failed.
///
/// The first variants are facts about the tree, as a kernel would state them; the others say which part of the
/// machinery failed. [`Error::errno`] maps both to numbers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such entry.
    #[error("no such file or directory")]
    NotFound,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory cannot be read as a file.
    #[error("is a directory")]
    IsDirectory,
    /// Only symbolic links have a target.
    #[error("not a symbolic link")]
    NotSymlink,
    /// Only regular files have content.
    #[error("not a regular file")]
    NotRegular,
    /// More than 40 symbolic links on one path.
    #[error("too many levels of symbolic links")]
    TooManyLinks,
    /// A component is longer than 255 bytes, or the path longer than 4095.
    #[error("file name too long")]
    NameTooLong,
    /// A directory may not be searched, or a file not be read.
    #[error("permission denied")]
    AccessDenied,
    /// Everything here is read-only.
    #[error("read-only file system")]
    ReadOnly,
    /// There is no extended attribute of this name.
    #[error("no such attribute")]
    NoAttribute,
    /// Only a server, or somebody who is asking one now, can tell; and this thread may not wait
    /// ([`crate::patience::without_waiting`]).
    #[error("would have to wait")]
    WouldWait,
    /// A symbolic link leads out of the tree, to this absolute path.
    #[error("leads out of the tree to {}", String::from_utf8_lossy(.0))]
    Outside(Vec<u8>),

    /// An entry that the repository publishes in a way that cannot be used.
    #[error("{} is damaged in its catalog: {reason}", String::from_utf8_lossy(path))]
    Damaged {
        /// Absolute path, or path inside the repository.
        path: Vec<u8>,
        /// What is wrong.
        reason: String,
    },
    /// The index of a catalog cannot be used.
    #[error("index of catalog {catalog}: {reason}")]
    CatalogIndex {
        /// The catalog.
        catalog: ContentHash,
        /// What is wrong.
        reason: String,
    },
    /// The repository wants its readers to prove a membership, which this client cannot do for them.
    #[error("{fqrn} is restricted to members of '{membership}', and authorisation helpers are not supported")]
    Restricted {
        /// The repository.
        fqrn: String,
        /// The membership in its root catalog.
        membership: String,
    },
    /// A parameter whose value cannot be used.
    #[error("{parameter}: {reason}")]
    Setting {
        /// The parameter.
        parameter: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A proxy list that is not what it should be.
    #[error(transparent)]
    ProxyList(#[from] ProxyListError),
    /// No tag of this name, or none before this date.
    #[error("{fqrn} has no {wanted}")]
    NoSuchRevision {
        /// The repository.
        fqrn: String,
        /// The tag or date asked for.
        wanted: String,
    },
    /// A host offered a manifest, a whitelist or a certificate that is not believed.
    #[error("{host}: {source}")]
    Refused {
        /// Base URL of the repository on the host that sent the manifest.
        host: String,
        /// What is wrong.
        source: TrustError,
    },
    /// An object that is what its name says, and yet no catalog.
    #[error("{host}: catalog {catalog} of '/{}' cannot be used: {source}", String::from_utf8_lossy(mount.strip_prefix(b"/").unwrap_or(mount)))]
    NoCatalog {
        /// Base URL of the repository on the host in use.
        host: String,
        /// Its name.
        catalog: ContentHash,
        /// Path inside the repository at which it is mounted; empty for the root catalog.
        mount: Vec<u8>,
        /// What is wrong.
        source: Box<CatalogError>,
    },
    /// The repository could not be reached, and what the cache knows of it cannot be used.
    #[error("{fqrn} cannot be mounted: {online}; offline: {offline}")]
    Unmountable {
        /// The repository.
        fqrn: String,
        /// Why the servers did not help.
        online: Box<Error>,
        /// Why the cache did not help.
        offline: String,
    },
    /// The repository could not be reached, and the cache has never seen it.
    #[error("{fqrn} cannot be mounted: {online}; offline: the cache has never seen it")]
    Unseen {
        /// The repository.
        fqrn: String,
        /// Why the servers did not help.
        online: Box<Error>,
    },
    /// The repository could not be mounted, now or a moment ago.
    #[error(transparent)]
    StillFailing(std::sync::Arc<Error>),
    /// Another process that was asked for help could not give it.
    #[error("{message}")]
    Remote {
        /// What it said.
        message: String,
        /// The error number it gave.
        errno: i32,
    },

    /// See [`FqrnError`].
    #[error(transparent)]
    Fqrn(#[from] FqrnError),
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`TrustError`].
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// See [`TransportError`].
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// See [`CatalogError`].
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// See [`AttachError`].
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// See [`HistoryError`].
    #[error(transparent)]
    History(#[from] HistoryError),
    /// See [`CacheError`].
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl Error {
    /// Who failed; `None` where nobody did: the error is a fact about the tree.
    pub fn origin(&self) -> Option<Origin> {
        Some(match self {
            Error::Damaged { .. } => Origin::Content,
            Error::CatalogIndex { .. } => Origin::Cache,
            Error::NoSuchRevision { .. }
            | Error::Restricted { .. }
            | Error::Setting { .. }
            | Error::ProxyList(_)
            | Error::Fqrn(_) => Origin::Config,
            Error::Unmountable { online, .. } | Error::Unseen { online, .. } => return online.origin(),
            Error::StillFailing(error) => return error.origin(),
            Error::Config(error) => error.origin(),
            Error::Trust(error) | Error::Refused { source: error, .. } => error.origin(),
            Error::Transport(error) => error.origin(),
            Error::Catalog(error) => error.origin(),
            Error::NoCatalog { source, .. } => source.origin(),
            Error::Attach(error) => error.origin(),
            Error::History(error) => error.origin(),
            Error::Cache(error) => error.origin(),
            _ => return None,
        })
    }

    /// Whether the same operation can succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Unmountable { online, .. } | Error::Unseen { online, .. } => online.retry(),
            Error::StillFailing(error) => error.retry(),
            Error::Config(error) => error.retry(),
            Error::Trust(error) | Error::Refused { source: error, .. } => error.retry(),
            Error::Transport(error) => error.retry(),
            Error::Catalog(error) => error.retry(),
            Error::NoCatalog { source, .. } => source.retry(),
            Error::Attach(error) => error.retry(),
            Error::History(error) => error.retry(),
            Error::Cache(error) => error.retry(),
            Error::Remote { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }

    /// Whether this says that nothing describes the repository: no server is configured for it.
    pub fn is_undescribed(&self) -> bool {
        match self {
            Error::StillFailing(error) => error.is_undescribed(),
            Error::Config(ConfigError::Missing { name, .. }) => *name == crate::config::table::SERVER_URL.name,
            _ => false,
        }
    }

    /// Whether this says that every server answered that it has no such repository, and that none was seen here before.
    pub fn is_unknown_everywhere(&self) -> bool {
        match self {
            Error::StillFailing(error) => error.is_unknown_everywhere(),
            Error::Unseen { online, .. } => matches!(**online, Error::Transport(TransportError::NotFound(_))),
            _ => false,
        }
    }
}
