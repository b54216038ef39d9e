//! The command line.

use crate::name::Name;
use clap::{Args, Parser, Subcommand, ValueEnum};
use cvmfs_command::generate::GenerateArgs;
use libcvmfs::fqrn::Fqrn;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

/// Start an isolated environment in milliseconds: an operating system of your own, on one shared cache.
///
/// An instance is a writable layer over an operating system's tree (--root) that is never changed. What programs in it
/// write, delete and rename stays in the instance and is there again when it is started again. No root is needed.
///
/// Options marked (kept) are kept with the instance that they were given to when it was made, and hold again when it is
/// started without them.
#[derive(Debug, Parser)]
#[command(name = "cernvm-fork", version, after_long_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) start: Start,
}

const RULES_HELP: &str = "\
RULES
One rule on a line, with absolute paths. Later rules win, also for parts of what an earlier one names. A dash before a \
path says that there may be nothing.

    readonly PATH...    what the tree has there
    copy PATH...        a copy of it, made once
    writable PATH...    an empty directory
    touch PATH...       an empty file
    import PATH...      a copy of what the host has there, made once
    set NAME=VALUE      a variable for the programs of an instance

The usual rules:
    readonly /
    copy -/etc -/var
    writable -/home -/root -/srv -/mnt -/media";

const AFTER_HELP: &str = "\
EXIT STATUS
The exit status is that of the program, or 128 and the number of the signal that ended it. It is 125 if cernvm-fork \
itself fails, 126 if the program is found but cannot be run, 127 if it is not found.

EXAMPLES
    cernvm-fork probe                                             what this node allows
    cernvm-fork base --new --fast --root ~/debian                 a shell in a new instance
    cernvm-fork base --fast -- apt-get --version                  a program in it, later
    cernvm-fork base --console                                    a login shell in it, also while something runs there
    cernvm-fork work --fast --from base --run=/usr/bin/make -- -j4    a second one that begins where 'base' is
    cernvm-fork pilot --new --fast --ephemeral --root ~/debian --cvmfs=sft.cern.ch --run=/cvmfs/sft.cern.ch/exe
    cernvm-fork list
    cernvm-fork commit work changes.tar
    cernvm-fork destroy work
    cernvm-fork export-oci image.tar --os cernvm-prod.cern.ch/cvm4 --cvmfs=sft.cern.ch    for podman, docker, Kubernetes

ENVIRONMENT
    XDG_STATE_HOME     instances live in its directory cernvm-fork (default: ~/.local/state)
    CERNVM_FORK        the current instance, for --from; set to its name inside of each instance
    CVMFS_*            official parameters, for repositories that the host has not mounted";

/// What to do instead of starting an instance.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell which back-ends work on this node, and why not the others
    Probe {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the instances, and which of them run
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an instance and what was written in it
    Destroy {
        /// The instances
        #[arg(required = true)]
        names: Vec<Name>,
    },
    /// Write what an instance changed as a tar archive, for 'cvmfs-server publish --layer --into /'
    Commit {
        /// The instance; it must not run
        name: Name,
        /// The archive; - is the standard output
        archive: PathBuf,
    },
    /// Write a container image whose containers see an operating system and /cvmfs, without any privilege
    ///
    /// It has the programs of this project and nothing else; what a container runs is found in the repository. The same
    /// programs and options make the same bytes.
    #[command(name = "export-oci")]
    Export(Export),
    /// Lay a root out in a directory by rules, with links to a tree and copies of it
    ///
    /// It is for where nothing can be mounted and nothing be interposed, such as the root of a container into which the host
    /// has brought /cvmfs. What is there already stays, so it can be done at each start.
    #[command(after_long_help = RULES_HELP)]
    Layout(LayOut),
    /// Serve a repository to the kernel through the device that is the standard input
    #[command(name = "serve-repository", hide = true)]
    Serve(Served),
    /// Write manual pages or shell completions
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// What the image is to have.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// A new directory, or an archive if it ends with .tar
    pub(crate) image: PathBuf,

    /// The operating system's tree
    #[arg(long, value_name = "REPO[/PATH]")]
    pub(crate) os: Os,

    /// Show these repositories below /cvmfs
    #[arg(long, value_name = "REPO", value_delimiter = ',', value_parser = repository)]
    pub(crate) cvmfs: Vec<Fqrn>,

    /// Set an official parameter; a variable of the container's environment with its name is another value
    #[arg(short = 'o', value_name = "KEY=VALUE", value_parser = parameter)]
    pub(crate) options: Vec<(String, String)>,

    /// A public master key
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,

    /// Where cernvm-fork and cvmfs-run are, best as static programs; default: those that run now, with their libraries
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,

    /// The name that engines give the image
    #[arg(long, value_name = "NAME", default_value = "localhost/cernvm:latest")]
    pub(crate) tag: String,
}

