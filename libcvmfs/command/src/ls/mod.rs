//! `cvmfs ls`: directories, as `ls` prints them.

mod columns;
mod long;
mod run;

pub use run::run;

use crate::clock::Clock;
use crate::names::Names;
use crate::tree::{Entry, Facts, Kind};
use anyhow::{Context as _, Result};
use clap::Args;
use long::Widths;
use std::io::Write;
use std::path::PathBuf;

/// What `cvmfs ls` takes.
#[derive(Debug, Clone, Default, Args)]
#[command(disable_help_flag = true)]
#[command(after_help = "Examples:
  cvmfs ls /cvmfs/sft.cern.ch
  cvmfs ls -lh /cvmfs/sft.cern.ch/lcg
  cvmfs ls -lR /cvmfs/sft.cern.ch/lcg/etc | less")]
pub struct LsArgs {
    /// One entry a line with type, mode, links, owner, group, size and time
    #[arg(short)]
    pub long: bool,
    /// Show entries that start with a dot, also . and ..
    #[arg(short)]
    pub all: bool,
    /// Show entries that start with a dot, but not . and ..
    #[arg(short = 'A')]
    pub almost_all: bool,
    /// Go into all subdirectories
    #[arg(short = 'R')]
    pub recursive: bool,
    /// Show directories themselves, not what is in them
    #[arg(short)]
    pub directory: bool,
    /// One name a line, which is the default when the output is no terminal
    #[arg(short = '1')]
    pub one_per_line: bool,
    /// Names in columns, the default on a terminal
    #[arg(short = 'C')]
    pub columns: bool,
    /// Width of the output for -C, characters
    #[arg(short, value_name = "COLUMNS")]
    pub width: Option<usize>,
    /// Show inode numbers
    #[arg(short)]
    pub inode: bool,
    /// Like -l, with numbers for owner and group
    #[arg(short)]
    pub numeric: bool,
    /// With -l and -s, sizes like 1.5K and 2.0G
    #[arg(short = 'h')]
    pub human: bool,
    /// Show the space each file takes, in blocks of 1024 bytes
    #[arg(short = 's')]
    pub blocks: bool,
    /// Sort by time, newest first
    #[arg(short = 't')]
    pub by_time: bool,
    /// Sort by size, largest first
    #[arg(short = 'S')]
    pub by_size: bool,
    /// Sort in reverse order
    #[arg(short)]
    pub reverse: bool,
    /// Show what symbolic links lead to instead of the links
    #[arg(short = 'L')]
    pub dereference: bool,
    /// Show what symbolic links named as arguments lead to
    #[arg(short = 'H')]
    pub dereference_arguments: bool,
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
    /// What to list
    #[arg(default_value = "/cvmfs")]
    pub paths: Vec<PathBuf>,
}

impl LsArgs {
    fn is_long(&self) -> bool {
        self.long || self.numeric
    }

    fn needs_facts(&self) -> bool {
        self.is_long() || self.inode || self.blocks || self.by_time || self.by_size
    }
}

/// One line to be.
struct Row<E> {
    name: Vec<u8>,
    entry: E,
    /// `None`: not needed, or not to be had because a link leads nowhere.
    facts: Option<Facts>,
}

/// Prints listings of any kind of tree.
pub struct Lister<'a, W> {
    args: &'a LsArgs,
    out: W,
    /// Width of a terminal; `None`: one name a line.
    columns: Option<usize>,
    /// Show control characters as question marks, to protect a terminal.
    hide_control: bool,
    clock: Clock,
    names: Names,
    /// Told about everything that could not be listed.
    complain: &'a mut dyn FnMut(&[u8], anyhow::Error),
    first_directory: bool,
    /// Device and inode of the directories between the argument and here; kept only where links are followed.
    above: Vec<(u64, u64)>,
}

impl<'a, W: Write> Lister<'a, W> {
    /// A printer into `out`; `terminal` is the width of the terminal that `out` leads to.
    pub fn new(
        args: &'a LsArgs,
        out: W,
        terminal: Option<usize>,
        complain: &'a mut dyn FnMut(&[u8], anyhow::Error),
    ) -> Self {
        let columns = match (args.one_per_line || args.is_long(), args.columns || terminal.is_some()) {
            (false, true) => Some(args.width.or(terminal).unwrap_or(80)),
            _ => None,
        };
        Lister {
            args,
            out,
            columns,
            hide_control: terminal.is_some(),
            clock: Clock::system(),
            names: Names::default(),
            complain,
            first_directory: true,
            above: Vec::new(),
        }
    }

    /// Lists the arguments of a command line; `asked` is how many there were, also those that do not exist.
    pub fn arguments<E: Entry>(&mut self, arguments: Vec<(Vec<u8>, E)>, asked: usize) -> Result<()> {
        let mut files = Vec::new();
        let mut directories = Vec::new();
        for (name, entry) in arguments {
            let entry = self.argument_dereferenced(entry);
            let Some(row) = self.row(name, entry) else { continue };
            if row.entry.kind() == Kind::Directory && !self.args.directory {
                directories.push(row);
            } else {
                files.push(row);
            }
        }
        self.sort(&mut files);
        self.sort(&mut directories);
        let with_header = self.args.recursive || asked > 1 || !files.is_empty();
        if !files.is_empty() {
            let widths = self.widen(self.widen(Widths::default(), &files), &directories);
            self.print(&files, &widths)?;
            if !directories.is_empty() {
                self.out.write_all(b"\n")?;
            }
        }
        for row in directories {
            self.directory(&row.name, &row.entry, with_header)?;
        }
        Ok(())
    }

