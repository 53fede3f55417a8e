//! One overlay network: what it takes of the cluster, and the addresses on it.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use swarmkit_allocator::{NetworkError, NetworkGrant};
use swarmkit_api::wire::{Driver, IpamConfig, IpamOptions};

use crate::{
    VXLAN_IDS,
    family::Family,
    provider::{IPAM, OVERLAY},
    subnet::Subnet,
    wish::{Wish, bad},
};

/// An overlay network with all that is given out on it.
#[derive(Clone, Debug)]
pub(crate) struct Overlay {
    pub(crate) name: String,
    /// What it has taken of the cluster.
    pub(crate) taken: Taken,
    /// What is recorded of it.
    pub(crate) grant: NetworkGrant,
    /// The subnets that addresses are given out of, IPv4 first.
    subnets: Vec<Subnet>,
}

/// What a network has of what all networks share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    /// One for each wish, in that order.
    pub(crate) nets: Vec<IpNet>,
    /// One for each IPv4 subnet.
    pub(crate) ids: Vec<u32>,
}

/// What is passed on to drivers as it was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// To whoever carries the packets.
    pub(crate) driver: BTreeMap<String, String>,
    /// To whoever gives out addresses.
    pub(crate) ipam: BTreeMap<String, String>,
    /// Whether addresses go round, instead of the lowest free one being next.
    pub(crate) serial: bool,
    /// Whether ends get addresses of IPv6.
    pub(crate) ipv6: bool,
}

impl Overlay {
    /// A network on which nothing is given out but its gateways.
    ///
    /// # Errors
    ///
    /// When a wish does not fit the subnet that it got.
    pub(crate) fn new(name: &str, taken: Taken, wishes: &[Wish], options: Options) -> Result<Self, NetworkError> {
        let Options { mut driver, ipam, serial, ipv6 } = options;
        let (mut subnets, mut configs) = (Vec::new(), Vec::new());
        for (wish, net) in wishes.iter().zip(&taken.nets) {
            let mut subnet = Subnet::new(*net, wish.range, serial);
            let gateway = reserve(&mut subnet, wish).map_err(|reason| bad(name, format!("subnet {net}: {reason}")))?;
            configs.push(recorded(wish, *net, gateway));
            if ipv6 || subnet.family() == Family::V4 {
                subnets.push(subnet);
            }
        }
        subnets.sort_by_key(Subnet::family);
        if !taken.ids.is_empty() {
            let ids: Vec<_> = taken.ids.iter().map(u32::to_string).collect();
            driver.insert(VXLAN_IDS.to_owned(), ids.join(","));
        }
        let grant = NetworkGrant {
            driver_state: Driver { name: OVERLAY.to_owned(), options: driver },
            ipam: IpamOptions { driver: Some(Driver { name: IPAM.to_owned(), options: ipam }), configs },
        };
        Ok(Self { name: name.to_owned(), taken, grant, subnets })
    }

    /// Gives out one address of each family, or nothing. Of those that are asked for, the first of each family counts.
    pub(crate) fn take(&mut self, asked: &[String]) -> Result<Vec<String>, NetworkError> {
        let mut wanted: BTreeMap<Family, (IpAddr, &String)> = BTreeMap::new();
        for text in asked {
            let known = |address: &IpAddr| self.subnets.iter().any(|subnet| subnet.contains(*address));
            let Some(address) = parse(text).filter(known) else {
                return Err(NetworkError::BadAddress { address: text.clone(), network: self.name.clone() });
            };
            wanted.entry(Family::of_address(address)).or_insert((address, text));
        }
        let mut taken = Vec::new();
        for family in [Family::V4, Family::V6] {
            if !self.subnets.iter().any(|subnet| subnet.family() == family) {
                continue;
            }
            let one = match wanted.get(&family) {
                Some((address, text)) => self.take_asked(*address, text),
                None => self.take_next(family),
            };
            match one {
                Ok(address) => taken.push(address),
                Err(error) => {
                    self.give_back(&taken);
                    return Err(error);
                }
            }
        }
        if taken.is_empty() { Err(NetworkError::NoAddress(self.name.clone())) } else { Ok(taken) }
    }

    /// Learns that addresses were given out.
    pub(crate) fn restore(&mut self, addresses: &[String]) {
        for address in addresses.iter().filter_map(|address| parse(address)) {
            self.subnets.iter_mut().for_each(|subnet| subnet.restore(address));
        }
    }

    /// Takes addresses back.
    pub(crate) fn give_back(&mut self, addresses: &[String]) {
        for address in addresses.iter().filter_map(|address| parse(address)) {
            self.subnets.iter_mut().for_each(|subnet| subnet.give_back(address));
        }
    }

    fn take_next(&mut self, family: Family) -> Result<String, NetworkError> {
        let mut subnets = self.subnets.iter_mut().filter(|subnet| subnet.family() == family);
        let taken = subnets.find_map(|subnet| subnet.take_next().map(|address| subnet.in_cidr(address)));
        taken.ok_or_else(|| NetworkError::NoAddress(self.name.clone()))
    }

    fn take_asked(&mut self, address: IpAddr, text: &str) -> Result<String, NetworkError> {
        let taken = self.subnets.iter_mut().find_map(|subnet| subnet.take(address).then(|| subnet.in_cidr(address)));
        let (address, network) = (text.to_owned(), self.name.clone());
        taken.ok_or(NetworkError::AddressInUse { address, network })
    }
}

/// Takes the gateway of a subnet, and what the user has reserved, out of use.
fn reserve(subnet: &mut Subnet, wish: &Wish) -> Result<IpAddr, String> {
    if let Some(gateway) = wish.gateway
        && !subnet.keep(gateway)
    {
        return Err(format!("its gateway cannot be {gateway}"));
    }
    for reserved in &wish.reserved {
        if !subnet.contains(*reserved) {
            return Err(format!("the reserved address {reserved} is not within it"));
        }
        subnet.keep(*reserved);
    }
    if let Some(gateway) = wish.gateway {
        return Ok(gateway);
    }
    let gateway = subnet.first_free().ok_or("it has no room for a gateway")?;
    subnet.keep(gateway);
    Ok(gateway)
}

/// A pool as it is recorded: what was asked for, with what was chosen.
fn recorded(wish: &Wish, net: IpNet, gateway: IpAddr) -> IpamConfig {
    let mut config = wish.config.clone();
    config.set_family(Family::of(net).to_wire());
    config.subnet = net.to_string();
    config.gateway = gateway.to_string();
    config
}

/// An address with or without the length of its subnet.
fn parse(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}
