//! From words to an expression, with the precedence that `find` has: `!`, then side by side, then `-o`.

use super::expression::{Action, Count, Expression, Match, Pattern};
use super::{FindArgs, Search};
use crate::tree::Kind;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

impl FindArgs {
    /// Understands the words of the command line.
    pub fn parse(self) -> Result<Search> {
        let mut words = self.words;
        let mut sha256 = self.sha256;
        let first = words.iter().position(starts_expression).unwrap_or(words.len());
        let mut rest = words.split_off(first);
        rest.retain(|word| {
            let is_option = word == "--sha256";
            sha256 |= is_option;
            !is_option
        });
        ensure!(!words.is_empty(), "no path is given; try 'cvmfs find /cvmfs/REPOSITORY'");
        let paths = words.into_iter().map(PathBuf::from).collect();
        let mut parser = Parser { words: rest.into_iter().peekable(), min_depth: 0, max_depth: usize::MAX };
        let expression = match parser.words.peek() {
            None => Expression::True,
            Some(_) => parser.alternatives()?,
        };
        if let Some(word) = parser.words.next() {
            bail!("'{}' is not expected here", word.display());
        }
        Ok(Search { paths, sha256, expression, min_depth: parser.min_depth, max_depth: parser.max_depth })
    }
}

fn starts_expression(word: &OsString) -> bool {
    let word = word.as_bytes();
    word.len() > 1 && word[0] == b'-' || matches!(word, b"(" | b")" | b"!")
}

struct Parser {
    words: std::iter::Peekable<std::vec::IntoIter<OsString>>,
    min_depth: usize,
    max_depth: usize,
}

impl Parser {
    fn next_is(&mut self, wanted: &[&str]) -> bool {
        self.words.peek().is_some_and(|word| wanted.iter().any(|wanted| word == wanted))
    }

    fn alternatives(&mut self) -> Result<Expression> {
        let mut parts = vec![self.conjunction()?];
        while self.next_is(&["-o", "-or"]) {
            self.words.next();
            parts.push(self.conjunction()?);
        }
        Ok(Expression::Or(parts))
    }

    fn conjunction(&mut self) -> Result<Expression> {
        let mut parts = vec![self.negation()?];
        while self.words.peek().is_some() && !self.next_is(&["-o", "-or", ")"]) {
            if self.next_is(&["-a", "-and"]) {
                self.words.next();
            }
            parts.push(self.negation()?);
        }
        Ok(Expression::And(parts))
    }

    fn negation(&mut self) -> Result<Expression> {
        let word = self.words.next().context("the expression ends too early")?;
        match word.as_bytes() {
            b"!" | b"-not" => Ok(Expression::Not(Box::new(self.negation()?))),
            b"(" => {
                let inner = self.alternatives()?;
                ensure!(self.words.next().is_some_and(|word| word == ")"), "a ')' is missing");
                Ok(inner)
            }
            _ => self.primary(&word).with_context(|| format!("in '{}'", word.display())),
        }
    }

    fn primary(&mut self, word: &OsString) -> Result<Expression> {
        Ok(match word.as_bytes() {
            b"-true" => Expression::True,
            b"-false" => Expression::False,
            b"-empty" => Expression::Empty,
            b"-prune" => Expression::Prune,
            b"-print" => Expression::Act(Action::Print),
            b"-print0" => Expression::Act(Action::Print0),
            b"-ls" => Expression::Act(Action::Ls),
            b"-printf" => Expression::Act(Action::Printf(self.argument()?.into_vec())),
            b"-name" => Expression::Name { pattern: self.pattern(false)? },
            b"-iname" => Expression::Name { pattern: self.pattern(true)? },
            b"-path" | b"-wholename" => Expression::Path { pattern: self.pattern(false)? },
            b"-ipath" | b"-iwholename" => Expression::Path { pattern: self.pattern(true)? },
            b"-type" => Expression::Type(kinds(&self.text()?)?),
            b"-size" => size(&self.text()?)?,
            b"-mtime" => Expression::Days { now: now(), count: count(&self.text()?)? },
            b"-perm" => permissions(&self.text()?)?,
            b"-uid" => Expression::Uid(count(&self.text()?)?),
            b"-gid" => Expression::Gid(count(&self.text()?)?),
            b"-links" => Expression::Links(count(&self.text()?)?),
            b"-inum" => Expression::Inode(count(&self.text()?)?),
            b"-user" => {
                let name = self.text()?;
                let user = nix::unistd::User::from_name(&name).ok().flatten().map(|user| user.uid.as_raw());
                Expression::Uid(Count::Exactly(owner(&name, user)?))
            }
            b"-group" => {
                let name = self.text()?;
                let group = nix::unistd::Group::from_name(&name).ok().flatten().map(|group| group.gid.as_raw());
                Expression::Gid(Count::Exactly(owner(&name, group)?))
            }
            b"-maxdepth" => {
                self.max_depth = self.text()?.parse()?;
                Expression::True
            }
            b"-mindepth" => {
                self.min_depth = self.text()?.parse()?;
                Expression::True
            }
            _ => bail!("this test is not known; 'cvmfs find --help' lists those that are"),
        })
    }

    fn argument(&mut self) -> Result<OsString> {
        self.words.next().context("its argument is missing")
    }

    fn text(&mut self) -> Result<String> {
        let word = self.argument()?;
        word.into_string().map_err(|word| anyhow::anyhow!("'{}' is not text", word.display()))
    }

    fn pattern(&mut self, ignore_case: bool) -> Result<Pattern> {
        let glob = CString::new(self.argument()?.into_vec()).context("a pattern holds no zero byte")?;
        Ok(Pattern { glob, ignore_case })
    }
}

fn owner(name: &str, known: Option<u32>) -> Result<u64> {
    match known {
        Some(id) => Ok(id.into()),
        None => name.parse().with_context(|| format!("'{name}' is neither a known name nor a number")),
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn kinds(text: &str) -> Result<Vec<Kind>> {
    text.split(',')
        .map(|letter| {
            Ok(match letter {
                "f" => Kind::Regular,
                "d" => Kind::Directory,
                "l" => Kind::Symlink,
                "c" => Kind::CharacterDevice,
                "b" => Kind::BlockDevice,
                "p" => Kind::Fifo,
                "s" => Kind::Socket,
                other => bail!("'{other}' is no type: expected f, d, l, c, b, p or s"),
            })
        })
        .collect()
}

fn count(text: &str) -> Result<Count> {
    let number = |digits: &str| digits.parse().with_context(|| format!("'{text}' is not [+-]NUMBER"));
    Ok(match text.as_bytes().first() {
        Some(b'+') => Count::More(number(&text[1..])?),
        Some(b'-') => Count::Less(number(&text[1..])?),
        _ => Count::Exactly(number(text)?),
    })
}

fn size(text: &str) -> Result<Expression> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'c') => (&text[..text.len() - 1], 1),
        Some(b'w') => (&text[..text.len() - 1], 2),
        Some(b'b') => (&text[..text.len() - 1], 512),
        Some(b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 512),
    };
    Ok(Expression::Size { unit, count: count(digits)? })
}

fn permissions(text: &str) -> Result<Expression> {
    let (how, digits) = match text.as_bytes().first() {
        Some(b'-') => (Match::All, &text[1..]),
        Some(b'/') => (Match::Any, &text[1..]),
        _ => (Match::Exactly, text),
    };
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
    Ok(Expression::Permissions { mode: mode.with_context(|| format!("'{text}' is not an octal mode"))?, how })
}
