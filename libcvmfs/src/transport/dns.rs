//! Names to addresses, with time limits, a memory bounded by TTL, and either the system or given name servers.

use super::settings::{DnsSettings, IpFamily};
use parking_lot::{Mutex, RwLock};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use thiserror::Error;

mod files;

/// Lookups of the system resolver that may hang at the same time; their threads cannot be stopped.
const MAX_HANGING_LOOKUPS: usize = 16;

/// The name servers are given as addresses on this port.
const DNS_PORT: u16 = 53;

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ResolveError {
    /// The name does not exist or has no address.
    #[error("the name '{0}' has no address")]
    NoAddress(String),
    /// Nobody answered in time.
    #[error("no answer about the name '{name}' within {seconds:.1} s")]
    Timeout {
        /// The name.
        name: String,
        /// Time spent.
        seconds: f64,
    },
    /// Anything else.
    #[error("resolving '{name}': {reason}")]
    Other {
        /// The name.
        name: String,
        /// What happened.
        reason: String,
    },
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// How long they hold, if known.
    pub ttl: Option<Duration>,
}

/// A way from names to addresses.
pub trait Resolver: Send + Sync {
    /// Looks a name up. Must return within bounded time.
    fn resolve(&self, name: &str) -> Result<Resolved, ResolveError>;
}

/// Reads `CVMFS_DNS_SERVER`: addresses with optional ports, separated by commas, semicolons or blanks.
pub fn parse_dns_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace())
        .filter(|element| !element.is_empty())
        .map(|element| {
            let literal = element.trim_start_matches('[').trim_end_matches(']');
            let address = literal.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
            address.or_else(|_| element.parse()).map_err(|_| format!("'{element}' is not the address of a name server"))
        })
        .collect()
}

/// Asks the C library, in a thread of its own so that a hanging name service does not hang the caller.
#[derive(Debug)]
struct SystemResolver {
    timeout: Duration,
    hanging: Arc<AtomicUsize>,
}

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str) -> Result<Resolved, ResolveError> {
        let other = |reason: String| ResolveError::Other { name: name.to_owned(), reason };
        if self.hanging.fetch_add(1, Ordering::SeqCst) >= MAX_HANGING_LOOKUPS {
            self.hanging.fetch_sub(1, Ordering::SeqCst);
            return Err(other("too many lookups are waiting for the system's name service".to_owned()));
        }
        let (sender, receiver) = mpsc::channel();
        let question = (name.to_owned(), 0u16);
        let hanging = Arc::clone(&self.hanging);
        let spawned = std::thread::Builder::new().name("cvmfs-dns".to_owned()).spawn(move || {
            let answer = question.to_socket_addrs().map(|found| found.map(|a| a.ip()).collect::<Vec<_>>());
            hanging.fetch_sub(1, Ordering::SeqCst);
            let _ = sender.send(answer);
        });
        if let Err(error) = spawned {
            self.hanging.fetch_sub(1, Ordering::SeqCst);
            return Err(other(error.to_string()));
        }
        match receiver.recv_timeout(self.timeout) {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(ResolveError::NoAddress(name.to_owned())),
            Ok(Ok(mut addresses)) => {
                let mut seen = std::collections::HashSet::new();
                addresses.retain(|address| seen.insert(*address));
                Ok(Resolved { addresses, ttl: None })
            }
            Ok(Err(error)) => Err(other(error.to_string())),
            Err(_) => Err(ResolveError::Timeout { name: name.to_owned(), seconds: self.timeout.as_secs_f64() }),
        }
    }
}

/// How this machine finds addresses; within `timeout` for each of `retries + 1` attempts.
fn of_machine(timeout: Duration, retries: u32, family: IpFamily) -> Arc<dyn Resolver> {
    if cfg!(target_feature = "crt-static") {
        return Arc::new(files::FileResolver::of_machine(timeout, retries, family));
    }
    // The C library repeats by itself; its time is bounded as a whole.
    Arc::new(SystemResolver { timeout: timeout * (retries + 1), hanging: Arc::default() })
}

/// Asks these name servers, or the machine's if there are none.
fn resolver_at(servers: &[SocketAddr], timeout: Duration, retries: u32, family: IpFamily) -> Arc<dyn Resolver> {
    if servers.is_empty() {
        return of_machine(timeout, retries, family);
    }
    Arc::new(ServerResolver { servers: servers.to_vec(), timeout, retries, family })
}

/// The addresses of a name as this machine finds them, for what is not fetched by a transport.
///
/// # Errors
/// As a transport would meet them.
pub fn addresses_of(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let settings = DnsSettings::default();
    Ok(of_machine(settings.timeout, settings.retries, IpFamily::PreferV4).resolve(name)?.addresses)
}

