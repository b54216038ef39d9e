//! Writes databases of places in MaxMind's format, version 2.0.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "for tests")]

use std::net::{IpAddr, Ipv6Addr};

/// Bytes between the tree and the data.
const GAP: usize = 16;
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// A network and where it is: latitude and longitude in degrees, or nowhere.
pub type Network = (IpAddr, u8, Option<(f64, f64)>);

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A database of these networks, none of which is in another one.
pub fn write(networks: &[Network]) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (address, length, place) in networks {
        let (bits, length) = match address {
            // IPv4 addresses are the last 32 bits of IPv6 addresses that begin with nothing.
            IpAddr::V4(address) => (u128::from(u32::from(*address)), length + 96),
            IpAddr::V6(address) => (u128::from(*address), *length),
        };
        let at = data.len();
        match place {
            Some((latitude, longitude)) => {
                map(&mut data, 2);
                string(&mut data, "city");
                map(&mut data, 0);
                string(&mut data, "location");
                map(&mut data, 3);
                string(&mut data, "accuracy_radius");
                number(&mut data, 5, 20, 2);
                string(&mut data, "latitude");
                double(&mut data, *latitude);
                string(&mut data, "longitude");
                double(&mut data, *longitude);
            }
            None => map(&mut data, 0),
        }
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            let is_last = depth + 1 == length;
            node = match nodes[node][side] {
                _ if is_last => {
                    nodes[node][side] = Record::Data(at);
                    break;
                }
                Record::Node(next) => next,
                _ => {
                    nodes.push([Record::Nothing; 2]);
                    nodes[node][side] = Record::Node(nodes.len() - 1);
                    nodes.len() - 1
                }
            };
        }
    }
    let count = nodes.len();
    let mut bytes = Vec::new();
    for record in nodes.into_iter().flatten() {
        let value = match record {
            Record::Nothing => count,
            Record::Node(node) => node,
            Record::Data(at) => count + GAP + at,
        };
        bytes.extend(u32::try_from(value).unwrap().to_be_bytes());
    }
    bytes.extend([0; GAP]);
    bytes.append(&mut data);
    bytes.extend(MARKER);
    map(&mut bytes, 9);
    for (key, kind, value, size) in [
        ("node_count", 6, count as u64, 4),
        ("record_size", 5, 32, 2),
        ("ip_version", 5, 6, 2),
        ("binary_format_major_version", 5, 2, 2),
        ("binary_format_minor_version", 5, 0, 2),
        ("build_epoch", 9, 1_700_000_000, 8),
    ] {
        string(&mut bytes, key);
        number(&mut bytes, kind, value, size);
    }
    string(&mut bytes, "database_type");
    string(&mut bytes, "Test-City");
    string(&mut bytes, "languages");
    bytes.extend([0, 11 - 7]);
    string(&mut bytes, "description");
    map(&mut bytes, 0);
    bytes
}

fn map(bytes: &mut Vec<u8>, pairs: u8) {
    bytes.push(7 << 5 | pairs);
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29);
    bytes.push(2 << 5 | text.len() as u8);
    bytes.extend(text.as_bytes());
}

fn double(bytes: &mut Vec<u8>, value: f64) {
    bytes.push(3 << 5 | 8);
    bytes.extend(value.to_be_bytes());
}

/// An unsigned number of a type, in `size` bytes.
fn number(bytes: &mut Vec<u8>, kind: u8, value: u64, size: usize) {
    match kind < 8 {
        true => bytes.push(kind << 5 | size as u8),
        false => bytes.extend([size as u8, kind - 7]),
    }
    bytes.extend(&value.to_be_bytes()[8 - size..]);
}

/// A network of its own for each number: IPv4 for even ones.
pub fn network(number: u8) -> (IpAddr, u8) {
    match number % 2 {
        0 => (IpAddr::from([number / 2 + 1, 0, 0, 0]), 8),
        _ => (Ipv6Addr::new(0x2000 + u16::from(number), 0, 0, 0, 0, 0, 0, 0).into(), 16),
    }
}
