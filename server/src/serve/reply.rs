//! Replies that are not files.

use crate::http::{Body, whole};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};

/// For replies that tell what may change soon. The official servers say the same of their letters.
pub(super) const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=61");
/// What is not there may come: caches should not believe it for long.
const ABSENT: HeaderValue = HeaderValue::from_static("public, max-age=15");

/// A text of a type.
pub(super) fn text(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = whole(content_type, body);
    response.headers_mut().insert(CACHE_CONTROL, SHORT);
    response
}

/// Only a status.
pub(super) fn status(status: StatusCode) -> Response<Body> {
    let mut response = text("text/plain", format!("{status}\n"));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, ABSENT);
    response
}

/// Neither GET nor HEAD.
pub(super) fn not_allowed() -> Response<Body> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
