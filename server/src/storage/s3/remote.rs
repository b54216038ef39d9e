//! What is asked of the server: files are put, read, listed and deleted.

use super::super::{Listed, StorageError, object_at};
use super::address::Address;
use super::exchange::{Call, Exchange, Patience, Payload, Reply, checksum};
use super::lock::Lease;
use super::refusal;
use parking_lot::Mutex;
use rusty_s3::S3Action;
use rusty_s3::actions::{
    DeleteObject, DeleteObjects, GetObject, HeadObject, ListObjectsV2, ObjectIdentifier, PutObject,
};
use std::io::{self, Read as _, Write};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Method, StatusCode};
use url::Url;

/// For how long a signature is good: as long as servers put up with clocks that differ. Every try gets a new one.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// What the official publisher says about objects, which never change, and about everything else.
const OBJECT_HEADERS: [(&str, &str); 2] =
    [("cache-control", "max-age=259200"), ("content-type", "application/octet-stream")];
const LETTER_HEADERS: [(&str, &str); 2] = [("cache-control", "max-age=61"), ("content-type", "application/x-cvmfs")];
/// Files that one request deletes at most: a rule of the protocol.
const BATCH: usize = 1000;

/// The place, and the way there.
pub(super) struct Remote {
    pub(super) address: Address,
    pub(super) exchange: Exchange,
    /// Held by the one publisher; nothing is written when it was lost.
    pub(super) lease: Mutex<Option<Arc<Lease>>>,
}

/// When something is to be written.
pub(super) enum Condition {
    Always,
    /// There is nothing yet.
    Absent,
    /// There is what has this tag.
    Tagged(String),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// The condition is not met.
    Refused,
    /// The server does not know the condition.
    Unsupported,
}

/// A small file with what the server says about it.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) tag: Option<String>,
    /// Since it was written, by the server's clock; `None` if it does not say.
    pub(super) age: Option<Duration>,
}

impl Remote {
    pub(super) fn new(address: Address) -> Remote {
        let exchange = Exchange::new(address.bucket.base_url());
        Remote { address, exchange, lease: Mutex::new(None) }
    }

    /// Where everybody reads, if the bucket lets them.
    pub(super) fn url(&self) -> String {
        let base = self.address.bucket.base_url().as_str();
        format!("{}/{}", base.trim_end_matches('/'), self.address.prefix).trim_end_matches('/').to_owned()
    }

    /// Makes a request about the file at `path`.
    pub(super) fn send(&self, path: &str, call: &Call<'_>) -> Result<Reply, StorageError> {
        let place = self.address.shown(path);
        // What would be written after the lock is lost must not be written.
        let within = match call.method {
            Method::GET | Method::HEAD => None,
            _ => self.lease.lock().as_ref().map(|lease| lease.left(&place)).transpose()?,
        };
        self.exchange.send(call, &place, within)
    }

    /// Writes a file.
    pub(super) fn put(
        &self,
        path: &str,
        payload: Payload<'_>,
        condition: &Condition,
    ) -> Result<(Written, u32), StorageError> {
        let checksum = checksum(payload).map_err(|source| StorageError::io(self.address.shown(path), source))?;
        let mut headers = headers(path);
        headers.push(("content-md5", checksum));
        match condition {
            Condition::Always => {}
            Condition::Absent => headers.push(("if-none-match", "*".to_owned())),
            Condition::Tagged(tag) => headers.push(("if-match", tag.clone())),
        }
        let key = self.address.key(path);
        let url = || {
            let action = PutObject::new(&self.address.bucket, Some(&self.address.credentials), &key);
            signed(action, &headers)
        };
        let reply = self.send(path, &Call { headers: &headers, payload, ..Call::new(Method::PUT, &url) })?;
        let written = match reply.status {
            StatusCode::PRECONDITION_FAILED => Written::Refused,
            StatusCode::NOT_IMPLEMENTED => Written::Unsupported,
            // The tag is that of nothing.
            StatusCode::NOT_FOUND if matches!(condition, Condition::Tagged(_)) => Written::Refused,
            status if status.is_success() => Written::Done,
            status => return Err(self.strange(path, status)),
        };
        Ok((written, reply.tries))
    }

