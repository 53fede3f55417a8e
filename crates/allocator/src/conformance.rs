//! Whether a provider keeps the obligations of the seam: for those who write one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{
    Network, NetworkId,
    wire::{Annotations, IpamConfig, IpamOptions, NetworkSpec},
};

use crate::{AddressRequest, Blocker, NetworkAllocator, NetworkEnd, NetworkError, NetworkOptions, NetworkProvider};

/// How many ends of each kind a network is given.
const ENDS: usize = 8;
/// A network of so few addresses that they are soon used up.
const SMALL: &str = "192.168.99.0/28";

/// Gives out networks and addresses, takes them back, and begins new terms on what was given.
///
/// A provider without networks passes if it says so each time.
///
/// # Panics
///
/// When an obligation is not kept, with what was expected.
pub fn all(provider: &dyn NetworkProvider) {
    let mut names = BTreeSet::new();
    for network in provider.predefined() {
        assert!(names.insert(network.name.clone()), "{} is predefined twice", network.name);
    }
    let mut term = begin(provider);
    let Some(one) = made(term.as_mut(), "one", None) else { return without_networks(term.as_mut()) };
    let told = one_life(provider);
    assert_eq!(told, one_life(provider), "the same calls have the same answers");
    addresses_come_back(provider);
    a_new_term_gives_nothing_twice(provider);
    what_is_unknown_is_no_harm(term.as_mut(), &one);
}

fn begin(provider: &dyn NetworkProvider) -> Box<dyn NetworkAllocator> {
    provider.allocator(&NetworkOptions::default()).expect("it works in a cluster that asks for nothing special")
}

/// A network as the cluster would store it, if there can be one.
fn made(term: &mut dyn NetworkAllocator, name: &str, subnet: Option<&str>) -> Option<Network> {
    let mut network = Network::new(NetworkId::from(name));
    let configs = subnet.map(|subnet| IpamConfig { subnet: subnet.to_owned(), ..Default::default() });
    network.spec = Arc::new(NetworkSpec {
        annotations: Some(Annotations { name: name.to_owned(), ..Default::default() }),
        ipam: configs.map(|config| IpamOptions { configs: vec![config], ..Default::default() }),
        ..Default::default()
    });
    match term.allocate_network(&network) {
        Err(NetworkError::Unavailable) => None,
        Err(error) => panic!("network {name} can be had: {error}"),
        Ok(grant) => {
            let grant = grant.expect("a network is recorded with what its driver needs");
            (network.driver_state, network.ipam) = (Some(grant.driver_state), Some(grant.ipam));
            Some(network)
        }
    }
}

fn ask(term: &mut dyn NetworkAllocator, network: &Network, end: NetworkEnd) -> Result<Vec<String>, NetworkError> {
    let request = AddressRequest { end, addresses: &[], options: &BTreeMap::new() };
    Ok(term.allocate_addresses(network, &request)?.unwrap_or_default())
}

/// Addresses for some tasks, services and load balancers. No two are the same.
fn given(term: &mut dyn NetworkAllocator, network: &Network) -> Vec<Vec<String>> {
    let ends = [NetworkEnd::Task, NetworkEnd::Service, NetworkEnd::Node];
    let ends = ends.into_iter().cycle().take(3 * ENDS);
    let all: Vec<_> = ends.map(|end| ask(term, network, end).expect("there are addresses left")).collect();
    assert_eq!(all.iter().flatten().collect::<BTreeSet<_>>().len(), all.iter().flatten().count(), "one is given twice");
    all
}

/// All that one term gives, as text.
fn one_life(provider: &dyn NetworkProvider) -> String {
    let mut term = begin(provider);
    let [one, two] = ["one", "two"].map(|name| made(term.as_mut(), name, None).expect("networks can be had"));
    assert_ne!(subnets(&one), subnets(&two), "two networks have two subnets");
    format!("{:?} {:?} {:?} {:?}", one.ipam, two.driver_state, given(term.as_mut(), &one), given(term.as_mut(), &two))
}

fn subnets(network: &Network) -> Vec<&str> {
    let pools = network.ipam.as_ref().map_or(&[][..], |ipam| &ipam.configs);
    pools.iter().map(|pool| pool.subnet.as_str()).collect()
}

/// What is used up is waited for, and comes back.
fn addresses_come_back(provider: &dyn NetworkProvider) {
    let mut term = begin(provider);
    let small = made(term.as_mut(), "small", Some(SMALL)).expect("a subnet that nobody has can be had");
    let mut taken = Vec::new();
    let error = loop {
        match ask(term.as_mut(), &small, NetworkEnd::Task) {
            Ok(addresses) => taken.push(addresses),
            Err(error) => break error,
        }
        assert!(taken.len() < 16, "a subnet of sixteen addresses has no more");
    };
    assert_eq!(error.blocker(), Blocker::AnyAddress, "{error}");
    let last = taken.pop().expect("some were given");
    for _ in 0..2 {
        term.free_addresses(&small.id, &last);
    }
    assert_eq!(ask(term.as_mut(), &small, NetworkEnd::Service), Ok(last), "the only one that is free");
    assert!(ask(term.as_mut(), &small, NetworkEnd::Task).is_err(), "freed twice, given once");

    term.free_network(&small);
    taken.iter().for_each(|addresses| term.free_addresses(&small.id, addresses));
    let again = made(term.as_mut(), "again", Some(SMALL)).expect("its subnet is free");
    let anew = (0..=taken.len()).filter(|_| ask(term.as_mut(), &again, NetworkEnd::Task).is_ok()).count();
    assert_eq!(anew, taken.len() + 1, "a network that is freed takes its addresses with it");
}

/// A term that is told what is stored, perhaps twice, goes on from there.
fn a_new_term_gives_nothing_twice(provider: &dyn NetworkProvider) {
    let mut term = begin(provider);
    let one = made(term.as_mut(), "one", None).expect("networks can be had");
    let before = given(term.as_mut(), &one);
    let mut next = begin(provider);
    for _ in 0..2 {
        next.restore_network(&one).expect("it is as it was given");
        before.iter().for_each(|addresses| next.restore_addresses(&one.id, addresses));
    }
    let after = given(next.as_mut(), &one);
    let known: BTreeSet<_> = before.iter().flatten().collect();
    assert!(after.iter().flatten().all(|address| !known.contains(address)), "what was told is not given again");
    let two = made(next.as_mut(), "two", None).expect("networks can be had");
    assert_ne!(subnets(&one), subnets(&two), "nor is the subnet");
}

fn what_is_unknown_is_no_harm(term: &mut dyn NetworkAllocator, one: &Network) {
    let mut stranger = one.clone();
    stranger.id = NetworkId::from("stranger");
    term.free_network(&stranger);
    term.free_addresses(&stranger.id, &["192.0.2.1/24".to_owned()]);
    term.free_addresses(&one.id, &["192.0.2.1/24".to_owned(), "no address".to_owned()]);
    given(term, one);
}

/// A provider that has none says so, and nothing else happens.
fn without_networks(term: &mut dyn NetworkAllocator) {
    let network = Network::new(NetworkId::from("none"));
    assert_eq!(ask(term, &network, NetworkEnd::Task), Err(NetworkError::Unavailable));
    term.restore_network(&network).expect("what another provider has recorded is left as it is");
    term.restore_addresses(&network.id, &["192.0.2.1/24".to_owned()]);
    term.free_addresses(&network.id, &["192.0.2.1/24".to_owned()]);
    term.free_network(&network);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InertNetworks;

    #[test]
    fn a_provider_without_networks_says_so() {
        all(&InertNetworks);
    }
}
