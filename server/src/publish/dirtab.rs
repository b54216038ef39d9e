//! `.cvmfsdirtab` in the root directory: patterns of directories that get catalogs of their own.

use super::publication::Publication;
use crate::draft::{self, MARKER};
use anyhow::Result;
use libcvmfs::catalog::write::Flags;

/// Where the patterns are.
pub(super) const DIRTAB: &[u8] = b"/.cvmfsdirtab";
/// Most bytes of them.
pub(super) const LIMIT: u64 = 16 << 20;

/// Patterns of directories.
struct Dirtab<'t> {
    /// Components of each.
    wanted: Vec<Vec<&'t [u8]>>,
    /// In their wildcards slashes are like any other byte.
    excluded: Vec<&'t [u8]>,
}

impl<'t> Dirtab<'t> {
    fn parse(text: &'t [u8]) -> Dirtab<'t> {
        let mut dirtab = Dirtab { wanted: Vec::new(), excluded: Vec::new() };
        for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            let (list, pattern) = match line.strip_prefix(b"!") {
                Some(pattern) => (false, pattern.trim_ascii()),
                None => (true, line),
            };
            if pattern.is_empty() || pattern.starts_with(b"#") {
                continue;
            }
            if list && !pattern.starts_with(b"/") {
                log::warn!(".cvmfsdirtab: '{}' is no absolute path and means nothing", line.escape_ascii());
            } else if list {
                dirtab.wanted.push(pattern.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect());
            } else {
                let end = pattern.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
                dirtab.excluded.push(pattern.get(..end).unwrap_or_default());
            }
        }
        dirtab
    }
}

impl Publication<'_, '_> {
    /// Puts markers into the directories that the patterns of the revision in the making name.
    pub(super) fn apply_dirtab(&mut self) -> Result<()> {
        self.settle_all()?;
        let Some(row) = self.draft.row(DIRTAB)?.filter(|row| row.is_regular()) else { return Ok(()) };
        let text = match self.dirtab.take() {
            Some(text) => text,
            // It was not read this time, and its bytes are not here.
            None if row.flags & Flags::EXTERNAL != 0 => return Ok(()),
            None => self.content(&row, LIMIT)?,
        };
        let dirtab = Dirtab::parse(&text);
        for pattern in &dirtab.wanted {
            self.mark(b"", pattern, &dirtab.excluded)?;
        }
        self.settle_all()
    }

    fn mark(&mut self, directory: &[u8], rest: &[&[u8]], excluded: &[&[u8]]) -> Result<()> {
        let Some((pattern, rest)) = rest.split_first() else {
            if directory.is_empty() || excluded.iter().any(|pattern| matches(pattern, directory)) {
                return Ok(());
            }
            return self.own_file(&[directory, b"/", MARKER].concat(), b"");
        };
        let is_pattern = pattern.iter().any(|byte| b"*?[\\".contains(byte));
        if !is_pattern {
            let path = [directory, b"/", pattern].concat();
            return match self.draft.row(&path)?.is_some_and(|row| row.is_directory()) {
                true => self.mark(&path, rest, excluded),
                false => Ok(()),
            };
        }
        for child in self.draft.children(directory)? {
            let path = [directory, b"/", &child.name].concat();
            if child.is_directory() && !draft::is_reserved(&path) && matches(pattern, &child.name) {
                self.mark(&path, rest, excluded)?;
            }
        }
        Ok(())
    }
}

/// Whether a pattern with `*`, `?`, `[...]` and `\` fits a whole text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star, one byte further each time.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (Some(b'?'), Some(_)) => Some(1),
            (Some(b'['), Some(byte)) => bracket(pattern.get(p..).unwrap_or_default(), *byte),
            (Some(b'\\'), Some(byte)) => (pattern.get(p + 1) == Some(byte)).then_some(2),
            (Some(wanted), Some(byte)) => (wanted == byte).then_some(1),
            (_, None) | (None, _) => None,
        };
        match (step, star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after, from))) if from < text.len() => {
                (p, t) = (after, from + 1);
                star = Some((after, from + 1));
            }
            (None, _) => return false,
        }
    }
}

/// The length of the set that `pattern` begins with, if it contains `byte`. A set without an end is a plain bracket.
fn bracket(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    let Some(length) = pattern.iter().skip(start + 1).position(|b| *b == b']') else {
        return (byte == b'[').then_some(1);
    };
    let set = pattern.get(start..start + 1 + length).unwrap_or_default();
    let mut found = false;
    let mut rest = set;
    while let [first, more @ ..] = rest {
        if let [b'-', last, behind @ ..] = more {
            found |= (*first..=*last).contains(&byte);
            rest = behind;
        } else {
            found |= *first == byte;
            rest = more;
        }
    }
    (found != negated).then_some(start + length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_the_shells() {
        for (pattern, text, expected) in [
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c*", "abbd", false),
            ("v?", "v1", true),
            ("v?", "v", false),
            ("v[0-9]", "v7", true),
            ("v[!0-9]", "v7", false),
            ("v[]x]", "v]", true),
            ("v[", "v[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*.skip*", "/software/data.skip/v1", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn lines_are_patterns_exclusions_and_comments() {
        let dirtab = Dirtab::parse(b"# text\n\n/a/*/  \n! /a/b\nrelative\n! *.skip\n");
        assert_eq!(dirtab.wanted, [vec![&b"a"[..], b"*"]]);
        assert_eq!(dirtab.excluded, [&b"/a/b"[..], b"*.skip"]);
    }
}
