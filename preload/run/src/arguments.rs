//! The command line.

use crate::supervisor::rooted::Place;
use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, ValueEnum};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Run a program that sees /cvmfs.
///
/// No root, no FUSE, no namespaces: the program and everything it starts find /cvmfs/REPOSITORY/... as if it were
/// mounted. Files are fetched when they are first opened, verified, and kept in a cache.
#[derive(Debug, Parser)]
#[command(name = "cvmfs-run", version, after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Set an official parameter, such as CVMFS_HTTP_PROXY; beats environment and configuration files
    #[arg(short = 'o', value_name = "KEY=VALUE", value_parser = parameter)]
    pub(crate) options: Vec<(String, String)>,

    /// How the program is made to see /cvmfs
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub(crate) mode: Mode,

    /// Do without the small library in the programs: every call is answered by the supervisor, as with 'full'
    #[arg(long)]
    pub(crate) bare: bool,

    /// Use the demo repository that is part of this program; needs no network and no configuration
    #[arg(long)]
    pub(crate) demo: bool,

    /// Stay at the snapshot of each repository that is mounted first, whatever is published during the run
    #[arg(long)]
    pub(crate) pin: bool,

    /// Write a list of what the program uses into this file, for --prefetch and 'cvmfs prefetch --from-list'
    ///
    /// The list names the catalogs and files that were used, also those that were in the cache. It is written when the
    /// program ends, also by a signal, and does not depend on what was in the cache. Implies --pin, and the mode
    /// 'full', in which every open is seen.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Fetch what this list names, in the background from the start on; the program does not wait for it
    #[arg(long, value_name = "FILE")]
    pub(crate) prefetch: Option<PathBuf>,

    /// Run the program in a root of its own: this operating system's tree, of the host or below /cvmfs
    ///
    /// The program sees the tree as /, with /cvmfs, /dev, /proc and /sys in it, and is root there. What it writes goes
    /// into --layer. No namespaces are needed; it is a view and no wall: a program that wants to can leave it.
    #[arg(long, value_name = "TREE", requires = "layers")]
    pub(crate) root: Option<PathBuf>,

    /// With --root: a directory for what is written; more of them lie below it and are only read
    #[arg(long = "layer", value_name = "DIR", requires = "root")]
    pub(crate) layers: Vec<PathBuf>,

    /// With --root: show a file or directory of the host inside, writable unless ':ro' follows
    #[arg(long = "bind", value_name = "SOURCE[:TARGET[:ro]]", requires = "root", value_parser = place)]
    pub(crate) places: Vec<Place>,

    /// With --root: show an empty directory there instead of the tree's; what is written there goes into --layer
    #[arg(long = "empty", value_name = "DIR", requires = "root", value_parser = plain)]
    pub(crate) emptied: Vec<PathBuf>,

    /// With --root: set a variable for the program that cvmfs-run does not see, such as HOME
    #[arg(long = "env", value_name = "NAME=VALUE", requires = "root", value_parser = variable)]
    pub(crate) variables: Vec<(OsString, OsString)>,

    /// Tell where library, helper, cache and log are
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// With probe: print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// The program and its arguments, or the word probe, which tells what this node allows; looked up in PATH, also below /cvmfs
    #[arg(trailing_var_arg = true, required_unless_present_any = ["serve", "generate", "fetch"], value_name = "CMD", num_args = 1..)]
    command: Vec<OsString>,

    /// Be the helper process that listens at this socket
    #[arg(long, hide = true, value_name = "SOCKET")]
    serve: Option<PathBuf>,

    /// Fetch what this list names
    #[arg(long, hide = true, value_name = "FILE")]
    fetch: Option<PathBuf>,

    /// Replace this process by the program
    #[arg(long, hide = true)]
    execute: bool,

    /// Write manual page and shell completions into this directory
    #[arg(long, hide = true, value_name = "DIRECTORY")]
    generate: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
EXIT STATUS
The exit status is that of the program, or 128 and the number of the signal that ended it. It is 125 if cvmfs-run \
itself fails, 126 if the program is found but cannot be run, 127 if it is not found.

