//! What OpenNebula's `context.sh` says. It is written to be run by a shell; here it is read.

use crate::about::keys_in;
use crate::interface::{Interface, prefix};
use crate::{About, UserData, shell};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The assignments of one `context.sh`.
#[derive(Debug, Clone)]
pub struct Context {
    values: Vec<(String, String)>,
}

impl Context {
    /// Reads the text of the file.
    pub fn parse(text: &str) -> Context {
        Context { values: shell::assignments(text) }
    }

    fn value(&self, key: &str) -> Option<&str> {
        let pair = self.values.iter().rev().find(|(name, _)| name == key);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The user data in it, decoded.
    pub fn user_data(&self) -> UserData {
        let packed = self.value("EC2_USER_DATA").or_else(|| self.value("USER_DATA")).unwrap_or_default();
        let stripped: String = packed.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(&stripped).unwrap_or_else(|_| packed.as_bytes().to_vec());
        let keys = self.value("SSH_PUBLIC_KEY").map(keys_in).unwrap_or_default();
        let hostname = self.value("SET_HOSTNAME").or_else(|| self.value("HOSTNAME")).map(str::to_owned);
        UserData { source: "OpenNebula", bytes, about: About { hostname, keys, ..About::default() } }
    }

    /// The network cards that are to get fixed addresses.
    pub fn interfaces(&self) -> Vec<Interface> {
        (0..16).filter_map(|number| self.interface(number)).collect()
    }

    fn interface(&self, number: usize) -> Option<Interface> {
        let value = |key: &str| self.value(&format!("ETH{number}_{key}"));
        let hardware = value("MAC").map(str::to_ascii_lowercase);
        let from_hardware =
            hardware.as_deref().and_then(address_in).filter(|_| value("IP6").or(value("IPV6")).is_none());
        let v4 = value("IP").and_then(|text| text.parse().ok()).or(from_hardware);
        let v6 = value("IP6").or_else(|| value("IPV6")).and_then(|text| text.parse::<Ipv6Addr>().ok());
        if v4.is_none() && v6.is_none() {
            return None;
        }
        let length = value("MASK").and_then(prefix).filter(|&length| length <= 32).unwrap_or(24);
        let gateway: Option<Ipv4Addr> = value("GATEWAY").and_then(|text| text.parse().ok());
        let length6 = value("IP6_PREFIX_LENGTH").and_then(|text| text.parse().ok()).unwrap_or(64);
        let routes =
            self.value("GATEWAY_IFACE").is_none_or(|only| only.trim_start_matches("eth") == number.to_string());
        let servers = [value("DNS"), self.value("DNS")];
        let words = |text: &str| text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let name_servers: Vec<String> =
            servers.into_iter().flatten().flat_map(|text| -> Vec<String> { words(text) }).collect();
        Some(Interface {
            name: hardware.is_none().then(|| format!("eth{number}")),
            hardware,
            v4: v4.map(|address| (address, length)),
            gateway4: v4.filter(|_| routes).map(|address| gateway.unwrap_or_else(|| first_host(address, length))),
            v6: v6.map(|address| (address, length6)),
            gateway6: value("GATEWAY6").filter(|_| routes).and_then(|text| text.parse().ok()),
            name_servers: name_servers.iter().filter_map(|text| text.parse().ok()).collect(),
            search: value("SEARCH_DOMAIN").map(words).unwrap_or_default(),
            mtu: value("MTU").and_then(|text| text.parse().ok()),
        })
    }
}

/// OpenNebula writes the address into the last four bytes of the hardware address.
fn address_in(hardware: &str) -> Option<Ipv4Addr> {
    let bytes: Option<Vec<u8>> = hardware.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    match bytes?.as_slice() {
        [_, _, a, b, c, d] => Some(Ipv4Addr::new(*a, *b, *c, *d)),
        _ => None,
    }
}

fn first_host(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    Ipv4Addr::from((u32::from(address) & mask) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_user_data() {
        let context = Context::parse(
            "ETH0_MAC='02:00:0A:00:00:07'\nETH0_DNS='10.0.0.3 10.0.0.4'\nETH1_IP='192.168.1.9'\nETH1_MASK='255.255.0.0'\n\
             ETH1_GATEWAY='192.168.0.254'\nETH1_IP6='fd00::9'\nETH1_GATEWAY6='fd00::1'\nGATEWAY_IFACE='1'\n\
             SSH_PUBLIC_KEY='ssh-ed25519 AAAA a\nssh-rsa BBBB b'\nEC2_USER_DATA='IyEv\nYmluL3NoCg=='\n",
        );
        let cards = context.interfaces();
        assert_eq!(cards.len(), 2);
        assert_eq!(cards[0].v4, Some((Ipv4Addr::new(10, 0, 0, 7), 24)), "from the hardware address");
        assert_eq!((cards[0].gateway4, cards[0].name_servers.len()), (None, 2));
        assert_eq!(cards[1].gateway4, Some(Ipv4Addr::new(192, 168, 0, 254)));
        assert_eq!(cards[1].v4, Some((Ipv4Addr::new(192, 168, 1, 9), 16)));
        assert_eq!(cards[1].v6.map(|(_, length)| length), Some(64));
        let data = context.user_data();
        assert_eq!(data.bytes, b"#!/bin/sh\n");
        assert_eq!(data.about.keys.len(), 2);
    }

    #[test]
    fn a_gateway_that_is_not_told_is_the_first_host() {
        let cards = Context::parse("ETH0_IP=10.1.2.3\nETH0_MASK=255.255.0.0\n").interfaces();
        assert_eq!(cards[0].gateway4, Some(Ipv4Addr::new(10, 1, 0, 1)));
    }
}
