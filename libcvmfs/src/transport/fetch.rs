//! One try: one URL, one way to it, one verdict.

use super::connect::Connector;
use super::error::Failure;
use super::failover::{Blame, Hop, Route, Verdict};
use super::file_url::{self, FileError};
use super::http::{Body, BodyError, Framing, Head, HeadError, Pace, Pool, Wire, WireError, read_head};
use super::request::{HeaderTemplate, Request};
use super::url::{Authority, Scheme, escape_path};
use crate::object::{ReceiveError, Receiver};
use std::time::{Duration, Instant};

#[cfg(any(test, fuzzing))]
pub(super) mod replay;

/// Redirects followed when they are followed at all.
const MAX_REDIRECTS: usize = 4;
/// An error page up to this length is read to its end, so that the connection can be used again.
const DRAIN_BYTES: u64 = 16 * 1024;

/// What went wrong in a try, before anybody is blamed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The URL cannot be built or its protocol is not spoken.
    Url(String),
    /// No address for the name of the proxy or of the host.
    Resolve { of_proxy: bool, reason: String },
    /// No connection, or no TLS session.
    Connect { to_proxy: bool, reason: String },
    /// The connection was closed, or is not HTTP, before a response began.
    NoResponse(String),
    /// Nothing came for the whole timeout.
    Silent(String),
    /// Something came, but too little.
    TooSlow(String),
    /// The transfer broke off.
    Cut(String),
    /// The response is nonsense.
    NotHttp(String),
    /// A status that is no success.
    Status { status: u16, proxy_error: Option<String> },
    /// Too many redirects, or one that leads nowhere.
    Redirect(String),
    /// More bytes than the object can have.
    TooBig(String),
    /// The receiver says that these are the wrong bytes.
    Corrupt(String),
    /// The receiver cannot store the bytes.
    Local(std::io::Error),
    /// A `file://` host has no such file.
    FileMissing,
    /// A `file://` host has it, but not for us.
    FileUnreadable(String),
    /// The deadline of the request has passed.
    Deadline,
}

impl Fault {
    /// Who is blamed, by the rules of the official client.
    pub(super) fn verdict(&self, proxied: bool) -> Verdict {
        use Failure as F;
        let (failure, blame) = match self {
            Fault::Url(_) => (F::BadUrl, Blame::Hopeless),
            Fault::Local(_) => (F::LocalIo, Blame::Hopeless),
            Fault::Deadline => (F::Canceled, Blame::Hopeless),
            Fault::Resolve { of_proxy: true, .. } => (F::ProxyResolve, Blame::Proxy),
            Fault::Resolve { of_proxy: false, .. } => (F::HostResolve, Blame::Host),
            Fault::Connect { to_proxy: true, .. } => (F::ProxyConnection, Blame::Proxy),
            Fault::Connect { to_proxy: false, .. } => (F::HostConnection, Blame::Host),
            Fault::NoResponse(_) if proxied => (F::ProxyShortTransfer, Blame::Proxy),
            Fault::NoResponse(_) => (F::HostShortTransfer, Blame::Host),
            Fault::Silent(_) if proxied => (F::ProxyTooSlow, Blame::SilentProxy),
            Fault::TooSlow(_) if proxied => (F::ProxyTooSlow, Blame::SlowProxy),
            Fault::Silent(_) | Fault::TooSlow(_) => (F::HostTooSlow, Blame::Host),
            Fault::Cut(_) if proxied => (F::ProxyShortTransfer, Blame::SlowProxy),
            Fault::Cut(_) => (F::HostShortTransfer, Blame::Host),
            Fault::NotHttp(_) if proxied => (F::Unknown, Blame::Proxy),
            Fault::NotHttp(_) => (F::Unknown, Blame::Host),
            Fault::Redirect(_) => (F::HostConnection, Blame::Host),
            Fault::TooBig(_) => (F::TooBig, Blame::Host),
            Fault::Corrupt(_) => (F::Corrupt, Blame::Corrupt),
            Fault::FileMissing => (F::HostHttp, Blame::MissingObject),
            Fault::FileUnreadable(_) => (F::LocalIo, Blame::Host),
            Fault::Status { proxy_error: Some(_), .. } if proxied => (F::ProxyHttp, Blame::Proxy),
            Fault::Status { status: 404, .. } => (F::HostHttp, Blame::MissingObject),
            Fault::Status { status: 429, .. } => (F::HostConnection, Blame::Host),
            Fault::Status { status, .. } => match status {
                400 | 500..=599 | 301 | 302 | 303 | 307 | 308 => (F::HostHttp, Blame::Host),
                _ if proxied => (F::ProxyHttp, Blame::Proxy),
                _ => (F::HostHttp, Blame::Host),
            },
        };
        Verdict { failure, blame }
    }

