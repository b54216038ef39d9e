//! Variant symbolic links: `$(NAME)` and `$(NAME:-default)` in a link's target.

use cvmfs_index::variant;
use std::collections::HashMap;

/// The values that link targets may refer to: the environment and the parameters of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Vec<(Vec<u8>, Vec<u8>)>", into = "Vec<(Vec<u8>, Vec<u8>)>")]
pub struct Variables(HashMap<Vec<u8>, Vec<u8>>);

impl Variables {
    /// Gives a variable its value.
    pub fn set(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.insert(name.into(), value.into());
    }

    /// The value of `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// All names and values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Expands a link target, handing the pieces of the result to `emit` in order.
    pub fn expand(&self, target: &[u8], emit: impl FnMut(&[u8])) {
        variant::expand(target, |name| self.get(name), emit);
    }

    /// Length in bytes of the expanded target: the size that `lstat` reports.
    pub fn expanded_len(&self, target: &[u8]) -> usize {
        let mut len = 0;
        self.expand(target, |piece| len += piece.len());
        len
    }
}

impl FromIterator<(Vec<u8>, Vec<u8>)> for Variables {
    fn from_iter<T: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(pairs: T) -> Variables {
        Variables(pairs.into_iter().collect())
    }
}

impl From<Vec<(Vec<u8>, Vec<u8>)>> for Variables {
    fn from(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Variables {
        pairs.into_iter().collect()
    }
}

impl From<Variables> for Vec<(Vec<u8>, Vec<u8>)> {
    fn from(variables: Variables) -> Vec<(Vec<u8>, Vec<u8>)> {
        variables.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(target: &str) -> String {
        let mut variables = Variables::default();
        variables.set("A", "alpha");
        variables.set("EMPTY", "");
        variables.set("B", "$(A)");
        let mut text = Vec::new();
        variables.expand(target.as_bytes(), |piece| text.extend_from_slice(piece));
        assert_eq!(variables.expanded_len(target.as_bytes()), text.len());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn references_become_values_or_defaults() {
        for (target, result) in [
            ("plain", "plain"),
            ("x/$(A)/y", "x/alpha/y"),
            ("$(A)$(A)", "alphaalpha"),
            ("$(NOPE)", ""),
            ("$(NOPE:-d/e)", "d/e"),
            ("$(A:-d)", "alpha"),
            ("$(EMPTY:-d)", ""),
            ("$(NOPE:-a:-b)", "a:-b"),
            ("$(B)", "$(A)"),
            ("$(A", "$(A"),
            ("$(broken", "$(broken"),
            ("a$(", "a$("),
            ("$A $ ( )", "$A $ ( )"),
        ] {
            assert_eq!(expanded(target), result, "{target}");
        }
    }
}
