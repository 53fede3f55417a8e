//! Whether a cluster is more than the one manager that has founded it.

use swarmkit_api::{Cluster, Config, Extension, Node, Resource, Secret, Service, Task, Volume};
use swarmkit_ca::Identity;
use swarmkit_store::{State, Stored};

/// Whether anything would be lost with this manager: another node, another cluster, or anything that somebody has made.
/// Networks do not count, since some are made with the cluster.
pub(crate) fn is_dirty(state: &State, own: &Identity) -> bool {
    let made: [fn(&State) -> bool; 7] =
        [any::<Service>, any::<Task>, any::<Secret>, any::<Config>, any::<Volume>, any::<Resource>, any::<Extension>];
    let foreign_node = state.all::<Node>().any(|node| node.id != own.node);
    let foreign_cluster = state.all::<Cluster>().any(|cluster| cluster.id != own.cluster);
    foreign_node || foreign_cluster || made.iter().any(|any| any(state))
}

fn any<O: Stored>(state: &State) -> bool {
    state.count::<O>() > 0
}

#[cfg(test)]
mod tests {
    use swarmkit_api::NodeRole;
    use swarmkit_testing::world;

    use super::*;

    fn check(told: &str) -> bool {
        // The cluster of such a world is called like this.
        is_dirty(&world(told), &Identity::new("a".into(), NodeRole::Manager, "default".into()))
    }

    #[test]
    fn a_cluster_of_one_node_is_clean_until_somebody_has_made_something() {
        assert!(!check(""));
        assert!(!check("cluster; node a manager"));
        assert!(!check("cluster; node a manager; network ingress"));
        for more in ["node b", "service web replicas=1", "task web.1", "secret s=x", "config c=x"] {
            assert!(check(&format!("cluster; node a manager; {more}")), "{more}");
        }
        assert!(check("cluster; node b"), "another node alone");
    }

    #[test]
    fn the_state_of_another_cluster_is_dirty() {
        let own = Identity::new("a".into(), NodeRole::Manager, "ours".into());
        assert!(is_dirty(&world("cluster; node a manager"), &own));
    }
}
