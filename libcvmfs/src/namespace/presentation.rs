//! How a repository's entries appear to programs: what the configuration adds to the catalog's facts.

use super::owner::Owners;
use super::variables::Variables;
use serde::{Deserialize, Serialize};

/// Where the computed (`user.*`) attributes are listed. Reading them by name works everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MagicListing {
    /// On the repository's root directory.
    #[default]
    RootOnly,
    /// Nowhere.
    Never,
    /// On every entry.
    Always,
}

/// Somebody whose access is decided by permission bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// All group ids.
    pub groups: Vec<u32>,
}

/// Everything that changes how entries look without changing what they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Presentation {
    /// `CVMFS_CLAIM_OWNERSHIP`, `CVMFS_UID_MAP`, `CVMFS_GID_MAP`.
    pub owners: Owners,
    /// Values for variant symbolic links.
    pub variables: Variables,
    /// `CVMFS_WORLD_READABLE`: everybody may read everything.
    pub world_readable: bool,
    /// `CVMFS_CHECK_PERMISSIONS`: whose access the permission bits decide; nobody's if absent.
    pub checked: Option<Caller>,
    /// `CVMFS_MAGIC_XATTRS_VISIBILITY`.
    pub magic_listing: MagicListing,
    /// `CVMFS_XATTR_PROTECTED_XATTRS`: computed attributes that only root and privileged groups may read.
    pub protected_xattrs: Vec<String>,
    /// `CVMFS_XATTR_PRIVILEGED_GIDS`.
    pub privileged_gids: Vec<u32>,
}
