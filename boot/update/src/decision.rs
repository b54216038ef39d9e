//! What becomes of one entry of the overlay when the tree below it is replaced.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Whom a place of the tree belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What the operating system knows about its own packages, and what is made from its files.
    Database,
    /// Configuration and state: what is there is the user's.
    Kept,
    /// All else: the new operating system wins.
    System,
}

/// Directories of package databases, and files that are made from what is installed.
const DATABASES: [&str; 4] = ["var/lib/rpm", "var/lib/dpkg", "var/cache/apt", "etc/ld.so.cache"];
/// Below them, what users choose.
const CHOICES: [&str; 1] = ["var/lib/dpkg/alternatives"];
const KEPT: [&str; 3] = ["etc", "var", "root"];

impl Place {
    /// Whom `path` belongs to; it begins below the root.
    pub fn of(path: &Path) -> Place {
        let below = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        if below(&DATABASES) && !below(&CHOICES) {
            Place::Database
        } else if below(&KEPT) {
            Place::Kept
        } else {
            Place::System
        }
    }
}

/// What the overlay has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upper {
    /// The mark that something below was removed.
    Whiteout,
    /// A directory; `opaque` if it hides all that is below.
    Directory {
        /// It hides all that is below.
        opaque: bool,
    },
    /// A file, a link, or something rare.
    Other,
}

/// What the new tree has in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A file, a link, or something rare.
    Other,
}

/// What was changed since the old tree, where both have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// By the user.
    pub by_user: bool,
    /// By the operating system.
    pub by_system: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// Nothing; both sides changed it, and the user should know.
    Conflict,
    /// The overlay's entry is taken away, so that the new tree's is seen.
    Replace,
    /// The mark is taken away.
    Unhide,
    /// What is inside is looked at.
    Descend,
    /// The same, and all that is below is seen again.
    OpenAndDescend,
}

/// Decides. `changed` is asked only where it matters.
pub fn decide(place: Place, upper: Upper, below: Below, changed: impl FnOnce() -> Changed) -> Decision {
    match (upper, below, place) {
        // A mark over nothing would be listed.
        (Upper::Whiteout, Below::Nothing, _) => Decision::Unhide,
        (Upper::Whiteout, _, Place::Kept) => Decision::Keep,
        (Upper::Whiteout, ..) => Decision::Unhide,
        (Upper::Directory { opaque: true }, Below::Directory, Place::Kept) => Decision::Keep,
        (Upper::Directory { opaque: true }, Below::Directory, _) => Decision::OpenAndDescend,
        (Upper::Directory { .. }, Below::Directory | Below::Nothing, _) => Decision::Descend,
        (Upper::Other, Below::Nothing, _) => Decision::Keep,
        (Upper::Directory { .. }, Below::Other, Place::Kept) | (Upper::Other, Below::Directory, Place::Kept) => {
            Decision::Conflict
        }
        (Upper::Other, Below::Other, Place::Kept) => match changed() {
            Changed { by_user: false, .. } => Decision::Replace,
            Changed { by_system: false, .. } => Decision::Keep,
            Changed { .. } => Decision::Conflict,
        },
        (Upper::Directory { .. } | Upper::Other, ..) => Decision::Replace,
    }
}

/// Whether the mark of an overlay says that all that is below is hidden.
pub(crate) fn is_opaque(directory: &Path) -> bool {
    OPAQUE.iter().any(|name| {
        let mut value = [0; 8];
        let length = rustix::fs::lgetxattr(directory, *name, &mut value[..]);
        length.is_ok_and(|length| value.get(..length) == Some(b"y"))
    })
}

/// Names of that mark: of overlays that root mounts, and of others.
pub(crate) const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Names that are shown need no more than one line.
pub(crate) fn shown(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, upper: Upper, below: Below, by_user: bool, by_system: bool) -> Decision {
        decide(Place::of(Path::new(path)), upper, below, || Changed { by_user, by_system })
    }

    #[test]
    fn places() {
        for (path, place) in [
            ("etc/passwd", Place::Kept),
            ("etc", Place::Kept),
            ("etcetera", Place::System),
            ("root/.bashrc", Place::Kept),
            ("var/lib/rpm/Packages", Place::Database),
            ("var/lib/rpm2/x", Place::Kept),
            ("var/lib/dpkg/status", Place::Database),
            ("var/lib/dpkg/alternatives/editor", Place::Kept),
            ("etc/ld.so.cache", Place::Database),
            ("usr/bin/ls", Place::System),
            ("home/x", Place::System),
        ] {
            assert_eq!(Place::of(Path::new(path)), place, "{path}");
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let directory = Upper::Directory { opaque: false };
        let opaque = Upper::Directory { opaque: true };
        for (path, upper, below, by_user, by_system, expected) in [
            ("usr/bin/ls", Upper::Whiteout, Below::Other, true, true, Decision::Unhide),
            ("etc/issue", Upper::Whiteout, Below::Other, true, true, Decision::Keep),
            ("etc/issue", Upper::Whiteout, Below::Nothing, true, true, Decision::Unhide),
            ("usr/bin/ls", Upper::Other, Below::Other, true, false, Decision::Replace),
            ("usr/bin/mine", Upper::Other, Below::Nothing, true, false, Decision::Keep),
            ("usr/lib/x", Upper::Other, Below::Directory, true, true, Decision::Replace),
            ("usr/lib/x", directory, Below::Other, true, true, Decision::Replace),
            ("usr/lib/x", directory, Below::Directory, true, true, Decision::Descend),
            ("usr/lib/x", directory, Below::Nothing, true, true, Decision::Descend),
            ("usr/lib/x", opaque, Below::Directory, true, true, Decision::OpenAndDescend),
            ("etc/x", opaque, Below::Directory, true, true, Decision::Keep),
            ("etc/x", directory, Below::Other, true, true, Decision::Conflict),
            ("etc/x", Upper::Other, Below::Directory, true, true, Decision::Conflict),
            ("etc/x", Upper::Other, Below::Other, false, true, Decision::Replace),
            ("etc/x", Upper::Other, Below::Other, true, false, Decision::Keep),
            ("etc/x", Upper::Other, Below::Other, true, true, Decision::Conflict),
            ("var/lib/rpm/Packages", Upper::Other, Below::Other, true, true, Decision::Replace),
            ("var/lib/rpm/mine", Upper::Other, Below::Nothing, true, true, Decision::Keep),
        ] {
            assert_eq!(of(path, upper, below, by_user, by_system), expected, "{path} {upper:?} {below:?}");
        }
    }
}
