//! What `stat` tells of an entry.

use super::Presentation;
use cvmfs_index::{Entry, Look};

/// The file type of an entry.
pub use cvmfs_index::EntryKind as FileKind;

pub use cvmfs_index::Attributes;

/// The type bits of a file mode.
pub const TYPE_MASK: u32 = 0o170_000;

/// Puts together what `stat` tells of a catalog entry. `salt` keeps inode numbers of trees apart that are mounted
/// more than once in one repository.
pub(super) fn of_entry(entry: &Entry<'_>, presentation: &Presentation, dev: u64, salt: u64) -> Attributes {
    let owner = presentation.owners.of(entry.uid(), entry.gid());
    let target_len = match entry.kind() {
        FileKind::Symlink => presentation.variables.expanded_len(entry.symlink_target()),
        _ => 0,
    };
    Attributes::of(entry, &Look { dev, salt, owner, world_readable: presentation.world_readable, target_len })
}
