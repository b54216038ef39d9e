//! Replies from memory through the readers of heads and bodies, for fuzzing and for properties.

use super::{Exchange, HeadError, Pace, Request, Target, Wire, read_head, take_response};
use crate::transport::url::{Authority, escape_path};
use std::time::Duration;

/// What a reply comes to. What was received before a failure depends on the pieces and is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    NoHead(String),
    Redirect(Option<String>),
    Delivered { status: u16, body: Vec<u8> },
    Failed(String),
}

/// Takes `reply` as the answer to `request` when every read brings `piece` bytes.
fn replay(reply: &[u8], piece: usize, request: &Request<'_>) -> Outcome {
    let mut wire = Wire::script(reply, piece);
    let mut pace = Pace::start(Duration::from_secs(3600), 0, None);
    let head = match read_head(&mut wire, &mut pace) {
        Ok(head) => head,
        Err(HeadError::Wire(error)) => unreachable!("memory does not break: {error:?}"),
        Err(error) => return Outcome::NoHead(format!("{error:?}")),
    };
    let mut collected = Vec::new();
    match take_response(&mut wire, &mut pace, &head, request, true, &mut collected) {
        Ok((Exchange::Redirect(location), _)) => {
            let authority = Authority { name: "localhost".to_owned(), port: 80, explicit_port: false };
            let target = Target { tls: false, authority, path: escape_path(request.path) };
            Outcome::Redirect(target.redirect(&location).map(|target| target.url()))
        }
        Ok((Exchange::Delivered(delivered), _)) => {
            assert_eq!(delivered.bytes, collected.len() as u64);
            Outcome::Delivered { status: delivered.status, body: collected }
        }
        Err((fault, _)) => {
            let _ = fault.verdict(true);
            Outcome::Failed(fault.to_string())
        }
    }
}

/// Entry for fuzzing: any bytes as a reply. What comes of it must not depend on how the network cuts it up, and must
/// stay within what was asked for.
///
/// # Panics
///
/// If one of these does not hold.
pub fn http_reply_fuzz(reply: &[u8]) {
    const MAX_BYTES: u64 = 10_000;
    let range = Some((3, 9));
    for request in [Request::new(b"/a", MAX_BYTES), Request { range, ..Request::new("/a", MAX_BYTES) }] {
        let whole = replay(reply, usize::MAX, &request);
        if let Outcome::Delivered { status, body } = &whole {
            assert!((200..300).contains(status));
            assert!(body.len() as u64 <= MAX_BYTES);
            assert!(request.range.is_none_or(|(first, last)| body.len() as u64 == last - first + 1));
        }
        // A long head is parsed again with every piece.
        for piece in [reply.len() / 300 + 1, reply.len() / 2 + 1] {
            assert_eq!(replay(reply, piece, &request), whole, "in pieces of {piece} bytes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::http::MAX_HEAD_BYTES;
    use proptest::prelude::*;

    fn chunked(body: &[u8], size: usize) -> Vec<u8> {
        let mut reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(size) {
            reply.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
            reply.extend_from_slice(chunk);
            reply.extend_from_slice(b"\r\n");
        }
        reply.extend_from_slice(b"0\r\nTrailer: 1\r\n\r\n");
        reply
    }

    fn announced(body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    }

    fn until_close(body: &[u8]) -> Vec<u8> {
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n", body].concat()
    }

    proptest! {
        #[test]
        fn every_framing_brings_the_body(
            body in proptest::collection::vec(any::<u8>(), 0..2000),
            size in 1usize..500,
            piece in 1usize..3000,
            first in 0u64..500,
            length in 1u64..500,
        ) {
            for reply in [chunked(&body, size), announced(&body), until_close(&body)] {
                let request = Request::new(b"/a", body.len() as u64);
                let expected = Outcome::Delivered { status: 200, body: body.clone() };
                prop_assert_eq!(replay(&reply, piece, &request), expected);
                if let Some(less) = request.max_bytes.checked_sub(1) {
                    let failed = replay(&reply, piece, &Request::new(b"/a", less));
                    prop_assert!(matches!(failed, Outcome::Failed(_)), "{:?}", failed);
                }
                let last = first + length - 1;
                let ranged = replay(&reply, piece, &Request { range: Some((first, last)), ..request });
                match body.get(first as usize..=last as usize) {
                    Some(part) => prop_assert_eq!(ranged, Outcome::Delivered { status: 200, body: part.to_vec() }),
                    None => prop_assert!(matches!(ranged, Outcome::Failed(_)), "{:?}", ranged),
                }
                http_reply_fuzz(&reply);
            }
        }

        #[test]
        fn a_reply_that_breaks_off_is_no_body(body in proptest::collection::vec(any::<u8>(), 1..300), cut in 1usize..600) {
            for reply in [chunked(&body, 100), announced(&body)] {
                let cut = &reply[..reply.len().saturating_sub(cut)];
                let outcome = replay(cut, usize::MAX, &Request::new(b"/a", 1000));
                prop_assert!(matches!(outcome, Outcome::NoHead(_) | Outcome::Failed(_)), "{:?}", outcome);
                http_reply_fuzz(cut);
            }
        }
    }

    #[test]
    fn the_limit_of_a_head_does_not_depend_on_the_pieces() {
        for (length, fits) in [(MAX_HEAD_BYTES, true), (MAX_HEAD_BYTES + 1, false)] {
            let mut reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: ".to_vec();
            reply.resize(length - 4, b'x');
            reply.extend_from_slice(b"\r\n\r\n1");
            for piece in [usize::MAX, 4096, 40_000] {
                let outcome = replay(&reply, piece, &Request::new(b"/a", 1));
                assert_eq!(matches!(outcome, Outcome::Delivered { .. }), fits, "{length}, {piece}: {outcome:?}");
            }
        }
    }
}
