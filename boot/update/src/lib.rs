//! What moves a µCernVM from one snapshot of its operating system to another, without losing what its users changed.
//!
//! Three trees meet: the snapshot that was pinned (*base*), the one that is wanted (*new*), and the writable branch of the
//! overlay (*upper*). What is done is decided from them first ([`plan`]), put down in a journal ([`journal`]), and only then done,
//! so that a machine has the old state or the new one whenever its power fails.
//!
//! The loader itself can be another one than that of the image, too: it lies on the scratch ([`staged`]), and has to prove that it
//! works.
//!
//! | module | job |
//! |---|---|
//! | [`state`] | files on the scratch: the pin, the one before it, what is wished |
//! | [`contract`] | which versions of loader, tree and scratch go together |
//! | [`loader`] | what a loader consists of, in words |
//! | [`pack`] | a loader as it comes out of a repository |
//! | [`staged`] | a loader on the scratch, and how often it is tried |
//! | [`trial`] | whether the system comes up with a snapshot |
//! | [`decision`] | what becomes of one entry of the overlay |
//! | [`plan`] | the same for all of them |
//! | [`accounts`] | users and groups of both sides |
//! | [`packages`] | packages of both sides |
//! | [`journal`] | doing it, as often as it takes |
//! | [`notice`] | telling users of a new snapshot |

pub mod accounts;
pub mod contract;
pub mod decision;
pub mod journal;
pub mod loader;
pub mod notice;
pub mod pack;
pub mod packages;
pub mod plan;
pub mod staged;
pub mod state;
pub mod trial;

use std::path::PathBuf;
use thiserror::Error;

/// Why a machine cannot go to another snapshot or loader. Nothing was changed then, or the journal tells what is left to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be read or changed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A journal of another version, or none at all.
    #[error("{}: not a journal that this loader understands: {reason}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that should be a loader and cannot be used as one.
    #[error("{}: {reason}", path.display())]
    Loader {
        /// The pack, or the file on the scratch.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is called before each change: tests let the power fail there.
pub(crate) type Before<'a> = &'a mut dyn FnMut() -> Result<(), Error>;

/// Puts the path to an error of the system.
pub(crate) trait At<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|error| Error::Io { path: path.into(), source: error.into() })
    }
}

/// The power fails at the given moment.
#[cfg(test)]
pub(crate) fn fails_at(moment: usize) -> impl FnMut() -> Result<(), Error> {
    let mut left = moment;
    move || match left.checked_sub(1) {
        Some(less) => {
            left = less;
            Ok(())
        }
        None => Err(Error::Journal { path: PathBuf::new(), reason: "no power".to_owned() }),
    }
}
