//! The list of repositories of a server.

use super::files::Repositories;
use super::reply;
use crate::http::Body;
use crate::repository::MASTER_REPLICA;
use hyper::Response;
use serde_json::{Value, json};

/// `/cvmfs/info/v1/repositories.json`.
pub(super) fn repositories(repositories: &Repositories) -> Response<Body> {
    let entry = |name: &str| json!({"name": name, "url": format!("/cvmfs/{name}")});
    let (mut originals, mut replicas): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for (name, directory) in repositories.all() {
        // Whoever may be copied is an original.
        match directory.join(MASTER_REPLICA).exists() {
            true => originals.push(entry(&name)),
            false => replicas.push(entry(&name)),
        }
    }
    reply::text("application/json", json!({"schema": 1, "repositories": originals, "replicas": replicas}).to_string())
}
