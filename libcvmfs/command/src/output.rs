//! Where results and complaints go, and what that means for the exit status.

use anyhow::Result;
use libcvmfs::Error;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;

/// Everything was done, or the answer is yes.
pub const OK: u8 = 0;
/// The answer is no, or some things could not be done.
pub const FAILED: u8 = 1;
/// Wrong usage, or nothing could be done.
pub const TROUBLE: u8 = 2;

/// Says a line on the error stream. Nothing depends on whether anybody reads it.
pub fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The output of one command.
pub struct Output {
    out: BufWriter<io::Stdout>,
    json: bool,
    quiet: bool,
    terminal: Option<usize>,
    status: u8,
}

impl Output {
    /// Output to the standard streams.
    pub fn new(json: bool, quiet: bool) -> Output {
        let stdout = io::stdout();
        let columns = || rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col));
        let terminal = stdout.is_terminal().then(columns).filter(|&columns| columns > 0);
        Output { out: BufWriter::with_capacity(1 << 16, stdout), json, quiet, terminal, status: OK }
    }

    /// Whether facts are wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether only what was asked for is to be told.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Characters in a line, if the output is a terminal.
    pub fn terminal(&self) -> Option<usize> {
        self.terminal
    }

    /// Prints one JSON value on a line.
    pub fn print_json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Tells on the error stream what could not be done; the command goes on and fails in the end.
    pub fn complain(&mut self, subject: &[u8], error: &anyhow::Error) {
        // What was printed so far comes first.
        let _ = self.out.flush();
        let trouble = mounting_failed(error);
        self.fail(if trouble { TROUBLE } else { FAILED });
        say(format_args!("cvmfs: {}: {}", String::from_utf8_lossy(subject), described(error)));
    }

    /// Lets the command end with at least this status.
    pub fn fail(&mut self, status: u8) {
        self.status = self.status.max(status);
    }

    /// The status that was reached, after everything is written.
    pub fn finish(mut self) -> Result<ExitCode> {
        self.out.flush()?;
        Ok(ExitCode::from(self.status))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The error with its causes on one line, and what can be done on the next.
pub fn described(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}");
    if let Some(hint) = hint(error) {
        text += "\n  hint: ";
        text += &hint;
    }
    text
}

/// Whether the reader of our output is gone, which is no failure.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        let through_json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        cause.downcast_ref::<io::Error>().is_some_and(broken) || through_json == Some(io::ErrorKind::BrokenPipe)
    })
}

fn cause(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>())
}

/// Whether a repository could not be used at all, which no other path would have changed.
fn mounting_failed(error: &anyhow::Error) -> bool {
    let failed = |error: &Error| match error {
        Error::StillFailing(_) | Error::Unmountable { .. } | Error::Unseen { .. } => true,
        other => matches!(other, Error::Config(_) | Error::Fqrn(_)),
    };
    cause(error).is_some_and(failed)
}

fn hint(error: &anyhow::Error) -> Option<String> {
    use libcvmfs::error::Origin;
    Some(match cause(error)? {
        Error::NoSuchRevision { .. } => "'cvmfs tags REPOSITORY' lists what there is".into(),
        Error::Outside(path) => {
            format!("{} is not in a repository; look at it directly", String::from_utf8_lossy(path))
        }
        error if error.is_undescribed() => {
            "tell where the repository is with -o CVMFS_SERVER_URL=URL -o CVMFS_PUBLIC_KEY=FILE".into()
        }
        error => match error.origin()? {
            Origin::Config => "'cvmfs config check REPOSITORY' finds mistakes in parameters".into(),
            Origin::Host | Origin::Proxy => "'cvmfs probe REPOSITORY' asks every host through every proxy".into(),
            Origin::Content => "the publisher of the repository has to repair this".into(),
            Origin::Cache => "'cvmfs cache status' and 'cvmfs fsck' tell about the cache".into(),
            _ => return None,
        },
    })
}
