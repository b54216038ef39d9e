//! One connection, read and written under a clock.

use super::READ_SIZE;
use crate::transport::tls::{Session, TlsStream};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Why nothing more comes from, or goes to, the other side.
#[derive(Debug)]
pub(in crate::transport) enum WireError {
    /// Fewer bytes than the limit demands within the timeout.
    TooSlow {
        /// Bytes that came in the time.
        bytes: u64,
        /// The time.
        window: Duration,
    },
    /// The deadline of the whole request has passed.
    Deadline,
    /// The connection broke.
    Broken(io::Error),
}

/// Measures a transfer: it must not stay below the speed limit for a whole timeout, nor pass its deadline.
#[derive(Debug)]
pub(in crate::transport) struct Pace {
    window: Duration,
    least: u64,
    window_start: Instant,
    in_window: u64,
    total: u64,
    deadline: Option<Instant>,
}

impl Pace {
    /// Starts the clock. `limit` is in bytes per second.
    pub(in crate::transport) fn start(window: Duration, limit: u64, deadline: Option<Instant>) -> Pace {
        let window = window.max(Duration::from_millis(1));
        let least = (u128::from(limit) * window.as_millis() / 1000) as u64;
        // Without a limit a transfer that stands still is over nevertheless.
        Pace { window, least: least.max(1), window_start: Instant::now(), in_window: 0, total: 0, deadline }
    }

    /// Bytes seen since the start.
    pub(in crate::transport) fn total(&self) -> u64 {
        self.total
    }

    /// The next moment at which something has to be decided.
    fn until(&self) -> Instant {
        let end = self.window_start + self.window;
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    fn count(&mut self, bytes: usize) -> Result<(), WireError> {
        self.in_window += bytes as u64;
        self.total += bytes as u64;
        self.check(Instant::now())
    }

    fn check(&mut self, now: Instant) -> Result<(), WireError> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(WireError::Deadline);
        }
        if now.duration_since(self.window_start) >= self.window {
            if self.in_window < self.least {
                return Err(WireError::TooSlow { bytes: self.in_window, window: self.window });
            }
            self.window_start = now;
            self.in_window = 0;
        }
        Ok(())
    }

    /// Time that the receiver of the bytes took is not the other side's fault.
    pub(in crate::transport) fn excuse(&mut self, time: Duration) {
        self.window_start += time;
    }
}

/// A TCP socket whose operations end at a given moment.
#[derive(Debug)]
struct TimedTcp {
    tcp: TcpStream,
    until: Instant,
}

impl TimedTcp {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

fn normalise(error: io::Error) -> io::Error {
    // A socket timeout shows as EAGAIN on Unix.
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for TimedTcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.left()?))?;
        self.tcp.read(buffer).map_err(normalise)
    }
}

impl Write for TimedTcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(bytes).map_err(normalise)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
enum Channel {
    Plain(TimedTcp),
    Tls(TlsStream<TimedTcp>),
    /// What each read brings, then the end of the stream.
    #[cfg(any(test, fuzzing))]
    Script(std::collections::VecDeque<Vec<u8>>),
}

/// A connection with the bytes that were read ahead.
#[derive(Debug)]
pub(in crate::transport) struct Wire {
    channel: Channel,
    ahead: Vec<u8>,
    taken: usize,
    scratch: Vec<u8>,
    /// True once a response came over it.
    pub(in crate::transport) used: bool,
    /// When it became idle.
    pub(in crate::transport) idle_since: Instant,
}

impl Wire {
    /// Wraps a fresh connection.
    pub(in crate::transport) fn plain(tcp: TcpStream) -> io::Result<Wire> {
        tcp.set_nodelay(true)?;
        let now = Instant::now();
        Ok(Wire {
            channel: Channel::Plain(TimedTcp { tcp, until: now }),
            ahead: Vec::new(),
            taken: 0,
            scratch: Vec::new(),
            used: false,
            idle_since: now,
        })
    }

    /// Shakes hands as a TLS client. `until` bounds the handshake.
    pub(in crate::transport) fn into_tls(self, session: Session, until: Instant) -> io::Result<Wire> {
        let Channel::Plain(mut timed) = self.channel else {
            return Err(io::Error::other("TLS inside TLS is not spoken"));
        };
        timed.until = until;
        Ok(Wire { channel: Channel::Tls(TlsStream::open(session, timed)?), ..self })
    }

