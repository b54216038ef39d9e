//! Packets of DHCP: made, and read with suspicion.

use std::net::Ipv4Addr;
use ucernvm_context::interface::prefix;

/// A packet that says what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Who has an address for me?
    Discover,
    /// I take this address of that server.
    Request {
        /// The address.
        address: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// An offer.
    Offer(Lease),
    /// The address is ours.
    Acknowledged(Lease),
    /// It is not.
    Refused,
}

/// An address and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Our address.
    pub(crate) address: Ipv4Addr,
    /// Length of the network's prefix.
    pub(crate) prefix: u8,
    /// The server that gave it.
    pub(crate) server: Ipv4Addr,
    /// Routers, the best first.
    pub(crate) routers: Vec<Ipv4Addr>,
    /// Name servers.
    pub(crate) name_servers: Vec<Ipv4Addr>,
    /// Servers of the time.
    pub(crate) time_servers: Vec<Ipv4Addr>,
    /// Our domain.
    pub(crate) domain: Option<String>,
    /// Largest packet.
    pub(crate) mtu: Option<u32>,
    /// Routes other than the default: network, prefix, gateway.
    pub(crate) routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const FIXED: usize = 236;

const MASK: u8 = 1;
const ROUTERS: u8 = 3;
const NAME_SERVERS: u8 = 6;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const TIME_SERVERS: u8 = 42;
const WANTED_ADDRESS: u8 = 50;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const WANTED_OPTIONS: u8 = 55;
const ROUTES: u8 = 121;
const END: u8 = 255;

/// A question of the card `hardware`, which the answer will carry the number `transaction` of.
pub(crate) fn packet(question: Question, transaction: u32, hardware: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![0; FIXED];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[4..8].copy_from_slice(&transaction.to_be_bytes());
    // The answer has to be a broadcast: without an address nothing else arrives.
    packet[10] = 0x80;
    packet[28..34].copy_from_slice(&hardware);
    packet.extend(COOKIE);
    packet.extend([KIND, 1, if question == Question::Discover { 1 } else { 3 }]);
    if let Question::Request { address, server } = question {
        packet.extend([WANTED_ADDRESS, 4]);
        packet.extend(address.octets());
        packet.extend([SERVER, 4]);
        packet.extend(server.octets());
    }
    let wanted = [MASK, ROUTERS, NAME_SERVERS, DOMAIN, MTU, TIME_SERVERS, ROUTES];
    packet.extend([WANTED_OPTIONS, wanted.len() as u8]);
    packet.extend(wanted);
    packet.push(END);
    // Some relays drop packets that are shorter than those of BOOTP.
    packet.resize(packet.len().max(300), 0);
    packet
}

/// Reads an answer; `None` if it is not for us, or not DHCP.
pub(crate) fn reply(packet: &[u8], transaction: u32, hardware: [u8; 6]) -> Option<Reply> {
    let fixed = packet.get(..FIXED)?;
    let ours = fixed[0] == 2 && fixed[4..8] == transaction.to_be_bytes() && fixed[28..34] == hardware;
    let options = packet.get(FIXED..)?.strip_prefix(&COOKIE).filter(|_| ours)?;
    let address = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);
    let option = |wanted| value(options, wanted);
    let addresses = |wanted| addresses(&option(wanted));
    let kind = *option(KIND).first()?;
    if kind == 6 {
        return Some(Reply::Refused);
    }
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return None;
    }
    let mask = addresses(MASK).first().and_then(|mask| prefix(&mask.to_string()));
    let mut routes = routes(&option(ROUTES));
    let mut routers = addresses(ROUTERS);
    // Where there are static routes, routers are not to be looked at; the default may be among them.
    if !routes.is_empty() {
        routers = routes.iter().filter(|(_, length, _)| *length == 0).map(|(_, _, gateway)| *gateway).collect();
        routes.retain(|(_, length, _)| *length > 0);
    }
    let domain = String::from_utf8(option(DOMAIN)).ok().map(|text| text.trim_end_matches('\0').to_owned());
    let named = |text: &String| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-. ".contains(&byte))
    };
    let mtu = <[u8; 2]>::try_from(option(MTU).as_slice()).ok().map(u16::from_be_bytes);
    let lease = Lease {
        address,
        prefix: mask.unwrap_or(24),
        server: addresses(SERVER).first().copied()?,
        routers,
        name_servers: addresses(NAME_SERVERS),
        time_servers: addresses(TIME_SERVERS),
        domain: domain.filter(named),
        mtu: mtu.filter(|&mtu| mtu >= 576).map(u32::from),
        routes,
    };
    match kind {
        2 => Some(Reply::Offer(lease)),
        5 => Some(Reply::Acknowledged(lease)),
        _ => None,
    }
}

