//! What can go wrong on the way to a server, in the vocabulary of the official client.

use super::discovery::DiscoveryError;
use super::host_chain::HostChainError;
use super::proxy_list::ProxyListError;
use crate::error::{Origin, Retry};
use thiserror::Error;

/// Why one transfer failed: the failure codes of the official download manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The bytes could not be stored, or a `file://` host could not be read.
    LocalIo,
    /// The URL cannot be built.
    BadUrl,
    /// The proxy's name has no address.
    ProxyResolve,
    /// The host's name has no address.
    HostResolve,
    /// Every proxy failed; other hosts are tried through the first group again.
    AllProxiesFailed,
    /// The proxy does not accept connections, or closes them without a word.
    ProxyConnection,
    /// The host does not accept connections, or closes them without a word.
    HostConnection,
    /// The proxy answered with an error of its own.
    ProxyHttp,
    /// The host answered with an error.
    HostHttp,
    /// The bytes are not the object that was asked for.
    Corrupt,
    /// The body is longer than the object can be.
    TooBig,
    /// Anything else, such as an answer that is not HTTP.
    Unknown,
    /// A scheme other than http, https and file.
    UnsupportedProtocol,
    /// Through a proxy: below the speed limit for as long as the timeout.
    ProxyTooSlow,
    /// Without a proxy: below the speed limit for as long as the timeout.
    HostTooSlow,
    /// Through a proxy: the transfer broke off.
    ProxyShortTransfer,
    /// Without a proxy: the transfer broke off.
    HostShortTransfer,
    /// The caller does not want it any more, or its deadline has passed.
    Canceled,
}

impl Failure {
    /// The number used by the official client.
    pub fn code(self) -> u8 {
        match self {
            Failure::LocalIo => 1,
            Failure::BadUrl => 2,
            Failure::ProxyResolve => 3,
            Failure::HostResolve => 4,
            Failure::AllProxiesFailed => 5,
            Failure::ProxyConnection => 6,
            Failure::HostConnection => 7,
            Failure::ProxyHttp => 8,
            Failure::HostHttp => 9,
            Failure::Corrupt => 10,
            Failure::TooBig => 11,
            Failure::Unknown => 12,
            Failure::UnsupportedProtocol => 13,
            Failure::ProxyTooSlow => 14,
            Failure::HostTooSlow => 15,
            Failure::ProxyShortTransfer => 16,
            Failure::HostShortTransfer => 17,
            Failure::Canceled => 18,
        }
    }

    /// The text used by the official client.
    pub fn text(self) -> &'static str {
        match self {
            Failure::LocalIo => "local I/O failure",
            Failure::BadUrl => "malformed URL",
            Failure::ProxyResolve => "failed to resolve proxy address",
            Failure::HostResolve => "failed to resolve host address",
            Failure::AllProxiesFailed => "all proxies failed, trying host fail-over",
            Failure::ProxyConnection => "proxy connection problem",
            Failure::HostConnection => "host connection problem",
            Failure::ProxyHttp => "proxy returned HTTP error",
            Failure::HostHttp => "host returned HTTP error",
            Failure::Corrupt => "corrupted data received",
            Failure::TooBig => "resource too big to download",
            Failure::Unknown => "unknown network error",
            Failure::UnsupportedProtocol => "Unsupported URL in protocol",
            Failure::ProxyTooSlow => "proxy serving data too slowly",
            Failure::HostTooSlow => "host serving data too slowly",
            Failure::ProxyShortTransfer => "proxy data transfer cut short",
            Failure::HostShortTransfer => "host data transfer cut short",
            Failure::Canceled => "request canceled",
        }
    }

    /// The party that is blamed.
    pub fn origin(self) -> Origin {
        match self {
            Failure::LocalIo => Origin::Cache,
            Failure::BadUrl | Failure::UnsupportedProtocol => Origin::Config,
            Failure::ProxyResolve
            | Failure::AllProxiesFailed
            | Failure::ProxyConnection
            | Failure::ProxyHttp
            | Failure::ProxyTooSlow
            | Failure::ProxyShortTransfer => Origin::Proxy,
            Failure::HostResolve
            | Failure::HostConnection
            | Failure::HostHttp
            | Failure::HostTooSlow
            | Failure::HostShortTransfer
            | Failure::Unknown
            | Failure::Canceled => Origin::Host,
            Failure::Corrupt | Failure::TooBig => Origin::Content,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// The last word on a request that could not be served from anywhere.
#[derive(Debug, Clone)]
pub struct FailedFetch {
    /// The failure of the last try.
    pub failure: Failure,
    /// What exactly happened in the last try.
    pub detail: String,
    /// Path below the repository base URL.
    pub path: String,
    /// Host of the last try.
    pub host: String,
    /// Proxy of the last try, without password; `None` is a direct connection.
    pub proxy: Option<String>,
    /// URL of the last try.
    pub url: String,
    /// HTTP status of the last try, if an answer came.
    pub status: Option<u16>,
    /// Number of transfers attempted.
    pub tries: u32,
}

impl std::fmt::Display for FailedFetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let proxy = self.proxy.as_deref().unwrap_or("DIRECT");
        write!(
            f,
            "fetching {} from {} via {proxy}: {} ({}; {} tries)",
            self.path, self.host, self.failure, self.detail, self.tries
        )
    }
}

