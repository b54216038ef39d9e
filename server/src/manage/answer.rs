//! From a request to a reply.

use super::job::{Job, Kind};
use super::problem::{Answer, Problem};
use super::route::{self, Action};
use super::token::Token;
use super::work::{Order, Publish};
use super::{DESCRIPTION, Manager, actions, upload};
use crate::http::{Body, whole};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use libcvmfs::trust::unix_now;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a body that is no archive.
const SMALL: u64 = 64 << 10;
/// Types of bodies that are archives.
const ARCHIVES: [&str; 4] = ["application/x-tar", "application/gzip", "application/zstd", "application/octet-stream"];
/// Longest time that a request may wait for a job, in seconds.
const LONGEST_WAIT: u64 = 60;

/// Answers one request.
pub async fn answer(manager: Arc<Manager>, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let mut reply = match perform(manager, request).await {
        Ok(reply) => reply,
        Err(problem) => problem.reply(),
    };
    // What one may see another may not.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    log::info!("{peer}: {what}: {}", reply.status());
    reply
}

async fn perform(manager: Arc<Manager>, request: Request<Incoming>) -> Answer<Response<Body>> {
    let (parts, body) = request.into_parts();
    let (action, names) = route::find(&parts.method, parts.uri.path())?;
    if action == Action::Describe {
        return Ok(whole("application/json", DESCRIPTION));
    }
    let token = authenticate(&manager, &parts.headers)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let name = |index: usize| names.get(index).cloned().unwrap_or_default();
    let fqrn = || actions::fqrn(&name(0));
    match action {
        Action::Publish => return publish(manager, token, &name(0), query, &parts.headers, body).await,
        Action::Job => {
            let seconds = query.only(&["wait"])?.number("wait", LONGEST_WAIT)?.unwrap_or(0);
            let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
            return Ok(reply(StatusCode::OK, &manager.jobs.wait(&token.group, &name(0), deadline).await?));
        }
        _ => query.only(&[])?,
    };
    // What follows reads and writes files.
    match action {
        Action::Repositories => here(move || Ok(reply(StatusCode::OK, &manager.repositories(&token)?))).await,
        Action::CreateRepository => {
            let body = json(&parts.headers, body).await?;
            here(move || {
                let told = manager.create(&token, body)?;
                Ok(created(&format!("/api/v1/repositories/{}", told["name"].as_str().unwrap_or_default()), &told))
            })
            .await
        }
        Action::Repository => {
            let fqrn = fqrn()?;
            here(move || Ok(reply(StatusCode::OK, &manager.repository(&token, &fqrn)?))).await
        }
        Action::Tags => {
            let fqrn = fqrn()?;
            here(move || Ok(reply(StatusCode::OK, &manager.tags(&token, &fqrn)?))).await
        }
        Action::AddTag => {
            let (fqrn, body) = (fqrn()?, json(&parts.headers, body).await?);
            here(move || Ok(reply(StatusCode::CREATED, &manager.add_tag(&token, &fqrn, &body)?))).await
        }
        Action::RemoveTag => {
            let (fqrn, tag) = (fqrn()?, name(1));
            here(move || manager.remove_tag(&token, &fqrn, &tag).map(|()| nothing())).await
        }
        Action::Collect => {
            let (fqrn, body) = (fqrn()?, json(&parts.headers, body).await?);
            here(move || Ok(accepted(&manager.collect(&token, &fqrn, &body)?))).await
        }
        Action::TakeLease => {
            let body = json(&parts.headers, body).await?;
            here(move || {
                let lease = manager.take_lease(&token, &body)?;
                Ok(created(&format!("/api/v1/leases/{}", lease.id), &lease))
            })
            .await
        }
        Action::RenewLease => {
            let (lease, body) = (name(0), json(&parts.headers, body).await?);
            here(move || Ok(reply(StatusCode::OK, &manager.renew_lease(&token, &lease, &body)?))).await
        }
        Action::ReleaseLease => {
            let lease = name(0);
            here(move || manager.release_lease(&token, &lease).map(|()| nothing())).await
        }
        Action::CancelJob => {
            let job = name(0);
            here(move || Ok(reply(StatusCode::OK, &manager.jobs.cancel(&token.group, &job)?))).await
        }
        Action::Lease => Ok(reply(StatusCode::OK, &manager.lease(&token, &name(0))?)),
        Action::Leases => Ok(reply(StatusCode::OK, &manager.leases(&token))),
        Action::Jobs => Ok(reply(StatusCode::OK, &json!({"jobs": manager.jobs.of_group(&token.group)}))),
        Action::Describe | Action::Publish | Action::Job => Err(Problem::not_found("resource")),
    }
}

fn authenticate(manager: &Manager, headers: &HeaderMap) -> Answer<Token> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else { return Err(Problem::unauthorized()) };
    let (scheme, text) = header.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let token = match scheme.eq_ignore_ascii_case("bearer") {
        true => manager.tokens.find(text.trim(), unix_now())?,
        false => None,
    };
    token.ok_or_else(Problem::unauthorized)
}

