//! What networks are given, and which of them the load balancers of nodes are attached to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{Network, NetworkId, Node, NodeId, wire::NetworkAttachment};

use super::Draft;
use crate::{
    NetworkEnd,
    addresses::Holder,
    decision::{Decision, granted},
    is_ingress_network,
    plan::ends::{End, attachment, network_of},
    waits::{Cause, Wait, Waiter, Wish},
    world::is_recorded,
};

impl Draft<'_> {
    pub(super) fn consider_network(&mut self, id: &NetworkId) {
        let Some(network) = self.world.networks.get(id).cloned() else { return };
        if self.world.is_allocated(&network) {
            return drop(self.note(Waiter::Network(id.clone()), None));
        }
        let wait = self.allocate(&network).err();
        let (why, _) = self.note(Waiter::Network(id.clone()), wait);
        if let Some(why) = why
            && network.waiting.as_ref().is_none_or(|waiting| waiting.message != why)
        {
            tracing::warn!(network = %id, reason = %why, "the network waits");
            self.decisions.push(Decision::Wait { network, why });
        }
        // Whoever waits for it goes on, or is told why not.
        self.causes.insert(Cause::Network(id.clone()));
    }

    fn allocate(&mut self, network: &Arc<Network>) -> Result<(), Wait> {
        let wish = wish(network);
        if is_recorded(network) {
            self.world.restore_network(network, self.provider).map_err(|error| Wait::Subnet { error, wish })?;
            if network.waiting.is_some() {
                self.decisions.push(Decision::Network { network: network.clone(), grant: None });
            }
            return Ok(());
        }
        let ingress = self.world.ingress().filter(|ingress| is_ingress_network(network) && ingress.id != network.id);
        if let Some(ingress) = ingress {
            return Err(Wait::SecondIngress { id: ingress.id.clone(), name: name(ingress) });
        }
        let grant = self.provider.allocate_network(network).map_err(|error| Wait::Subnet { error, wish })?;
        let given = match &grant {
            Some(grant) => Arc::new(granted(network, grant)),
            None => {
                self.world.bare.insert(network.id.clone());
                network.clone()
            }
        };
        if is_ingress_network(network) {
            self.causes.insert(Cause::Ingress);
            self.due.extend(self.world.nodes.keys().cloned().map(Waiter::Node));
        }
        self.granted.insert(network.id.clone(), given);
        if grant.is_some() || network.waiting.is_some() {
            self.decisions.push(Decision::Network { network: network.clone(), grant });
        }
        Ok(())
    }

    /// The load balancer of a node has one end on the network that carries published ports, and on each that is in use on
    /// the node. What can be had of that it gets, whatever it waits for.
    pub(super) fn consider_node(&mut self, id: &NodeId) {
        let Some(node) = self.world.nodes.get(id).cloned() else { return };
        let ingress = self.world.ingress().map(|network| &network.id);
        let in_use = self.world.uses.on(id).filter(|network| self.world.networks.contains_key(*network));
        let wanted: BTreeSet<_> = in_use.chain(ingress).cloned().collect();
        let mut kept = BTreeMap::new();
        for had in node.attachments.iter().filter(|had| !had.addresses.is_empty()) {
            if let Some(network) = network_of(had).filter(|network| wanted.contains(network)) {
                kept.entry(network).or_insert_with(|| had.clone());
            }
        }
        let mut wait = None;
        let missing: Vec<_> = wanted.iter().filter(|network| !kept.contains_key(*network)).collect();
        for network in missing {
            match self.node_end(&node, network) {
                Ok(given) => drop(given.map(|given| kept.insert(network.clone(), given))),
                Err(why) => wait = wait.or(Some(why)),
            }
        }
        let (why, is_new) = self.note(Waiter::Node(id.clone()), wait);
        if let (Some(why), true) = (why, is_new) {
            tracing::debug!(node = %id, reason = %why, "the load balancer of the node waits for an address");
        }
        let attachments = in_order(&node, kept);
        if attachments != node.attachments {
            self.decisions.push(Decision::Attach { node, attachments });
        }
    }

    fn node_end(&mut self, node: &Node, network: &NetworkId) -> Result<Option<NetworkAttachment>, Wait> {
        let network = self.ready(network)?;
        let end = End { holder: Holder::Node(node.id.clone()), kind: NetworkEnd::Node, asked: None };
        Ok(self.addresses(&network, &end)?.map(|addresses| attachment(&network, addresses, None)))
    }
}

/// What stays, where it was; then what is new.
fn in_order(node: &Node, mut wanted: BTreeMap<NetworkId, NetworkAttachment>) -> Vec<NetworkAttachment> {
    let stays = node.attachments.iter().filter_map(|had| wanted.remove(&network_of(had)?));
    let mut attachments: Vec<_> = stays.collect();
    attachments.extend(wanted.into_values());
    attachments
}

/// Whether a network asks for nothing in particular.
fn wish(network: &Network) -> Wish {
    let spec = &network.spec;
    let has_wishes = spec.ipam.as_ref().is_some_and(|ipam| !ipam.configs.is_empty() || ipam.driver.is_some())
        || spec.driver_config.as_ref().is_some_and(|driver| !driver.options.is_empty());
    match (has_wishes, spec.ipv6_enabled) {
        (true, _) => Wish::Own,
        (false, true) => Wish::Dual,
        (false, false) => Wish::None,
    }
}

/// The name of a network, as users know it.
pub(super) fn name(network: &Network) -> String {
    network.spec.annotations.as_ref().map_or_else(|| network.id.to_string(), |annotations| annotations.name.clone())
}
