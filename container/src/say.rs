//! What the user is told on the error stream.

/// As `eprintln!`, on behalf of this program; whether anybody reads it changes nothing.
macro_rules! say {
    ($($message:tt)*) => {
        cvmfs_command::output::say(format_args!("cernvm-fork: {}", format_args!($($message)*)))
    };
}

pub(crate) use say;