/// Asks name servers itself.
#[derive(Debug)]
struct ServerResolver {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    retries: u32,
    family: IpFamily,
}

/// What one exchange with a name server brought.
enum Answer {
    Found(Vec<IpAddr>, Duration),
    NoSuchName,
}

impl Resolver for ServerResolver {
    fn resolve(&self, name: &str) -> Result<Resolved, ResolveError> {
        if name.eq_ignore_ascii_case("localhost") {
            return Ok(Resolved { addresses: vec![IpAddr::from([127, 0, 0, 1])], ttl: None });
        }
        let started = Instant::now();
        let mut reason = None;
        for _ in 0..=self.retries {
            for server in &self.servers {
                match self.ask_both(*server, name) {
                    Ok((addresses, ttl)) if !addresses.is_empty() => return Ok(Resolved { addresses, ttl: Some(ttl) }),
                    Ok(_) => return Err(ResolveError::NoAddress(name.to_owned())),
                    Err(error) => {
                        log::debug!("name server {server} about '{name}': {error}");
                        reason = Some(error);
                    }
                }
            }
        }
        let timed_out = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        };
        Err(match reason {
            Some(error) if !timed_out(&error) => {
                ResolveError::Other { name: name.to_owned(), reason: error.to_string() }
            }
            _ => ResolveError::Timeout { name: name.to_owned(), seconds: started.elapsed().as_secs_f64() },
        })
    }
}

impl ServerResolver {
    fn ask_both(&self, server: SocketAddr, name: &str) -> std::io::Result<(Vec<IpAddr>, Duration)> {
        let kinds: &[TYPE] = match self.family {
            IpFamily::OnlyV4 => &[TYPE::A],
            IpFamily::PreferV4 | IpFamily::PreferV6 => &[TYPE::A, TYPE::AAAA],
        };
        let mut addresses = Vec::new();
        let mut ttl = Duration::MAX;
        for kind in kinds {
            match self.ask(server, name, *kind)? {
                Answer::Found(found, for_time) => {
                    addresses.extend(found);
                    ttl = ttl.min(for_time);
                }
                Answer::NoSuchName => {}
            }
        }
        Ok((addresses, ttl))
    }

