//! Opening connections: directly, to a proxy, and through a proxy's tunnel to an https server.

use super::dns::Names;
use super::failover::Hop;
use super::fetch::{Fault, Target};
use super::http::{HeadError, Pace, PoolKey, Wire, WireError, read_head};
use super::proxy_list::ProxyAddress;
use super::status::Counters;
use super::tls::Authorities;
use super::url::Authority;
use base64::prelude::{BASE64_STANDARD, Engine};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is needed to open connections.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) names: Arc<Names>,
    pub(super) tls: Option<Authorities>,
    pub(super) counters: Arc<Counters>,
}

impl Connector {
    /// Which connections can carry a request.
    pub(super) fn key(&self, target: &Target, hop: &Hop) -> Result<PoolKey, Fault> {
        let proxy = proxy_address(hop)?;
        let server = (proxy.is_none() || target.tls).then(|| target.authority.clone());
        Ok(PoolKey { proxy, server, tls: target.tls })
    }

    /// Request line and header fields. A proxy gets the absolute form, so that it can cache.
    pub(super) fn request_head(&self, target: &Target, hop: &Hop, lines: &str) -> String {
        let mut head = match hop {
            Hop::Proxy { proxy, .. } if !target.tls => {
                let mut head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", target.url(), target.authority);
                head.push_str(&proxy_authorization(proxy));
                head
            }
            _ => format!("GET {} HTTP/1.1\r\nHost: {}\r\n", target.path, target.authority),
        };
        head.push_str(lines);
        head.push_str("\r\n");
        head
    }

    /// Opens a connection that is ready for a request. The whole takes at most `timeout`.
    pub(super) fn connect(
        &self,
        target: &Target,
        hop: &Hop,
        timeout: Duration,
        deadline: Option<Instant>,
        user_agent_line: &str,
    ) -> Result<Wire, Fault> {
        let until = Instant::now() + timeout;
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        let to_proxy = *hop != Hop::Direct;
        let refused = |reason: String| Fault::Connect { to_proxy, reason };
        let addresses = match proxy_address(hop)? {
            Some(address) => vec![address],
            None => self.host_addresses(&target.authority)?,
        };
        let tcp = connect_any(&addresses, until).map_err(|(address, error)| {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Fault::Deadline;
            }
            refused(format!("connecting to {address}: {error}"))
        })?;
        self.counters.connection();
        let mut wire = Wire::plain(tcp).map_err(|error| refused(error.to_string()))?;
        if !target.tls {
            return Ok(wire);
        }
        if let Hop::Proxy { proxy, .. } = hop {
            open_tunnel(&mut wire, proxy, &target.authority, until, user_agent_line)?;
        }
        let broken = |reason: String| Fault::Connect { to_proxy: false, reason: format!("TLS: {reason}") };
        let authorities =
            self.tls.as_ref().ok_or_else(|| broken("no certificate authorities are loaded".to_owned()))?;
        let session = authorities.session(&target.authority.name).map_err(broken)?;
        wire.into_tls(session, until).map_err(|error| broken(error.to_string()))
    }

    fn host_addresses(&self, authority: &Authority) -> Result<Vec<SocketAddr>, Fault> {
        let (addresses, _) = self
            .names
            .all(&authority.name)
            .map_err(|error| Fault::Resolve { of_proxy: false, reason: error.to_string() })?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, authority.port)).collect())
    }
}

fn proxy_address(hop: &Hop) -> Result<Option<SocketAddr>, Fault> {
    match hop {
        Hop::Direct => Ok(None),
        Hop::Proxy { proxy, address: Ok(address) } => Ok(Some(SocketAddr::new(*address, proxy.authority.port))),
        Hop::Proxy { address: Err(reason), .. } => Err(Fault::Resolve { of_proxy: true, reason: reason.clone() }),
    }
}

/// Tries addresses in order, leaving time for those that follow.
fn connect_any(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, (SocketAddr, std::io::Error)> {
    let mut last = (SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0), std::io::ErrorKind::TimedOut.into());
    for (index, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let others = addresses.len() - index - 1;
        let share = if others == 0 { left } else { left / 2 };
        if share.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = (*address, error),
        }
    }
    Err(last)
}

fn proxy_authorization(proxy: &ProxyAddress) -> String {
    match &proxy.credentials {
        Some(credentials) => {
            format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(percent_decode(credentials)))
        }
        None => String::new(),
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[at], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn open_tunnel(
    wire: &mut Wire,
    proxy: &ProxyAddress,
    server: &Authority,
    until: Instant,
    user_agent_line: &str,
) -> Result<(), Fault> {
    let refused = |reason: String| Fault::Connect { to_proxy: true, reason };
    let to = Authority { explicit_port: true, ..server.clone() };
    let head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{user_agent_line}{}\r\n", proxy_authorization(proxy));
    let mut pace = Pace::start(until.saturating_duration_since(Instant::now()), 0, Some(until));
    let answer = wire.send(head.as_bytes(), &mut pace).map_err(HeadError::Wire);
    let answer = answer.and_then(|()| read_head(wire, &mut pace)).map_err(|error| match error {
        HeadError::Wire(WireError::Broken(error)) => refused(format!("opening a tunnel: {error}")),
        HeadError::Wire(_) => refused("opening a tunnel: no answer in time".to_owned()),
        HeadError::Empty | HeadError::Cut => refused("opening a tunnel: the connection was closed".to_owned()),
        HeadError::NotHttp(reason) => refused(format!("opening a tunnel: {reason}")),
    })?;
    if !(200..300).contains(&answer.status) {
        let proxy_error = answer.proxy_error.or_else(|| Some("the proxy opens no tunnel".to_owned()));
        return Err(Fault::Status { status: answer.status, proxy_error });
    }
    if !wire.ahead().is_empty() {
        return Err(refused("opening a tunnel: bytes follow the answer".to_owned()));
    }
    Ok(())
}
