//! Files of repositories: which may be seen, and what caches are told about them.

use super::metrics::Kind;
use super::{is_plain, reply};
use crate::http::Body;
use crate::repository::{MANIFEST, MASTER_REPLICA, REFLOG, STATUS, WHITELIST};
use crate::storage::object_at;
use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE};
use hyper::{Request, Response, StatusCode};
use libcvmfs::trust::ManifestFields;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tower_http::services::ServeFile;

/// Objects never change: their names are their hashes.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What a repository shows beside its objects.
const LETTERS: [&str; 9] = [
    MANIFEST,
    WHITELIST,
    REFLOG,
    STATUS,
    MASTER_REPLICA,
    ".cvmfswhitelist.pkcs7",
    ".cvmfs_last_snapshot",
    ".cvmfs_is_snapshotting",
    ".cvmfs_partial_replication",
];

/// The repositories below a directory.
pub(super) struct Repositories {
    root: PathBuf,
    /// The name of the only one, if the directory is a repository itself.
    only: Option<String>,
}

impl Repositories {
    pub(super) fn new(root: &Path) -> Result<Repositories> {
        let metadata = std::fs::metadata(root).with_context(|| root.display().to_string())?;
        ensure!(metadata.is_dir(), "{} is no directory", root.display());
        let only = manifest(root).and_then(|fields| fields.name);
        Ok(Repositories { root: root.to_owned(), only })
    }

    /// The directory of a repository.
    pub(super) fn find(&self, fqrn: &str) -> Option<PathBuf> {
        match &self.only {
            Some(only) => (only == fqrn).then(|| self.root.clone()),
            None if !is_plain(fqrn) || fqrn.starts_with('.') => None,
            None => Some(self.root.join(fqrn)).filter(|directory| directory.join(MANIFEST).is_file()),
        }
    }

    /// Names and directories, sorted.
    pub(super) fn all(&self) -> Vec<(String, PathBuf)> {
        if let Some(only) = &self.only {
            return vec![(only.clone(), self.root.clone())];
        }
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<_> = names.filter_map(|name| self.find(&name).map(|directory| (name, directory))).collect();
        all.sort();
        all
    }
}

/// What the manifest of a repository says; for people and meters, not for clients.
pub(super) fn manifest(directory: &Path) -> Option<ManifestFields> {
    ManifestFields::parse(&std::fs::read(directory.join(MANIFEST)).ok()?).ok()
}

/// What a path in a repository is, if it may be seen.
fn kind(path: &str) -> Option<Kind> {
    if object_at(path).is_some() || path.strip_prefix(".cvmfsalt-").is_some_and(is_plain) {
        return Some(Kind::Object);
    }
    LETTERS.contains(&path).then_some(Kind::Letter)
}

/// Answers with a file of the repository.
pub(super) async fn answer(directory: &Path, path: &str, mut request: Request<Incoming>) -> (Kind, Response<Body>) {
    let Some(kind) = kind(path) else { return (Kind::Other, reply::status(StatusCode::NOT_FOUND)) };
    let file = directory.join(path);
    let metadata = match tokio::fs::metadata(&file).await {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return (kind, reply::status(StatusCode::NOT_FOUND)),
        Err(error) => return (kind, reply::status(of_error(&error))),
    };
    let Some(tag) = entity_tag(kind, path, &metadata) else {
        return (kind, reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let headers = request.headers_mut();
    if headers.get(IF_NONE_MATCH).is_some_and(|known| matches(known, &tag)) {
        let mut response = Response::new(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return (kind, finish(response, kind, path, tag));
    }
    // A part of what it was does not go with a part of what it is.
    if headers.get(IF_RANGE).is_some_and(|known| known != tag) {
        headers.remove(RANGE);
    }
    match ServeFile::new(&file).try_call(request).await {
        Ok(response) => (kind, finish(response.map(|body| body.boxed_unsync()), kind, path, tag)),
        Err(error) => (kind, reply::status(of_error(&error))),
    }
}

fn of_error(error: &std::io::Error) -> StatusCode {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => StatusCode::NOT_FOUND,
        std::io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn finish(mut response: Response<Body>, kind: Kind, path: &str, tag: HeaderValue) -> Response<Body> {
    let is_json = path.ends_with(".json");
    let content_type = if is_json { "application/json" } else { "application/octet-stream" };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, if kind == Kind::Object { FOREVER } else { reply::SHORT });
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(ETAG, tag);
    response
}

/// Objects are what they are called; of other files size and time tell whether they changed.
fn entity_tag(kind: Kind, path: &str, metadata: &Metadata) -> Option<HeaderValue> {
    let tag = match kind {
        Kind::Object => format!("\"{path}\""),
        _ => format!("\"{:x}.{:x}-{:x}\"", metadata.mtime(), metadata.mtime_nsec(), metadata.size()),
    };
    HeaderValue::from_str(&tag).ok()
}

fn matches(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    known.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
