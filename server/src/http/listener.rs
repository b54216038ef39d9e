//! The loop that takes connections.

use super::Body;
use anyhow::{Context as _, Result};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A client must take what was sent within this time.
const TAKE_TIME: Duration = Duration::from_secs(60);
/// Replies under way may end within this time when the server stops.
const FAREWELL: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted: descriptors may be free again then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What clients may take up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at the same time; others wait.
    pub connections: usize,
    /// A client must send the head of its request, or of the next one, within this time.
    pub idle: Duration,
}

/// A server that listens but does not answer yet.
pub struct Listener {
    listener: TcpListener,
    limits: Limits,
    open: Arc<AtomicI64>,
}

/// Counts a connection as long as it is open.
struct Open(Arc<AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listener {
    /// Begins to listen.
    pub async fn bind(address: SocketAddr, limits: Limits) -> Result<Listener> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        Ok(Listener { listener, limits, open: Arc::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// The number of connections that are open, kept up to date.
    pub fn open(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.open)
    }

    /// Lets `answer` reply to requests until `stop` is done; what is under way then may end.
    pub async fn run<A, F>(self, stop: impl Future<Output = ()>, answer: A)
    where
        A: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let Listener { listener, limits, open } = self;
        let (free, graceful) = (Arc::new(Semaphore::new(limits.connections)), GracefulShutdown::new());
        let mut stop = pin!(stop);
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
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let reply = answer(peer, request);
                async move { Ok::<_, Infallible>(reply.await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(64 << 10);
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            open.fetch_add(1, Ordering::Relaxed);
            let counted = Open(Arc::clone(&open));
            tokio::spawn(async move {
                let (_permit, _counted) = (permit, counted);
                if let Err(error) = connection.await {
                    log::debug!("{peer}: {error}");
                }
            });
        }
        drop(listener);
        if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
            log::warn!("some clients did not take their replies in time");
        }
    }
}

/// Who does not take anything any more must not hold a connection for ever.
fn limit(stream: &TcpStream) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(TAKE_TIME))?;
    socket.set_keepalive(true)?;
    stream.set_nodelay(true)
}
