//! The publishing side: makes repositories, publishes revisions, signs.
//!
//! | module | job |
//! |---|---|
//! | [`storage`] | where a repository lies |
//! | [`keys`], [`repository`] | its keys; what is published now |
//! | [`draft`] | the catalogs of the next revision |
//! | [`source`] | trees that entries come from |
//! | [`publish`] | sources through the pipeline into the draft |
//! | [`commit`] | history, reflog, manifest |
//! | [`mkfs`] | the first revision |
//! | [`tags`], [`transaction`] | names of revisions; keeping others away |
//! | [`catalogs`] | the catalogs of published revisions, and the objects they name |
//! | [`check`] | is everything there, and right? |
//! | [`replicate`] | mirrors |
//! | [`http`] | what services listen with |
//! | [`serve`] | repositories over HTTP |
//! | [`manage`] | groups publish over HTTP, each into its own paths |
//! | [`gc`] | deletes what no kept revision needs |
//! | [`status`] | what was done last |
//! | [`file_identity`] | whether a file that was read is still the one at its path |
//! | [`command`] | the command line |
//!
//! All formats are written and read in `libcvmfs`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod catalogs;
pub mod check;
pub mod command;
pub mod commit;
pub mod draft;
pub mod file_identity;
pub mod gc;
pub mod http;
pub mod keys;
pub mod manage;
pub mod mkfs;
pub mod publish;
pub mod replicate;
pub mod repository;
pub mod serve;
pub mod source;
pub mod status;
pub mod storage;
pub mod tags;
pub mod transaction;

/// Who this process is, for those who find a repository locked.
pub fn owner(what: &str) -> String {
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("{what} by {}, process {}, since {since}", user(), std::process::id())
}

/// The user and the machine.
pub fn user() -> String {
    let uname = rustix::system::uname();
    let user = std::env::var("USER").unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user} on {}", uname.nodename().to_string_lossy())
}
