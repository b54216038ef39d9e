//! Why a request was refused, as RFC 9457 has it told.

use crate::http::{Body, whole};
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

/// The type of a description.
const CONTENT_TYPE: &str = "application/problem+json";

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(from = "Details", into = "Details")]
#[error("{detail}")]
pub struct Problem {
    /// The status of the reply.
    status: u16,
    /// One word for programs.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// Seconds after which it may be worth trying again.
    pub retry_after: Option<u64>,
    /// Methods that are allowed instead.
    allow: Box<str>,
}

/// A refusal as it is told.
#[derive(Serialize, Deserialize)]
struct Details {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    code: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl From<Problem> for Details {
    fn from(problem: Problem) -> Details {
        let Problem { status, code, detail, retry_after, .. } = problem;
        let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        // The status and the code say what kind it is.
        let (kind, title) = ("about:blank".to_owned(), known.unwrap_or_default().to_owned());
        Details { kind, title, status, code, detail, retry_after }
    }
}

impl From<Details> for Problem {
    fn from(details: Details) -> Problem {
        let Details { status, code, detail, retry_after, .. } = details;
        Problem { status, code, detail, retry_after, allow: Box::default() }
    }
}

/// The outcome of a request.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        let (status, code, detail) = (status.as_u16(), code.to_owned(), detail.into());
        Problem { status, code, detail, retry_after: None, allow: Box::default() }
    }

    /// The request makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// Nobody who is known asks.
    pub fn unauthorized() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "a valid token is needed: Authorization: Bearer TOKEN")
    }

    /// The token does not allow this.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// There is no such thing, or it is somebody else's.
    pub fn not_found(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", format!("there is no such {what}"))
    }

    /// There is such a thing, but this cannot be done with it.
    pub fn method_not_allowed(allow: String) -> Problem {
        let detail = format!("allowed here: {allow}");
        Problem { allow: allow.into(), ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail) }
    }

    /// The body did not come in time.
    pub fn timeout() -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body of the request did not come in time")
    }

    /// It does not fit with how things are.
    pub fn conflict(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, code, detail)
    }

    /// The lease is over.
    pub fn expired() -> Problem {
        Problem::new(StatusCode::GONE, "lease-expired", "the lease has expired; nothing was published with it since")
    }

    /// The body is too large.
    pub fn too_large(limit: u64) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", format!("at most {limit} bytes are taken"))
    }

    /// The body is of another type.
    pub fn unsupported_type(expected: &str) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", format!("expected {expected}"))
    }

    /// It can be read, but not done.
    pub fn unprocessable(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// There are too many already.
    pub fn too_many(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail).after(60)
    }

    /// Something went wrong here. The log says what: it is not the client's business.
    pub fn internal(error: &anyhow::Error) -> Problem {
        log::error!("{error:#}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service failed; its log says why")
    }

    /// Somebody else is at work.
    pub fn busy(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).after(10)
    }

    /// The same, worth another try after so many seconds.
    pub fn after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }

    /// The reply.
    pub fn reply(&self) -> Response<Body> {
        let mut response = whole(CONTENT_TYPE, serde_json::to_vec(self).unwrap_or_default());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Ok(allow) = HeaderValue::from_str(&self.allow)
            && !self.allow.is_empty()
        {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl From<anyhow::Error> for Problem {
    /// A problem that was passed through other code comes out as it was; everything else is our fault.
    fn from(error: anyhow::Error) -> Problem {
        match error.downcast::<Problem>() {
            Ok(problem) => problem,
            Err(error) => Problem::internal(&error),
        }
    }
}
