//! The command line.

use crate::control::Question;
use clap::{Args, CommandFactory as _, Parser};
#[cfg(feature = "manual")]
use cvmfs_command::generate::GenerateArgs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Port of name servers.
const DNS: u16 = 53;

/// Mount a repository, as the official client does.
///
/// It takes FUSE: as root, with fusermount3, or in a user namespace. Where there is none of these, cvmfs-run shows
/// repositories to programs without mounting anything.
#[derive(Debug, Parser)]
#[command(name = "cvmfs-mount", version, after_long_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(override_usage = "cvmfs-mount [OPTIONS] FQRN DIR\n       cvmfs-mount --unmount [--lazy] DIR\n       \
cvmfs-mount --reload|--status|--newest|--drop-writable|--name-servers=LIST DIR")]
pub(crate) struct Arguments {
    #[cfg(feature = "manual")]
    #[command(subcommand)]
    command: Option<Command>,

    /// The repository, such as sft.cern.ch; with --unmount and questions, the directory
    #[arg(required = true)]
    first: Option<PathBuf>,

    /// The directory to mount it on
    second: Option<PathBuf>,

    /// Set an official parameter, such as CVMFS_HTTP_PROXY; beats environment and configuration files
    #[arg(short = 'o', value_name = "KEY=VALUE", value_parser = parameter)]
    pub(crate) options: Vec<(String, String)>,

    /// Stay at the snapshot that is mounted first, whatever is published later
    #[arg(long)]
    pub(crate) pin: bool,

    /// Do not go into the background
    #[arg(short, long)]
    pub(crate) foreground: bool,

    /// Let other users use it, too; always so for root
    #[arg(long)]
    pub(crate) allow_other: bool,

    /// Outlive the system: spared by systemd when it ends all processes, and by the kernel when memory runs out
    #[arg(long)]
    pub(crate) survive: bool,

    /// Where messages go: syslog, kernel, stderr, or a file, which is renamed to FILE.1 when it has 500 kB
    #[arg(long, value_name = "WHERE")]
    pub(crate) log: Option<String>,

    /// Write a list of the files that were opened, for cvmfs prefetch --from-list: when it is unmounted or dropped writing
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Tell more; twice: everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(flatten)]
    pub(crate) questions: Questions,

    /// With --unmount: as soon as nobody uses it; nobody new finds it
    #[arg(long, requires = "unmount")]
    pub(crate) lazy: bool,
}

/// What is done with something that is mounted.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Questions {
    /// Unmount what is mounted on DIR
    #[arg(long)]
    unmount: bool,

    /// Look for a newer revision now; SIGHUP does the same
    #[arg(long)]
    reload: bool,

    /// Tell the revision, and how many entries the kernel knows
    #[arg(long)]
    status: bool,

    /// Tell root hash, revision and tag of what the servers publish now; what is mounted stays, pinned or not
    #[arg(long)]
    newest: bool,

    /// Give up all descriptors through which the cache could be written, so that the file system below it can be made read-only
    ///
    /// What is in the cache can be read on; what is not is an input/output error. The revision stays.
    #[arg(long)]
    drop_writable: bool,

    /// Ask these name servers from now on; 'system' for those of the machine
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = name_server)]
    name_servers: Vec<Option<SocketAddr>>,
}

#[cfg(feature = "manual")]
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write manual pages or shell completions
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// What to do.
pub(crate) enum Action<'a> {
    Mount {
        fqrn: &'a str,
        place: &'a Path,
    },
    Unmount(&'a Path),
    Ask(Question, &'a Path),
    #[cfg(feature = "manual")]
    Generate(&'a GenerateArgs),
}

const AFTER_HELP: &str = "\
The command ends when the repository is mounted and can be read; what goes on in the background is told in the system's \
log. A repository that was mounted by an ordinary user is seen by nobody else, also not by root.

EXAMPLES
    cvmfs-mount sft.cern.ch /cvmfs/sft.cern.ch
    cvmfs-mount -o CVMFS_HTTP_PROXY=DIRECT --pin sft.cern.ch ~/sft
    cvmfs-mount --reload /cvmfs/sft.cern.ch
    cvmfs-mount --unmount ~/sft
    unshare --user --map-root-user --mount sh -c 'cvmfs-mount sft.cern.ch /mnt && ls /mnt'

ENVIRONMENT
    CVMFS_*    official parameters

EXIT STATUS
    0 when it is done, 1 when it could not be, with the reason, 2 for a wrong command line";

impl Arguments {
    /// What is asked for.
    pub(crate) fn action(&self) -> Action<'_> {
        #[cfg(feature = "manual")]
        if let Some(Command::Generate(what)) = &self.command {
            return Action::Generate(what);
        }
        let first = self.first.as_deref().unwrap_or(Path::new(""));
        let questions = &self.questions;
        let servers = || questions.name_servers.iter().flatten().copied().collect();
        let question = match () {
            () if questions.reload => Some(Question::Reload),
            () if questions.status => Some(Question::Status),
            () if questions.newest => Some(Question::Newest),
            () if questions.drop_writable => Some(Question::DropWritable),
            () if !questions.name_servers.is_empty() => Some(Question::NameServers(servers())),
            () => None,
        };
        match (question, &self.second, first.to_str()) {
            (None, None, _) if questions.unmount => Action::Unmount(first),
            (Some(question), None, _) => Action::Ask(question, first),
            (None, Some(place), Some(fqrn)) if !questions.unmount => Action::Mount { fqrn, place },
            (None, ..) if !questions.unmount => usage("a repository and a directory are needed"),
            _ => usage("one directory is needed, and no repository"),
        }
    }
}

fn usage(message: &str) -> ! {
    command().error(clap::error::ErrorKind::WrongNumberOfValues, message).exit()
}

/// The command line as a description.
pub(crate) fn command() -> clap::Command {
    Arguments::command()
}

fn parameter(text: &str) -> Result<(String, String), String> {
    libcvmfs::config::Sources::option(text).map_err(|error| error.to_string())
}

fn name_server(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "system" {
        return Ok(None);
    }
    let with_port = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS)).or_else(|_| text.parse());
    with_port.map(Some).map_err(|_| format!("'{text}' is no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["cvmfs-mount"], line].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn mounting_and_asking() {
        let arguments = parse(&["-o", "CVMFS_HTTP_PROXY=DIRECT", "sft.cern.ch", "/cvmfs/sft.cern.ch"]).unwrap();
        assert!(matches!(arguments.action(), Action::Mount { fqrn: "sft.cern.ch", .. }));
        assert!(matches!(parse(&["--unmount", "--lazy", "/x"]).unwrap().action(), Action::Unmount(_)));
        let arguments = parse(&["--name-servers=10.0.0.1,[::1]:5353", "/x"]).unwrap();
        let Action::Ask(Question::NameServers(servers), _) = arguments.action() else { panic!("no question") };
        assert_eq!(servers, ["10.0.0.1:53".parse().unwrap(), "[::1]:5353".parse().unwrap()]);
        let arguments = parse(&["--name-servers=system", "/x"]).unwrap();
        assert!(matches!(arguments.action(), Action::Ask(Question::NameServers(servers), _) if servers.is_empty()));
        for wrong in [&["--lazy", "/x"][..], &["--reload", "--unmount", "/x"], &[], &["--name-servers=x", "/x"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