/// What is laid out.
#[derive(Debug, Args)]
pub(crate) struct LayOut {
    /// A file of rules, or the word usual
    pub(crate) rules: PathBuf,

    /// The directory that becomes a root
    pub(crate) target: PathBuf,

    /// The operating system's tree, as an absolute path: links lead there
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,
}

/// What is served to the kernel.
#[derive(Debug, Args)]
pub(crate) struct Served {
    /// The repository
    #[arg(value_parser = repository)]
    pub(crate) fqrn: Fqrn,

    /// The snapshot; default: the newest
    #[arg(long)]
    pub(crate) root_hash: Option<String>,

    /// Stay at the snapshot that is found first
    #[arg(long)]
    pub(crate) pin: bool,

    /// Set an official parameter
    #[arg(short = 'o', value_parser = parameter)]
    pub(crate) options: Vec<(String, String)>,
}

/// What to start.
#[derive(Debug, Clone, Args)]
pub(crate) struct Start {
    /// The instance; made if it is new
    #[arg(required = true)]
    pub(crate) name: Option<Name>,

    /// Make the instance, with an empty layer over the operating system's own tree
    ///
    /// Without it a new instance begins where the current one is (--from): its layer is stacked, nothing is copied.
    #[arg(short, long)]
    pub(crate) new: bool,

    /// Run the program under a tiny init that passes signals on and reaps, not under the operating system's own
    #[arg(short, long)]
    pub(crate) fast: bool,

    /// How the instance is isolated
    #[arg(long, value_enum)]
    pub(crate) backend: Option<Backend>,

    /// Show these repositories below /cvmfs (kept)
    #[arg(long, value_name = "REPO", value_delimiter = ',', value_parser = repository)]
    pub(crate) cvmfs: Vec<Fqrn>,

    /// The program to run with --fast; looked for inside, else brought in from outside; default: a shell
    #[arg(short, long, value_name = "PROG")]
    pub(crate) run: Option<PathBuf>,

    /// The operating system's tree, for a new instance: a directory that is only read
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// The operating system's tree out of a repository, for a new instance: the newest snapshot, at which it stays
    ///
    /// It takes FUSE (/dev/fuse), or --backend=interposer, which is used where FUSE is not.
    #[arg(long, value_name = "REPO[/PATH]", conflicts_with = "root")]
    pub(crate) os: Option<Os>,

    /// Lay the new instance's root out by rules instead of a layer over the tree: see 'cernvm-fork help layout'
    ///
    /// It takes namespaces and no overlayfs: for kernels before Linux 5.11, and homes on NFS. FILE can be the word usual.
    #[arg(long, value_name = "FILE", requires = "new")]
    pub(crate) layout: Option<PathBuf>,

    /// The current instance, on which a new one stacks; default: the one that CERNVM_FORK names
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<Name>,

    /// Destroy the instance when the program has ended
    #[arg(long)]
    pub(crate) ephemeral: bool,

    /// Show a file or directory of the host inside, writable unless ':ro' follows (kept)
    #[arg(long, value_name = "SOURCE[:TARGET[:ro]]")]
    pub(crate) bind: Vec<Bind>,

    /// Set a variable inside, or pass on the host's; all others but TERM, TZ, LANG, LC_* and CVMFS_* are kept out (kept)
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Variable>,

