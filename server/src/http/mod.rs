//! What every HTTP service here does: listen, bound connections and idleness, let replies under way end.

mod listener;
pub mod tls;

pub use listener::{Limits, Listener};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use std::io;

/// Bodies of replies.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A reply of these bytes, of status 200.
pub fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
