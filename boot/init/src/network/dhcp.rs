//! The conversation with a DHCP server.

use super::card::Card;
use super::lease::{Lease, Question, Reply, packet, reply};
use anyhow::{Result, bail};
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// How long each attempt waits, in seconds.
const ATTEMPTS: [u64; 5] = [1, 2, 3, 5, 8];

/// Asks for an address at `card`, which is up and has none.
pub(crate) fn ask(card: &Card) -> Result<Lease> {
    let socket = at(card)?;
    let transaction = number(card);
    for patience in ATTEMPTS {
        let Some(Reply::Offer(offer)) = exchange(&socket, card, Question::Discover, transaction, patience)? else {
            continue;
        };
        let take = Question::Request { address: offer.address, server: offer.server };
        if let Some(Reply::Acknowledged(lease)) = exchange(&socket, card, take, transaction, patience)? {
            return Ok(lease);
        }
    }
    bail!("{}: no DHCP server answers", card.name)
}

/// A socket that hears and speaks through this card only.
fn at(card: &Card) -> Result<UdpSocket> {
    let made = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sockopt::set_socket_reuseaddr(&made, true)?;
    sockopt::set_socket_broadcast(&made, true)?;
    bind_to_device(&made, &card.name)?;
    bind(&made, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68))?;
    Ok(UdpSocket::from(made))
}

fn bind_to_device(socket: &impl std::os::fd::AsRawFd, name: &str) -> Result<()> {
    let length = name.len() as libc::socklen_t;
    // SAFETY: pointer and length are those of the name.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr().cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}

/// Two machines that start together must not have the same number.
fn number(card: &Card) -> u32 {
    let [.., a, b, c, d] = card.hardware;
    let clock =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    u32::from_be_bytes([a, b, c, d]).rotate_left(7) ^ clock
}

fn exchange(
    socket: &UdpSocket,
    card: &Card,
    question: Question,
    transaction: u32,
    patience: u64,
) -> Result<Option<Reply>> {
    // A cable that is not there yet is waited for, too.
    let _ = socket.send_to(&packet(question, transaction, card.hardware), (Ipv4Addr::BROADCAST, 67));
    let deadline = Instant::now() + Duration::from_secs(patience);
    let mut bytes = [0; 1500];
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        let Ok((length, _)) = socket.recv_from(&mut bytes) else { continue };
        let wanted = |reply: &Reply| match question {
            Question::Discover => matches!(reply, Reply::Offer(_)),
            Question::Request { .. } => !matches!(reply, Reply::Offer(_)),
        };
        if let Some(reply) = reply(&bytes[..length], transaction, card.hardware).filter(wanted) {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}
