//! Paths of repositories that can be leased.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Longest path, in bytes.
const LONGEST: usize = 1024;
/// Longest name in it, in bytes.
const LONGEST_NAME: usize = 255;

/// A directory of a repository: absolute, of plain names. Names that begin with a dot cannot be leased, so neither `..`
/// nor what belongs to the publisher can be meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryPath(String);

impl RepositoryPath {
    /// The path as catalogs have it: the root is empty.
    pub fn bytes(&self) -> &[u8] {
        if self.0 == "/" { b"" } else { self.0.as_bytes() }
    }

    /// Whether `other` is this path or below it.
    pub fn contains(&self, other: &RepositoryPath) -> bool {
        let rest = other.bytes().strip_prefix(self.bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    /// Whether one of the two is the other or below it.
    pub fn overlaps(&self, other: &RepositoryPath) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RepositoryPath {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<RepositoryPath> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._+@=:,~-".contains(&byte);
        let name = |name: &str| {
            !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('.') && name.bytes().all(good)
        };
        let is_path = text == "/" || text.strip_prefix('/').is_some_and(|names| names.split('/').all(name));
        ensure!(
            text.len() <= LONGEST && is_path,
            "'{}' is no path that can be leased: / and names of letters, digits and . _ + @ = : , ~ - that do not begin with a dot",
            text.escape_debug()
        );
        Ok(RepositoryPath(text))
    }
}

impl From<RepositoryPath> for String {
    fn from(path: RepositoryPath) -> String {
        path.0
    }
}

impl std::str::FromStr for RepositoryPath {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<RepositoryPath> {
        RepositoryPath::try_from(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RepositoryPath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_contain_what_is_below_them() {
        assert!(path("/").contains(&path("/")) && path("/").contains(&path("/a/b")));
        assert!(path("/a").contains(&path("/a")) && path("/a").contains(&path("/a/b")));
        assert!(!path("/a").contains(&path("/ab")) && !path("/a/b").contains(&path("/a")));
        assert!(path("/a/b").overlaps(&path("/a")) && !path("/a/b").overlaps(&path("/a/c")));
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_path() {
        for wrong in
            ["", "a", "//", "/a/", "/a//b", "/.", "/..", "/a/../b", "/a/./b", "/.cvmfs", "/a b", "/a\0", "/ä", "/a\\b"]
        {
            assert!(wrong.parse::<RepositoryPath>().is_err(), "{wrong:?}");
        }
        assert!(format!("/{}", "a".repeat(256)).parse::<RepositoryPath>().is_err());
        assert!("/a".repeat(513).parse::<RepositoryPath>().is_err());
    }

    proptest! {
        #[test]
        fn containing_is_what_the_components_say(a in "(/[ab]{1,2}){0,3}", b in "(/[ab]{1,2}){0,3}") {
            let (a, b) = (if a.is_empty() { "/".to_owned() } else { a }, if b.is_empty() { "/".to_owned() } else { b });
            let expected = std::path::Path::new(&b).starts_with(&a);
            prop_assert_eq!(path(&a).contains(&path(&b)), expected);
            prop_assert_eq!(path(&a).overlaps(&path(&b)), expected || std::path::Path::new(&a).starts_with(&b));
        }
    }
}
