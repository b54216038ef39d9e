//! Status line and header fields.

use super::wire::{Pace, Wire, WireError};
use super::{MAX_HEAD_BYTES, MAX_HEADERS};

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection is closed.
    Close,
}

/// What the transport wants to know of a response before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) struct Head {
    /// Status code.
    pub(in crate::transport) status: u16,
    /// End of the body.
    pub(in crate::transport) framing: Framing,
    /// True if the connection may carry another request afterwards.
    pub(in crate::transport) keep_alive: bool,
    /// True if a proxy says that the error is its own (`X-Squid-Error`, or `error=` in `Proxy-Status`).
    pub(in crate::transport) proxy_error: Option<String>,
    /// `Location`.
    pub(in crate::transport) location: Option<String>,
    /// First and last byte of `Content-Range`.
    pub(in crate::transport) content_range: Option<(u64, u64)>,
}

/// Why there is no usable head.
#[derive(Debug)]
pub(in crate::transport) enum HeadError {
    /// The connection.
    Wire(WireError),
    /// It was closed before the first byte.
    Empty,
    /// It was closed in the middle of the head.
    Cut,
    /// The bytes are not an HTTP/1 response, or a nonsensical one.
    NotHttp(String),
}

impl From<WireError> for HeadError {
    fn from(error: WireError) -> HeadError {
        HeadError::Wire(error)
    }
}

/// Reads the head of the final response, skipping informational ones.
pub(in crate::transport) fn read_head(wire: &mut Wire, pace: &mut Pace) -> Result<Head, HeadError> {
    let mut skipped = 0;
    loop {
        let (head, length) = loop {
            // How much came at once must not matter.
            let ahead = wire.ahead();
            if let Some(found) = parse(&ahead[..ahead.len().min(MAX_HEAD_BYTES)])? {
                break found;
            }
            if ahead.len() >= MAX_HEAD_BYTES {
                return Err(HeadError::NotHttp(format!("the header is longer than {MAX_HEAD_BYTES} bytes")));
            }
            if !wire.fill(pace)? {
                return Err(if wire.ahead().is_empty() { HeadError::Empty } else { HeadError::Cut });
            }
        };
        wire.consume(length);
        if head.status >= 200 {
            return Ok(head);
        }
        skipped += 1;
        if head.status == 101 || skipped > 8 {
            return Err(HeadError::NotHttp(format!("unexpected informational responses (status {})", head.status)));
        }
    }
}

/// Parses a head; `None` if it is not complete yet.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let not_http = |reason: &str| HeadError::NotHttp(reason.to_owned());
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    // Obsolete line folding and the like are refused: nobody serving repositories needs them.
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HeadError::NotHttp(format!("more than {MAX_HEADERS} header fields")));
        }
        Err(error) => return Err(HeadError::NotHttp(format!("not an HTTP/1 response: {error}"))),
    };
    let status = response.code.ok_or_else(|| not_http("no status code"))?;
    let http10 = response.version == Some(0);

    let mut content_length = None;
    let mut chunked = false;
    let (mut close, mut keep) = (false, false);
    let mut head = Head {
        status,
        framing: Framing::Close,
        keep_alive: false,
        proxy_error: None,
        location: None,
        content_range: None,
    };
    for field in response.headers.iter() {
        let value = String::from_utf8_lossy(field.value);
        let value = value.trim();
        match field.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                // A list of equal values may come from a proxy that joined two fields.
                for part in value.split(',') {
                    let digits = part.trim();
                    let number = match digits.parse::<u64>() {
                        Ok(number) if digits.bytes().all(|b| b.is_ascii_digit()) => number,
                        _ => return Err(HeadError::NotHttp(format!("Content-Length '{}'", value.escape_debug()))),
                    };
                    if content_length.is_some_and(|other| other != number) {
                        return Err(not_http("contradicting Content-Length fields"));
                    }
                    content_length = Some(number);
                }
            }
            "transfer-encoding" => {
                if !value.eq_ignore_ascii_case("chunked") || chunked {
                    return Err(HeadError::NotHttp(format!("Transfer-Encoding '{}'", value.escape_debug())));
                }
                chunked = true;
            }
            // Nothing but the plain bytes was asked for.
            "content-encoding" if !value.is_empty() && !value.eq_ignore_ascii_case("identity") => {
                return Err(HeadError::NotHttp(format!("Content-Encoding '{}'", value.escape_debug())));
            }
            "connection" | "proxy-connection" => {
                for token in value.split(',').map(str::trim) {
                    close |= token.eq_ignore_ascii_case("close");
                    keep |= token.eq_ignore_ascii_case("keep-alive");
                }
            }
            "x-squid-error" => head.proxy_error = Some(format!("X-Squid-Error: {value}")),
            "proxy-status" if value.contains("error=") => head.proxy_error = Some(format!("Proxy-Status: {value}")),
            "location" => head.location = Some(value.to_owned()),
            "content-range" => head.content_range = parse_content_range(value),
            _ => {}
        }
    }
    head.keep_alive = !close && (!http10 || keep);
    head.framing = match (status, chunked, content_length) {
        (100..=199 | 204 | 304, _, _) => Framing::Length(0),
        (_, true, _) if http10 => return Err(not_http("chunked transfer coding in HTTP/1.0")),
        (_, true, length) => {
            // Both at once is how requests are smuggled: the connection is not used again.
            head.keep_alive &= length.is_none();
            Framing::Chunked
        }
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => {
            head.keep_alive = false;
            Framing::Close
        }
    };
    Ok(Some((head, length)))
}

fn parse_content_range(value: &str) -> Option<(u64, u64)> {
    let (range, _total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).expect("parses").expect("complete").0
    }

    #[test]
    fn framing_and_reuse() {
        let h = head("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
        assert_eq!((h.status, h.framing, h.keep_alive), (200, Framing::Length(12), true));
        let h = head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!((h.framing, h.keep_alive), (Framing::Chunked, true));
        let h = head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n");
        assert_eq!((h.framing, h.keep_alive), (Framing::Chunked, false));
        let h = head("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!((h.framing, h.keep_alive), (Framing::Length(5), false));
        let h = head("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n");
        assert!(h.keep_alive);
        let h = head("HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 5\r\n\r\n");
        assert!(!h.keep_alive);
        let h = head("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!((h.framing, h.keep_alive), (Framing::Close, false));
        assert_eq!(head("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n").framing, Framing::Length(0));
    }

    #[test]
    fn fields_of_interest() {
        let h = head("HTTP/1.1 503 X\r\nx-squid-error: ERR_CONNECT_FAIL 111\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(h.proxy_error.as_deref(), Some("X-Squid-Error: ERR_CONNECT_FAIL 111"));
        assert!(head("HTTP/1.1 502 X\r\nProxy-Status: p; error=dns_error\r\n\r\n").proxy_error.is_some());
        assert!(head("HTTP/1.1 502 X\r\nProxy-Status: p; received-status=502\r\n\r\n").proxy_error.is_none());
        let h = head("HTTP/1.1 206 X\r\nContent-Range: bytes 5-9/100\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(h.content_range, Some((5, 9)));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "<html>hello</html>\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(matches!(parse(bad.as_bytes()), Err(HeadError::NotHttp(_))), "{bad}");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Le").expect("just not complete").is_none());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
            let mut response = b"HTTP/1.1 200 OK\r\n".to_vec();
            response.extend(bytes);
            let _ = parse(&response);
        }
    }
}