    fn argument_dereferenced<E: Entry>(&mut self, entry: E) -> E {
        if entry.kind() != Kind::Symlink {
            return entry;
        }
        let followed = entry.followed().ok().flatten();
        let only_directories = !(self.args.dereference || self.args.dereference_arguments);
        match followed {
            Some(_) if only_directories && (self.args.is_long() || self.args.directory) => entry,
            Some(target) if only_directories && target.kind() != Kind::Directory => entry,
            Some(target) => target,
            None => entry,
        }
    }

    fn directory<E: Entry>(&mut self, name: &[u8], entry: &E, with_header: bool) -> Result<()> {
        let listed = match entry.list() {
            Ok(listed) => listed,
            Err(error) => {
                (self.complain)(name, error);
                return Ok(());
            }
        };
        if with_header {
            if !self.first_directory {
                self.out.write_all(b"\n")?;
            }
            self.first_directory = false;
            self.write_name(name)?;
            self.out.write_all(b":\n")?;
        }
        let mut rows = Vec::with_capacity(listed.len() + 2);
        if self.args.all {
            rows.extend(self.row(b".".to_vec(), entry.clone()));
            rows.extend(entry.parent().ok().and_then(|parent| self.row(b"..".to_vec(), parent)));
        }
        for (child, entry) in listed {
            if !child.starts_with(b".") || self.args.all || self.args.almost_all {
                rows.extend(match self.args.dereference && entry.kind() == Kind::Symlink {
                    true => Some(self.dereferenced_row(name, child, entry)),
                    false => self.row(child, entry),
                });
            }
        }
        self.sort(&mut rows);
        self.print_total(&rows)?;
        let widths = self.widen(Widths::default(), &rows);
        self.print(&rows, &widths)?;
        if self.args.recursive {
            for row in rows.iter().filter(|row| row.entry.kind() == Kind::Directory) {
                if row.name != b"." && row.name != b".." {
                    self.subdirectory(&join(name, &row.name), &row.entry)?;
                }
            }
        }
        Ok(())
    }

    /// Goes one level deeper, unless followed links lead back to a directory that is being listed.
    fn subdirectory<E: Entry>(&mut self, path: &[u8], entry: &E) -> Result<()> {
        if !self.args.dereference {
            return self.directory(path, entry, true);
        }
        let identity = entry.facts().map(|facts| (facts.dev, facts.ino))?;
        if self.above.contains(&identity) {
            (self.complain)(path, anyhow::anyhow!("not listing a directory inside itself"));
            return Ok(());
        }
        self.above.push(identity);
        let result = self.directory(path, entry, true);
        self.above.pop();
        result
    }

    fn dereferenced_row<E: Entry>(&mut self, directory: &[u8], name: Vec<u8>, entry: E) -> Row<E> {
        let target = entry.followed().and_then(|target| target.context("the link leads nowhere"));
        match target.and_then(|target| Ok((target.facts()?, target))) {
            Ok((facts, entry)) => Row { name, entry, facts: self.args.needs_facts().then_some(facts) },
            Err(error) => {
                (self.complain)(&join(directory, &name), error);
                Row { name, entry, facts: None }
            }
        }
    }

    fn row<E: Entry>(&mut self, name: Vec<u8>, entry: E) -> Option<Row<E>> {
        let facts = match self.args.needs_facts().then(|| entry.facts()).transpose() {
            Ok(facts) => facts,
            Err(error) => {
                (self.complain)(&name, error);
                return None;
            }
        };
        Some(Row { name, entry, facts })
    }

    fn sort<E>(&self, rows: &mut [Row<E>]) {
        let time = |row: &Row<E>| row.facts.map(|f| f.mtime);
        let size = |row: &Row<E>| row.facts.map(|f| f.size);
        rows.sort_by(|a, b| {
            let wanted = match (self.args.by_size, self.args.by_time) {
                (true, _) => size(b).cmp(&size(a)),
                (_, true) => time(b).cmp(&time(a)),
                _ => std::cmp::Ordering::Equal,
            };
            wanted.then_with(|| a.name.cmp(&b.name))
        });
        if self.args.reverse {
            rows.reverse();
        }
    }

    fn print<E: Entry>(&mut self, rows: &[Row<E>], widths: &Widths) -> Result<()> {
        match self.columns {
            _ if self.args.is_long() => self.print_long(rows, widths),
            Some(width) => self.print_columns(rows, widths, width),
            None => self.print_short(rows, widths),
        }
    }

    fn write_name(&mut self, name: &[u8]) -> std::io::Result<()> {
        if !self.hide_control {
            return self.out.write_all(name);
        }
        let text = String::from_utf8_lossy(name);
        let shown: String = text.chars().map(|c| if c.is_control() || c == '\u{fffd}' { '?' } else { c }).collect();
        self.out.write_all(shown.as_bytes())
    }
}

/// Directory and name with exactly one slash between them.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