    /// Writes a file in any case.
    pub(super) fn put_whole(&self, path: &str, payload: Payload<'_>) -> Result<(), StorageError> {
        match self.put(path, payload, &Condition::Always)?.0 {
            Written::Done => Ok(()),
            Written::Refused => Err(self.strange(path, StatusCode::PRECONDITION_FAILED)),
            Written::Unsupported => Err(self.strange(path, StatusCode::NOT_IMPLEMENTED)),
        }
    }

    /// An answer that makes no sense.
    pub(super) fn strange(&self, path: &str, status: StatusCode) -> StorageError {
        StorageError::Remote { place: self.address.shown(path), problem: format!("the server says {status}") }
    }

    /// The size of a file; `None` if there is none.
    pub(super) fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let key = self.address.key(path);
        let url = || signed(HeadObject::new(&self.address.bucket, Some(&self.address.credentials), &key), &[]);
        let reply = self.send(path, &Call::new(Method::HEAD, &url))?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let size = reply.header("content-length").and_then(|size| size.parse().ok());
                size.map(Some).ok_or_else(|| self.nonsense(path, "no size"))
            }
            status => Err(self.strange(path, status)),
        }
    }

    pub(super) fn nonsense(&self, path: &str, what: impl std::fmt::Display) -> StorageError {
        StorageError::Remote { place: self.address.shown(path), problem: format!("the server's answer: {what}") }
    }

    fn ask(&self, path: &str, headers: &[(&'static str, String)], limit: Option<u64>) -> Result<Reply, StorageError> {
        let key = self.address.key(path);
        let url = || signed(GetObject::new(&self.address.bucket, Some(&self.address.credentials), &key), headers);
        self.send(path, &Call { headers, limit, ..Call::new(Method::GET, &url) })
    }

    /// Reads a small file, of at most `limit` bytes; `None` if there is none.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<Found>, StorageError> {
        let reply = self.ask(path, &[], Some(limit))?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let time = |name: &str| reply.header(name).and_then(refusal::seconds);
        let age = time("date").zip(time("last-modified")).map(|(now, then)| now.saturating_sub(then));
        let age = age.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        let tag = reply.header("etag").map(str::to_owned);
        Ok(Some(Found { bytes: reply.bytes, tag, age }))
    }

    /// Writes the content of a file to `out`; false if there is none. What breaks off is asked for from there on.
    pub(super) fn get(&self, path: &str, out: &mut dyn Write) -> Result<bool, StorageError> {
        let place = self.address.shown(path);
        let mut patience = Patience::default();
        let (mut done, mut tag) = (0_u64, None::<String>);
        loop {
            let mut headers = Vec::new();
            if done > 0 {
                headers.push(("range", format!("bytes={done}-")));
                headers.extend(tag.clone().map(|tag| ("if-match", tag)));
            }
            let mut reply = self.ask(path, &headers, None)?;
            let mut to_skip = match reply.status {
                StatusCode::NOT_FOUND if done == 0 => return Ok(false),
                StatusCode::PARTIAL_CONTENT => 0,
                // Not every server knows ranges.
                StatusCode::OK => done,
                // It ended exactly where it broke off.
                StatusCode::RANGE_NOT_SATISFIABLE => return Ok(true),
                _ => return Err(self.nonsense(path, "the file changed while it was read")),
            };
            tag = tag.or_else(|| reply.header("etag").map(str::to_owned));
            let size = reply.header("content-length").and_then(|size| size.parse::<u64>().ok());
            let mut reader = reply.body.as_reader();
            let (mut buffer, mut received) = (vec![0; 1 << 16], 0_u64);
            let broken = loop {
                let count = match reader.read(&mut buffer) {
                    Ok(0) if size.is_none_or(|size| size == received) => return Ok(true),
                    Ok(0) => break io::Error::from(io::ErrorKind::UnexpectedEof),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => break error,
                };
                received += count as u64;
                let skipped = usize::try_from(to_skip).map_or(count, |skip| skip.min(count));
                to_skip -= skipped as u64;
                let new = buffer.get(skipped..count).unwrap_or_default();
                out.write_all(new).map_err(|source| StorageError::io(place.clone(), source))?;
                if !new.is_empty() {
                    done += new.len() as u64;
                    // Who gets on is not tired.
                    patience = Patience::default();
                }
            };
            log::debug!("{place}: broken off after {done} bytes: {broken}");
            if !self.exchange.wait(&mut patience) {
                return Err(StorageError::io(place, broken));
            }
        }
    }

    /// Tells of all files whose path begins with `prefix`, page by page.
    pub(super) fn list(&self, prefix: &str, visit: &mut dyn FnMut(Listed)) -> Result<(), StorageError> {
        let key = self.address.key(prefix);
        let mut next = None::<String>;
        loop {
            let url = || {
                let mut action = ListObjectsV2::new(&self.address.bucket, Some(&self.address.credentials));
                action.with_prefix(&*key);
                if let Some(token) = &next {
                    action.with_continuation_token(token.as_str());
                }
                action.sign(SIGNED_FOR)
            };
            let reply = self.send(prefix, &Call::new(Method::GET, &url))?;
            let text = String::from_utf8(reply.bytes).map_err(|error| self.nonsense(prefix, error))?;
            let page = ListObjectsV2::parse_response(&text).map_err(|error| self.nonsense(prefix, error))?;
            for found in page.contents {
                let Some(path) = found.key.strip_prefix(&self.address.prefix) else { continue };
                let modified = found.last_modified.parse::<jiff::Timestamp>();
                let modified = modified.map_err(|error| self.nonsense(path, error))?.as_second();
                let modified = u64::try_from(modified).unwrap_or(0);
                visit(Listed { path: path.to_owned(), size: found.size, modified });
            }
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Deletes a file, there or not.
    pub(super) fn delete(&self, path: &str) -> Result<(), StorageError> {
        let key = self.address.key(path);
        let url = || signed(DeleteObject::new(&self.address.bucket, Some(&self.address.credentials), &key), &[]);
        let reply = self.send(path, &Call::new(Method::DELETE, &url))?;
        match reply.status {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            status => Err(self.strange(path, status)),
        }
    }

    /// Deletes files, there or not.
    pub(super) fn delete_all(&self, paths: &[String]) -> Result<(), StorageError> {
        for batch in paths.chunks(BATCH) {
            let objects: Vec<_> = batch.iter().map(|path| ObjectIdentifier::new(self.address.key(path))).collect();
            let action = || {
                let mut action =
                    DeleteObjects::new(&self.address.bucket, Some(&self.address.credentials), objects.iter());
                action.set_quiet(true);
                action
            };
            let (body, checksum) = action().body_with_md5();
            let headers = [("content-md5", checksum), ("content-type", "application/xml".to_owned())];
            let url = || signed(action(), &headers);
            let payload = Payload::Bytes(body.as_bytes());
            let reply = self.send("", &Call { headers: &headers, payload, ..Call::new(Method::POST, &url) })?;
            if !reply.status.is_success() {
                return Err(self.strange("", reply.status));
            }
            let text = String::from_utf8_lossy(&reply.bytes);
            if let Some(failed) = refusal::element(&text, "Error") {
                let part = |name| refusal::element(failed, name).unwrap_or("?");
                let place = format!("s3://{}/{}", self.address.bucket.name(), part("Key"));
                let problem = format!("the server did not delete it: {}: {}", part("Code"), part("Message"));
                return Err(StorageError::Remote { place, problem });
            }
        }
        Ok(())
    }
}

/// Signs an action with its headers.
pub(super) fn signed<'a>(mut action: impl S3Action<'a>, headers: &'a [(&'static str, String)]) -> Url {
    for (name, value) in headers {
        action.headers_mut().insert(*name, value.as_str());
    }
    action.sign(SIGNED_FOR)
}

/// What caches and clients are told about a file.
pub(super) fn headers(path: &str) -> Vec<(&'static str, String)> {
    let is_object = object_at(path).is_some() || path.starts_with(".cvmfsalt-");
    let headers = if is_object { OBJECT_HEADERS } else { LETTER_HEADERS };
    headers.map(|(name, value)| (name, value.to_owned())).to_vec()
}
