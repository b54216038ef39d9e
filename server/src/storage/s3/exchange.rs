//! Requests to the server: each again where that may help, with longer and longer waits in between.

use super::super::StorageError;
use super::refusal::{Refusal, unreachable};
use libcvmfs::transport::Backoff;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode};
use ureq::{Agent, Body, SendBody};
use url::Url;

/// A request is made so often at most; with the waits this takes about 10 seconds.
const TRIES: u32 = 8;
/// The same for a server that never answered anything: it may well be the wrong address.
const TRIES_WITH_A_STRANGER: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Until a connection stands.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// Without a byte in either direction. Servers may take their time to put the parts of a large object together.
const SILENCE: Duration = Duration::from_secs(90);
/// Connections that are kept for the next request: more than there are workers.
const IDLE_CONNECTIONS: usize = 256;
/// Most bytes of an answer that is no file: of a page of a listing.
const ANSWER_LIMIT: u64 = 16 << 20;
/// More of the text of an error is not read.
const ERROR_LIMIT: u64 = 64 << 10;

/// The way to one server.
pub(super) struct Exchange {
    agent: Agent,
    endpoint: String,
    /// Whether it ever answered.
    is_known: AtomicBool,
}

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Payload<'p> {
    None,
    Bytes(&'p [u8]),
    Part { file: &'p File, offset: u64, size: u64 },
}

/// A request.
pub(super) struct Call<'c> {
    pub(super) method: Method,
    /// Signs the URL anew: signatures grow old.
    pub(super) url: &'c dyn Fn() -> Url,
    pub(super) headers: &'c [(&'static str, String)],
    pub(super) payload: Payload<'c>,
    /// Most bytes of the answer, which is read at once; `None` leaves the body of a success to the caller.
    pub(super) limit: Option<u64>,
}

impl<'c> Call<'c> {
    /// A request that sends nothing, of which the answer is small.
    pub(super) fn new(method: Method, url: &'c dyn Fn() -> Url) -> Call<'c> {
        Call { method, url, headers: &[], payload: Payload::None, limit: Some(ANSWER_LIMIT) }
    }
}

/// What came back: success, or one of the answers *not there* (404), *condition not met* (412), *no such range* (416),
/// *not known* (501).
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What was read of the body.
    pub(super) bytes: Vec<u8>,
    /// The rest of it.
    pub(super) body: Body,
    /// How often it was asked: after the first time an earlier request may have done it.
    pub(super) tries: u32,
}

