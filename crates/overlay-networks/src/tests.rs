//! What networks and their ends are given, as the seam tells it.

mod addresses;
mod networks;
mod property;
mod record;

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_allocator::{
    AddressRequest, NetworkAllocator as _, NetworkEnd, NetworkError, NetworkGrant, NetworkOptions,
};
use swarmkit_api::{Network, wire};

use crate::{VXLAN_IDS, allocation::Allocation};

/// A leader term, and what is stored meanwhile.
struct World {
    options: NetworkOptions,
    allocation: Allocation,
    networks: BTreeMap<String, Network>,
}

/// The network of a specification, with its name as its id.
fn network(name: &str, change: impl FnOnce(&mut wire::NetworkSpec)) -> Network {
    let mut network = Network::new(name.into());
    let annotations = Some(wire::Annotations { name: name.to_owned(), ..Default::default() });
    let mut spec = wire::NetworkSpec { annotations, ..Default::default() };
    change(&mut spec);
    network.spec = Arc::new(spec);
    network
}

/// Asks for pools, as `subnet[,range=..][,gateway=..][,reserved=..]`.
fn pools<'a>(pools: &'a [&'a str]) -> impl FnOnce(&mut wire::NetworkSpec) + 'a {
    let pool = |text: &&str| {
        let mut config = wire::IpamConfig::default();
        for (index, part) in text.split(',').enumerate() {
            match part.split_once('=') {
                Some(("range", range)) => config.range = range.to_owned(),
                Some(("gateway", gateway)) => config.gateway = gateway.to_owned(),
                Some((name, reserved)) => drop(config.reserved.insert(name.to_owned(), reserved.to_owned())),
                None if index == 0 => config.subnet = part.to_owned(),
                None => panic!("{part}"),
            }
        }
        config
    };
    move |spec| {
        let configs = pools.iter().map(pool).collect();
        spec.ipam = Some(wire::IpamOptions { driver: None, configs });
    }
}

fn driver(name: &str, options: &[(&str, &str)]) -> wire::Driver {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    wire::Driver { name: name.to_owned(), options }
}

/// The pools and ids of a grant, in short.
fn told(grant: &NetworkGrant) -> String {
    let pools: Vec<_> = grant.ipam.configs.iter().map(|pool| format!("{} via {}", pool.subnet, pool.gateway)).collect();
    let ids = grant.driver_state.options.get(VXLAN_IDS).map(|ids| format!(" vxlan {ids}")).unwrap_or_default();
    format!("{}{ids}", pools.join(" + "))
}

impl World {
    fn new() -> Self {
        Self::with(&[], 0)
    }

    fn with(pools: &[&str], subnet_size: u32) -> Self {
        let default_address_pool = pools.iter().map(|pool| (*pool).to_owned()).collect();
        let options = NetworkOptions { default_address_pool, subnet_size, vxlan_udp_port: 0 };
        Self { allocation: Allocation::new(&options).unwrap(), networks: BTreeMap::new(), options }
    }

    /// Makes a network, and stores it. Gives what it got, or why it waits.
    fn make(&mut self, mut network: Network) -> String {
        match self.allocation.allocate_network(&network) {
            Ok(grant) => {
                let grant = grant.unwrap();
                network.driver_state = Some(grant.driver_state.clone());
                network.ipam = Some(grant.ipam.clone());
                self.networks.insert(network.id.to_string(), network);
                told(&grant)
            }
            Err(error) => error.to_string(),
        }
    }

    fn free(&mut self, name: &str) {
        let network = self.networks.remove(name).unwrap();
        self.allocation.free_network(&network);
    }

    fn ask(&mut self, end: NetworkEnd, name: &str, asked: &[&str]) -> Result<Option<Vec<String>>, NetworkError> {
        let addresses: Vec<_> = asked.iter().map(|address| (*address).to_owned()).collect();
        let request = AddressRequest { end, addresses: &addresses, options: &BTreeMap::new() };
        self.allocation.allocate_addresses(&self.networks[name], &request)
    }

    /// The addresses of a task, or why it waits.
    fn attach(&mut self, name: &str, asked: &[&str]) -> String {
        match self.ask(NetworkEnd::Task, name, asked) {
            Ok(addresses) => addresses.unwrap().join(" "),
            Err(error) => error.to_string(),
        }
    }

    fn detach(&mut self, name: &str, addresses: &str) {
        let addresses: Vec<_> = addresses.split(' ').map(str::to_owned).collect();
        self.allocation.free_addresses(&name.into(), &addresses);
    }

    /// Another leader, who learns what is stored: the networks, and these addresses.
    fn next_term(&mut self, addresses: &[(&str, &str)]) {
        let mut next = Allocation::new(&self.options).unwrap();
        for network in self.networks.values() {
            next.restore_network(network).unwrap();
        }
        for (network, addresses) in addresses {
            let addresses: Vec<_> = addresses.split(' ').map(str::to_owned).collect();
            next.restore_addresses(&(*network).into(), &addresses);
        }
        self.allocation = next;
    }
}