    /// The network: that of the host (default), or none (kept)
    #[arg(long, value_enum)]
    pub(crate) net: Option<Net>,

    /// As --net=none
    #[arg(short = 'c', long)]
    pub(crate) nonic: bool,

    /// The program that is process 1 without --fast
    #[arg(long, value_name = "PATH", default_value = "/sbin/init")]
    pub(crate) init: PathBuf,

    /// Set an official parameter, such as CVMFS_HTTP_PROXY, for repositories that the host has not mounted (kept)
    #[arg(short = 'o', value_name = "KEY=VALUE", value_parser = parameter)]
    pub(crate) options: Vec<(String, String)>,

    /// Work in an instance that is there: a login shell, or the program that is named, beside what runs in it
    ///
    /// One that does not run is started with it.
    #[arg(short = 'C', long, conflicts_with_all = ["new", "run", "from", "root", "os", "ephemeral", "commit", "destroy"])]
    pub(crate) console: bool,

    /// Tell what is done
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// As 'cernvm-fork destroy NAME'
    #[arg(short = 'D', long, conflicts_with_all = ["new", "run", "commit"])]
    pub(crate) destroy: bool,

    /// As 'cernvm-fork commit NAME FILE'
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new", "run"])]
    pub(crate) commit: Option<PathBuf>,

    /// Arguments of the program; without --run, the program and its arguments
    #[arg(last = true)]
    pub(crate) arguments: Vec<OsString>,

    #[command(flatten)]
    pub(crate) original: Original,
}

/// Options of the original that need root. They are known, so that the refusal can tell the reason.
#[derive(Debug, Clone, Args)]
pub(crate) struct Original {
    #[arg(short = 'd', long, hide = true)]
    daemon: bool,
    #[arg(short = 't', long, hide = true)]
    tty: Option<OsString>,
    #[arg(short = 'a', long, hide = true)]
    admin: Option<OsString>,
    #[arg(long, hide = true)]
    ip: Option<OsString>,
    #[arg(long, hide = true)]
    log: Option<OsString>,
}

impl Original {
    /// Why what was asked for is refused.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        let asked = [
            (
                self.daemon,
                "--daemon: nothing keeps the terminal of a program for later; let your shell put it into the background (&)",
            ),
            (
                self.tty.is_some(),
                "--tty: there is one terminal, the one that a program was started on; --console gives a second",
            ),
            (
                self.admin.is_some(),
                "--admin: nobody gains privileges inside (no new privileges), so sudo cannot work; you are root inside already",
            ),
            (self.ip.is_some(), "--ip: addresses are given by root only; use --net=host or --net=none"),
            (self.log.is_some(), "--log: there is no LXC whose log it was; use --verbose"),
        ];
        asked.into_iter().find_map(|(asked, why)| asked.then_some(why))
    }
}

/// How an instance is isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// User, mount, process, host name and IPC namespaces; with --net=none also a network of its own
    Namespaces,
    /// User and mount namespaces only: where the node does not allow a /proc of its own
    Userns,
    /// No namespace at all: programs are shown a root of their own by cvmfs-run; a view, and no wall
    Interposer,
}

impl Backend {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Backend::Namespaces => "namespaces",
            Backend::Userns => "userns",
            Backend::Interposer => "interposer",
        }
    }
}

/// Which network there is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Net {
    /// Nothing but a loop-back of its own
    None,
    /// That of the host
    Host,
}

/// A file or directory of the host that is shown inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    /// An absolute path inside.
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Bind, String> {
        let (paths, read_only) = match text.strip_suffix(":ro") {
            Some(paths) => (paths, true),
            None => (text.strip_suffix(":rw").unwrap_or(text), false),
        };
        let (source, target) = paths.split_once(':').unwrap_or((paths, paths));
        let plain = |path: &str| path.starts_with('/') && !path.split('/').any(|part| part == "..");
        if !plain(source) || !plain(target) {
            return Err("it is SOURCE, SOURCE:TARGET or SOURCE:TARGET:ro, both absolute paths without '..'".to_owned());
        }
        if target.split('/').all(|part| part.is_empty() || part == ".") {
            return Err("nothing can lie upon the root itself; that is what --root is for".to_owned());
        }
        Ok(Bind { source: source.into(), target: target.into(), read_only })
    }
}

