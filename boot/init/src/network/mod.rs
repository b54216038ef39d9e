//! The network: fixed addresses where they were told, DHCP and the announcements of IPv6 routers elsewhere.

mod card;
mod dhcp;
mod lease;

use anyhow::{Result, bail};
use card::Card;
use lease::Lease;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use ucernvm_context::Interface;

/// How long is waited for cards to appear, and for a router of IPv6 to announce itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known about the network once it works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// Name servers, the first one first.
    pub(crate) name_servers: Vec<IpAddr>,
    /// Domains for short names.
    pub(crate) search: Vec<String>,
    /// Servers of the time.
    pub(crate) time_servers: Vec<IpAddr>,
    /// Who gave the address.
    pub(crate) dhcp_server: Option<Ipv4Addr>,
    /// Whether addresses were told.
    pub(crate) fixed: bool,
    /// What was done, for the log.
    pub(crate) log: String,
}

/// Brings the network up.
pub(crate) fn start(told: &[Interface]) -> Result<Network> {
    let cards = cards();
    if cards.is_empty() {
        bail!("there is no network card");
    }
    let mut network = Network { fixed: !told.is_empty(), ..Network::default() };
    // All of them first: a cable is noticed only after a while.
    let up: Vec<Result<()>> = cards.iter().map(Card::up).collect();
    let mut working = 0;
    for ((number, card), up) in cards.iter().enumerate().zip(up) {
        let told: Vec<&Interface> = told.iter().filter(|interface| is_meant(interface, card, number)).collect();
        let outcome = up.and_then(|()| match told.as_slice() {
            [] if network.fixed => Ok(false),
            [] => network.ask(card).map(|()| true),
            told => told.iter().try_for_each(|interface| network.set(card, interface)).map(|()| true),
        });
        match outcome {
            Ok(works) => working += usize::from(works),
            Err(error) => network.note(format_args!("{}: {error:#}", card.name)),
        }
    }
    if working == 0 {
        bail!("{}", network.log.trim());
    }
    Ok(network)
}

