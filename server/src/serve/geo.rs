//! The Geo API: in which order a client should use servers.
//!
//! A question is `<caching string>/<names, separated by commas>`. The answer is a permutation of the positions of the
//! names, counted from 1, the nearest server first. Without knowledge of places it is the order that was asked for.

use super::places::{Place, Places};
use super::reply;
use crate::http::Body;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Most names in a question.
const MOST: usize = 100;
/// Longest host name.
const LONGEST: usize = 255;
/// Between hosts and fallback proxies: the hosts are wanted by their distance from the nearest proxy. It has a position, too.
const SEPARATOR: &str = "+PXYSEP+";
/// Places do not change often.
const LONG: HeaderValue = HeaderValue::from_static("public, max-age=3600");
/// Who is not known may be known soon.
const UNKNOWN: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// Who asks, as Cloudflare tells.
const CLOUDFLARE: &str = "cf-connecting-ip";
/// Who asks, as other proxies tell.
const FORWARDED: &str = "x-forwarded-for";

/// What is asked.
#[derive(Debug, PartialEq)]
struct Question<'q> {
    /// Where the answer is for, if it is an address or a name with dots in it.
    caller: &'q str,
    hosts: Vec<&'q str>,
    /// `None`: there is no separator.
    proxies: Option<Vec<&'q str>>,
}

impl<'q> Question<'q> {
    fn parse(text: &'q str) -> Option<Question<'q>> {
        let (caller, list) = text.split_once('/')?;
        let names: Vec<&str> = list.split(',').collect();
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        let is_name = |name: &&str| name.len() <= LONGEST && name.chars().all(allowed);
        let is_caching = !caller.is_empty() && caller.chars().all(|c| allowed(c) || "@+".contains(c));
        if !is_caching || list.is_empty() || names.len() > MOST {
            return None;
        }
        let mut parts = names.split(|name| *name == SEPARATOR);
        let (hosts, proxies) = (parts.next()?.to_vec(), parts.next().map(<[&str]>::to_vec));
        let good = parts.next().is_none() && hosts.iter().chain(proxies.iter().flatten()).all(is_name);
        good.then_some(Question { caller, hosts, proxies })
    }
}

/// Answers a question.
pub(super) async fn answer(
    places: Option<&Arc<Places>>,
    question: &str,
    client: SocketAddr,
    headers: &HeaderMap,
) -> Response<Body> {
    let Some(question) = Question::parse(question) else { return reply::status(StatusCode::BAD_REQUEST) };
    log::debug!("{client} asks for the order of {question:?}");
    let (order, caching) = match places {
        None => (order(&question, None, &[], &[]), LONG),
        Some(places) => {
            let caller = caller(places, question.caller, client, headers).await;
            let hosts = places.of_names(&question.hosts).await;
            let proxies = places.of_names(question.proxies.as_deref().unwrap_or_default()).await;
            (order(&question, caller, &hosts, &proxies), if caller.is_some() { LONG } else { UNKNOWN })
        }
    };
    let positions: Vec<String> = order.iter().map(|index| (index + 1).to_string()).collect();
    let mut response = reply::text("text/plain", positions.join(",") + "\n");
    response.headers_mut().insert(CACHE_CONTROL, caching);
    response
}

/// Where the one is for whom the answer is: as it says itself, as proxies say, or where the connection comes from. What it
/// says itself counts first, so that nobody can fill a cache with answers for a proxy elsewhere.
async fn caller(places: &Arc<Places>, said: &str, client: SocketAddr, headers: &HeaderMap) -> Option<Place> {
    if said.contains(['.', ':'])
        && let [Some(place)] = places.of_names(&[said]).await[..]
    {
        return Some(place);
    }
    let last = |name: &str| -> Option<IpAddr> {
        headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit([',', ' ']).next()?.parse().ok()
    };
    let told = [last(CLOUDFLARE), last(FORWARDED), Some(client.ip())];
    told.into_iter().flatten().find_map(|address| places.of_address(address))
}

/// The indices of all names in a good order.
fn order(
    question: &Question<'_>,
    caller: Option<Place>,
    hosts: &[Option<Place>],
    proxies: &[Option<Place>],
) -> Vec<usize> {
    let Some(sent) = &question.proxies else { return nearest(question.hosts.len(), caller, hosts) };
    let by_distance = nearest(sent.len(), caller, proxies);
    let nearest_proxy = by_distance.first().and_then(|index| proxies.get(*index).copied().flatten());
    let mut order = nearest(question.hosts.len(), nearest_proxy.or(caller), hosts);
    let separator = question.hosts.len();
    order.extend(by_distance.into_iter().map(|index| separator + 1 + index));
    order.push(separator);
    order
}

/// The indices of `count` places, those next to `from` first, unknown ones last; what is equally far stays in order.
fn nearest(count: usize, from: Option<Place>, places: &[Option<Place>]) -> Vec<usize> {
    let distance = |index: usize| match (from, places.get(index).copied().flatten()) {
        (Some(from), Some(place)) => from.distance(place),
        _ => f64::INFINITY,
    };
    let mut order: Vec<(f64, usize)> = (0..count).map(|index| (distance(index), index)).collect();
    order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    order.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_divides_names_and_counts() {
        let question = Question::parse("x/a.example,b.example").unwrap();
        assert_eq!((question.hosts, question.proxies), (vec!["a.example", "b.example"], None));
        let question = Question::parse("x/a,b,+PXYSEP+,p").unwrap();
        assert_eq!((&question.hosts, &question.proxies), (&vec!["a", "b"], &Some(vec!["p"])));
        assert_eq!(order(&question, None, &[], &[]), [0, 1, 3, 2]);
        for wrong in
            ["x", "x/", "/a", "x/a/b", "x/a b", "x/../a", "x/a\r\n", "x/a,+PXYSEP+,b,+PXYSEP+,c", "x/a+PXYSEP+b"]
        {
            assert!(Question::parse(wrong).is_none(), "{wrong:?}");
        }
        assert!(Question::parse(&format!("x/{}", vec!["a"; MOST + 1].join(","))).is_none());
    }

    #[test]
    fn hosts_are_sorted_by_the_nearest_proxy() {
        let place = |longitude| Some(Place { latitude: 0.0, longitude });
        let question = Question::parse("x/a,b,+PXYSEP+,p,q").unwrap();
        let hosts = [place(10.0), place(80.0)];
        assert_eq!(order(&question, place(0.0), &hosts, &[place(120.0), place(90.0)]), [1, 0, 4, 3, 2]);
        assert_eq!(order(&question, place(0.0), &hosts, &[None, None]), [0, 1, 3, 4, 2]);
        assert_eq!(order(&question, place(0.0), &hosts, &[None, place(90.0)]), [1, 0, 4, 3, 2]);
    }
}
