//! From the lines of a list to what is fetched.

use super::{Failure, Line, ListedObject, Start};
use crate::Error;
use crate::client::Client;
use crate::fqrn::Fqrn;
use crate::hash::ContentHash;
use crate::namespace::{LastLink, Node, Resolved};
use std::collections::HashMap;

/// The starting points that a list names, and what of it there is not. Objects come first: to fetch them, no catalog
/// has to be there.
///
/// Objects of another snapshot than the one that is mounted are looked up by their paths, as far as they have one.
pub fn starts(client: &Client, lines: Vec<Line>) -> (Vec<Start>, Vec<Failure>) {
    let mut recorded: HashMap<Fqrn, ContentHash> = HashMap::new();
    for line in &lines {
        if let Line::Snapshot(snapshot) = line {
            recorded.insert(snapshot.repository.clone(), snapshot.root_hash);
        }
    }
    let mut is_other: HashMap<Fqrn, bool> = HashMap::new();
    let mut other = |object: &ListedObject| -> bool {
        let Some(recorded) = recorded.get(&object.repository) else { return false };
        *is_other.entry(object.repository.clone()).or_insert_with(|| {
            // One that cannot be mounted is told when its objects are begun with.
            let mounted = client.repository(object.repository.as_str());
            mounted.is_ok_and(|repository| repository.fresh_snapshot().identity().root_hash != *recorded)
        })
    };
    let (mut objects, mut paths, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let mut look_up = |path: Vec<u8>, everything: bool| match resolve(client, &path) {
        Ok(node) if everything => paths.push(Start::Tree(node)),
        Ok(node) => paths.push(Start::Entry(node)),
        Err(error) => failures.push(Failure { what: path, error }),
    };
    for line in lines {
        match line {
            Line::Path { path, everything } => look_up(path, everything),
            Line::Object(object) => match &object.path {
                Some(path) if other(&object) => look_up(path.clone(), false),
                _ => objects.push(Start::Object(object)),
            },
            Line::Snapshot(_) => {}
        }
    }
    objects.append(&mut paths);
    (objects, failures)
}

fn resolve(client: &Client, path: &[u8]) -> Result<Node, Error> {
    client.namespace().resolve(path, LastLink::Follow).and_then(Resolved::node)
}
