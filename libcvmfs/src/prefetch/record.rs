//! What was used, as a list.

use super::list::{Line, ListedObject, ListedSnapshot};
use crate::Error;
use crate::client::Client;
use crate::fqrn::Fqrn;
use crate::namespace::{FileKind, Node};
use crate::object::{Compression, ObjectKind, ObjectName};
use crate::snapshot::{Parts, Snapshot};
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// What the file begins with.
const TITLE: &[u8] = b"# What a program used; fetch it with cvmfs prefetch --from-list or cvmfs-run --prefetch.\n";

/// Keeps account of what is used, and writes it as a list.
///
/// The list depends on what was used, not on the order, nor on what the cache had: its lines are sorted, each is there
/// once. It is meant for a client whose repositories stay at one snapshot.
#[derive(Debug, Default)]
pub struct Record {
    /// As they are written.
    lines: Mutex<BTreeSet<Vec<u8>>>,
}

impl Record {
    /// Notes that the content of a file was used, or the list of what is in a directory.
    ///
    /// # Errors
    /// Those of looking at the directory, which may have to be waited for.
    pub fn note(&self, node: &Node) -> Result<(), Error> {
        let Some(fqrn) = node.fqrn() else { return Ok(()) };
        let line = match node.kind() {
            FileKind::Regular => content_line(fqrn, node)?,
            FileKind::Directory => {
                // Brings in the catalog, which is listed with all others.
                node.list()?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.lines.lock().insert(line.write());
        Ok(())
    }

    /// The list: what was noted, and the catalogs in use.
    pub fn to_list(&self, client: &Client) -> Vec<u8> {
        let mut lines = self.lines.lock().clone();
        let mut snapshots = BTreeSet::new();
        for repository in client.mounted() {
            let snapshot = repository.snapshot();
            let identity = snapshot.identity();
            let (repository, root_hash) = (identity.fqrn.clone(), identity.root_hash);
            let listed = ListedSnapshot { repository, root_hash, revision: identity.revision };
            snapshots.insert(Line::Snapshot(listed).write());
            lines.extend(catalog_lines(client.namespace().mount_dir(), &snapshot));
        }
        let lines = snapshots.into_iter().chain(lines);
        lines.fold(TITLE.to_vec(), |mut list, line| {
            list.extend_from_slice(&line);
            list.push(b'\n');
            list
        })
    }
}

fn catalog_lines<'a>(mount_dir: &'a [u8], snapshot: &'a Snapshot) -> impl Iterator<Item = Vec<u8>> + 'a {
    snapshot.attached().into_iter().map(move |catalog| {
        let fqrn = snapshot.fqrn();
        let path = [mount_dir, b"/", fqrn.as_str().as_bytes(), &catalog.reference.mount].concat();
        let line = ListedObject {
            repository: fqrn.clone(),
            name: ObjectName::new(catalog.reference.hash, ObjectKind::Catalog),
            size: catalog.reference.size,
            compression: Compression::Zlib,
            path: Some(path),
        };
        Line::Object(line).write()
    })
}

/// An object, or a path where it takes more than the object to have the content.
fn content_line(fqrn: &Fqrn, node: &Node) -> Result<Line, Error> {
    let content = node.content()?;
    Ok(match content.parts {
        Parts::Whole(hash) if !content.external && !content.volatile => Line::Object(ListedObject {
            repository: fqrn.clone(),
            name: ObjectName::new(hash, ObjectKind::File),
            size: Some(content.size),
            compression: content.compression,
            path: Some(node.path()),
        }),
        _ => Line::Path { path: node.path(), everything: false },
    })
}