EXAMPLES
    cvmfs-run probe
    cvmfs-run --demo -- ls -lR /cvmfs/demo.example.org
    cvmfs-run -o CVMFS_HTTP_PROXY=DIRECT -- /cvmfs/sft.cern.ch/lcg/views/setup.sh
    cvmfs-run --record analysis.list -- ./analysis.sh
    cvmfs-run --prefetch analysis.list -- ./analysis.sh

ENVIRONMENT
    CVMFS_*            official parameters
    CVMFS_RUN_LIBRARY  the preload library, if it is neither beside cvmfs-run nor in ../lib
    CVMFS_RUN_IDLE     seconds without a question after which the helper process ends";

impl Mode {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// How programs are made to see `/cvmfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The best that works here
    Auto,
    /// A supervisor that answers system calls: all programs, static ones too
    Full,
    /// The supervisor, and a small library that answers most calls inside of dynamically linked programs
    Shim,
    /// As 'shim', where the kernel gives no listener: the supervisor traces all programs
    Trace,
    /// The preload library: dynamically linked glibc programs
    Preload,
}

/// What to do.
pub(crate) enum Action {
    /// Be a helper.
    Serve(PathBuf),
    /// Write manual page and completions.
    Generate(PathBuf),
    /// Fetch what a list names.
    Fetch(PathBuf),
    /// Become the program, with the library already in this process.
    Execute(Vec<OsString>),
    /// Tell what this node allows.
    Probe { json: bool },
    /// Run the program.
    Run(Vec<OsString>),
}

impl Arguments {
    /// Reads the command line of this process.
    pub(crate) fn from_command_line() -> Result<Arguments, clap::Error> {
        Arguments::try_parse()
    }

    /// What is asked for.
    pub(crate) fn action(&self) -> Action {
        if let Some(socket) = &self.serve {
            return Action::Serve(socket.clone());
        }
        if let Some(directory) = &self.generate {
            return Action::Generate(directory.clone());
        }
        if let Some(list) = &self.fetch {
            return Action::Fetch(list.clone());
        }
        let command = self.command.clone();
        if !self.execute
            && let Some((first, rest)) = command.split_first()
            && first == "probe"
            && rest.iter().all(|option| option == "--json")
        {
            return Action::Probe { json: self.json || !rest.is_empty() };
        }
        if self.execute { Action::Execute(command) } else { Action::Run(command) }
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    libcvmfs::config::Sources::option(text).map_err(|error| error.to_string())
}

fn variable(text: &str) -> Result<(OsString, OsString), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    if name.is_empty() { Err("a variable has a name".to_owned()) } else { Ok((name.into(), value.into())) }
}

fn place(text: &str) -> Result<Place, String> {
    let (paths, read_only) = match text.strip_suffix(":ro") {
        Some(paths) => (paths, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    let (source, target) = paths.split_once(':').unwrap_or((paths, paths));
    match plain(target) {
        Ok(target) if source.starts_with('/') => Ok(Place { source: source.into(), target, read_only }),
        _ => Err("it is SOURCE, SOURCE:TARGET or SOURCE:TARGET:ro, both absolute, and a plain target that is not /"
            .to_owned()),
    }
}

fn plain(path: &str) -> Result<PathBuf, String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_plain = path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    if !path.starts_with('/') || !is_plain {
        return Err("it is an absolute path without '.', '..' and double slashes, and not /".to_owned());
    }
    Ok(path.into())
}

/// Writes `cvmfs-run.1` and the completions for bash, fish and zsh.
pub(crate) fn generate(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let command = Arguments::command();
    clap_mangen::generate_to(command.clone(), directory).context("writing the manual page")?;
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Fish, clap_complete::Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command.clone(), "cvmfs-run", directory)
            .context("writing completions")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn everything_after_the_program_is_its_own() {
        let arguments = Arguments::try_parse_from(["cvmfs-run", "ls", "-l", "--demo"]).unwrap();
        assert!(!arguments.demo);
        assert_eq!(arguments.command, ["ls", "-l", "--demo"]);
    }
}
