//! Real names for virtual files.
//!
//! `<prefix>/<root hash>/cvmfs/<repository>/...` is a sparse shadow of what the repositories hold: real directories, real
//! symbolic links, and hard links to cache objects under their virtual names. What a program opens lies there, so the
//! kernel itself remembers which virtual path a descriptor, a working directory or a running program stands for, and
//! tells it through `/proc`. No table has to follow `dup`, `fork`, `exec` or a descriptor sent through a socket.
//!
//! | module | job |
//! |---|---|
//! | [`name`] | virtual path to real name and back |
//! | [`place`] | making one name real |
//! | [`placeholder`] | one empty file under many names |
//! | [`fill`] | making a whole directory listable |
//! | `clean` | giving back the disk of what was evicted |
//! | [`host`] | symbolic links of the host that lead into the tree |
//! | [`verdict`] | what a read-only file system answers to flags |
//! | [`stat`] | the kernel's structures |

mod clean;
pub mod fill;
pub mod host;
pub mod name;
pub mod place;
pub mod placeholder;
pub mod stat;
pub mod verdict;

pub use place::{NameOrObject, View};

use libc::{c_int, c_long};

/// The number of `fchmodat2` (Linux 6.6), the same on all machines; `libc` does not have it for all.
#[expect(non_upper_case_globals, reason = "spelled as those of libc")]
pub const SYS_fchmodat2: c_long = 452;

/// An error number, such as `ENOENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub c_int);

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Errno {
        Errno(error.raw_os_error())
    }
}

/// Why there is nothing to give: a number for the program, or nobody can tell without waiting
/// ([`libcvmfs::patience::without_waiting`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The program is told this number.
    Error(Errno),
    /// To be asked again by a thread that may wait.
    WouldWait,
}

impl<E: Into<Errno>> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Error(error.into())
    }
}

impl From<libcvmfs::Error> for Refusal {
    fn from(error: libcvmfs::Error) -> Refusal {
        match error {
            libcvmfs::Error::WouldWait => Refusal::WouldWait,
            error => {
                // A number is all that a program can be told; here is why.
                if error.origin().is_some() {
                    log::warn!("{error}");
                }
                Refusal::Error(Errno(error.errno()))
            }
        }
    }
}
