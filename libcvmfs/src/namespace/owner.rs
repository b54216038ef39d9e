//! Whom entries belong to: the catalog's owners, translated or claimed.

use cvmfs_index::format::OWNER_IS_CALLER;
use std::collections::HashMap;
use thiserror::Error;

/// Translates user or group ids by the rules of a `CVMFS_UID_MAP` or `CVMFS_GID_MAP` file.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdMap {
    rules: HashMap<u32, u32>,
    default: Option<u32>,
}

/// A line of an id map that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: '{text}' is no rule of the form '<from> <to>' with decimal ids or '*' as <from>")]
pub struct IdMapError {
    /// Line number from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl IdMap {
    /// Reads the text of a map file: lines `<from> <to>`, `*` as the default rule, `#` comments.
    pub fn parse(text: &str) -> Result<IdMap, IdMapError> {
        let mut map = IdMap::default();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || IdMapError { line: index + 1, text: line.escape_debug().to_string() };
            let number = |word: &str| {
                word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse::<u32>().ok()).flatten().ok_or_else(wrong)
            };
            let mut words = line.split_ascii_whitespace();
            let (Some(from), Some(to), None) = (words.next(), words.next(), words.next()) else { return Err(wrong()) };
            let to = number(to)?;
            if from == "*" {
                map.default = Some(to);
            } else {
                map.rules.insert(number(from)?, to);
            }
        }
        Ok(map)
    }

    /// The id that stands for `id`; itself where no rule says otherwise.
    pub fn map(&self, id: u32) -> u32 {
        if self.rules.is_empty() {
            return self.default.unwrap_or(id);
        }
        self.rules.get(&id).copied().or(self.default).unwrap_or(id)
    }
}

/// How owners of the catalog appear.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owners {
    /// `CVMFS_CLAIM_OWNERSHIP`: everything belongs to this user and group.
    pub claimed_by: Option<(u32, u32)>,
    /// `CVMFS_UID_MAP`.
    pub users: IdMap,
    /// `CVMFS_GID_MAP`.
    pub groups: IdMap,
}

impl Owners {
    /// User and group shown for an entry with these in its catalog row. Old catalogs name nobody: there the entries
    /// belong to whoever looks.
    pub fn of(&self, uid: u32, gid: u32) -> (u32, u32) {
        if let Some(claimed) = self.claimed_by {
            return claimed;
        }
        let own = |id: u32, own: fn() -> u32| if id == OWNER_IS_CALLER { own() } else { id };
        (self.users.map(own(uid, crate::identity::user)), self.groups.map(own(gid, crate::identity::group)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_defaults_and_comments() {
        let map = IdMap::parse("# users\n0 1000\n\n5 6\n* 65534\n").unwrap();
        assert_eq!((map.map(0), map.map(5), map.map(7)), (1000, 6, 65534));
        let map = IdMap::parse("1 2\n").unwrap();
        assert_eq!((map.map(1), map.map(3)), (2, 3));
        assert_eq!(IdMap::default().map(9), 9);
        for wrong in ["1", "1 2 3", "a 1", "1 *", "-1 2", "1 99999999999"] {
            assert!(IdMap::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(IdMap::parse("1 2\nx y\n").unwrap_err().line, 2);
    }

    #[test]
    fn claiming_beats_mapping() {
        let owners = Owners { claimed_by: Some((7, 8)), users: IdMap::parse("* 1").unwrap(), ..Owners::default() };
        assert_eq!(owners.of(0, 0), (7, 8));
        let nobody = Owners::default().of(OWNER_IS_CALLER, OWNER_IS_CALLER);
        assert_eq!(nobody, (crate::identity::user(), crate::identity::group()));
    }
}
