//! The grammar of `CVMFS_SERVER_URL`: base URLs of one repository, tried in order, as a ring.

use super::url::{Authority, Scheme, UrlError, split_url};
use thiserror::Error;

/// Why a host chain cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostChainError {
    /// There is no host at all.
    #[error("CVMFS_SERVER_URL: no host is given")]
    Empty,
    /// One element is not a URL that can be used.
    #[error("CVMFS_SERVER_URL: element {position}, '{text}': {source}")]
    Element {
        /// Counted from 1.
        position: usize,
        /// The element as written.
        text: String,
        /// What is wrong with it.
        source: UrlError,
    },
}

/// One server of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Base URL of the repository without a slash at the end.
    pub url: String,
    /// Protocol.
    pub scheme: Scheme,
    /// Name and port; `None` for `file://`.
    pub authority: Option<Authority>,
    /// The path part of the base URL.
    pub base_path: String,
}

impl Host {
    /// Reads one base URL.
    pub fn parse(text: &str) -> Result<Host, UrlError> {
        let text = text.trim();
        let (scheme, authority, path) = split_url(text)?;
        let base_path = path.trim_end_matches('/').to_owned();
        // What was cut off the path is cut off the URL too.
        let url = text[..text.len() - (path.len() - base_path.len())].to_owned();
        Ok(Host { url, scheme, authority, base_path })
    }

    /// Host name for the Geo API: the authority without port.
    pub fn name(&self) -> &str {
        self.authority.as_ref().map_or("localhost", |a| a.name.as_str())
    }
}

/// Splits `CVMFS_SERVER_URL` at semicolons; blanks around elements do not count, and empty elements at
/// either end or between two semicolons are left out, as the official client does.
pub fn split_host_chain(text: &str) -> Vec<String> {
    text.split(';').map(str::trim).filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

/// Reads every base URL of the chain.
pub(super) fn parse_hosts(urls: &[String]) -> Result<Vec<Host>, HostChainError> {
    if urls.is_empty() {
        return Err(HostChainError::Empty);
    }
    urls.iter()
        .enumerate()
        .map(|(index, text)| {
            Host::parse(text).map_err(|source| HostChainError::Element {
                position: index + 1,
                text: text.escape_debug().take(200).collect(),
                source,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_parses() {
        let urls =
            split_host_chain(" http://s1.example/cvmfs/a.b.c ;https://s2.example:8443/cvmfs/a.b.c/;file:///srv/a;");
        let hosts = parse_hosts(&urls).expect("well formed");
        assert_eq!(hosts.len(), 3);
        assert_eq!((hosts[0].name(), hosts[0].base_path.as_str()), ("s1.example", "/cvmfs/a.b.c"));
        assert_eq!(hosts[1].authority.as_ref().map(|a| a.port), Some(8443));
        assert_eq!(hosts[1].url, "https://s2.example:8443/cvmfs/a.b.c");
        let root = Host::parse("file:///").expect("the root directory");
        assert_eq!((root.url.as_str(), root.base_path.as_str()), ("file://", ""));
        assert_eq!((hosts[2].scheme, hosts[2].base_path.as_str()), (Scheme::File, "/srv/a"));
    }

    #[test]
    fn an_unusable_element_is_named_with_its_position() {
        let urls = split_host_chain("http://good/x;ftp://bad/x");
        let error = parse_hosts(&urls).expect_err("ftp is not spoken");
        assert!(matches!(error, HostChainError::Element { position: 2, .. }), "{error}");
        assert_eq!(parse_hosts(&[]), Err(HostChainError::Empty));
    }
}
