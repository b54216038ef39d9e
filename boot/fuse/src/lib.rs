//! A repository as a file system of the kernel, through FUSE.
//!
//! A thin adapter: paths, trust, cache and error numbers are those of `libcvmfs`. What is here is what only a file system
//! of the kernel needs: numbers for what the kernel knows, descriptors for what is open, and times after which the
//! kernel asks again.
//!
//! | module | job |
//! |---|---|
//! | [`mount()`] | mounting, and all that goes on while something is mounted |
//! | `adapter` | the kernel's calls: one question to the library each |
//! | `tree` | the repository by numbers, in the newest revision |
//! | `table` | the numbers that the kernel knows |
//! | `passthrough` | files that the kernel reads by itself |
//! | `present` | attributes in the words of the kernel |
//! | [`control`] | what can be asked of a mounted file system |
//! | [`command`] | `cvmfs-mount`, as a command line |

mod adapter;
pub mod command;
pub mod control;
mod mount;
mod passthrough;
mod present;
mod table;
mod tree;

pub use mount::{MountError, Mounted, Settings, mount, serve, unmount};
