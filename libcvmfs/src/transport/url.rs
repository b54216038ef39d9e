//! The few things about URLs that the transport needs: taking base URLs apart and escaping paths.

use thiserror::Error;

/// A protocol to reach a host by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// A local directory.
    File,
}

impl Scheme {
    /// As written in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::File => "file",
        }
    }
}

/// Name and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// DNS name or address; an IPv6 address without brackets.
    pub name: String,
    /// TCP port.
    pub port: u16,
    /// True if the port was written out.
    pub explicit_port: bool,
}

impl std::fmt::Display for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        if self.explicit_port { write!(f, ":{}", self.port) } else { Ok(()) }
    }
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("no protocol is given (expected http://, https:// or file://)")]
    NoScheme,
    /// A protocol that is not spoken here.
    #[error("protocol '{0}' is not supported")]
    Scheme(String),
    /// A blank or a control character.
    #[error("there is a blank or a control character in it")]
    Blank,
    /// The name of the server is missing.
    #[error("the name of the server is missing")]
    NoName,
    /// A character that no server name has.
    #[error("the name '{0}' has characters that no server name has")]
    Name(String),
    /// Not a port number.
    #[error("'{0}' is not a port number")]
    Port(String),
    /// `file://` needs an absolute path.
    #[error("a file URL needs an absolute path: file:///path")]
    RelativeFile,
    /// Nothing after `?` or `#` makes sense in a base URL.
    #[error("there is a query or a fragment in it")]
    Query,
    /// User name and password are only understood in proxy URLs.
    #[error("user name and password are not supported here")]
    UserInfo,
}

/// Splits a base URL into protocol, server and path.
pub(super) fn split_url(text: &str) -> Result<(Scheme, Option<Authority>, String), UrlError> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(UrlError::Blank);
    }
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
    let (scheme, port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        "file" if rest.starts_with('/') => return Ok((Scheme::File, None, rest.to_owned())),
        "file" => return Err(UrlError::RelativeFile),
        _ => return Err(UrlError::Scheme(scheme.escape_debug().take(40).collect())),
    };
    if rest.contains(['?', '#']) {
        return Err(UrlError::Query);
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    Ok((scheme, Some(parse_authority(authority, port)?), path.to_owned()))
}

/// Reads `name`, `name:port`, `[v6]` or `[v6]:port`.
pub(super) fn parse_authority(text: &str, default_port: u16) -> Result<Authority, UrlError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, tail) = rest.split_once(']').ok_or_else(|| UrlError::Name(text.to_owned()))?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(UrlError::Name(address.to_owned()));
            }
            let port = match tail {
                "" => None,
                _ => Some(tail.strip_prefix(':').ok_or_else(|| UrlError::Port(tail.to_owned()))?),
            };
            (address, port)
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    if name.is_empty() {
        return Err(UrlError::NoName);
    }
    let is_v6 = text.starts_with('[');
    if !is_v6 && !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return Err(UrlError::Name(name.to_owned()));
    }
    let number = match port {
        None => default_port,
        Some(digits) => match digits.parse::<u16>() {
            Ok(number) if number != 0 && digits.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(UrlError::Port(digits.to_owned())),
        },
    };
    Ok(Authority { name: name.to_owned(), port: number, explicit_port: port.is_some() })
}

/// Percent-encodes a path for a request line: the official client's set of plain characters, upper-case hex.
pub fn escape_path(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/:.@+-_~[],".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        let parse = |text| parse_authority(text, 80).map(|a| (a.name, a.port));
        assert_eq!(parse("a.b"), Ok(("a.b".into(), 80)));
        assert_eq!(parse("a.b:3128"), Ok(("a.b".into(), 3128)));
        assert_eq!(parse("[::1]:3128"), Ok(("::1".into(), 3128)));
        assert_eq!(parse("[::1]"), Ok(("::1".into(), 80)));
        for bad in ["", ":80", "a:", "a:0", "a:65536", "a:+1", "[::1", "[x]", "a b", "a:1:2", "[::1]x", "a/b", "ü"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_authority("[::1]:3128", 80).map(|a| a.to_string()), Ok("[::1]:3128".to_owned()));
    }

    #[test]
    fn escaping_keeps_the_official_set() {
        assert_eq!(escape_path(b"/data/ab/cd-rmd160C"), "/data/ab/cd-rmd160C");
        assert_eq!(escape_path(b"a b%?#;=&(\xff)~[],@+"), "a%20b%25%3F%23%3B%3D%26%28%FF%29~[],@+");
    }
}
