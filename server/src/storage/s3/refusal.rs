//! What a server says when it does not do what it is asked for, and what can be done about it.

use super::super::StorageError;
use std::time::{SystemTime, UNIX_EPOCH};
use ureq::http::{HeaderMap, StatusCode};

/// Seconds by which clocks may differ: servers take signatures that are at most 15 minutes off.
const SKEW: i64 = 5 * 60;
/// Codes of what may be over the next time.
const PASSING: [&str; 9] = [
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "OperationAborted",
    "ConditionalRequestConflict",
    // Bytes were lost or altered on the way.
    "BadDigest",
    "IncompleteBody",
    "Throttling",
];

/// An answer that is no success.
pub(super) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
    /// Seconds by which the server's clock is ahead of ours.
    skew: i64,
    /// The region in which the bucket lies.
    region: Option<String>,
}

impl Refusal {
    /// Reads an answer. The text is XML with a code and a message; some have none.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, text: &[u8]) -> Refusal {
        let text = String::from_utf8_lossy(text);
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
        let theirs = header("date").and_then(seconds);
        Refusal {
            status,
            code: element(&text, "Code").unwrap_or_default().to_owned(),
            message: element(&text, "Message").unwrap_or_default().to_owned(),
            skew: theirs.map_or(0, |theirs| theirs - now),
            region: header("x-amz-bucket-region").or_else(|| element(&text, "Region")).map(str::to_owned),
        }
    }

    /// Whether it says something about the file, not about the request.
    pub(super) fn is_answer(&self) -> bool {
        let is_answer = matches!(
            self.status,
            StatusCode::NOT_FOUND
                | StatusCode::PRECONDITION_FAILED
                | StatusCode::RANGE_NOT_SATISFIABLE
                | StatusCode::NOT_IMPLEMENTED
        );
        is_answer && self.code != "NoSuchBucket"
    }

    /// Whether it may be over the next time.
    pub(super) fn may_pass(&self) -> bool {
        let is_passing = matches!(
            self.status,
            StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::REQUEST_TIMEOUT
        );
        is_passing || PASSING.contains(&&*self.code)
    }

    /// The same as an error of the file at `place`.
    pub(super) fn error(&self, place: &str) -> StorageError {
        let mut problem = match (&*self.code, &*self.message) {
            ("", _) => format!("the server says {}", self.status),
            (code, "") => format!("the server says {code} ({})", self.status.as_u16()),
            (code, message) => format!("the server says {code}: {message}"),
        };
        if let Some(advice) = self.advice() {
            problem.push_str(" - ");
            problem.push_str(&advice);
        }
        StorageError::Remote { place: place.to_owned(), problem }
    }

    fn advice(&self) -> Option<String> {
        let is_denied = self.status == StatusCode::FORBIDDEN;
        if (is_denied || self.code == "RequestTimeTooSkewed") && self.skew.abs() > SKEW {
            let (minutes, behind) = (self.skew.abs() / 60, if self.skew > 0 { "behind" } else { "ahead of" });
            return Some(format!("the clock of this machine is {minutes} minutes {behind} the server's: set it"));
        }
        Some(match &*self.code {
            "NoSuchBucket" => "make the bucket first, or correct its name".to_owned(),
            "RequestTimeTooSkewed" => "the clocks differ: set this machine's".to_owned(),
            "InvalidAccessKeyId" => "the server does not know AWS_ACCESS_KEY_ID (or that of the profile)".to_owned(),
            "SignatureDoesNotMatch" => {
                "AWS_SECRET_ACCESS_KEY (or that of the profile) is not the one of the key id, or a \
                                        proxy changes requests"
                    .to_owned()
            }
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => "get a new AWS_SESSION_TOKEN".to_owned(),
            "QuotaExceeded" | "EntityTooLarge" => "there is no room for it".to_owned(),
            "AuthorizationHeaderMalformed"
            | "AuthorizationQueryParametersError"
            | "PermanentRedirect"
            | "IllegalLocationConstraintException" => self.other_region(),
            _ if self.status.is_redirection() => self.other_region(),
            _ if is_denied => "the key needs s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and \
                               s3:DeleteObject on what is in it"
                .to_owned(),
            _ => return None,
        })
    }

    fn other_region(&self) -> String {
        match &self.region {
            Some(region) => format!("the bucket lies in another region: region={region}"),
            None => {
                "the bucket may lie in another region (region=NAME) or at another endpoint (endpoint=URL)".to_owned()
            }
        }
    }
}

/// The error of a request that was not answered.
pub(super) fn unreachable(place: &str, endpoint: &str, error: &ureq::Error) -> StorageError {
    let advice = match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            " - is the endpoint right (endpoint=URL), and the network there?"
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            " - is the endpoint right (endpoint=URL), and the server running?"
        }
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
            " - SSL_CERT_FILE names other certificate authorities than the system's"
        }
        _ => "",
    };
    StorageError::Remote { place: place.to_owned(), problem: format!("no answer from {endpoint}: {error}{advice}") }
}

/// The text of the first element of a name in XML without attributes, as errors are.
pub(super) fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

/// A date of HTTP in seconds since 1970.
pub(super) fn seconds(date: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(date).ok().map(|time| time.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, date: &str, text: &str) -> Refusal {
        let headers = HeaderMap::from_iter([("date".parse().unwrap(), date.parse().unwrap())]);
        Refusal::read(StatusCode::from_u16(status).unwrap(), &headers, text.as_bytes())
    }

    fn xml(code: &str) -> String {
        format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>Words.</Message></Error>")
    }

    #[test]
    fn what_passes_is_tried_again_and_nothing_else() {
        for (status, code, is_answer, may_pass) in [
            (404, "NoSuchKey", true, false),
            (404, "NoSuchBucket", false, false),
            (412, "PreconditionFailed", true, false),
            (501, "NotImplemented", true, false),
            (403, "AccessDenied", false, false),
            (400, "MalformedXML", false, false),
            (400, "RequestTimeout", false, true),
            (400, "BadDigest", false, true),
            (409, "ConditionalRequestConflict", false, true),
            (503, "SlowDown", false, true),
            (503, "", false, true),
            (500, "InternalError", false, true),
        ] {
            let refusal = refusal(status, "", &xml(code));
            assert_eq!((refusal.is_answer(), refusal.may_pass()), (is_answer, may_pass), "{status} {code}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let old = "Fri, 01 Jan 2010 00:00:00 GMT";
        for (status, code, date, words) in [
            (404, "NoSuchBucket", &*now, "make the bucket"),
            (403, "InvalidAccessKeyId", &now, "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", &now, "AWS_SECRET_ACCESS_KEY"),
            (403, "AccessDenied", &now, "s3:PutObject"),
            (403, "", &now, "s3:ListBucket"),
            (403, "AccessDenied", old, "the clock of this machine"),
            (301, "PermanentRedirect", &now, "region=NAME"),
        ] {
            let error = refusal(status, date, &xml(code)).error("s3://bucket/key").to_string();
            assert!(error.starts_with("s3://bucket/key: ") && error.contains(words), "{error}");
        }
    }
}
