//! A provider of networks that is as small as can be: numbered subnets, and a few addresses on each.
//!
//! It asserts that what it is told makes sense: nothing is asked of it that belongs to a network which it does not know.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use swarmkit_api::{
    Network, NetworkId,
    wire::{Driver, IpamConfig, IpamOptions},
};

use crate::{
    AddressRequest, DriverPurpose, NetworkAllocator, NetworkEnd, NetworkError, NetworkGrant, NetworkOptions,
    NetworkProvider, addresses::parse,
};

/// How many subnets there are, and how many addresses on each, counted from `10.<subnet>.0.2/24`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub(super) subnets: u8,
    pub(super) addresses: u8,
}

/// What is given out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelAllocator {
    limits: (u8, u8),
    /// The subnets of networks. Networks that are local to each node have none.
    subnets: BTreeMap<NetworkId, Option<u8>>,
    names: BTreeMap<NetworkId, String>,
    taken: BTreeMap<NetworkId, BTreeSet<IpAddr>>,
}

impl NetworkProvider for Model {
    fn check_driver(&self, _: DriverPurpose, _: Option<&Driver>) -> Result<(), NetworkError> {
        Ok(())
    }

    fn allocator(&self, _: &NetworkOptions) -> Result<Box<dyn NetworkAllocator>, NetworkError> {
        Ok(Box::new(self.empty()))
    }
}

impl Model {
    pub(super) fn empty(self) -> ModelAllocator {
        let limits = (self.subnets, self.addresses);
        ModelAllocator { limits, subnets: BTreeMap::new(), names: BTreeMap::new(), taken: BTreeMap::new() }
    }
}

impl ModelAllocator {
    fn owner(&self, subnet: u8) -> Option<&NetworkId> {
        self.subnets.iter().find(|(_, of)| **of == Some(subnet)).map(|(network, _)| network)
    }

    fn in_use(&self, subnet: u8, network: &NetworkId) -> NetworkError {
        let name = self.names[network].clone();
        NetworkError::SubnetInUse { subnet: format!("10.{subnet}.0.0/24"), name, network: network.clone() }
    }

    fn learn(&mut self, network: &Network, subnet: Option<u8>) {
        self.subnets.insert(network.id.clone(), subnet);
        self.names.insert(network.id.clone(), name(network));
    }
}

impl NetworkAllocator for ModelAllocator {
    fn restore_network(&mut self, network: &Network) -> Result<(), NetworkError> {
        let subnet = network.ipam.as_ref().and_then(subnet);
        match subnet.and_then(|subnet| Some((subnet, self.owner(subnet)?))) {
            Some((subnet, owner)) if *owner != network.id => Err(self.in_use(subnet, owner)),
            _ => {
                self.learn(network, subnet);
                Ok(())
            }
        }
    }

    fn allocate_network(&mut self, network: &Network) -> Result<Option<NetworkGrant>, NetworkError> {
        assert!(!self.subnets.contains_key(&network.id), "{network:?} was allocated before");
        let driver = network.spec.driver_config.as_ref().map_or("model", |driver| &driver.name);
        let driver_state = Driver { name: driver.to_owned(), ..Default::default() };
        if driver == "host" {
            self.learn(network, None);
            return Ok(Some(NetworkGrant { driver_state, ipam: IpamOptions::default() }));
        }
        let subnet = match network.spec.ipam.as_ref().and_then(subnet) {
            Some(asked) => match self.owner(asked) {
                Some(owner) => return Err(self.in_use(asked, owner)),
                None => asked,
            },
            None => (1..=self.limits.0)
                .find(|subnet| self.owner(*subnet).is_none())
                .ok_or_else(|| NetworkError::NoSubnet(name(network)))?,
        };
        self.learn(network, Some(subnet));
        Ok(Some(NetworkGrant { driver_state, ipam: ipam(subnet) }))
    }

    fn free_network(&mut self, network: &Network) {
        self.subnets.remove(&network.id);
        self.names.remove(&network.id);
        self.taken.remove(&network.id);
    }

    fn restore_addresses(&mut self, network: &NetworkId, addresses: &[String]) {
        if self.subnets.contains_key(network) && !addresses.is_empty() {
            self.taken.entry(network.clone()).or_default().extend(addresses.iter().filter_map(|text| parse(text)));
        }
    }

    fn allocate_addresses(
        &mut self,
        network: &Network,
        request: &AddressRequest<'_>,
    ) -> Result<Option<Vec<String>>, NetworkError> {
        let subnet = *self.subnets.get(&network.id).ok_or_else(|| NetworkError::NotAllocated(name(network)))?;
        let Some(subnet) = subnet else {
            return Ok((request.end != NetworkEnd::Node).then(Vec::new));
        };
        let taken = self.taken.entry(network.id.clone()).or_default();
        let address = match request.addresses.first() {
            Some(asked) => {
                let (address, network) = (asked.clone(), name(network));
                let Some(asked) = parse(asked) else { return Err(NetworkError::BadAddress { address, network }) };
                if taken.contains(&asked) {
                    return Err(NetworkError::AddressInUse { address, network });
                }
                asked
            }
            None => (2..2 + self.limits.1)
                .map(|last| IpAddr::V4(Ipv4Addr::new(10, subnet, 0, last)))
                .find(|address| !taken.contains(address))
                .ok_or_else(|| NetworkError::NoAddress(name(network)))?,
        };
        taken.insert(address);
        Ok(Some(vec![format!("{address}/24")]))
    }

    fn free_addresses(&mut self, network: &NetworkId, addresses: &[String]) {
        let Some(taken) = self.taken.get_mut(network) else { return };
        for address in addresses {
            assert!(taken.remove(&parse(address).unwrap()), "{address} on {network} is freed twice");
        }
        if taken.is_empty() {
            self.taken.remove(network);
        }
    }
}

/// The pools of the subnet with that number, as a specification has them.
pub(super) fn ipam(subnet: u8) -> IpamOptions {
    let config = IpamConfig { subnet: format!("10.{subnet}.0.0/24"), ..Default::default() };
    IpamOptions { driver: None, configs: vec![config] }
}

fn subnet(ipam: &IpamOptions) -> Option<u8> {
    ipam.configs.first()?.subnet.split('.').nth(1)?.parse().ok()
}

fn name(network: &Network) -> String {
    network.spec.annotations.as_ref().map_or_else(|| network.id.to_string(), |annotations| annotations.name.clone())
}
