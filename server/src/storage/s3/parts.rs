//! Large objects in parts: a broken connection costs a part, and one request takes no more than 5 GiB.

use super::super::StorageError;
use super::exchange::{Call, Payload, checksum};
use super::remote::{Remote, headers, signed};
use rusty_s3::actions::{AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, UploadPart};
use std::fs::File;
use ureq::http::{Method, StatusCode};

/// Parts that an object has at most: a rule of the protocol.
const MOST_PARTS: u64 = 10_000;

impl Remote {
    /// Writes a file of which `source` holds `size` bytes.
    pub(super) fn put_parts(&self, path: &str, source: &File, size: u64) -> Result<(), StorageError> {
        let upload = self.begin(path)?;
        let outcome = self.transfer(path, &upload, source, size);
        if outcome.is_err() {
            // Parts without an end are paid for until somebody clears them away.
            let key = self.address.key(path);
            let (bucket, credentials) = (&self.address.bucket, Some(&self.address.credentials));
            let url = || signed(AbortMultipartUpload::new(bucket, credentials, &key, &upload), &[]);
            if let Err(error) = self.send(path, &Call::new(Method::DELETE, &url)) {
                log::warn!("an upload in parts was left behind: {error}");
            }
        }
        outcome
    }

    fn begin(&self, path: &str) -> Result<String, StorageError> {
        let (key, headers) = (self.address.key(path), headers(path));
        let (bucket, credentials) = (&self.address.bucket, Some(&self.address.credentials));
        let url = || signed(CreateMultipartUpload::new(bucket, credentials, &key), &headers);
        let reply = self
            .send(path, &Call { headers: &headers, payload: Payload::Bytes(b""), ..Call::new(Method::POST, &url) })?;
        if !reply.status.is_success() {
            return Err(self.strange(path, reply.status));
        }
        let begun = CreateMultipartUpload::parse_response(&String::from_utf8_lossy(&reply.bytes));
        Ok(begun.map_err(|error| self.nonsense(path, error))?.upload_id().to_owned())
    }

    fn transfer(&self, path: &str, upload: &str, file: &File, size: u64) -> Result<(), StorageError> {
        let key = self.address.key(path);
        let (bucket, credentials) = (&self.address.bucket, Some(&self.address.credentials));
        let part_size = self.address.part.max(size.div_ceil(MOST_PARTS));
        let mut tags = Vec::new();
        let mut offset = 0;
        while offset < size {
            let payload = Payload::Part { file, offset, size: part_size.min(size - offset) };
            let sum = checksum(payload).map_err(|source| StorageError::io(self.address.shown(path), source))?;
            let headers = [("content-md5", sum)];
            let number = u16::try_from(tags.len() + 1).map_err(|error| self.nonsense(path, error))?;
            let url = || signed(UploadPart::new(bucket, credentials, &key, number, upload), &headers);
            let reply = self.send(path, &Call { headers: &headers, payload, ..Call::new(Method::PUT, &url) })?;
            if !reply.status.is_success() {
                return Err(self.strange(path, reply.status));
            }
            let tag = reply.header("etag").ok_or_else(|| self.nonsense(path, "a part without a tag"))?;
            tags.push(tag.to_owned());
            offset += part_size;
        }
        let action =
            || CompleteMultipartUpload::new(bucket, credentials, &key, upload, tags.iter().map(String::as_str));
        let body = action().body();
        let url = || signed(action(), &[]);
        let payload = Payload::Bytes(body.as_bytes());
        let reply = self.send(path, &Call { payload, ..Call::new(Method::POST, &url) })?;
        match reply.status {
            // An earlier try did it, and the answer was lost.
            StatusCode::NOT_FOUND if reply.tries > 1 && self.size(path)? == Some(size) => Ok(()),
            status if status.is_success() => {
                // Servers begin to answer before they know.
                let text = String::from_utf8_lossy(&reply.bytes);
                match text.contains("<Error>") && self.size(path)? != Some(size) {
                    true => Err(self.nonsense(path, text)),
                    false => Ok(()),
                }
            }
            status => Err(self.strange(path, status)),
        }
    }
}
