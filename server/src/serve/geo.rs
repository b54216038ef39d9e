//! The Geo API: in which order a client should use servers. Without knowledge of places it is the order that was asked for.

use super::{Body, reply};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use std::net::SocketAddr;

/// Most names in a question.
const MOST: usize = 100;
/// Longest host name.
const LONGEST: usize = 255;
/// Between hosts and fallback proxies.
const SEPARATOR: &str = "+PXYSEP+";
/// Places do not change often.
const LONG: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Answers `<caching string>/<names, separated by commas>` with positions, counted from 1 over hosts and proxies.
pub(super) fn answer(question: &str, client: SocketAddr) -> Response<Body> {
    let Some(names) = names(question) else { return reply::status(StatusCode::BAD_REQUEST) };
    log::debug!("{client} asks for the order of {names:?}");
    let positions: Vec<String> = (1..=names.len()).map(|position| position.to_string()).collect();
    let mut response = reply::text("text/plain", positions.join(",") + "\n");
    response.headers_mut().insert(CACHE_CONTROL, LONG);
    response
}

/// The names; the separator is none and is not counted.
fn names(question: &str) -> Option<Vec<&str>> {
    let (caching, list) = question.split_once('/')?;
    let (hosts, proxies) = list.split_once(SEPARATOR).unwrap_or((list, ""));
    let names: Vec<&str> = hosts.split(',').chain(proxies.split(',')).filter(|name| !name.is_empty()).collect();
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    let is_name = |name: &&str| name.len() <= LONGEST && name.chars().all(allowed);
    let is_caching = !caching.is_empty() && caching.chars().all(|c| allowed(c) || "@+".contains(c));
    (is_caching && (1..=MOST).contains(&names.len()) && names.iter().all(is_name)).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_over_the_separator() {
        assert_eq!(names("x/a.example,b.example").unwrap(), ["a.example", "b.example"]);
        assert_eq!(names("x/a,b,+PXYSEP+,p").unwrap(), ["a", "b", "p"]);
        for wrong in ["x", "x/", "/a", "x/a/b", "x/a b", "x/../a", "x/a\r\n"] {
            assert!(names(wrong).is_none(), "{wrong:?}");
        }
        assert!(names(&format!("x/{}", vec!["a"; MOST + 1].join(","))).is_none());
    }
}
