//! Finding proxies: the group `auto`, `CVMFS_PAC_URLS`, WPAD.

use super::proxy_list::ProxyListError;
use thiserror::Error;

/// Why no proxies could be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Nothing was found, nothing is remembered, and nothing else is configured.
    #[error("proxy auto-discovery failed: {0}")]
    NothingFound(String),
    /// What was found is no list of proxies.
    #[error("proxy auto-discovery: {0}")]
    Malformed(#[from] ProxyListError),
}
