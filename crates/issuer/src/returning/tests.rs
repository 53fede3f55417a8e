//! Whom the table lets come back.

use std::time::Duration;

use swarmkit_ca::{Identity, KeySource as _, LEAF_VALIDITY_MIN, SystemKeys};
use swarmkit_runtime::Clock;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that stands still, so many hours after the year 2027 began.
struct At(u32);

impl Clock for At {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600) + HOUR * self.0
    }
}

fn env(hours: u32) -> Env {
    Env::seeded(3, At(hours))
}

/// A chain for the node that was made then, and counts for an hour from that.
fn chain(root: &RootCa, hours: u32) -> String {
    let own = Identity::new("n".into(), NodeRole::Worker, "c".into());
    let key = SystemKeys.generate().unwrap();
    root.issue(&key.request().unwrap(), &own, LEAF_VALIDITY_MIN, &env(hours)).unwrap()
}

fn was(chain: &str) -> Returning {
    let identity = Identity::new("n".into(), NodeRole::Worker, "c".into());
    Returning { identity, validity: Validity::of_chain(chain).unwrap() }
}

#[test]
fn a_node_comes_back_by_its_newest_certificate_or_when_that_has_expired_too() {
    let root = RootCa::create(&SystemKeys, &env(0)).unwrap();
    let (old, new) = (chain(&root, 0), chain(&root, 5));
    let cluster = Cluster::new("c".into());
    let mut node = Node::new("n".into());
    let mut outcome = |newest: &str, shown: &str, hours: u32| {
        node.certificate.certificate = newest.to_owned().into();
        match may_return(&was(shown), &cluster, Some(&node), NodeRole::Worker, env(hours).now()) {
            Ok(_) => "comes back".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(outcome(&old, &old, 100), "comes back", "as it was left");
    assert_eq!(outcome("", &old, 100), "comes back", "a founder that has never renewed");
    assert_eq!(outcome(&new, &new, 5), "comes back", "its clock may be ahead of ours");
    assert_eq!(outcome(&new, &old, 5), "node n has a newer certificate, until 2027-01-01T06:00:00Z");
    assert_eq!(outcome(&new, &old, 7), "comes back", "nobody can use the newer one any more");
}

#[test]
fn a_node_needs_to_be_known_not_removed_and_of_the_role_of_the_token() {
    let root = RootCa::create(&SystemKeys, &env(0)).unwrap();
    let was = was(&chain(&root, 0));
    let mut cluster = Cluster::new("c".into());
    let mut node = Node::new("n".into());
    let now = env(100).now();
    let refused =
        |cluster: &Cluster, node: Option<&Node>, token| may_return(&was, cluster, node, token, now).unwrap_err();
    let told = refused(&cluster, None, NodeRole::Worker).to_string();
    assert_eq!(told, "node n not found when attempting to renew certificate");
    let told = refused(&cluster, Some(&node), NodeRole::Manager).to_string();
    assert_eq!(told, "node n is a worker: the join token for workers is necessary");
    node.role = NodeRole::Manager;
    let told = refused(&cluster, Some(&node), NodeRole::Worker).to_string();
    assert_eq!(told, "node n is a manager: the join token for managers is necessary");
    cluster.blacklisted_certificates.insert("n".to_owned(), Default::default());
    for node in [None, Some(&node)] {
        let told = refused(&cluster, node, NodeRole::Manager).to_string();
        assert_eq!(told, "Permission denied: node n was removed from swarm");
    }
}
