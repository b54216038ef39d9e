//! The time: asked once, of one server. Signatures and certificates have dates.

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, Timespec, clock_settime};
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who is asked where nobody said anything.
pub(crate) const USUAL: &str = "pool.ntp.org";
/// How long all servers together are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Seconds between the beginnings of NTP's and Unix's counting.
const NTP_EPOCH: u64 = 2_208_988_800;

/// Never goes below the time when the image was built: clocks without a battery begin anywhere.
pub(crate) fn set_floor(built: u64) {
    if now() < built {
        let _ = set(built, 0);
    }
}

/// Asks `server` and sets the clock.
pub(crate) fn ask(server: &str, built: u64) -> Result<()> {
    let addresses = (server, 123).to_socket_addrs().with_context(|| server.to_owned())?;
    let mut reason = anyhow::anyhow!("{server} has no address");
    for address in addresses.take(4) {
        match query(address).and_then(|(seconds, nanoseconds)| {
            if seconds < built {
                bail!("{server} lives in the past");
            }
            set(seconds, nanoseconds)
        }) {
            Ok(()) => return Ok(()),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

fn query(server: std::net::SocketAddr) -> Result<(u64, u32)> {
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE / 2))?;
    // A number to recognise the answer by.
    let cookie = (now() << 20 | u64::from(std::process::id())).to_be_bytes();
    let mut answer = [0; 48];
    for _ in 0..2 {
        socket.send(&request(cookie))?;
        match socket.recv(&mut answer) {
            Ok(48..) => return time_in(&answer, cookie).context("this is no answer of an NTP server"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("no answer from {server}")
}

/// Version 4, as a client.
fn request(cookie: [u8; 8]) -> [u8; 48] {
    let mut packet = [0; 48];
    packet[0] = 0x23;
    packet[40..].copy_from_slice(&cookie);
    packet
}

/// Seconds since 1970 and nanoseconds; `None` unless a synchronised server answers our question.
fn time_in(packet: &[u8; 48], cookie: [u8; 8]) -> Option<(u64, u32)> {
    let (leap, mode, stratum) = (packet[0] >> 6, packet[0] & 7, packet[1]);
    if mode != 4 || leap == 3 || stratum == 0 || stratum > 15 || packet[24..32] != cookie {
        return None;
    }
    let word = |at: usize| u64::from(u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]));
    let (seconds, fraction) = (word(40), word(44));
    // From 2036 on the count has begun again.
    let era = if seconds < 1 << 31 { 1 << 32 } else { 0 };
    Some((seconds + era - NTP_EPOCH, ((fraction * 1_000_000_000) >> 32) as u32))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn set(seconds: u64, nanoseconds: u32) -> Result<()> {
    let time = Timespec { tv_sec: i64::try_from(seconds)?, tv_nsec: i64::from(nanoseconds) };
    Ok(clock_settime(ClockId::Realtime, time)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seconds: u32) -> [u8; 48] {
        let mut packet = [0; 48];
        (packet[0], packet[1]) = (0x24, 2);
        packet[24..32].copy_from_slice(&[7; 8]);
        packet[40..44].copy_from_slice(&seconds.to_be_bytes());
        packet[44] = 0x80;
        packet
    }

    #[test]
    fn both_eras_of_ntp() {
        assert_eq!(time_in(&answer(3_913_056_000), [7; 8]), Some((1_704_067_200, 500_000_000)));
        assert_eq!(time_in(&answer(0), [7; 8]).map(|(seconds, _)| seconds), Some(2_085_978_496));
    }

    #[test]
    fn strangers_and_servers_without_a_clock_are_not_believed() {
        assert_eq!(time_in(&answer(3_913_056_000), [8; 8]), None);
        for (first, stratum) in [(0xe4, 2), (0x23, 2), (0x24, 0), (0x24, 16)] {
            let mut packet = answer(3_913_056_000);
            (packet[0], packet[1]) = (first, stratum);
            assert_eq!(time_in(&packet, [7; 8]), None);
        }
    }

    #[test]
    fn a_question_is_48_bytes() {
        let packet = request([1; 8]);
        assert_eq!((packet[0], &packet[40..]), (0x23, &[1; 8][..]));
    }
}
