//! `cvmfs stat`: everything about single entries, as `stat` prints it.

mod format;

use crate::clock::Clock;
use crate::names::Names;
use crate::output::{Output, is_broken_pipe};
use crate::record::Record;
use crate::session::Session;
use crate::tree::{Entry, Kind, KindText as _};
use anyhow::{Context as _, Result};
use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What `cvmfs stat` takes.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Directives of FORMAT:
  %a mode in octal      %A mode in letters    %b blocks             %B bytes per block
  %d device number      %D device in hex      %f raw mode in hex    %F type in words
  %g %G group           %h links              %i inode              %n %N name, quoted
  %o transfer size      %s bytes              %t %T device type     %u %U owner
  %w %W birth           %x %X access          %y %Y modification    %z %Z change

Examples:
  cvmfs stat /cvmfs/sft.cern.ch/lcg
  cvmfs stat -c '%s %n' /cvmfs/sft.cern.ch/lcg/README
  cvmfs --json stat /cvmfs/sft.cern.ch")]
pub struct StatArgs {
    /// Print FORMAT for each, and a line feed
    #[arg(short = 'c', long, value_name = "FORMAT")]
    pub format: Option<OsString>,
    /// Print FORMAT for each with backslash escapes understood and no line feed added
    #[arg(long, value_name = "FORMAT", conflicts_with = "format")]
    pub printf: Option<OsString>,
    /// Follow symbolic links
    #[arg(short = 'L', long)]
    pub dereference: bool,
    /// What to look at
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

const DEFAULT: &str = "  File: %N\n  Size: %-10s\tBlocks: %-10b IO Block: %-6o %F\n";
const DEVICE: &str = "Device: %Hd,%Ld\tInode: %-10i  Links: %h\n";
const DEVICE_OF_DEVICE: &str = "Device: %Hd,%Ld\tInode: %-10i  Links: %-5h Device type: %Hr,%Lr\n";
const DEFAULT_TAIL: &str = "Access: (%04a/%10.10A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)\n\
                            Access: %x\nModify: %y\nChange: %z\n Birth: %w\n";

/// Prints entries by a format.
#[derive(Debug)]
pub struct Printer<'a> {
    args: &'a StatArgs,
    clock: Clock,
    names: Names,
}

impl<'a> Printer<'a> {
    /// A printer that obeys a command line.
    pub fn new(args: &'a StatArgs) -> Printer<'a> {
        Printer { args, clock: Clock::system(), names: Names::default() }
    }

    /// Prints one entry called `name`.
    pub fn print<E: Entry>(&self, out: &mut impl Write, name: &[u8], entry: &E) -> Result<()> {
        let followed = match self.args.dereference && entry.kind() == Kind::Symlink {
            true => Some(entry.followed()?.context("the link leads nowhere")?),
            false => None,
        };
        let entry = followed.as_ref().unwrap_or(entry);
        let mut subject = format::Subject {
            name,
            facts: entry.facts()?,
            target: (entry.kind() == Kind::Symlink).then(|| entry.target()).transpose()?,
            clock: &self.clock,
            names: &self.names,
            quote: true,
        };
        let mut line = Vec::new();
        match (&self.args.format, &self.args.printf) {
            (Some(format), _) => {
                subject.write(&mut line, format.as_bytes(), false);
                line.push(b'\n');
            }
            (_, Some(format)) => subject.write(&mut line, format.as_bytes(), true),
            _ => {
                subject.quote = false;
                let device = if subject.facts.kind().is_device() { DEVICE_OF_DEVICE } else { DEVICE };
                let format = [DEFAULT, device, DEFAULT_TAIL].concat();
                subject.write(&mut line, format.as_bytes(), false);
            }
        }
        out.write_all(&line)?;
        Ok(())
    }
}

/// Runs `cvmfs stat`.
pub fn run(args: &StatArgs, session: &Session, output: &mut Output) -> Result<()> {
    let printer = Printer::new(args);
    for path in &args.paths {
        let name = path.as_os_str().as_bytes();
        let printed = session.entry(path).and_then(|entry| match output.json() {
            true => {
                let entry = if args.dereference { entry.followed()?.unwrap_or(entry) } else { entry };
                output.print_json(&Record::new(name, &entry, false)?)
            }
            false => printer.print(output, name, &entry),
        });
        match printed {
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => output.complain(name, &error),
            Ok(()) => (),
        }
    }
    Ok(())
}