/// Why the transport cannot be set up or cannot deliver.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// `CVMFS_HTTP_PROXY` or `CVMFS_FALLBACK_PROXY` cannot be understood.
    #[error(transparent)]
    ProxyList(#[from] ProxyListError),
    /// `CVMFS_SERVER_URL` cannot be understood.
    #[error(transparent)]
    HostChain(#[from] HostChainError),
    /// The proxies could not be found out.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Another parameter has a value that makes no sense.
    #[error("{parameter}: {reason}")]
    Setting {
        /// Official name of the parameter.
        parameter: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates for https cannot be loaded.
    #[error("loading certificates for https from {place}: {reason}")]
    Certificates {
        /// File or directory.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Every host answered that there is no such object.
    #[error("not found on any host: {0}")]
    NotFound(Box<FailedFetch>),
    /// No host and no proxy could deliver.
    #[error("{0}")]
    Failed(Box<FailedFetch>),
    /// The receiver could not store the bytes.
    #[error("storing {path}: {source}")]
    Local {
        /// Path below the repository base URL.
        path: String,
        /// What the receiver said.
        source: std::io::Error,
    },
}

impl TransportError {
    /// Who is to blame.
    pub fn origin(&self) -> Origin {
        match self {
            TransportError::ProxyList(_)
            | TransportError::HostChain(_)
            | TransportError::Discovery(_)
            | TransportError::Setting { .. }
            | TransportError::Certificates { .. } => Origin::Config,
            TransportError::NotFound(_) => Origin::Host,
            TransportError::Failed(failed) => failed.failure.origin(),
            TransportError::Local { .. } => Origin::Cache,
        }
    }

    /// Whether the same request may succeed later by itself.
    pub fn retry(&self) -> Retry {
        match self {
            TransportError::ProxyList(_)
            | TransportError::HostChain(_)
            | TransportError::Setting { .. }
            | TransportError::Certificates { .. }
            | TransportError::Local { .. } => Retry::Never,
            TransportError::Discovery(_) | TransportError::NotFound(_) => Retry::Later,
            TransportError::Failed(failed) => match failed.failure {
                Failure::BadUrl | Failure::UnsupportedProtocol | Failure::TooBig | Failure::LocalIo => Retry::Never,
                _ => Retry::Later,
            },
        }
    }

    /// True if every host said that the object does not exist, as opposed to not answering.
    pub fn is_not_found(&self) -> bool {
        matches!(self, TransportError::NotFound(_))
    }

    /// The failure code of the official client that comes closest.
    pub fn failure(&self) -> Failure {
        match self {
            TransportError::NotFound(failed) | TransportError::Failed(failed) => failed.failure,
            TransportError::Local { .. } => Failure::LocalIo,
            _ => Failure::BadUrl,
        }
    }
}