/// Drivers find their cards a moment after they were loaded.
fn cards() -> Vec<Card> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cards = card::all();
        if !cards.is_empty() || Instant::now() > deadline {
            return cards;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether something was told about this card.
fn is_meant(interface: &Interface, card: &Card, number: usize) -> bool {
    let hardware = card.hardware.map(|byte| format!("{byte:02x}")).join(":");
    match (&interface.hardware, &interface.name) {
        (Some(wanted), _) => *wanted == hardware,
        (None, Some(name)) => *name == card.name,
        (None, None) => number == 0,
    }
}

impl Network {
    fn set(&mut self, card: &Card, told: &Interface) -> Result<()> {
        self.name_servers.extend(&told.name_servers);
        self.search.extend(told.search.iter().cloned());
        if let Some(mtu) = told.mtu
            && let Err(error) = card.set_mtu(mtu)
        {
            self.note(format_args!("{}: packets of {mtu} bytes: {error:#}", card.name));
        }
        if let Some((address, prefix)) = told.v4 {
            card.set_address(address, prefix)?;
            if let Some(gateway) = told.gateway4 {
                default_route(card, (address, prefix), gateway, 0)?;
            }
            self.note(format_args!("{}: {address}/{prefix}", card.name));
        }
        if let Some((address, prefix)) = told.v6 {
            card.set_address6(address, prefix, told.gateway6)?;
            self.note(format_args!("{}: {address}/{prefix}", card.name));
        }
        Ok(())
    }

    fn ask(&mut self, card: &Card) -> Result<()> {
        match dhcp::ask(card) {
            Ok(lease) => self.take(card, &lease),
            Err(error) => {
                let deadline = Instant::now() + PATIENCE;
                while !card.has_global_address6() {
                    if Instant::now() > deadline {
                        return Err(error);
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                self.note(format_args!("{}: IPv6 only", card.name));
                Ok(())
            }
        }
    }

    fn take(&mut self, card: &Card, lease: &Lease) -> Result<()> {
        if let Some(mtu) = lease.mtu {
            // Some cards cannot; packets are then cut on the way.
            let _ = card.set_mtu(mtu);
        }
        card.set_address(lease.address, lease.prefix)?;
        for (number, router) in lease.routers.iter().enumerate() {
            default_route(card, (lease.address, lease.prefix), *router, number as i16)?;
        }
        for (network, prefix, gateway) in &lease.routes {
            card.add_route(*network, *prefix, Some(*gateway).filter(|gateway| !gateway.is_unspecified()), 0)?;
        }
        self.name_servers.extend(lease.name_servers.iter().copied().map(IpAddr::from));
        self.time_servers.extend(lease.time_servers.iter().copied().map(IpAddr::from));
        self.search.extend(lease.domain.iter().flat_map(|domain| domain.split_whitespace()).map(str::to_owned));
        self.dhcp_server = self.dhcp_server.or(Some(lease.server));
        self.note(format_args!("{}: {}/{} from {}", card.name, lease.address, lease.prefix, lease.server));
        Ok(())
    }

    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.log, "{line}");
    }

    /// The resolver's configuration.
    pub(crate) fn resolver(&self) -> String {
        let mut text = String::new();
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        for server in &self.name_servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        text
    }
}

/// A gateway outside of the card's network (some clouds give /32) is reached through the card first.
fn default_route(card: &Card, (address, prefix): (Ipv4Addr, u8), gateway: Ipv4Addr, metric: i16) -> Result<()> {
    if !reaches(address, prefix, gateway) {
        card.add_route(gateway, 32, None, metric)?;
    }
    card.add_route(Ipv4Addr::UNSPECIFIED, 0, Some(gateway), metric)
}

fn reaches(address: Ipv4Addr, prefix: u8, other: Ipv4Addr) -> bool {
    let different = u32::from(address) ^ u32::from(other);
    different.leading_zeros() >= u32::from(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: Option<&str>, hardware: Option<&str>) -> Interface {
        Interface { name: name.map(str::to_owned), hardware: hardware.map(str::to_owned), ..Interface::default() }
    }

    #[test]
    fn cards_are_known_by_hardware_then_name_then_order() {
        let card = Card { name: "eth1".to_owned(), hardware: [2, 0, 10, 0, 0, 7] };
        let all = [told(Some("eth1"), Some("02:00:00:00:00:01")), told(None, Some("02:00:0a:00:00:07"))];
        assert_eq!(all.each_ref().map(|interface| is_meant(interface, &card, 0)), [false, true]);
        let all = [told(Some("eth0"), None), told(Some("eth1"), None)];
        assert_eq!(all.each_ref().map(|interface| is_meant(interface, &card, 0)), [false, true]);
        let any = told(None, None);
        assert_eq!([0, 1].map(|number| is_meant(&any, &card, number)), [true, false]);
    }

    #[test]
    fn gateways_inside_and_outside() {
        let address = Ipv4Addr::new(10, 0, 2, 15);
        assert!(reaches(address, 24, Ipv4Addr::new(10, 0, 2, 2)));
        assert!(!reaches(address, 32, Ipv4Addr::new(10, 0, 2, 2)));
        assert!(reaches(address, 0, Ipv4Addr::new(1, 2, 3, 4)));
    }

    #[test]
    fn the_resolver_is_told_all_servers() {
        let network = Network {
            name_servers: vec![[10, 0, 2, 3].into(), IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 3])],
            search: vec!["a.org".to_owned()],
            ..Network::default()
        };
        assert_eq!(
            network.resolver(),
            "search a.org\nnameserver 10.0.2.3\nnameserver fd:0:0:0:0:0:0:3\n".replace("fd:0:0:0:0:0:0:3", "fd::3")
        );
    }
}
