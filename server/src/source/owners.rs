//! Who owns the entries of a source.

use anyhow::{Context as _, Result, bail};
use std::collections::HashMap;
use std::path::Path;

/// A map of owners and groups. Who is not in it stays as he is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    users: Map,
    groups: Map,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Map {
    known: HashMap<u32, u32>,
    others: Option<u32>,
}

impl Map {
    fn of(&self, id: u32) -> u32 {
        self.known.get(&id).copied().or(self.others).unwrap_or(id)
    }
}

impl Owners {
    /// Reads `UID:GID`, to whom everything is to belong, or the name of a file of rules: `user FROM TO` and
    /// `group FROM TO` on a line each, with `*` for all others; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Owners> {
        if let Some((user, group)) = text.split_once(':')
            && let (Ok(user), Ok(group)) = (user.parse(), group.parse())
        {
            let all = |id| Map { known: HashMap::new(), others: Some(id) };
            return Ok(Owners { users: all(user), groups: all(group) });
        }
        let rules = std::fs::read_to_string(Path::new(text)).with_context(|| format!("owner map {text}"))?;
        Owners::rules(&rules).with_context(|| format!("owner map {text}"))
    }

    fn rules(text: &str) -> Result<Owners> {
        let mut owners = Owners::default();
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let (map, from, to) = match words[..] {
                [] => continue,
                ["user", from, to] => (&mut owners.users, from, to),
                ["group", from, to] => (&mut owners.groups, from, to),
                _ => bail!("line {}: expected 'user FROM TO' or 'group FROM TO'", number + 1),
            };
            let id = |text: &str| {
                text.parse::<u32>().ok().with_context(|| format!("line {}: '{text}' is no number", number + 1))
            };
            match from {
                "*" => map.others = Some(id(to)?),
                from => drop(map.known.insert(id(from)?, id(to)?)),
            }
        }
        Ok(owners)
    }

    /// Owner and group as they are published.
    pub fn of(&self, uid: u32, gid: u32) -> (u32, u32) {
        (self.users.of(uid), self.groups.of(gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_single_owners() {
        let owners = Owners::rules("# who\nuser 1000 0\nuser * 65534 # all others\n\ngroup 1000 10\n").unwrap();
        assert_eq!([owners.of(1000, 1000), owners.of(1, 1)], [(0, 10), (65534, 1)]);
        assert_eq!(Owners::parse("3:4").unwrap().of(7, 8), (3, 4));
        assert_eq!(Owners::default().of(7, 8), (7, 8));
        for bad in ["user 1", "user a 1", "group 1 b", "owner 1 2"] {
            assert!(Owners::rules(bad).is_err(), "{bad}");
        }
    }
}