/// Takes an archive in, and lets a job publish it.
async fn publish(
    manager: Arc<Manager>,
    token: Token,
    lease: &str,
    query: Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Answer<Response<Body>> {
    let query = query.only(&["replace", "into", "delete", "tag", "description", "sha256"])?;
    content_type(headers, &ARCHIVES)?;
    let claim = manager.leases.claim(&token.group, lease, unix_now())?;
    manager.still_allowed(&token, &claim.lease)?;
    let below = |text: &str| below(claim.lease.path.bytes(), text);
    let into = query.one("into")?.map_or_else(|| Ok(claim.lease.path.bytes().to_vec()), below)?;
    let delete = query.all("delete").map(below).collect::<Answer<Vec<_>>>()?;
    let replace = query.flag("replace")?;
    let description = query.one("description")?.unwrap_or_default().to_owned();
    let tag = query.one("tag")?.map(str::to_owned);
    actions::tag_description(&description)?;
    if let Some(tag) = &tag {
        actions::tag_name(tag)?;
        if !token.may_tag(&claim.lease.repository) {
            return Err(Problem::forbidden("the token does not allow to change tags"));
        }
    }
    let digest = query.one("sha256")?;
    let go_on = || claim.check(unix_now());
    let archive = upload::receive(body, &manager.uploads, manager.largest_upload, digest, go_on).await?;
    here(move || {
        claim.hold(unix_now())?;
        let repository = claim.lease.repository.clone();
        let tag = tag.map(|name| (name, description));
        let order = Order::Publish(Publish { claim, archive, into, replace, delete, tag });
        Ok(accepted(&manager.jobs.add(Kind::Publish, &token.group, &repository, order)?))
    })
    .await
}

/// A path below a lease as catalogs have it. It may have any names in it but those that lead elsewhere.
fn below(lease: &[u8], text: &str) -> Answer<Vec<u8>> {
    let good = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains('\0');
    let path = [lease, b"/", text.as_bytes()].concat();
    if text.len() > 4096 || !text.split('/').all(good) || crate::draft::is_reserved(&path) {
        let detail = format!("'{}' is no path below the leased one", text.escape_debug());
        return Err(Problem::unprocessable("path", detail));
    }
    Ok(path)
}

/// Runs what may wait for disks and locks.
async fn here(work: impl FnOnce() -> Answer<Response<Body>> + Send + 'static) -> Answer<Response<Body>> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error.into()))?
}

async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Incoming) -> Answer<T> {
    content_type(headers, &["application/json"])?;
    upload::json(body, SMALL).await
}

fn content_type(headers: &HeaderMap, expected: &[&str]) -> Answer<()> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim();
    match expected.iter().any(|expected| expected.eq_ignore_ascii_case(essence)) {
        true => Ok(()),
        false => Err(Problem::unsupported_type(&expected.join(", "))),
    }
}

fn reply(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut response = whole("application/json", serde_json::to_vec(value).unwrap_or_default());
    *response.status_mut() = status;
    response
}

fn nothing() -> Response<Body> {
    let mut response = whole("application/json", "");
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

fn at(mut response: Response<Body>, place: &str) -> Response<Body> {
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

fn created(place: &str, value: &impl Serialize) -> Response<Body> {
    at(reply(StatusCode::CREATED, value), place)
}

fn accepted(job: &Job) -> Response<Body> {
    at(reply(StatusCode::ACCEPTED, job), &format!("/api/v1/jobs/{}", job.id))
}

/// What stands behind the question mark.
struct Query(HashMap<String, Vec<String>>);

impl Query {
    fn parse(text: &str) -> Answer<Query> {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            if value.contains(char::REPLACEMENT_CHARACTER) {
                return Err(Problem::invalid(format!("{key}: this is no UTF-8 text")));
            }
            values.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        Ok(Query(values))
    }

    /// The same if it has no other keys. Who misspells one should not publish something else than he means.
    fn only(self, known: &[&str]) -> Answer<Query> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Problem::invalid(format!("unknown parameter '{}'", key.escape_debug()))),
            None => Ok(self),
        }
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    fn one(&self, key: &str) -> Answer<Option<&str>> {
        let mut all = self.all(key);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            _ => Err(Problem::invalid(format!("'{key}' more than once"))),
        }
    }

    fn flag(&self, key: &str) -> Answer<bool> {
        match self.one(key)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::invalid(format!("'{key}' is true or false"))),
        }
    }

    fn number(&self, key: &str, most: u64) -> Answer<Option<u64>> {
        let Some(text) = self.one(key)? else { return Ok(None) };
        match text.parse() {
            Ok(number) if number <= most => Ok(Some(number)),
            _ => Err(Problem::invalid(format!("'{key}' is a number of at most {most}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_lease() {
        assert_eq!(below(b"/a/b", "c d/.e").unwrap(), b"/a/b/c d/.e");
        assert_eq!(below(b"", "c").unwrap(), b"/c");
        for wrong in ["", "..", "../c", "c/..", "c/../../d", "/c", "c/", "c//d", ".", "c\0d"] {
            assert_eq!(below(b"/a/b", wrong).unwrap_err().code, "path", "{wrong:?}");
        }
        assert!(below(b"", ".cvmfs").is_err() && below(b"", ".cvmfs/snapshots").is_err());
    }

    #[test]
    fn queries_say_each_thing_once() {
        let query = Query::parse("a=1&b=x%20y&b=z&c=true").unwrap();
        assert_eq!(query.one("b").err().unwrap().code, "invalid");
        assert_eq!(query.all("b").collect::<Vec<_>>(), ["x y", "z"]);
        assert_eq!((query.number("a", 1).unwrap(), query.number("d", 1).unwrap()), (Some(1), None));
        assert!(query.number("a", 0).is_err() && query.number("b", 1).is_err());
        assert!(query.flag("c").unwrap() && !query.flag("d").unwrap() && query.flag("a").is_err());
        assert!(query.only(&["a", "b"]).is_err());
        assert!(Query::parse("a=%ff").is_err());
    }
}
