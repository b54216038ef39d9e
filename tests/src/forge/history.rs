use super::Forge;
use libcvmfs::hash::ContentHash;
use libcvmfs::history;
use std::path::Path;

/// A named snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The root catalog; `None`: that of the revision being published.
    pub root: Option<(ContentHash, u64)>,
    /// Its revision.
    pub revision: u64,
    /// Its time, seconds since 1970.
    pub timestamp: u64,
    /// What it is.
    pub description: String,
    /// Its branch, empty: trunk.
    pub branch: String,
}

/// Writes the history database and returns its bytes.
pub(super) fn write(forge: &Forge, scratch: &Path, head: (ContentHash, u64)) -> Vec<u8> {
    let mut history = history::History::empty();
    for tag in &forge.tags {
        let (root, size) = tag.root.unwrap_or(head);
        history.put_tag(history::Tag {
            name: tag.name.clone(),
            root,
            revision: tag.revision,
            timestamp: tag.timestamp as i64,
            description: tag.description.clone(),
            size: Some(size),
            branch: tag.branch.clone(),
        });
    }
    let file = scratch.join("history");
    let fqrn = forge.fqrn.parse().expect("a name of a repository");
    history.write(&file, &fqrn, forge.page_size).expect("a new database in a temporary directory");
    super::hooks::change(&file, forge.hooks.history.iter());
    std::fs::read(&file).expect("the database just written")
}
