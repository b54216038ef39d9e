use crate::database::DatabaseError;
use crate::error::{Origin, Retry};
use std::path::PathBuf;
use thiserror::Error;

/// Why a catalog cannot be used as a whole.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The file is no readable SQLite database.
    #[error("catalog {0}")]
    Database(#[from] DatabaseError),
    /// The schema is neither 1.x nor 2.4 nor 2.5.
    #[error("catalog {} has schema {found}, supported are 1.x, 2.4 and 2.5", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The property as stored.
        found: String,
    },
    /// The root prefix is not the path of a directory.
    #[error("catalog {} has the impossible root prefix '{found}'", path.display())]
    RootPrefix {
        /// The file.
        path: PathBuf,
        /// The property as stored.
        found: String,
    },
    /// There is no row for the root directory.
    #[error("catalog {} has no row for its root directory", path.display())]
    NoRoot {
        /// The file.
        path: PathBuf,
    },
    /// More than an index can number.
    #[error("catalog {} is too large for an index: {what}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
    },
}

impl CatalogError {
    /// Who failed.
    pub fn origin(&self) -> Origin {
        match self {
            CatalogError::Database(error) => error.origin(),
            _ => Origin::Content,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            CatalogError::Database(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}
