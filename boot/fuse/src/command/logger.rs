//! Where messages go: the system's log, the kernel's where there is none yet, a private file, or standard error.

use super::arguments::Arguments;
use anyhow::{Context as _, Result};
use libcvmfs::config::{Config, table};
use log::{Level, LevelFilter};
use parking_lot::Mutex;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes after which a private file is put aside.
const LARGEST: u64 = 500_000;
const NAME: &str = "cvmfs-mount";

static OUT: Mutex<Option<Out>> = Mutex::new(None);

/// Where messages are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Syslog,
    Kernel,
    Stderr,
    File(PathBuf),
}

enum Out {
    Syslog,
    Kernel(File),
    Stderr,
    File { path: PathBuf, file: File, written: u64 },
}

impl Target {
    /// What the command line or the configuration asks for, or else what there is.
    pub(crate) fn chosen(arguments: &Arguments, config: &Config, inside: bool) -> Result<Target> {
        if let Some(wanted) = &arguments.log {
            return Ok(match wanted.as_str() {
                "syslog" => Target::Syslog,
                "kernel" => Target::Kernel,
                "stderr" => Target::Stderr,
                file => Target::File(file.into()),
            });
        }
        if let Some(file) = config.path(&table::USYSLOG)? {
            return Ok(Target::File(file));
        }
        Ok(match () {
            () if !inside => Target::Stderr,
            () if Path::new("/dev/log").exists() => Target::Syslog,
            () if OpenOptions::new().write(true).open("/dev/kmsg").is_ok() => Target::Kernel,
            () => Target::Syslog,
        })
    }
}

/// Sends messages there from now on.
pub(crate) fn start(target: Target, verbose: u8) -> Result<()> {
    let out = match target {
        Target::Syslog => Out::Syslog,
        Target::Stderr => Out::Stderr,
        Target::Kernel => Out::Kernel(OpenOptions::new().write(true).open("/dev/kmsg").context("/dev/kmsg")?),
        Target::File(path) => {
            let (file, written) = open(&path).with_context(|| path.display().to_string())?;
            Out::File { path, file, written }
        }
    };
    *OUT.lock() = Some(out);
    let level = match verbose {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let _ = log::set_logger(&Logger).map(|()| log::set_max_level(level));
    Ok(())
}

/// Gives up a file that is written to; later messages are lost.
pub(crate) fn close() {
    let mut out = OUT.lock();
    if matches!(*out, Some(Out::File { .. })) {
        *out = None;
    }
}

fn open(path: &Path) -> std::io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let written = file.metadata()?.len();
    Ok((file, written))
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // The FUSE library tells every call at this level, and what it does by the way.
        !metadata.target().starts_with("fuser")
            || metadata.level() <= Level::Warn
            || log::max_level() > LevelFilter::Debug
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(out) = &mut *OUT.lock() {
            // There is nobody who could be told that this failed.
            let _ = out.write(record.level(), &one_line(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

impl Out {
    fn write(&mut self, level: Level, message: &str) -> std::io::Result<()> {
        match self {
            Out::Stderr => writeln!(std::io::stderr(), "{NAME}: {}: {message}", level.as_str().to_lowercase()),
            // One write is one message.
            Out::Kernel(file) => file.write_all(format!("<{}>{NAME}: {message}\n", priority(level)).as_bytes()),
            Out::Syslog => {
                to_syslog(level, message);
                Ok(())
            }
            Out::File { path, file, written } => {
                if *written > LARGEST {
                    let mut aside = path.clone().into_os_string();
                    aside.push(".1");
                    // Where it cannot be put aside, it grows.
                    if let Ok(new) = std::fs::rename(&*path, aside).and_then(|()| open(path)) {
                        (*file, *written) = new;
                    }
                }
                let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                let line = format!("{} {} {message}\n", seconds.as_secs(), level.as_str().to_lowercase());
                *written += line.len() as u64;
                file.write_all(line.as_bytes())
            }
        }
    }
}

/// Names in a repository may hold anything; none makes a line of its own or speaks to a terminal.
fn one_line(message: &str) -> String {
    let shown = |char: char| if char.is_control() { char.escape_default().collect() } else { char.to_string() };
    message.chars().map(shown).collect()
}

/// The number that the system's log and the kernel's have for a level.
fn priority(level: Level) -> libc::c_int {
    match level {
        Level::Error => libc::LOG_ERR,
        Level::Warn => libc::LOG_WARNING,
        Level::Info => libc::LOG_INFO,
        Level::Debug | Level::Trace => libc::LOG_DEBUG,
    }
}

fn to_syslog(level: Level, message: &str) {
    let Ok(text) = CString::new(format!("{NAME}[{}]: {message}", std::process::id()).replace('\0', " ")) else {
        return;
    };
    // SAFETY: both are strings that end with a zero, and the format takes one of them.
    unsafe { libc::syslog(libc::LOG_DAEMON | priority(level), c"%s".as_ptr(), text.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_makes_no_line_of_its_own() {
        assert_eq!(one_line("/a\n<0>forged\u{1b}[2J ü"), "/a\\n<0>forged\\u{1b}[2J ü");
    }

    #[test]
    fn a_full_file_is_put_aside_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (file, written) = open(&path).unwrap();
        let mut out = Out::File { path: path.clone(), file, written };
        for _ in 0..3 * LARGEST / 1000 {
            out.write(Level::Warn, &"x".repeat(1000)).unwrap();
        }
        let length = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().len();
        assert!((LARGEST..LARGEST + 2000).contains(&length("log.1")), "{}", length("log.1"));
        assert!(length("log") < LARGEST + 2000);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
