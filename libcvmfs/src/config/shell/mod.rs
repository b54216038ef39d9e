//! The part of the shell language that configuration files use, evaluated without a shell.
//!
//! Assignments, quoting, `$X`, `${X:-word}` and its kin, `$((...))`, `[ ... ]`, `if`, `case`, `&&`, `||`, functions and
//! `.` work as in POSIX sh. Loops, here-documents, subshells and background jobs are errors that name file and line.
//!
//! Nothing is ever executed. An external command counts as *not installed* (status 127, as sh would report it) and is
//! noted; the output of one (`$(...)`) makes the variable that gets it unusable: reading that parameter is then the
//! error, and so is a condition that depends on it.

mod arithmetic;
mod evaluate;
mod expand;
mod parse;
mod pattern;
mod test;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Largest file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// Longest text a variable may get, in bytes.
pub const MAX_TEXT: usize = 1 << 17;
/// Depth of nested constructs, sourced files and function calls.
pub(crate) const MAX_DEPTH: usize = 32;
/// Steps that matching one pattern may take.
pub(crate) const MAX_MATCHING: usize = 1 << 28;
/// Commands that one configuration file may run, those of sourced files included.
pub(crate) const MAX_COMMANDS: usize = 100_000;

/// Why a configuration file cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}:{line}: {what}", file.display())]
pub struct ShellError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// What is wrong, with a hint where there is one.
    pub what: String,
}

/// What a script can ask about files.
pub trait Files {
    /// Content of a file; `None` when there is none.
    fn read(&self, path: &Path) -> std::io::Result<Option<Vec<u8>>>;
    /// Facts for `[ -f path ]` and its kin; `None` when there is nothing.
    fn facts(&self, path: &Path) -> Option<Facts>;
}

/// What `[ -f path ]` and its kin look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// A directory.
    pub directory: bool,
    /// A regular file.
    pub regular: bool,
    /// Its size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
}

/// A variable: its text and where it was assigned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variable {
    /// Its text.
    pub text: String,
    /// File and line of the assignment; `None` for what was there before.
    pub assigned: Option<(PathBuf, u32)>,
    /// The command whose output would be part of the text, with its place.
    pub needs: Option<String>,
}

/// What is there before the first line of a file.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables.
    pub variables: BTreeMap<String, Variable>,
    /// Names whose assignments have no effect.
    pub fixed: std::collections::BTreeSet<String>,
    /// First number of `$RANDOM` and of `$$`.
    pub random: u32,
}

/// The result of a file.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// All variables at the end.
    pub variables: BTreeMap<String, Variable>,
    /// The names that the file itself (not one it sources) assigns as `NAME=`: these count as its parameters.
    pub parameters: Vec<String>,
    /// Commands that were not run, each with its place.
    pub warnings: Vec<String>,
}

/// Evaluates `text`, the content of `file`; relative paths in it start at the directory of `file`.
pub fn evaluate(file: &Path, text: &[u8], start: Surroundings, files: &dyn Files) -> Result<Outcome, ShellError> {
    evaluate::Evaluation::new(file, start, files).run(text)
}

/// Entry for fuzzing: any bytes, no files.
pub fn fuzz(bytes: &[u8]) {
    struct NoFiles;
    impl Files for NoFiles {
        fn read(&self, _: &Path) -> std::io::Result<Option<Vec<u8>>> {
            Ok(None)
        }
        fn facts(&self, _: &Path) -> Option<Facts> {
            None
        }
    }
    drop(evaluate(Path::new("fuzz.conf"), bytes, Surroundings::default(), &NoFiles));
}

#[cfg(test)]
mod differential;
