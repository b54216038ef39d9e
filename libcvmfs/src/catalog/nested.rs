//! May this catalog be mounted there?

use crate::error::{Origin, Retry};
use crate::hash::ContentHash;
use cvmfs_index::{Index, Nested, NestedKind};
use thiserror::Error;

/// Why a catalog must not be mounted where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The root catalog of a repository says that it belongs below the root.
    #[error("catalog {catalog} is no root catalog: it belongs at '{prefix}'")]
    NotARoot {
        /// The catalog.
        catalog: String,
        /// Where it says that it belongs.
        prefix: String,
    },
    /// A nested catalog says that it belongs somewhere else.
    #[error("nested catalog {catalog} at '{mounted}' belongs at '{prefix}'")]
    WrongPlace {
        /// The catalog.
        catalog: String,
        /// Where it is mounted.
        mounted: String,
        /// Where it says that it belongs.
        prefix: String,
    },
    /// A bind mount point that is not marked as one.
    #[error("catalog {catalog} at '{mounted}' is not mounted on a bind mount point")]
    NotABindMountPoint {
        /// The catalog.
        catalog: String,
        /// Where it is mounted.
        mounted: String,
    },
}

impl AttachError {
    /// Who failed.
    pub fn origin(&self) -> Origin {
        Origin::Content
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn name(index: &Index<'_>) -> String {
    index.catalog().map(super::content_hash).as_ref().map(ContentHash::to_string).unwrap_or_default()
}

/// Checks that `index` is a root catalog: it has no root prefix.
pub fn check_root(index: &Index<'_>) -> Result<(), AttachError> {
    match index.root_prefix() {
        b"" => Ok(()),
        prefix => Err(AttachError::NotARoot { catalog: name(index), prefix: shown(prefix) }),
    }
}

/// Checks that `child` may be mounted at `place`.
///
/// A nested catalog must say that it belongs exactly there, so that no catalog, least of all one of its own ancestors,
/// can be passed off as another (the official client does not look). A bind mount point takes any catalog, but must be
/// marked as one in the catalog that mounts it.
pub fn check_mounted(place: &Nested<'_>, child: &Index<'_>) -> Result<(), AttachError> {
    match place.kind() {
        NestedKind::Nested if child.root_prefix() == place.path() => Ok(()),
        NestedKind::Nested => Err(AttachError::WrongPlace {
            catalog: name(child),
            mounted: shown(place.path()),
            prefix: shown(child.root_prefix()),
        }),
        NestedKind::Bind if place.mount_point().is_some_and(|entry| entry.is_bind_mount_point()) => Ok(()),
        NestedKind::Bind => Err(AttachError::NotABindMountPoint { catalog: name(child), mounted: shown(place.path()) }),
    }
}
