//! Repositories over HTTP, for small sites, tests and machines without a web server.
//!
//! What is not named here is not served: objects, the letters of a repository, announcements, the Geo API, the list of
//! repositories, metrics.

pub mod announce;
mod files;
mod geo;
mod info;
mod metrics;
mod places;
mod reply;

use crate::http::{Body, Limits, Listener};
use announce::Announcements;
use anyhow::Result;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use metrics::Metrics;
use places::Places;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to serve, and how much at the same time.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A directory of repositories, each under its name; or one repository.
    pub directory: PathBuf,
    /// Address and port.
    pub listen: SocketAddr,
    /// What clients may take up.
    pub limits: Limits,
    /// A database in MaxMind's format that tells where addresses are, for the Geo API.
    pub geo_database: Option<PathBuf>,
}

/// A server that listens but does not answer yet.
pub struct Server {
    listener: Listener,
    site: Arc<Site>,
}

/// What the requests share.
struct Site {
    repositories: files::Repositories,
    places: Option<Arc<Places>>,
    metrics: Metrics,
    announcements: Announcements,
}

impl Server {
    /// Begins to listen.
    pub async fn bind(settings: &Settings) -> Result<Server> {
        let repositories = files::Repositories::new(&settings.directory)?;
        let places = settings.geo_database.as_deref().map(Places::open).transpose()?.map(Arc::new);
        let listener = Listener::bind(settings.listen, settings.limits).await?;
        let (metrics, announcements) = (Metrics::new(listener.open()), Announcements::new());
        let site = Arc::new(Site { repositories, places, metrics, announcements });
        Ok(Server { listener, site })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.address()
    }

    /// Reads the database of places again; the old one stays if that fails.
    pub fn reload(&self) -> impl Fn() + Send + use<> {
        let places = self.site.places.clone();
        move || {
            if let Some(places) = &places {
                places.reload();
            }
        }
    }

    /// Answers until `stop` is done; what is under way then may end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Server { listener, site } = self;
        let announcing = Arc::clone(&site);
        let stop = async move {
            stop.await;
            announcing.announcements.stop();
        };
        listener.run(stop, move |peer, request| answer(Arc::clone(&site), peer, request)).await;
    }
}

async fn answer(site: Arc<Site>, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let (kind, reply) = route(&site, peer, &path, request).await;
    site.metrics.reply(kind, reply.status());
    log::debug!("{peer}: {path}: {}", reply.status());
    reply
}

async fn route(
    site: &Site,
    peer: SocketAddr,
    path: &str,
    request: Request<Incoming>,
) -> (metrics::Kind, Response<Body>) {
    use metrics::Kind;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (Kind::Other, reply::not_allowed());
    }
    if path == "/metrics" {
        return (Kind::Other, site.metrics.show(&site.repositories));
    }
    let Some(rest) = path.strip_prefix("/cvmfs/") else { return (Kind::Other, reply::status(StatusCode::NOT_FOUND)) };
    if rest == "info/v1/repositories.json" {
        return (Kind::Other, info::repositories(&site.repositories));
    }
    let Some((fqrn, rest)) = rest.split_once('/') else { return (Kind::Other, reply::status(StatusCode::NOT_FOUND)) };
    let Some(directory) = site.repositories.find(fqrn) else {
        return (Kind::Other, reply::status(StatusCode::NOT_FOUND));
    };
    if rest == announce::PATH {
        return (Kind::Announcements, site.announcements.answer(&directory, request.method()));
    }
    match rest.strip_prefix("api/v1.0/geo/") {
        Some(question) => {
            let reply = geo::answer(site.places.as_ref(), question, peer, request.headers()).await;
            (Kind::Geo, reply)
        }
        None => files::answer(&directory, rest, request).await,
    }
}

/// Whether a name may be that of a repository, or of a file in one: nothing that leads elsewhere.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && Path::new(name).components().count() == 1
        && !name.starts_with("..")
        && !name.contains(['/', '\0'])
}
