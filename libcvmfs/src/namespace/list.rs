//! Listings of directories.

use super::FileKind;

/// The names in a directory, in a stable order: the same position is the same name for as long as the snapshot lasts.
/// `.` and `..` are not among them.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    items: Vec<ListItem>,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListItem {
    /// The name.
    pub name: Box<[u8]>,
    /// The inode number that `stat` tells for it.
    pub ino: u64,
    /// Its type.
    pub kind: FileKind,
}

impl Listing {
    pub(super) fn new(items: Vec<ListItem>) -> Listing {
        Listing { items }
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The name at a position from 0.
    pub fn get(&self, position: usize) -> Option<&ListItem> {
        self.items.get(position)
    }

    /// All names.
    pub fn iter(&self) -> std::slice::Iter<'_, ListItem> {
        self.items.iter()
    }
}

impl<'l> IntoIterator for &'l Listing {
    type Item = &'l ListItem;
    type IntoIter = std::slice::Iter<'l, ListItem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