impl Reply {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why a try failed.
struct Fault {
    error: StorageError,
    /// Whether it is worth another try.
    may_pass: bool,
}

impl Exchange {
    /// Nothing is connected yet. Proxies of the environment are used for https only: those for http would be asked for
    /// tunnels, which they refuse.
    pub(super) fn new(endpoint: &Url) -> Exchange {
        let is_https = endpoint.scheme() == "https";
        let mut settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("cvmfs-server/", env!("CARGO_PKG_VERSION")))
            .accept("*/*")
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS);
        if is_https {
            settings = settings.tls_config(crate::http::tls::tls());
        } else {
            settings = settings.proxy(None);
        }
        let endpoint = endpoint.origin().ascii_serialization();
        Exchange { agent: settings.build().new_agent(), endpoint, is_known: AtomicBool::new(false) }
    }

    /// Makes a request about `place`, again where that may help; after the time `within` there is no sense in it any more.
    pub(super) fn send(&self, call: &Call<'_>, place: &str, within: Option<Duration>) -> Result<Reply, StorageError> {
        let begin = super::clock();
        let mut patience = Patience::default();
        loop {
            let left = within.map(|time| time.saturating_sub(super::clock().saturating_sub(begin)));
            let fault = match self.attempt(call, place, left) {
                Ok(reply) => return Ok(Reply { tries: patience.tries + 1, ..reply }),
                Err(fault) => fault,
            };
            if !fault.may_pass || left.is_some_and(|left| left.is_zero()) || !self.wait(&mut patience) {
                return Err(fault.error);
            }
            log::debug!("{}, trying again", fault.error);
        }
    }

    /// Waits before another try; false if there is to be none.
    pub(super) fn wait(&self, patience: &mut Patience) -> bool {
        let most = if self.is_known.load(Ordering::Relaxed) { TRIES } else { TRIES_WITH_A_STRANGER };
        patience.tries += 1;
        if patience.tries >= most {
            return false;
        }
        std::thread::sleep(patience.backoff.advance(&mut patience.random));
        true
    }

    fn attempt(&self, call: &Call<'_>, place: &str, left: Option<Duration>) -> Result<Reply, Fault> {
        let response = self.exchange(call, left).map_err(|error| {
            let may_pass = !matches!(error, ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_));
            Fault { error: unreachable(place, &self.endpoint, &error), may_pass }
        })?;
        self.is_known.store(true, Ordering::Relaxed);
        let (parts, body) = response.into_parts();
        let mut reply = Reply { status: parts.status, headers: parts.headers, bytes: Vec::new(), body, tries: 0 };
        if reply.status.is_success() {
            return match call.limit {
                Some(limit) => self.complete(reply, place, limit),
                None => Ok(reply),
            };
        }
        // Whatever can be had of it.
        let _ = reply.body.as_reader().take(ERROR_LIMIT).read_to_end(&mut reply.bytes);
        let refusal = Refusal::read(reply.status, &reply.headers, &reply.bytes);
        match refusal.is_answer() {
            true => Ok(reply),
            false => Err(Fault { error: refusal.error(place), may_pass: refusal.may_pass() }),
        }
    }

    /// Reads an answer to its end.
    fn complete(&self, mut reply: Reply, place: &str, limit: u64) -> Result<Reply, Fault> {
        let read = reply.body.as_reader().take(limit + 1).read_to_end(&mut reply.bytes);
        read.map_err(|error| Fault {
            error: unreachable(place, &self.endpoint, &ureq::Error::Io(error)),
            may_pass: true,
        })?;
        match reply.bytes.len() as u64 > limit {
            true => Err(Fault {
                error: StorageError::Remote {
                    place: place.to_owned(),
                    problem: format!("an answer of more than {limit} bytes"),
                },
                may_pass: false,
            }),
            false => Ok(reply),
        }
    }

    fn exchange(&self, call: &Call<'_>, left: Option<Duration>) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(call.method.clone()).uri((call.url)().as_str());
        for (name, value) in call.headers {
            request = request.header(*name, value);
        }
        match call.payload {
            Payload::None => self.run(request.body(())?, left),
            Payload::Bytes(bytes) => self.run(request.body(bytes)?, left),
            Payload::Part { file, offset, size } => {
                let mut part = Part { file, offset, end: offset + size };
                let request = request.header("content-length", size);
                self.run(request.body(SendBody::from_reader(&mut part))?, left)
            }
        }
    }

    fn run(
        &self,
        request: Request<impl ureq::AsSendBody>,
        left: Option<Duration>,
    ) -> Result<Response<Body>, ureq::Error> {
        match left {
            None => self.agent.run(request),
            left => self.agent.run(self.agent.configure_request(request).timeout_global(left).build()),
        }
    }
}

/// How often something was tried, and how long to wait the next time.
pub(super) struct Patience {
    tries: u32,
    backoff: Backoff,
    random: fastrand::Rng,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { tries: 0, backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT), random: fastrand::Rng::new() }
    }
}

/// A part of a file, without the file's own position: other parts may be read at the same time.
struct Part<'p> {
    file: &'p File,
    offset: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.offset).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(buffer) = buffer.get_mut(..most) else { return Ok(0) };
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Base 64 of the MD5 of what is sent: servers compare it with what they received.
pub(super) fn checksum(payload: Payload<'_>) -> io::Result<String> {
    use base64::Engine as _;
    use md5::Digest as _;
    let mut md5 = md5::Md5::new();
    match payload {
        Payload::None => {}
        Payload::Bytes(bytes) => md5.update(bytes),
        Payload::Part { file, offset, size } => {
            let mut part = Part { file, offset, end: offset + size };
            let mut buffer = vec![0; 1 << 17];
            loop {
                match part.read(&mut buffer)? {
                    0 => break,
                    count => md5.update(buffer.get(..count).unwrap_or_default()),
                }
            }
        }
    }
    Ok(base64::engine::general_purpose::STANDARD.encode(md5.finalize()))
}
