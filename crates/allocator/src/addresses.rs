//! Which addresses are given out, and to whom.
//!
//! A provider of networks knows what is taken; here is by whom. So an address goes back once, when the last one that was
//! recorded with it lets go, however often that is said.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

use swarmkit_api::{
    NetworkId, NodeId, ServiceId, TaskId,
    wire::{NetworkAttachment, endpoint::VirtualIp},
};

use crate::{NetworkAllocator, holders::Holders};

/// What can have an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Node(NodeId),
    Service(ServiceId),
    Task(TaskId),
}

/// The addresses of all networks that are given out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addresses {
    networks: BTreeMap<NetworkId, BTreeMap<IpAddr, Holders<Holder>>>,
}

/// Addresses on one network, as they are recorded.
pub(crate) type Held<'a> = (NetworkId, &'a [String]);

// === impl Addresses ===

impl Addresses {
    /// Books addresses that are recorded, and tells the provider of those that it does not know of.
    pub(crate) fn claim(&mut self, holder: &Holder, held: Held<'_>, provider: &mut dyn NetworkAllocator) {
        for address in held.1 {
            if self.book(holder, &held.0, address) {
                provider.restore_addresses(&held.0, std::slice::from_ref(address));
            }
        }
    }

    /// Books addresses that the provider has just given.
    pub(crate) fn give(&mut self, holder: &Holder, network: &NetworkId, addresses: &[String]) {
        for address in addresses {
            self.book(holder, network, address);
        }
    }

    /// Takes back what is booked for a holder, and gives what is free by that.
    pub(crate) fn release(
        &mut self,
        holder: &Holder,
        held: Held<'_>,
        provider: &mut dyn NetworkAllocator,
    ) -> Vec<IpAddr> {
        let Some(taken) = self.networks.get_mut(&held.0) else { return Vec::new() };
        let mut freed = Vec::new();
        for (address, text) in held.1.iter().filter_map(|text| Some((parse(text)?, text))) {
            if taken.get_mut(&address).is_some_and(|holders| holders.remove(holder)) {
                taken.remove(&address);
                provider.free_addresses(&held.0, std::slice::from_ref(text));
                freed.push(address);
            }
        }
        if taken.is_empty() {
            self.networks.remove(&held.0);
        }
        freed
    }

    /// Tells the provider of all addresses of a network that it did not know before.
    pub(crate) fn tell(&self, network: &NetworkId, provider: &mut dyn NetworkAllocator) {
        let taken: Vec<_> = self.networks.get(network).into_iter().flatten().map(|(at, _)| at.to_string()).collect();
        provider.restore_addresses(network, &taken);
    }

    /// Gives whether nobody had the address.
    fn book(&mut self, holder: &Holder, network: &NetworkId, address: &str) -> bool {
        let Some(address) = parse(address) else { return false };
        match self.networks.entry(network.clone()).or_default().entry(address) {
            Entry::Vacant(free) => {
                free.insert(Holders::One(holder.clone()));
                true
            }
            Entry::Occupied(mut taken) => {
                if let Some(other) = taken.get().other_than(holder) {
                    tracing::warn!(%network, %address, ?holder, ?other, "an address is recorded twice");
                }
                taken.get_mut().add(holder);
                false
            }
        }
    }
}

/// The address in a text with or without a prefix length.
pub(crate) fn parse(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

/// What attachments have.
pub(crate) fn of_attachments(attachments: &[NetworkAttachment]) -> impl Iterator<Item = Held<'_>> + Clone {
    let id = |attachment: &NetworkAttachment| attachment.network.as_ref().map(|it| NetworkId::from(it.id.as_str()));
    attachments.iter().filter_map(move |attachment| Some((id(attachment)?, attachment.addresses.as_slice())))
}

/// What virtual addresses are.
pub(crate) fn of_virtual_ips(ips: &[VirtualIp]) -> impl Iterator<Item = Held<'_>> + Clone {
    let held = |ip: &'_ VirtualIp| NetworkId::from(ip.network_id.as_str());
    ips.iter().filter(|ip| !ip.addr.is_empty()).map(move |ip| (held(ip), std::slice::from_ref(&ip.addr)))
}
