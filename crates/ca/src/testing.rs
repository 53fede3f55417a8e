//! What the tests of this crate share: a clock that stands still, and the files made with other programs.

use std::time::{Duration, SystemTime};

use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_runtime::{Clock, Env};

use crate::{Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The first of January 2030, noon, a moment within the validity of all fixtures.
pub(crate) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_499_200)
}

struct At(SystemTime);

impl Clock for At {
    fn now(&self) -> SystemTime {
        self.0
    }
}

pub(crate) fn env() -> Env {
    env_at(noon())
}

pub(crate) fn env_at(time: SystemTime) -> Env {
    Env::seeded(7, At(time))
}

pub(crate) fn root() -> RootCa {
    RootCa::create(&SystemKeys, &env()).unwrap()
}

pub(crate) fn worker() -> Identity {
    Identity::new(NodeId::from("node1"), NodeRole::Worker, ClusterId::from("cluster1"))
}

pub(crate) fn manager() -> Identity {
    Identity::new(NodeId::from("node2"), NodeRole::Manager, ClusterId::from("cluster1"))
}

/// A certificate for `identity` as `root` issues it at noon.
pub(crate) fn member(root: &RootCa, identity: &Identity) -> NodeCertificate {
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), identity, LEAF_VALIDITY_DEFAULT, &env()).unwrap();
    NodeCertificate::new(&chain, key).unwrap()
}

/// A file of `tests/fixtures`.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name))
    };
}
pub(crate) use fixture;
