//! Tests and actions, and how they are combined.

use super::Visit;
use crate::tree::{Entry, Kind};
use anyhow::Result;
use std::ffi::CString;

/// What is done with an entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The path and a line feed.
    Print,
    /// The path and a zero byte.
    Print0,
    /// A line like that of `ls -dils`.
    Ls,
    /// A line of one's own.
    Printf(Vec<u8>),
}

#[derive(Debug)]
pub(super) enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    True,
    False,
    Prune,
    Act(Action),
    Name { pattern: Pattern },
    Path { pattern: Pattern },
    Type(Vec<Kind>),
    Size { unit: u64, count: Count },
    Days { now: i64, count: Count },
    Permissions { mode: u32, how: Match },
    Uid(Count),
    Gid(Count),
    Links(Count),
    Inode(Count),
    Empty,
}

/// A number that has to be met, exceeded or not reached.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Exactly(u64),
    More(u64),
    Less(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Match {
    Exactly,
    All,
    Any,
}

/// A shell pattern; unlike in a shell, `*` also takes slashes and leading dots.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) glob: CString,
    pub(super) ignore_case: bool,
}

impl Pattern {
    fn matches(&self, text: &[u8]) -> bool {
        // A name with a zero byte does not exist.
        let Ok(text) = CString::new(text) else { return false };
        let flags = if self.ignore_case { libc::FNM_CASEFOLD } else { 0 };
        // SAFETY: both are strings that end in a zero byte and live until the call is over; fnmatch keeps nothing.
        unsafe { libc::fnmatch(self.glob.as_ptr(), text.as_ptr(), flags) == 0 }
    }
}

impl Count {
    fn matches(self, value: u64) -> bool {
        match self {
            Count::Exactly(wanted) => value == wanted,
            Count::More(limit) => value > limit,
            Count::Less(limit) => value < limit,
        }
    }

    fn matches_signed(self, value: i64) -> bool {
        match (u64::try_from(value), self) {
            (Ok(value), _) => self.matches(value),
            (Err(_), Count::Less(_)) => true,
            (Err(_), _) => false,
        }
    }
}

impl Expression {
    pub(super) fn has_actions(&self) -> bool {
        match self {
            Expression::And(parts) | Expression::Or(parts) => parts.iter().any(Expression::has_actions),
            Expression::Not(part) => part.has_actions(),
            Expression::Act(_) => true,
            _ => false,
        }
    }

    /// Whether the entry passes; actions met on the way are put down in `due`.
    pub(super) fn holds<'x, E: Entry>(&'x self, visit: &mut Visit<E>, due: &mut Vec<&'x Action>) -> Result<bool> {
        let facts = visit.facts;
        Ok(match self {
            Expression::And(parts) => {
                for part in parts {
                    if !part.holds(visit, due)? {
                        return Ok(false);
                    }
                }
                true
            }
            Expression::Or(parts) => {
                for part in parts {
                    if part.holds(visit, due)? {
                        return Ok(true);
                    }
                }
                false
            }
            Expression::Not(part) => !part.holds(visit, due)?,
            Expression::True => true,
            Expression::False => false,
            Expression::Prune => {
                visit.prune = true;
                true
            }
            Expression::Act(action) => {
                due.push(action);
                true
            }
            Expression::Name { pattern } => pattern.matches(base_name(visit.path)),
            Expression::Path { pattern } => pattern.matches(visit.path),
            Expression::Type(kinds) => kinds.contains(&facts.kind()),
            Expression::Size { unit, count } => count.matches(facts.size.div_ceil(*unit)),
            Expression::Days { now, count } => {
                count.matches_signed(now.saturating_sub(facts.mtime.seconds).div_euclid(86_400))
            }
            Expression::Permissions { mode, how } => {
                let bits = facts.mode & 0o7777;
                match how {
                    Match::Exactly => bits == *mode,
                    Match::All => bits & mode == *mode,
                    Match::Any => *mode == 0 || bits & mode != 0,
                }
            }
            Expression::Uid(count) => count.matches(facts.uid.into()),
            Expression::Gid(count) => count.matches(facts.gid.into()),
            Expression::Links(count) => count.matches(facts.nlink),
            Expression::Inode(count) => count.matches(facts.ino),
            Expression::Empty => match facts.kind() {
                Kind::Regular => facts.size == 0,
                Kind::Directory => visit.entry.list()?.is_empty(),
                _ => false,
            },
        })
    }
}

/// The last component; trailing slashes do not count.
pub(super) fn base_name(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(path.len().min(1), |last| last + 1);
    let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    if start < end { &path[start..end] } else { &path[..end] }
}
