//! Which networks are in use on which nodes.

use std::collections::{BTreeMap, BTreeSet};

use swarmkit_api::{NetworkId, NodeId};

/// How many tasks on a node are attached to a network; and, of each node, to which networks any are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    counts: BTreeMap<(NetworkId, NodeId), u32>,
    networks: BTreeMap<NodeId, BTreeSet<NetworkId>>,
}

// === impl Uses ===

impl Uses {
    /// Counts one more. Gives whether it is the first.
    pub(crate) fn add(&mut self, node: &NodeId, network: NetworkId) -> bool {
        let count = self.counts.entry((network.clone(), node.clone())).or_default();
        *count += 1;
        *count == 1 && self.networks.entry(node.clone()).or_default().insert(network)
    }

    /// Counts one less. Gives whether it was the last.
    pub(crate) fn remove(&mut self, node: &NodeId, network: NetworkId) -> bool {
        let key = (network, node.clone());
        let Some(count) = self.counts.get_mut(&key) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.counts.remove(&key);
        if let Some(networks) = self.networks.get_mut(node) {
            networks.remove(&key.0);
            if networks.is_empty() {
                self.networks.remove(node);
            }
        }
        true
    }

    /// The networks that are in use on a node.
    pub(crate) fn on(&self, node: &NodeId) -> impl Iterator<Item = &NetworkId> {
        self.networks.get(node).into_iter().flatten()
    }

    /// The nodes that a network is in use on.
    pub(crate) fn of(&self, network: &NetworkId) -> impl Iterator<Item = &NodeId> {
        let nodes = self.counts.range((network.clone(), NodeId::from(""))..).map(|((of, node), _)| (of, node));
        nodes.take_while(move |(of, _)| *of == network).map(|(_, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_in_use_on_a_node_from_the_first_task_to_the_last() {
        let mut uses = Uses::default();
        let (node, other) = (NodeId::from("a"), NodeId::from("b"));
        assert!(uses.add(&node, "front".into()), "the first");
        assert!(!uses.add(&node, "front".into()), "the second adds nothing");
        assert!(uses.add(&node, "back".into()));
        assert!(uses.add(&other, "front".into()));
        assert_eq!(uses.on(&node).map(NetworkId::as_str).collect::<Vec<_>>(), ["back", "front"]);
        assert_eq!(uses.of(&"front".into()).map(NodeId::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(!uses.remove(&node, "front".into()), "one of two");
        assert!(uses.remove(&node, "front".into()), "the last");
        assert!(!uses.remove(&node, "front".into()), "there is none left");
        assert_eq!(uses.of(&"front".into()).map(NodeId::as_str).collect::<Vec<_>>(), ["b"]);
        assert!(uses.remove(&node, "back".into()) && uses.remove(&other, "front".into()));
        assert_eq!(uses, Uses::default());
    }
}