    /// The HTTP status, if one came.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Fault::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Url(text)
            | Fault::Resolve { reason: text, .. }
            | Fault::Connect { reason: text, .. }
            | Fault::NoResponse(text)
            | Fault::Silent(text)
            | Fault::TooSlow(text)
            | Fault::Cut(text)
            | Fault::NotHttp(text)
            | Fault::Redirect(text)
            | Fault::TooBig(text)
            | Fault::Corrupt(text)
            | Fault::FileUnreadable(text) => f.write_str(text),
            Fault::Status { status, proxy_error: None } => write!(f, "HTTP status {status}"),
            Fault::Status { status, proxy_error: Some(error) } => write!(f, "HTTP status {status}, {error}"),
            Fault::Local(error) => error.fmt(f),
            Fault::FileMissing => f.write_str("no such file"),
            Fault::Deadline => f.write_str("the deadline of the request has passed"),
        }
    }
}

impl From<ReceiveError> for Fault {
    fn from(error: ReceiveError) -> Fault {
        match error {
            ReceiveError::Corrupt(reason) => Fault::Corrupt(reason),
            ReceiveError::Local(error) => Fault::Local(error),
        }
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Fault {
        match error {
            BodyError::Wire(error) => wire_fault(error, true),
            BodyError::Cut => Fault::Cut("the connection was closed before the end of the body".to_owned()),
            BodyError::BadChunk(reason) => Fault::Cut(reason.to_owned()),
        }
    }
}

fn wire_fault(error: WireError, heard: bool) -> Fault {
    match error {
        WireError::Deadline => Fault::Deadline,
        WireError::TooSlow { window, .. } if !heard => {
            Fault::Silent(format!("no answer within {:.1} s", window.as_secs_f64()))
        }
        WireError::TooSlow { bytes, window } => {
            Fault::TooSlow(format!("only {bytes} bytes within {:.1} s", window.as_secs_f64()))
        }
        WireError::Broken(error) if heard => Fault::Cut(error.to_string()),
        WireError::Broken(error) => Fault::NoResponse(error.to_string()),
    }
}

/// What a successful try brought.
#[derive(Debug, Clone)]
pub(super) struct Delivered {
    pub(super) status: u16,
    pub(super) bytes: u64,
}

/// A server and what to ask it for.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) tls: bool,
    pub(super) authority: Authority,
    pub(super) path: String,
}

impl Target {
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls { Scheme::Https } else { Scheme::Http };
        format!("{}://{}{}", scheme.name(), self.authority, self.path)
    }

    /// Where a `Location` leads from here.
    fn redirect(&self, location: &str) -> Option<Target> {
        if !location.bytes().all(|b| (b'!'..=b'~').contains(&b)) {
            return None;
        }
        let location = location.split('#').next()?;
        if let Some(path) = location.strip_prefix('/')
            && !path.starts_with('/')
        {
            return Some(Target { path: location.to_owned(), ..self.clone() });
        }
        let absolute = match location.strip_prefix("//") {
            Some(rest) => format!("{}://{rest}", if self.tls { "https" } else { "http" }),
            None => location.to_owned(),
        };
        let (base, query) = match absolute.split_once('?') {
            Some((base, query)) => (base.to_owned(), format!("?{query}")),
            None => (absolute, String::new()),
        };
        let (scheme, authority, path) = super::url::split_url(&base).ok()?;
        let path = if path.is_empty() { "/".to_owned() } else { path };
        // From https nobody is led back to plain http, and never to a local file.
        let tls = match scheme {
            Scheme::Https => true,
            Scheme::Http if !self.tls => false,
            _ => return None,
        };
        Some(Target { tls, authority: authority?, path: path + &query })
    }
}

/// The fixed circumstances of all tries.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) connector: Connector,
    pub(super) pool: Pool,
    pub(super) headers: HeaderTemplate,
    pub(super) timeout: Duration,
    pub(super) timeout_direct: Duration,
    pub(super) low_speed_limit: u64,
    pub(super) follow_redirects: bool,
}

/// How one try differs from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    /// Ask caches to step aside.
    pub(super) past_caches: bool,
    /// Do not use a connection that is open already.
    pub(super) fresh_connection: bool,
    /// End of all tries.
    pub(super) deadline: Option<Instant>,
}