/// A tree in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Os {
    pub(crate) fqrn: Fqrn,
    /// Path inside the repository; empty for all of it.
    pub(crate) path: PathBuf,
}

impl FromStr for Os {
    type Err = String;

    fn from_str(text: &str) -> Result<Os, String> {
        let (fqrn, path) = text.split_once('/').unwrap_or((text, ""));
        if path.split('/').any(|part| part == "..") {
            return Err("it is REPO or REPO/PATH, without '..'".to_owned());
        }
        Ok(Os { fqrn: repository(fqrn)?, path: path.split('/').filter(|part| !part.is_empty()).collect() })
    }
}

/// A variable for the program; without a value, the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Variable, String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
        if name.is_empty() {
            return Err("it is NAME=VALUE or NAME".to_owned());
        }
        Ok(Variable { name: name.to_owned(), value })
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    if text.starts_with("lxc.") {
        return Err(
            "there is no LXC to be configured; it takes official parameters, such as CVMFS_HTTP_PROXY".to_owned()
        );
    }
    libcvmfs::config::Sources::option(text).map_err(|error| error.to_string())
}

fn repository(text: &str) -> Result<Fqrn, String> {
    Fqrn::new(text).map_err(|error| error.to_string())
}

impl Start {
    /// The current instance, if there is one.
    pub(crate) fn current(&self) -> Result<Option<Name>, String> {
        match std::env::var("CERNVM_FORK") {
            Ok(name) if self.from.is_none() && !name.is_empty() => name.parse().map(Some),
            _ => Ok(self.from.clone()),
        }
    }

    /// The network that is wanted.
    pub(crate) fn net(&self) -> Net {
        if self.nonic { Net::None } else { self.net.unwrap_or(Net::Host) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["cernvm-fork"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_spelling_of_the_original_is_understood() {
        let line = ["fork03", "--new", "--fast", "--cvmfs=sft.cern.ch,atlas.cern.ch", "--run=/cvmfs/sft.cern.ch/exe"];
        let start = parse(&line).unwrap().start;
        assert_eq!(start.name.unwrap().as_str(), "fork03");
        assert_eq!(start.cvmfs.iter().map(Fqrn::as_str).collect::<Vec<_>>(), ["sft.cern.ch", "atlas.cern.ch"]);
        let start = parse(&["x", "-n", "-f", "-c", "-r", "ls", "--", "-l", "--new"]).unwrap().start;
        assert_eq!((start.net(), start.arguments), (Net::None, vec!["-l".into(), "--new".into()]));
    }

    #[test]
    fn what_needs_root_is_refused_with_a_reason() {
        for option in ["-d", "--tty=1", "--admin=me:secret", "--ip=192.168.25.2", "--log=f"] {
            let refusal = parse(&["x", option]).unwrap().start.original.refusal();
            assert!(refusal.is_some_and(|why| why.len() > 30), "{option}");
        }
        assert_eq!(parse(&["x", "--new"]).unwrap().start.original.refusal(), None);
    }

    #[test]
    fn names_and_targets_that_lead_elsewhere_are_usage_errors() {
        for line in [&["../x"][..], &["x/y"], &["destroy", ".."], &["destroy", "/"], &["commit", ".layers", "-"], &[]] {
            assert!(parse(line).is_err(), "{line:?}");
        }
        for bind in ["a", "/a:b", "/a:/b/../../c", "/../a:/b", "/a:/", "/a://.", ""] {
            assert!(bind.parse::<Bind>().is_err(), "{bind}");
        }
        let bind: Bind = "/a:/b:ro".parse().unwrap();
        assert_eq!(bind, Bind { source: "/a".into(), target: "/b".into(), read_only: true });
    }
}
