//! Addresses of a network card that were told instead of asked of DHCP.

use crate::command_line::CommandLine;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one network card is to be set to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// The card, by its name (`eth0`) or its hardware address; the first card if neither is told.
    pub name: Option<String>,
    /// The hardware address, in lower case with colons.
    pub hardware: Option<String>,
    /// IPv4 address and length of the prefix.
    pub v4: Option<(Ipv4Addr, u8)>,
    /// Default route of IPv4.
    pub gateway4: Option<Ipv4Addr>,
    /// IPv6 address and length of the prefix.
    pub v6: Option<(Ipv6Addr, u8)>,
    /// Default route of IPv6.
    pub gateway6: Option<Ipv6Addr>,
    /// Name servers.
    pub name_servers: Vec<IpAddr>,
    /// Domains for short host names.
    pub search: Vec<String>,
    /// The largest packet, if it is not the usual one.
    pub mtu: Option<u32>,
}

impl Interface {
    /// Reads the kernel's own parameter, `ip=<client>:<server>:<gateway>:<mask>:<host>:<device>:<how>:<dns>:<dns>`.
    ///
    /// IPv6 addresses stand in brackets, as in `ip=[fd00::2]::[fd00::1]:64::eth0:none`. Anything that leaves the address to
    /// others (`ip=dhcp`) is none of ours.
    pub fn all_from(line: &CommandLine) -> Vec<Interface> {
        line.values("ip").filter_map(parse).collect()
    }
}

fn parse(value: &str) -> Option<Interface> {
    let fields = fields(value);
    let field = |at: usize| fields.get(at).map(String::as_str).filter(|text| !text.is_empty());
    let mut interface = Interface { name: field(5).map(str::to_owned), ..Interface::default() };
    match field(0)?.parse().ok()? {
        IpAddr::V4(address) => {
            let prefix = field(3).and_then(prefix).unwrap_or(24);
            interface.v4 = (prefix <= 32).then_some((address, prefix));
            interface.gateway4 = field(2).and_then(|text| text.parse().ok());
        }
        IpAddr::V6(address) => {
            interface.v6 = Some((address, field(3).and_then(|text| text.parse().ok()).unwrap_or(64)));
            interface.gateway6 = field(2).and_then(|text| text.parse().ok());
        }
    }
    interface.name_servers = (7..9).filter_map(field).filter_map(|text| text.parse().ok()).collect();
    Some(interface)
}

/// Splits at colons outside brackets, and takes the brackets away.
fn fields(value: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut inside = false;
    for character in value.chars() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            ':' if !inside => fields.push(String::new()),
            _ => fields.last_mut().into_iter().for_each(|field| field.push(character)),
        }
    }
    fields
}

/// The length of the prefix that a mask (`255.255.255.0`) or a number (`24`) means.
pub fn prefix(mask: &str) -> Option<u8> {
    if let Ok(length) = mask.parse::<u8>() {
        return (length <= 128).then_some(length);
    }
    let bits = u32::from(mask.parse::<Ipv4Addr>().ok()?);
    (bits.leading_ones() + bits.trailing_zeros() >= 32).then_some(bits.leading_ones() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Interface> {
        Interface::all_from(&CommandLine::parse(&format!("ip={value}"))).pop()
    }

    #[test]
    fn the_kernels_parameter() {
        let interface = read("10.0.2.15::10.0.2.2:255.255.255.0:host:eth1:none:10.0.2.3:fd00::3").expect("an address");
        assert_eq!(interface.v4, Some((Ipv4Addr::new(10, 0, 2, 15), 24)));
        assert_eq!(interface.gateway4, Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(interface.name.as_deref(), Some("eth1"));
        assert_eq!(interface.name_servers, [IpAddr::V4(Ipv4Addr::new(10, 0, 2, 3))]);
        assert_eq!(read("dhcp"), None);
        assert_eq!(read(":::::eth0:dhcp"), None);
    }

    #[test]
    fn addresses_of_ipv6_in_brackets() {
        let interface = read("[fd00::2]::[fd00::1]:64::eth0:none:[fd00::3]").expect("an address");
        assert_eq!(interface.v6.map(|(address, prefix)| (address.to_string(), prefix)), Some(("fd00::2".into(), 64)));
        assert_eq!(interface.gateway6.map(|gateway| gateway.to_string()).as_deref(), Some("fd00::1"));
        assert_eq!(interface.name_servers.len(), 1);
    }

    #[test]
    fn masks() {
        assert_eq!(prefix("255.255.240.0"), Some(20));
        assert_eq!(prefix("0.0.0.0"), Some(0));
        assert_eq!(prefix("255.0.255.0"), None);
        assert_eq!(prefix("32"), Some(32));
    }
}