impl Fetcher {
    /// The URL that a route makes of a request.
    pub(super) fn url(route: &Route, request: &Request<'_>) -> String {
        match route.host.scheme {
            Scheme::File => format!("{}{}", route.host.url, request.shown_path()),
            _ => format!("{}{}", route.host.url, escape_path(request.path)),
        }
    }

    /// Fetches once. The receiver has been restarted by the caller.
    pub(super) fn fetch(
        &self,
        route: &Route,
        request: &Request<'_>,
        how: Try,
        receiver: &mut dyn Receiver,
    ) -> Result<Delivered, Fault> {
        if !request.path.starts_with(b"/") {
            return Err(Fault::Url(format!(
                "the path '{}' does not begin with a slash",
                request.shown_path().escape_debug()
            )));
        }
        if request.range.is_some_and(|(first, last)| last < first) {
            return Err(Fault::Url("the byte range is empty".to_owned()));
        }
        let Some(authority) = &route.host.authority else {
            return fetch_file(&route.host.base_path, request, receiver);
        };
        let mut target = Target {
            tls: route.host.scheme == Scheme::Https,
            authority: authority.clone(),
            path: format!("{}{}", route.host.base_path, escape_path(request.path)),
        };
        for _ in 0..=MAX_REDIRECTS {
            match self.exchange(&target, &route.hop, request, how, receiver)? {
                Exchange::Delivered(delivered) => return Ok(delivered),
                Exchange::Redirect(location) => {
                    target = target.redirect(&location).ok_or_else(|| {
                        Fault::Redirect(format!("cannot follow the redirect to '{}'", location.escape_debug()))
                    })?;
                }
            }
        }
        Err(Fault::Redirect(format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn exchange(
        &self,
        target: &Target,
        hop: &Hop,
        request: &Request<'_>,
        how: Try,
        receiver: &mut dyn Receiver,
    ) -> Result<Exchange, Fault> {
        let timeout = if *hop == Hop::Direct { self.timeout_direct } else { self.timeout };
        let key = self.connector.key(target, hop)?;
        let lines = self.connector.request_head(target, hop, &self.headers.lines(request, how.past_caches));
        let mut reuse = !how.fresh_connection;
        loop {
            let pooled = if reuse { self.pool.take(&key) } else { None };
            let was_pooled = pooled.is_some();
            let mut wire = match pooled {
                Some(wire) => wire,
                None => self.connector.connect(target, hop, timeout, how.deadline, self.headers.user_agent_line())?,
            };
            let mut pace = Pace::start(timeout, self.low_speed_limit, how.deadline);
            let head = wire.send(lines.as_bytes(), &mut pace).map_err(HeadError::Wire);
            let head = match head.and_then(|()| read_head(&mut wire, &mut pace)) {
                Ok(head) => head,
                // The other side closed an idle connection just when it was to be used: nobody's fault.
                Err(HeadError::Empty | HeadError::Wire(WireError::Broken(_))) if was_pooled && pace.total() == 0 => {
                    reuse = false;
                    continue;
                }
                Err(HeadError::Wire(error)) => return Err(wire_fault(error, pace.total() > 0)),
                Err(HeadError::Empty) => {
                    return Err(Fault::NoResponse("the connection was closed without an answer".into()));
                }
                Err(HeadError::Cut) => {
                    return Err(Fault::Cut("the connection was closed inside the header".to_owned()));
                }
                Err(HeadError::NotHttp(reason)) => return Err(Fault::NotHttp(reason)),
            };
            let result = take_response(&mut wire, &mut pace, &head, request, self.follow_redirects, receiver);
            if let Ok((_, true)) | Err((_, true)) = &result
                && head.keep_alive
                && wire.ahead().is_empty()
            {
                self.pool.put(key, wire);
            }
            return result.map(|(exchange, _)| exchange).map_err(|(fault, _)| fault);
        }
    }
}

/// Takes the body in; the flag says whether it was read to its end.
fn take_response(
    wire: &mut Wire,
    pace: &mut Pace,
    head: &Head,
    request: &Request<'_>,
    follow_redirects: bool,
    receiver: &mut dyn Receiver,
) -> Result<(Exchange, bool), (Fault, bool)> {
    if let (301 | 302 | 303 | 307 | 308, true, Some(location)) = (head.status, follow_redirects, &head.location) {
        return Ok((Exchange::Redirect(location.clone()), drain(wire, pace, head)));
    }
    if !(200..300).contains(&head.status) {
        let fault = Fault::Status { status: head.status, proxy_error: head.proxy_error.clone() };
        return Err((fault, drain(wire, pace, head)));
    }
    let mut body = Body::new(head.framing);
    match take_body(wire, pace, head, &mut body, request, receiver) {
        Ok(delivered) => Ok((Exchange::Delivered(delivered), body.is_done())),
        Err(fault) => Err((fault, body.is_done())),
    }
}
enum Exchange {
    Delivered(Delivered),
    Redirect(String),
}

fn take_body(
    wire: &mut Wire,
    pace: &mut Pace,
    head: &Head,
    body: &mut Body,
    request: &Request<'_>,
    receiver: &mut dyn Receiver,
) -> Result<Delivered, Fault> {
    let too_big = |what: String| Fault::TooBig(format!("{what}, expected at most {} bytes", request.max_bytes));
    // A server that ignores ranges sends the whole file: its beginning is skipped, its end not waited for.
    let (mut skip, wanted) = match (request.range, head.status) {
        (None, _) => (0, None),
        (Some((first, last)), 206) => {
            if head.content_range.is_some_and(|range| range.0 != first || range.1 > last) {
                return Err(Fault::NotHttp("another range than the one asked for".to_owned()));
            }
            (0, Some(last - first + 1))
        }
        (Some((first, last)), _) => (first, Some(last - first + 1)),
    };
    if let (Framing::Length(length), None) = (head.framing, wanted)
        && length > request.max_bytes
    {
        return Err(too_big(format!("a body of {length} bytes is announced")));
    }
    let mut bytes = 0u64;
    loop {
        if wanted == Some(bytes) && !body.is_done() && skip == 0 && head.status != 206 {
            break;
        }
        let available = body.next(wire, pace)?;
        if available == 0 {
            break;
        }
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(available);
        skip -= skipped as u64;
        let mut piece = &wire.ahead()[skipped..available];
        if let Some(wanted) = wanted {
            let left = wanted - bytes;
            if piece.len() as u64 > left {
                if head.status == 206 {
                    return Err(too_big("more than the range asked for came".to_owned()));
                }
                piece = &piece[..usize::try_from(left).unwrap_or(usize::MAX)];
            }
        }
        bytes += piece.len() as u64;
        if bytes > request.max_bytes {
            return Err(too_big("the body does not end".to_owned()));
        }
        if !piece.is_empty() {
            let before = Instant::now();
            receiver.receive(piece)?;
            pace.excuse(before.elapsed());
        }
        wire.consume(available);
    }
    if let Some(wanted) = wanted
        && bytes < wanted
    {
        return Err(Fault::Cut(format!("{bytes} of {wanted} bytes of the range came")));
    }
    receiver.complete()?;
    Ok(Delivered { status: head.status, bytes })
}

/// Reads a short error page to its end; false if the connection is better closed.
fn drain(wire: &mut Wire, pace: &mut Pace, head: &Head) -> bool {
    let short = match head.framing {
        Framing::Length(length) => length <= DRAIN_BYTES,
        Framing::Chunked => true,
        Framing::Close => false,
    };
    if !short || !head.keep_alive {
        return false;
    }
    let mut body = Body::new(head.framing);
    let before = pace.total();
    loop {
        match body.next(wire, pace) {
            Ok(0) => return true,
            Ok(available) => wire.consume(available),
            Err(_) => return false,
        }
        if pace.total() - before > DRAIN_BYTES {
            return false;
        }
    }
}

fn fetch_file(base: &str, request: &Request<'_>, receiver: &mut dyn Receiver) -> Result<Delivered, Fault> {
    let opened = file_url::open(base, request.path, request.range, request.max_bytes);
    let (mut file, length) = opened.map_err(|error| match error {
        FileError::Missing => Fault::FileMissing,
        FileError::Unreadable(reason) => Fault::FileUnreadable(reason),
        FileError::TooBig(length) => {
            Fault::TooBig(format!("the file has {length} bytes, expected at most {}", request.max_bytes))
        }
    })?;
    let mut buffer = vec![0; super::http::READ_SIZE];
    let mut bytes = 0;
    while bytes < length {
        let piece = file_url::read(&mut file, &mut buffer, length - bytes)
            .map_err(|error| Fault::FileUnreadable(format!("{base}{}: {error}", request.shown_path())))?;
        if piece.is_empty() {
            return Err(Fault::Cut("the file has become shorter".to_owned()));
        }
        bytes += piece.len() as u64;
        receiver.receive(piece)?;
    }
    receiver.complete()?;
    Ok(Delivered { status: 200, bytes })
}