    /// A connection from memory: a read brings `piece` bytes of `reply`, at most [`READ_SIZE`].
    #[cfg(any(test, fuzzing))]
    pub(in crate::transport) fn script(reply: &[u8], piece: usize) -> Wire {
        Wire {
            channel: Channel::Script(reply.chunks(piece.clamp(1, READ_SIZE)).map(<[u8]>::to_vec).collect()),
            ahead: Vec::new(),
            taken: 0,
            scratch: Vec::new(),
            used: false,
            idle_since: Instant::now(),
        }
    }

    fn timed(&mut self) -> Option<&mut TimedTcp> {
        match &mut self.channel {
            Channel::Plain(timed) => Some(timed),
            Channel::Tls(stream) => Some(stream.socket()),
            #[cfg(any(test, fuzzing))]
            Channel::Script(_) => None,
        }
    }

    fn set_until(&mut self, until: Instant) {
        if let Some(timed) = self.timed() {
            timed.until = until;
        }
    }

    /// Sends everything. The time counts against the pace like that of a read.
    pub(in crate::transport) fn send(&mut self, bytes: &[u8], pace: &mut Pace) -> Result<(), WireError> {
        self.set_until(pace.until());
        let sent = match &mut self.channel {
            Channel::Plain(timed) => timed.write_all(bytes),
            Channel::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            #[cfg(any(test, fuzzing))]
            Channel::Script(_) => Ok(()),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                pace.check(Instant::now())?;
                Err(WireError::TooSlow { bytes: 0, window: pace.window })
            }
            Err(error) => Err(WireError::Broken(error)),
        }
    }

    /// Bytes that were read and not yet consumed.
    pub(in crate::transport) fn ahead(&self) -> &[u8] {
        &self.ahead[self.taken..]
    }

    /// Marks bytes of [`Wire::ahead`] as done with.
    pub(in crate::transport) fn consume(&mut self, bytes: usize) {
        self.taken = (self.taken + bytes).min(self.ahead.len());
        if self.taken == self.ahead.len() {
            self.ahead.clear();
            self.taken = 0;
        }
    }

    /// Reads more bytes behind those in [`Wire::ahead`]; false at the end of the stream.
    pub(in crate::transport) fn fill(&mut self, pace: &mut Pace) -> Result<bool, WireError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(READ_SIZE, 0);
        let got = self.read(&mut scratch, pace);
        if let Ok(bytes) = got {
            if self.taken > 0 {
                self.ahead.drain(..self.taken);
                self.taken = 0;
            }
            self.ahead.extend_from_slice(&scratch[..bytes]);
        }
        self.scratch = scratch;
        got.map(|bytes| bytes > 0)
    }

    /// Reads past the buffer, which must be empty; zero at the end of the stream.
    fn read(&mut self, buffer: &mut [u8], pace: &mut Pace) -> Result<usize, WireError> {
        loop {
            self.set_until(pace.until());
            let got = match &mut self.channel {
                Channel::Plain(timed) => timed.read(buffer),
                Channel::Tls(stream) => stream.read(buffer),
                #[cfg(any(test, fuzzing))]
                Channel::Script(pieces) => pieces.pop_front().map_or(Ok(0), |piece| {
                    buffer[..piece.len()].copy_from_slice(&piece);
                    Ok(piece.len())
                }),
            };
            match got {
                Ok(bytes) => {
                    if bytes > 0 {
                        pace.count(bytes)?;
                    }
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => pace.check(Instant::now())?,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => pace.check(Instant::now())?,
                Err(error) => return Err(WireError::Broken(error)),
            }
        }
    }

    /// True if an idle connection can carry another request: still open, and nothing unasked for has arrived.
    pub(in crate::transport) fn is_quiet(&mut self) -> bool {
        if !self.ahead().is_empty() {
            return false;
        }
        let Some(TimedTcp { tcp, .. }) = self.timed() else { return false };
        let mut byte = [0u8; 1];
        if tcp.set_nonblocking(true).is_err() {
            return false;
        }
        let quiet = matches!(tcp.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        tcp.set_nonblocking(false).is_ok() && quiet
    }
}