/// The value of an option; long ones come in several pieces.
fn value(options: &[u8], wanted: u8) -> Vec<u8> {
    let mut found = Vec::new();
    let mut rest = options;
    while let [kind, after @ ..] = rest {
        match (kind, after) {
            (0, _) => rest = after,
            (&END, _) | (_, []) => break,
            (kind, [length, after @ ..]) => {
                let Some((value, after)) = after.split_at_checked(usize::from(*length)) else { break };
                if *kind == wanted {
                    found.extend_from_slice(value);
                }
                rest = after;
            }
        }
    }
    found
}

fn addresses(bytes: &[u8]) -> Vec<Ipv4Addr> {
    bytes.as_chunks::<4>().0.iter().map(|&octets| Ipv4Addr::from(octets)).collect()
}

fn routes(bytes: &[u8]) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut routes = Vec::new();
    let mut rest = bytes;
    while let [length, after @ ..] = rest {
        let significant = usize::from(length.div_ceil(8));
        if *length > 32 || after.len() < significant + 4 {
            break;
        }
        let mut network = [0; 4];
        network[..significant].copy_from_slice(&after[..significant]);
        let gateway = &after[significant..significant + 4];
        routes.push((network.into(), *length, Ipv4Addr::new(gateway[0], gateway[1], gateway[2], gateway[3])));
        rest = &after[significant + 4..];
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CARD: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn answer(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut packet = packet(Question::Discover, 7, CARD);
        packet.truncate(FIXED);
        packet[0] = 2;
        packet[16..20].copy_from_slice(&[10, 0, 2, 15]);
        packet.extend(COOKIE);
        packet.extend([KIND, 1, kind, SERVER, 4, 10, 0, 2, 2]);
        packet.extend(options);
        packet.push(END);
        packet
    }

    fn lease(options: &[u8]) -> Lease {
        match reply(&answer(5, options), 7, CARD) {
            Some(Reply::Acknowledged(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_offer_and_its_options() {
        let options = [
            MASK,
            4,
            255,
            255,
            255,
            0,
            ROUTERS,
            8,
            10,
            0,
            2,
            2,
            10,
            0,
            2,
            3,
            NAME_SERVERS,
            4,
            10,
            0,
            2,
            3,
            MTU,
            2,
            5,
            180,
            DOMAIN,
            5,
            b'a',
            b'.',
            b'o',
            b'r',
            b'g',
        ];
        let lease = lease(&options);
        assert_eq!((lease.address, lease.prefix), (Ipv4Addr::new(10, 0, 2, 15), 24));
        assert_eq!((lease.routers.len(), lease.name_servers.len(), lease.mtu), (2, 1, Some(1460)));
        assert_eq!(lease.domain.as_deref(), Some("a.org"));
        assert!(matches!(reply(&answer(2, &[]), 7, CARD), Some(Reply::Offer(_))));
        assert_eq!(reply(&answer(6, &[]), 7, CARD), Some(Reply::Refused));
    }

    #[test]
    fn static_routes_replace_routers() {
        let lease = lease(&[ROUTERS, 4, 1, 1, 1, 1, ROUTES, 12, 16, 169, 254, 10, 0, 0, 5, 0, 10, 0, 0, 1]);
        assert_eq!(lease.routers, [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(lease.routes, [(Ipv4Addr::new(169, 254, 0, 0), 16, Ipv4Addr::new(10, 0, 0, 5))]);
    }

    #[test]
    fn answers_for_others_are_not_ours() {
        assert_eq!(reply(&answer(5, &[]), 8, CARD), None);
        assert_eq!(reply(&answer(5, &[]), 7, [3; 6]), None);
        let mut domain = vec![DOMAIN, 8];
        domain.extend(b"a\nsearch");
        assert_eq!(lease(&domain).domain, None, "it goes into a file of lines");
    }

    #[test]
    fn a_question_reads_back() {
        let asked = packet(Question::Request { address: [10, 0, 0, 9].into(), server: [10, 0, 0, 1].into() }, 7, CARD);
        assert_eq!(value(&asked[FIXED + 4..], WANTED_ADDRESS), [10, 0, 0, 9]);
        assert_eq!(asked.len(), 300);
    }

    proptest! {
        #[test]
        fn any_options_are_survived(options in proptest::collection::vec(any::<u8>(), 0..120), cut in 0usize..400) {
            let packet = answer(5, &options);
            let _ = reply(&packet, 7, CARD);
            let _ = reply(&packet[..cut.min(packet.len())], 7, CARD);
        }
    }
}