    fn ask(&self, server: SocketAddr, name: &str, kind: TYPE) -> std::io::Result<Answer> {
        let malformed = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        let id = fastrand::u16(..);
        let question = Name::new(name).map_err(|_| malformed("the name cannot be asked for"))?;
        let mut query = Packet::new_query(id);
        query.set_flags(PacketFlag::RECURSION_DESIRED);
        query.questions.push(Question::new(question, kind.into(), CLASS::IN.into(), false));
        let query = query.build_bytes_vec().map_err(|_| malformed("the name cannot be asked for"))?;

        let deadline = Instant::now() + self.timeout;
        let mut reply = self.exchange_udp(server, &query, id, deadline)?;
        if Packet::parse(&reply).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION)) {
            reply = exchange_tcp(server, &query, deadline)?;
        }
        let packet = Packet::parse(&reply).map_err(|_| malformed("malformed reply"))?;
        if packet.id() != id {
            return Err(malformed("reply to another question"));
        }
        match packet.rcode() {
            RCODE::NoError => {}
            RCODE::NameError => return Ok(Answer::NoSuchName),
            code => return Err(malformed(&format!("the name server answers {code:?}"))),
        }
        let mut addresses = Vec::new();
        let mut ttl = u32::MAX;
        for record in &packet.answers {
            // An alias is followed by the records of its target in the same answer; its TTL bounds theirs.
            match (&record.rdata, kind) {
                (RData::A(a), TYPE::A) => addresses.push(IpAddr::from(a.address.to_be_bytes())),
                (RData::AAAA(aaaa), TYPE::AAAA) => addresses.push(IpAddr::from(aaaa.address.to_be_bytes())),
                (RData::CNAME(_), _) => {}
                _ => continue,
            }
            ttl = ttl.min(record.ttl);
        }
        if addresses.is_empty() {
            return Ok(Answer::NoSuchName);
        }
        Ok(Answer::Found(addresses, Duration::from_secs(u64::from(ttl))))
    }

    fn exchange_udp(&self, server: SocketAddr, query: &[u8], id: u16, deadline: Instant) -> std::io::Result<Vec<u8>> {
        let any: SocketAddr = if server.is_ipv4() { ([0u8; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.send(query)?;
        let mut buffer = vec![0; 65535];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
            let length = socket.recv(&mut buffer)?;
            // Somebody else's packet with a wrong id does not count as an answer.
            if length >= 12 && buffer[..2] == id.to_be_bytes() {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }
}

fn exchange_tcp(server: SocketAddr, query: &[u8], deadline: Instant) -> std::io::Result<Vec<u8>> {
    let left = || Some(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
    let mut stream = TcpStream::connect_timeout(&server, left().unwrap_or_default())?;
    stream.set_write_timeout(left())?;
    stream.write_all(&u16::try_from(query.len()).map_err(std::io::Error::other)?.to_be_bytes())?;
    stream.write_all(query)?;
    let mut wanted = 2;
    let mut reply = Vec::new();
    while reply.len() < wanted {
        if Instant::now() >= deadline {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(left())?;
        let mut part = [0; 4096];
        let room = part.len().min(wanted - reply.len());
        let got = stream.read(&mut part[..room])?;
        if got == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        reply.extend_from_slice(&part[..got]);
        if wanted == 2 && reply.len() == 2 {
            wanted = 2 + usize::from(u16::from_be_bytes([reply[0], reply[1]]));
        }
    }
    Ok(reply.split_off(2))
}

/// The names a transport deals with, remembered for as long as their addresses hold.
pub(super) struct Names {
    resolver: RwLock<Arc<dyn Resolver>>,
    timeout: Duration,
    retries: u32,
    min_ttl: Duration,
    max_ttl: Duration,
    family: IpFamily,
    known: Mutex<HashMap<String, (Vec<IpAddr>, Instant)>>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("family", &self.family).finish_non_exhaustive()
    }
}

impl Names {
    pub(super) fn new(dns: &DnsSettings, family: IpFamily, resolver: Option<Arc<dyn Resolver>>) -> Names {
        let timeout = dns.timeout.max(Duration::from_millis(1));
        let resolver = resolver.unwrap_or_else(|| resolver_at(&dns.servers, timeout, dns.retries, family));
        let max_ttl = dns.max_ttl.max(dns.min_ttl);
        let (resolver, retries) = (RwLock::new(resolver), dns.retries);
        Names { resolver, timeout, retries, min_ttl: dns.min_ttl, max_ttl, family, known: Mutex::default() }
    }

    /// Asks these name servers from now on, or the machine's; forgets what others have said.
    pub(super) fn ask(&self, servers: &[SocketAddr]) {
        *self.resolver.write() = resolver_at(servers, self.timeout, self.retries, self.family);
        self.known.lock().clear();
    }

    /// Addresses of a name, the preferred family first, and the time until which they hold.
    pub(super) fn all(&self, name: &str) -> Result<(Vec<IpAddr>, Instant), ResolveError> {
        if let Ok(literal) = name.parse::<IpAddr>() {
            return Ok((vec![literal], Instant::now() + self.max_ttl));
        }
        let now = Instant::now();
        if let Some((addresses, until)) = self.known.lock().get(name)
            && *until > now
        {
            return Ok((addresses.clone(), *until));
        }
        let resolver = Arc::clone(&self.resolver.read());
        let found = resolver.resolve(name)?;
        let mut addresses = found.addresses;
        let first = |address: &IpAddr| match self.family {
            IpFamily::PreferV6 => address.is_ipv4(),
            IpFamily::PreferV4 | IpFamily::OnlyV4 => address.is_ipv6(),
        };
        addresses.sort_by_key(first);
        if self.family == IpFamily::OnlyV4 {
            addresses.retain(IpAddr::is_ipv4);
        }
        if addresses.is_empty() {
            return Err(ResolveError::NoAddress(name.to_owned()));
        }
        let until = now + found.ttl.unwrap_or(self.min_ttl).clamp(self.min_ttl, self.max_ttl);
        self.known.lock().insert(name.to_owned(), (addresses.clone(), until));
        Ok((addresses, until))
    }

    /// Addresses of one family only: the preferred one if it has any.
    pub(super) fn one_family(&self, name: &str) -> Result<(Vec<IpAddr>, Instant), ResolveError> {
        let (mut addresses, until) = self.all(name)?;
        let v4 = addresses[0].is_ipv4();
        addresses.retain(|address| address.is_ipv4() == v4);
        Ok((addresses, until))
    }

    /// How long a name that could not be resolved is left alone.
    pub(super) fn negative_ttl(&self) -> Duration {
        self.min_ttl
    }

    /// Forgets a name, so that the next use asks again.
    pub(super) fn forget(&self, name: &str) {
        self.known.lock().remove(name);
    }
}

#[cfg(test)]
mod tests;
