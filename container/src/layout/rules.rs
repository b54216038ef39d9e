//! The text that says what becomes of which path.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// For trees of the usual Unix systems.
pub(crate) const USUAL: &str = "\
readonly /
copy -/etc -/var
writable -/home -/root -/srv -/mnt -/media
";

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// It is the tree's, and stays as it is.
    ReadOnly,
    /// It begins as the tree's.
    Copy,
    /// A directory that begins empty.
    Writable,
    /// An empty file.
    Touch,
    /// It begins as the host's.
    Import,
}

impl Verb {
    const ALL: [(&'static str, Verb); 5] = [
        ("readonly", Verb::ReadOnly),
        ("copy", Verb::Copy),
        ("writable", Verb::Writable),
        ("touch", Verb::Touch),
        ("import", Verb::Import),
    ];
}

/// One path of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verb: Verb,
    /// Absolute, without `.` and `..`.
    pub(crate) path: PathBuf,
    /// Whether it is no mistake if there is nothing.
    pub(crate) may_be_missing: bool,
}

/// A set of rules; later ones win.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Layout {
    text: String,
    rules: Vec<Rule>,
    variables: Vec<(String, String)>,
}

/// A line that says nothing that is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRule {
    line: usize,
    why: String,
}

impl fmt::Display for BadRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadRule {}

impl FromStr for Layout {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Layout, BadRule> {
        let mut layout = Layout { text: text.to_owned(), rules: Vec::new(), variables: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                layout.add(line).map_err(|why| BadRule { line: number + 1, why })?;
            }
        }
        Ok(layout)
    }
}

impl TryFrom<String> for Layout {
    type Error = BadRule;

    fn try_from(text: String) -> Result<Layout, BadRule> {
        text.parse()
    }
}

impl From<Layout> for String {
    fn from(layout: Layout) -> String {
        layout.text
    }
}

impl Layout {
    /// What becomes of which path, in order.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Variables for programs inside.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "set" => {
                let (name, value) =
                    rest.trim().split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it is: set NAME=VALUE")?;
                self.variables.push((name.to_owned(), value.to_owned()));
                return Ok(());
            }
            "sh" | "pre-sh" | "post-sh" => {
                return Err("rules run nothing: give the program to the instance (--run)".to_owned());
            }
            _ => {}
        }
        let plain = word.strip_prefix("pre-").or_else(|| word.strip_prefix("post-")).unwrap_or(word);
        if plain != word {
            return Err(format!("'{word}': rules hold in their order, so '{plain}' in the right place does it"));
        }
        let known = Verb::ALL.into_iter().find(|(name, _)| *name == word);
        let (_, verb) = known.ok_or_else(|| {
            format!("'{}' is no rule: there are readonly, copy, writable, touch, import and set", word.escape_debug())
        })?;
        if rest.trim().is_empty() {
            return Err(format!("{word} needs a path"));
        }
        for path in rest.split_whitespace() {
            let (path, may_be_missing) = path.strip_prefix('-').map_or((path, false), |path| (path, true));
            if !path.starts_with('/') || path.split('/').any(|part| part == "." || part == "..") {
                return Err(format!("'{}' is no absolute path without '.' and '..'", path.escape_debug()));
            }
            let path: PathBuf =
                Path::new("/").join(path.split('/').filter(|part| !part.is_empty()).collect::<PathBuf>());
            if path == Path::new("/") && !matches!(verb, Verb::ReadOnly | Verb::Copy) {
                return Err(format!("{word} / means nothing: the root is a directory of its own always"));
            }
            self.rules.push(Rule { verb, path, may_be_missing });
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        text.parse::<Layout>().unwrap_err().to_string()
    }

    #[test]
    fn rules_are_read_in_their_order() {
        let layout: Layout = "# a comment\n\nreadonly / -/lib//x32/\n  touch /etc/mtab\nset A=b = c\n".parse().unwrap();
        let rule = |verb, path: &str, may_be_missing| Rule { verb, path: path.into(), may_be_missing };
        let wanted = [
            rule(Verb::ReadOnly, "/", false),
            rule(Verb::ReadOnly, "/lib/x32", true),
            rule(Verb::Touch, "/etc/mtab", false),
        ];
        assert_eq!(layout.rules(), wanted);
        assert_eq!(layout.variables(), [("A".to_owned(), "b = c".to_owned())]);
        let again: Layout = String::from(layout.clone()).parse().unwrap();
        assert_eq!(again, layout);
        assert!(!USUAL.parse::<Layout>().unwrap().rules().is_empty());
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_line() {
        assert_eq!(
            complaint("readonly /\n\nreadnoly /usr"),
            "line 3: 'readnoly' is no rule: there are readonly, copy, writable, touch, import and set"
        );
        for bad in [
            "copy",
            "copy usr",
            "copy /usr/../etc",
            "writable /",
            "touch /",
            "import /",
            "set x",
            "set =x",
            "sh ls",
            "post-copy /etc",
        ] {
            assert!(complaint(bad).starts_with("line 1: "), "{bad}");
        }
    }
}
