//! A part of the tree, for mirrors without room for all of it.

use anyhow::{Result, ensure};

/// Tells readers that this mirror has a part only, and which.
pub(super) const MARKER: &str = ".cvmfs_partial_replication";

/// Which paths are wanted: of the rules that name a path or one above it, the longest decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Paths, and whether they are wanted.
    rules: Vec<(Vec<u8>, bool)>,
}

impl Selection {
    /// Reads rules, one absolute path on each line; `!` before it excludes, `#` begins a comment. A line `version 1` may
    /// come first.
    pub fn parse(text: &str) -> Result<Selection> {
        let mut rules = Vec::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines.filter(|line| *line != "version 1") {
            let (path, wanted) = line.strip_prefix('!').map_or((line, true), |path| (path.trim(), false));
            ensure!(path.starts_with('/') && !path.contains("//"), "'{line}' is no absolute path");
            ensure!(!path.split('/').any(|name| name == "." || name == ".."), "'{line}' must not have dots as names");
            rules.push((path.trim_end_matches('/').as_bytes().to_vec(), wanted));
        }
        ensure!(rules.iter().any(|(_, wanted)| *wanted), "no path is wanted");
        rules.sort();
        Ok(Selection { rules })
    }

    /// Whether a path is wanted.
    pub fn selects(&self, path: &[u8]) -> bool {
        let rules = self.rules.iter().filter(|(rule, _)| is_below(path, rule));
        rules.max_by_key(|(rule, _)| rule.len()).is_some_and(|(_, wanted)| *wanted)
    }

    /// Whether anything at or below a directory may be wanted.
    pub fn meets(&self, directory: &[u8]) -> bool {
        self.selects(directory) || self.rules.iter().any(|(rule, wanted)| *wanted && is_below(rule, directory))
    }

    /// The rules as text, in the form that readers of mirrors know.
    pub fn text(&self) -> String {
        let lines = self.rules.iter().map(|(path, wanted)| {
            let path = if path.is_empty() { "/".into() } else { String::from_utf8_lossy(path) };
            format!("{}{path}\n", if *wanted { "" } else { "!" })
        });
        format!("version 1\n{}", lines.collect::<String>())
    }
}

fn is_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_decides() {
        let selection = Selection::parse("version 1\n# what we need\n/a\n!/a/b\n/a/b/c/\n/d/e\n").unwrap();
        for (path, selected, met) in [
            ("", false, true),
            ("/a", true, true),
            ("/a/x", true, true),
            ("/a/b", false, true),
            ("/a/b/x", false, false),
            ("/a/b/c", true, true),
            ("/a/b/cc", false, false),
            ("/ab", false, false),
            ("/d", false, true),
            ("/d/e/f", true, true),
        ] {
            let path = path.as_bytes();
            assert_eq!((selection.selects(path), selection.meets(path)), (selected, met), "{}", path.escape_ascii());
        }
        assert_eq!(Selection::parse(&selection.text()).unwrap(), selection);
        assert!(Selection::parse("/").unwrap().selects(b"/anything"));
        for wrong in ["", "!/a", "a", "/a/../b", "/a//b"] {
            assert!(Selection::parse(wrong).is_err(), "{wrong}");
        }
    }
}
