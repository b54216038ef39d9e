//! Network cards and routes, through the oldest calls that do it: they need no library and are the same everywhere.

use anyhow::{Context as _, Result};
use std::ffi::c_ulong;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    /// The kernel's name.
    pub(crate) name: String,
    /// The hardware address.
    pub(crate) hardware: [u8; 6],
}

/// All Ethernet cards, by name.
pub(crate) fn all() -> Vec<Card> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut cards: Vec<Card> = names.filter_map(|name| card(&name)).collect();
    cards.sort_by(|one, other| (one.name.len(), &one.name).cmp(&(other.name.len(), &other.name)));
    cards
}

fn card(name: &str) -> Option<Card> {
    let directory = Path::new("/sys/class/net").join(name);
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    if read("type").trim() != "1" {
        return None;
    }
    let bytes: Vec<u8> =
        read("address").trim().split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    Some(Card { name: name.to_owned(), hardware: bytes.try_into().ok()? })
}

impl Card {
    /// Switches the card on. IPv6 then looks for routers by itself.
    pub(crate) fn up(&self) -> Result<()> {
        let mut request = self.request();
        self.call(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has just written the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = flags | (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        self.call(libc::SIOCSIFFLAGS, &mut request)
    }

    /// Sets the largest packet.
    pub(crate) fn set_mtu(&self, bytes: u32) -> Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_mtu = bytes as i32;
        self.call(libc::SIOCSIFMTU, &mut request)
    }

    /// Sets the address of IPv4.
    pub(crate) fn set_address(&self, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_addr = sockaddr(address);
        self.call(libc::SIOCSIFADDR, &mut request)?;
        request.ifr_ifru.ifru_netmask = sockaddr(mask(prefix));
        self.call(libc::SIOCSIFNETMASK, &mut request)
    }

    /// Adds a route, to a gateway or to what is directly behind the card.
    pub(crate) fn add_route(
        &self,
        network: Ipv4Addr,
        prefix: u8,
        gateway: Option<Ipv4Addr>,
        metric: i16,
    ) -> Result<()> {
        let mut device = [0 as libc::c_char; libc::IFNAMSIZ];
        self.put_name(&mut device);
        // SAFETY: all bytes zero is a value of this plain structure.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = sockaddr(network);
        route.rt_genmask = sockaddr(mask(prefix));
        route.rt_gateway = sockaddr(gateway.unwrap_or(Ipv4Addr::UNSPECIFIED));
        // RTF_UP, RTF_GATEWAY, RTF_HOST.
        route.rt_flags = 1 | if gateway.is_some() { 2 } else { 0 } | if prefix == 32 { 4 } else { 0 };
        route.rt_metric = metric + 1;
        route.rt_dev = device.as_mut_ptr();
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        // SAFETY: the structure and the name that it points to live until the call returns.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw mut route) };
        settled(result).with_context(|| format!("{}: route to {network}/{prefix}", self.name))
    }

    /// Adds an address of IPv6, and a default route if there is a gateway.
    pub(crate) fn set_address6(&self, address: Ipv6Addr, prefix: u8, gateway: Option<Ipv6Addr>) -> Result<()> {
        let index = fs::read_to_string(Path::new("/sys/class/net").join(&self.name).join("ifindex"))?;
        let index: i32 = index.trim().parse()?;
        let socket = UdpSocket::bind("[::]:0")?;
        let mut request = Address6 { address: address.octets(), prefix: u32::from(prefix), index };
        // SAFETY: the structure is the kernel's `in6_ifreq`, and lives until the call returns.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, &raw mut request) };
        settled(result).with_context(|| format!("{}: {address}/{prefix}", self.name))?;
        if let Some(gateway) = gateway {
            let mut route = Route6 { gateway: gateway.octets(), metric: 1, flags: 1 | 2, index, ..Route6::default() };
            // SAFETY: the structure is the kernel's `in6_rtmsg`, and lives until the call returns.
            let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw mut route) };
            settled(result).with_context(|| format!("{}: route to {gateway}", self.name))?;
        }
        Ok(())
    }

    /// Whether IPv6 has found an address that reaches further than the cable.
    pub(crate) fn has_global_address6(&self) -> bool {
        let text = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        text.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            matches!(fields.as_slice(), [_, _, _, "00", flags, name] if *name == self.name && !flags.starts_with('4'))
        })
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: all bytes zero is a value of this plain structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        self.put_name(&mut request.ifr_name);
        request
    }

    fn put_name(&self, place: &mut [libc::c_char; libc::IFNAMSIZ]) {
        for (to, byte) in place.iter_mut().zip(self.name.bytes().take(libc::IFNAMSIZ - 1)) {
            *to = byte as libc::c_char;
        }
    }

    fn call(&self, number: c_ulong, request: &mut libc::ifreq) -> Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        // SAFETY: every call made here takes this structure, which lives until it returns.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), number as _, std::ptr::from_mut(request)) };
        settled(result).with_context(|| self.name.clone())
    }
}

/// The kernel's `in6_ifreq`.
#[repr(C)]
struct Address6 {
    address: [u8; 16],
    prefix: u32,
    index: i32,
}

/// The kernel's `in6_rtmsg`.
#[repr(C)]
#[derive(Default)]
struct Route6 {
    destination: [u8; 16],
    source: [u8; 16],
    gateway: [u8; 16],
    kind: u32,
    destination_prefix: u16,
    source_prefix: u16,
    metric: u32,
    info: libc::c_ulong,
    flags: u32,
    index: i32,
}

/// What is there already is as good as made.
fn settled(result: i32) -> Result<()> {
    let error = std::io::Error::last_os_error();
    if result == 0 || error.raw_os_error() == Some(libc::EEXIST) { Ok(()) } else { Err(error.into()) }
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0))
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all bytes zero is a value of this plain structure.
    let mut made: libc::sockaddr = unsafe { std::mem::zeroed() };
    made.sa_family = libc::AF_INET as u16;
    // Behind the port's two bytes.
    for (to, byte) in made.sa_data[2..6].iter_mut().zip(address.octets()) {
        *to = byte as libc::c_char;
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_prefixes() {
        assert_eq!(mask(24), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!((mask(0), mask(32)), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    }

    #[test]
    fn addresses_lie_behind_the_port() {
        let made = sockaddr(Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(made.sa_data[..7].iter().map(|&byte| byte as u8).collect::<Vec<_>>(), [0, 0, 10, 1, 2, 3, 0]);
    }
}
