//! Fully qualified repository names.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A fully qualified repository name such as `sft.cern.ch`: one path component below `/cvmfs`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fqrn(String);

/// Why a text is no repository name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{0}' is not a repository name: expected labels of letters, digits, '-' and '_' joined by dots, such as sft.cern.ch"
)]
pub struct FqrnError(pub String);

impl Fqrn {
    /// Checks `name`: 1 to 255 bytes, at least two labels of `[A-Za-z0-9_-]`, none empty.
    pub fn new(name: &str) -> Result<Fqrn, FqrnError> {
        let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if name.len() <= 255 && name.contains('.') && name.split('.').all(label) {
            Ok(Fqrn(name.to_owned()))
        } else {
            Err(FqrnError(name.escape_debug().to_string()))
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label, which stands for `@org@` in templates.
    pub fn org(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// Everything after the first dot: the key of `domain.d/<domain>.conf`.
    pub fn domain(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, domain)| domain)
    }
}

impl TryFrom<String> for Fqrn {
    type Error = FqrnError;
    fn try_from(name: String) -> Result<Fqrn, FqrnError> {
        Fqrn::new(&name)
    }
}

impl From<Fqrn> for String {
    fn from(fqrn: Fqrn) -> String {
        fqrn.0
    }
}

impl std::fmt::Display for Fqrn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Fqrn {
    type Err = FqrnError;
    fn from_str(s: &str) -> Result<Fqrn, FqrnError> {
        Fqrn::new(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_into_org_and_domain() {
        let name = Fqrn::new("sft.cern.ch").unwrap();
        assert_eq!((name.org(), name.domain()), ("sft", "cern.ch"));
    }

    #[test]
    fn a_name_is_one_safe_path_component() {
        for bad in ["", ".", "..", "sft", "a/b.c", "a..b", ".a.b", "a.b.", "a b.c", "a\0.b", "ä.ch"] {
            assert!(Fqrn::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
