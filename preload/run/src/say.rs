//! Standard error. Whether anybody reads it changes nothing: `eprintln!` would end the thread that complains.

use std::fmt::Arguments;
use std::io::Write as _;

/// Says a line on behalf of this program.
pub(crate) fn line(message: Arguments<'_>) {
    plain(format_args!("cvmfs-run: {message}"));
}

/// Says a line as it is.
pub(crate) fn plain(message: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// As `eprintln!`, on behalf of this program.
macro_rules! say {
    ($($message:tt)*) => {
        $crate::say::line(format_args!($($message)*))
    };
}

pub(crate) use say;
