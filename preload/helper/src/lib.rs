//! What the preload library and its helper process say to each other.
//!
//! The helper (`cvmfs-run --serve`) mounts, downloads and keeps the cache; the library inside a program asks it for
//! what it does not find in the cache. One request goes over one connection to a stream socket, which lies in a
//! directory closed to other users; each end checks that the other one belongs to the same user.
//!
//! | module | job |
//! |---|---|
//! | [`message`] | requests, replies, and their bytes |
//! | [`endpoint`] | where the socket is, asking, and starting a helper where there is none |

pub mod endpoint;
pub mod message;

pub use endpoint::{Endpoint, EndpointError};
pub use message::{Failure, Reply, Request};

/// The variable that is different in each run whose repositories stay at one snapshot: it has a helper of its own.
pub const PIN_VARIABLE: &str = "CVMFS_RUN_PIN";
/// Environment variable with the path of the helper's socket.
pub const SOCKET_VARIABLE: &str = "CVMFS_RUN_SOCKET";
/// Environment variable with the directory of the view.
pub const VIEW_VARIABLE: &str = "CVMFS_RUN_VIEW";
/// Environment variable with the path of the `cvmfs-run` program that the library starts as its helper.
pub const PROGRAM_VARIABLE: &str = "CVMFS_RUN_PROGRAM";
/// Environment variable with the path of the preload library, for `cvmfs-run`.
pub const LIBRARY_VARIABLE: &str = "CVMFS_RUN_LIBRARY";
/// Environment variable with the seconds without a question after which a helper ends.
pub const IDLE_VARIABLE: &str = "CVMFS_RUN_IDLE";
