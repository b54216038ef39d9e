//! `cvmfs find`: walks trees, tests entries, prints them as `find` does.

mod expression;
mod parse;
mod print;
mod run;

pub use expression::Action;
pub use run::run;

use crate::clock::Clock;
use crate::ls::join;
use crate::names::Names;
use crate::tree::{Entry, Facts, Kind};
use anyhow::Result;
use clap::Args;
use expression::Expression;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// What `cvmfs find` takes.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Expressions (all of them have to hold; also -o, !, and parentheses):
  -name GLOB  -iname GLOB  -path GLOB  -type f|d|l|c|b|p|s[,...]
  -size [+-]N[cwbkMG]  -mtime [+-]DAYS  -perm [-/]OCTAL  -empty
  -user NAME  -group NAME  -uid [+-]N  -gid [+-]N  -links [+-]N  -inum [+-]N
  -maxdepth N  -mindepth N  -prune
  -print  -print0  -ls  -printf FORMAT

Examples:
  cvmfs find /cvmfs/sft.cern.ch/lcg -maxdepth 1 -type d
  cvmfs find /cvmfs/sft.cern.ch/lcg -name 'lib*.so' -size +10M -ls
  cvmfs --json find --sha256 /cvmfs/sft.cern.ch/lcg/etc     (one JSON object a line)")]
pub struct FindArgs {
    /// With --json: also the SHA-256 of the content of regular files, which downloads them
    #[arg(long)]
    pub sha256: bool,
    /// Where to start, then what to look for
    #[arg(value_name = "PATH... EXPRESSION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// A command line of `find`, understood.
#[derive(Debug)]
pub struct Search {
    /// Where to start.
    pub paths: Vec<PathBuf>,
    /// Whether digests are wanted in JSON.
    pub sha256: bool,
    expression: Expression,
    min_depth: usize,
    max_depth: usize,
}

/// An entry that was come across.
pub struct Visit<'a, E> {
    /// The path under which it was reached.
    pub path: &'a [u8],
    /// The entry.
    pub entry: &'a E,
    /// 0 for the starting point.
    depth: usize,
    start: &'a [u8],
    facts: Facts,
    prune: bool,
}

/// In which order entries are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Everything below a directory follows the directory.
    Tree,
    /// By the bytes of the whole path, as `sort` does.
    Path,
}

/// Entries still to be visited.
enum Agenda<E> {
    Tree(Vec<Item<E>>),
    Path(BinaryHeap<Reverse<Item<E>>>),
}

struct Item<E> {
    path: Vec<u8>,
    depth: usize,
    entry: E,
}

impl<E> PartialEq for Item<E> {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}
impl<E> Eq for Item<E> {}
impl<E> PartialOrd for Item<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Item<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.path.cmp(&other.path)
    }
}

impl<E> Agenda<E> {
    /// Adds the entries of one directory, which are sorted by name.
    fn add(&mut self, items: impl DoubleEndedIterator<Item = Item<E>>) {
        match self {
            Agenda::Tree(stack) => stack.extend(items.rev()),
            Agenda::Path(heap) => heap.extend(items.map(Reverse)),
        }
    }

    fn next(&mut self) -> Option<Item<E>> {
        match self {
            Agenda::Tree(stack) => stack.pop(),
            Agenda::Path(heap) => heap.pop().map(|Reverse(item)| item),
        }
    }
}

impl Search {
    /// Whether the command line says itself how to print what is found.
    pub fn has_actions(&self) -> bool {
        self.expression.has_actions()
    }

    /// Walks the tree below `entry`, which was named `start`, and calls `act` for every action that is due.
    ///
    /// # Errors
    /// Those of `act`. What cannot be read is told to `complain`, and the walk goes on.
    pub fn walk<E: Entry>(
        &self,
        start: &[u8],
        entry: E,
        order: Order,
        act: &mut dyn FnMut(&Action, &Visit<E>) -> Result<()>,
        complain: &mut dyn FnMut(&[u8], anyhow::Error),
    ) -> Result<()> {
        let mut agenda = match order {
            Order::Tree => Agenda::Tree(Vec::new()),
            Order::Path => Agenda::Path(BinaryHeap::new()),
        };
        agenda.add(std::iter::once(Item { path: start.to_vec(), depth: 0, entry }));
        while let Some(item) = agenda.next() {
            let facts = match item.entry.facts() {
                Ok(facts) => facts,
                Err(error) => {
                    complain(&item.path, error);
                    continue;
                }
            };
            let mut visit =
                Visit { path: &item.path, entry: &item.entry, depth: item.depth, start, facts, prune: false };
            if item.depth >= self.min_depth {
                self.visit(&mut visit, act, complain)?;
            }
            if facts.kind() == Kind::Directory && !visit.prune && item.depth < self.max_depth {
                match item.entry.list() {
                    Ok(children) => agenda.add(children.into_iter().map(|(name, entry)| Item {
                        path: join(&item.path, &name),
                        depth: item.depth + 1,
                        entry,
                    })),
                    Err(error) => complain(&item.path, error),
                }
            }
        }
        Ok(())
    }

    fn visit<E: Entry>(
        &self,
        visit: &mut Visit<E>,
        act: &mut dyn FnMut(&Action, &Visit<E>) -> Result<()>,
        complain: &mut dyn FnMut(&[u8], anyhow::Error),
    ) -> Result<()> {
        let mut due = Vec::new();
        match self.expression.holds(visit, &mut due) {
            Ok(true) if !self.has_actions() => due.push(&Action::Print),
            Ok(_) => (),
            Err(error) => complain(visit.path, error),
        }
        due.into_iter().try_for_each(|action| act(action, visit))
    }
}

/// Prints what was found.
pub struct Printer<W> {
    out: W,
    clock: Clock,
    names: Names,
    widths: print::Widths,
}

impl<W: Write> Printer<W> {
    /// A printer into `out`.
    pub fn new(out: W) -> Printer<W> {
        Printer { out, clock: Clock::system(), names: Names::default(), widths: print::Widths::default() }
    }

    /// Does what an action asks for.
    pub fn act<E: Entry>(&mut self, action: &Action, visit: &Visit<E>) -> Result<()> {
        match action {
            Action::Print => self.out.write_all(&[visit.path, b"\n"].concat())?,
            Action::Print0 => self.out.write_all(&[visit.path, b"\0"].concat())?,
            Action::Ls => self.list(visit)?,
            Action::Printf(format) => self.format(format, visit)?,
        }
        Ok(())
    }
}
