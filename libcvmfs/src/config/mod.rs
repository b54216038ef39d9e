//! Configuration: the official files in the official order, evaluated without a shell, read through typed parameters.
//!
//! ```no_run
//! use libcvmfs::config::{Loader, Sources, table};
//!
//! let loader = Loader::new(Sources::system(vec![("CVMFS_HTTP_PROXY".into(), "DIRECT".into())]));
//! let name = loader.name("sft.cern.ch")?;
//! let config = loader.load(&name, None)?;
//! let servers = config.list(&table::SERVER_URL)?;
//! # Ok::<(), libcvmfs::config::ConfigError>(())
//! ```
//!
//! [`Parameter`] describes one parameter, [`table`] holds all of them, [`shell`] evaluates the shell subset that
//! shipped files use, [`Loader`] brings files, environment and command line into one [`Config`], [`domains`] knows
//! servers and keys of the public domains, [`check`] finds mistakes.

pub mod check;
pub mod compatibility;
pub mod domains;
mod effective;
mod error;
mod keys;
mod load;
pub mod parameter;
pub mod shell;
pub mod table;

pub use effective::{Config, Source, Value};
pub use error::ConfigError;
pub use keys::KeySource;
pub use load::{ConfigRepository, Loader, RequestedRepository, Sources};
pub use parameter::Parameter;

#[cfg(test)]
mod tests;
