//! Repositories over HTTP, for small sites, tests and machines without a web server.
//!
//! What is not named here is not served: objects, the letters of a repository, the Geo API, the list of repositories, metrics.

mod files;
mod geo;
mod info;
mod metrics;
mod reply;

use anyhow::{Context as _, Result};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use metrics::Metrics;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A client must send its request, or the next one, within this time.
const REQUEST_TIME: Duration = Duration::from_secs(15);
/// A client must take what was sent within this time.
const TAKE_TIME: Duration = Duration::from_secs(60);
/// Replies under way may end within this time when the server stops.
const FAREWELL: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted: descriptors may be free again then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bodies of replies.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What to serve, and how much at the same time.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A directory of repositories, each under its name; or one repository.
    pub directory: PathBuf,
    /// Address and port.
    pub listen: SocketAddr,
    /// Connections at the same time; others wait.
    pub connections: usize,
}

/// A server that listens but does not answer yet.
pub struct Server {
    listener: TcpListener,
    site: Arc<Site>,
    connections: usize,
}

/// What the requests share.
struct Site {
    repositories: files::Repositories,
    metrics: Metrics,
}

impl Server {
    /// Begins to listen.
    pub async fn bind(settings: &Settings) -> Result<Server> {
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.with_context(|| format!("listening on {}", settings.listen))?;
        let repositories = files::Repositories::new(&settings.directory)?;
        let site = Arc::new(Site { repositories, metrics: Metrics::default() });
        Ok(Server { listener, site, connections: settings.connections })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Answers until `stop` is done; what is under way then may end.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Server { listener, site, connections } = self;
        let (free, graceful, mut stop) = (Arc::new(Semaphore::new(connections)), GracefulShutdown::new(), pin!(stop));
        loop {
            let accepted = async {
                let permit = Arc::clone(&free).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    log::warn!("a connection was lost: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Err(error) = limit(&stream) {
                log::debug!("{peer}: {error}");
                continue;
            }
            let answering = Arc::clone(&site);
            let service = hyper::service::service_fn(move |request| answer(Arc::clone(&answering), peer, request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME).max_buf_size(64 << 10);
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                let _permit = permit;
                let _open = site.metrics.connection();
                if let Err(error) = connection.await {
                    log::debug!("{peer}: {error}");
                }
            });
        }
        drop(listener);
        if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
            log::warn!("some clients did not take their replies in time");
        }
        Ok(())
    }
}

/// Who does not take anything any more must not hold a connection for ever.
fn limit(stream: &TcpStream) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(TAKE_TIME))?;
    socket.set_keepalive(true)?;
    stream.set_nodelay(true)
}

async fn answer(site: Arc<Site>, peer: SocketAddr, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let (kind, reply) = route(&site, peer, &path, request).await;
    site.metrics.reply(kind, reply.status());
    log::debug!("{peer}: {path}: {}", reply.status());
    Ok(reply)
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
    match rest.strip_prefix("api/v1.0/geo/") {
        Some(question) => (Kind::Geo, geo::answer(question, peer)),
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
