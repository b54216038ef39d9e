//! Archives on their way to us: into a file of their own first, so that nobody has to wait for a slow client.

use super::problem::{Answer, Problem};
use super::token::hex;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Something has to come within this time.
const SILENCE: Duration = Duration::from_secs(30);

/// Writes the body to a new file in `directory`: at most `limit` bytes, and those of the digest (SHA-256) if one is said.
/// Ends as soon as `go_on` says no.
pub async fn receive(
    mut body: Incoming,
    directory: &Path,
    limit: u64,
    digest: Option<&str>,
    go_on: impl Fn() -> Answer<()>,
) -> Answer<NamedTempFile> {
    if body.size_hint().lower() > limit {
        return Err(Problem::too_large(limit));
    }
    let failed = |error: std::io::Error| Problem::internal(&anyhow::Error::from(error).context("keeping an upload"));
    let mut file = tempfile::Builder::new().prefix("upload-").tempfile_in(directory).map_err(failed)?;
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| Problem::timeout())?;
        let Some(frame) = frame else { break };
        go_on()?;
        let frame = frame.map_err(|error| Problem::invalid(format!("the body was cut off: {error}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        size += bytes.len() as u64;
        if size > limit {
            return Err(Problem::too_large(limit));
        }
        hasher.update(&bytes);
        // Pieces are small, and the disk may be slow.
        let written = tokio::task::spawn_blocking(move || file.write_all(&bytes).map(|()| file)).await;
        file = written.map_err(|error| Problem::internal(&error.into()))?.map_err(failed)?;
    }
    if size == 0 {
        return Err(Problem::invalid("the body is empty: expected a tar archive"));
    }
    if digest.is_some_and(|digest| digest != hex(&hasher.finalize())) {
        return Err(Problem::unprocessable("digest", "the body is not the one of this digest"));
    }
    Ok(file)
}

/// Reads a body that must be small and a JSON object.
pub async fn json<T: serde::de::DeserializeOwned>(body: Incoming, limit: u64) -> Answer<T> {
    let limited = http_body_util::Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let collected = tokio::time::timeout(SILENCE, limited.collect()).await.map_err(|_| Problem::timeout())?;
    let bytes = collected.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
        true => Problem::too_large(limit),
        false => Problem::invalid("the body was cut off"),
    })?;
    let invalid = |error: serde_json::Error| Problem::invalid(format!("the body: {error}"));
    // A list of values is no object, though it could be read as one.
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes.to_bytes()).map_err(invalid)?;
    serde_json::from_value(object.into()).map_err(invalid)
}
