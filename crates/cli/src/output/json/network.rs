//! Networks.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire;

use super::time;

/// A network.
#[derive(Clone, Debug, Serialize)]
pub struct Network {
    id: String,
    name: String,
    labels: BTreeMap<String, String>,
    ipv6: bool,
    internal: bool,
    attachable: bool,
    ingress: bool,
    removing: bool,
    /// What it waits for, if it has not been given what it needs.
    waiting: Option<Waiting>,
    /// `null` until it was allocated.
    driver: Option<Driver>,
    ipam_driver: Option<Driver>,
    pools: Vec<Pool>,
    version: u64,
    created_at: Option<String>,
    updated_at: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Waiting {
    since: Option<String>,
    message: String,
}

#[derive(Clone, Debug, Serialize)]
struct Driver {
    name: String,
    options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize)]
struct Pool {
    family: &'static str,
    subnet: String,
    range: String,
    gateway: String,
    reserved: BTreeMap<String, String>,
}

impl Network {
    /// The JSON form of a network.
    #[must_use]
    pub fn new(network: &wire::Network) -> Self {
        let spec = network.spec.clone().unwrap_or_default();
        let annotations = spec.annotations.unwrap_or_default();
        let meta = network.meta.unwrap_or_default();
        let ipam = network.ipam.clone().unwrap_or_default();
        let waiting = network.waiting.as_ref();
        Self {
            id: network.id.clone(),
            name: annotations.name,
            labels: annotations.labels,
            ipv6: spec.ipv6_enabled,
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: spec.ingress,
            removing: network.pending_delete,
            waiting: waiting
                .map(|waiting| Waiting { since: time(waiting.since.as_ref()), message: waiting.message.clone() }),
            driver: network.driver_state.clone().map(Driver::new),
            ipam_driver: ipam.driver.map(Driver::new),
            pools: ipam.configs.into_iter().map(Pool::new).collect(),
            version: meta.version.unwrap_or_default().index,
            created_at: time(meta.created_at.as_ref()),
            updated_at: time(meta.updated_at.as_ref()),
        }
    }
}

impl Driver {
    fn new(driver: wire::Driver) -> Self {
        Self { name: driver.name, options: driver.options }
    }
}

impl Pool {
    fn new(pool: wire::IpamConfig) -> Self {
        let family = pool.family().as_str_name();
        Self { family, subnet: pool.subnet, range: pool.range, gateway: pool.gateway, reserved: pool.reserved }
    }
}

/// One end of a network: a task's, or that of a node's load balancer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Attachment {
    network_id: String,
    network: String,
    addresses: Vec<String>,
    aliases: Vec<String>,
}

impl Attachment {
    pub(super) fn all(attachments: &[wire::NetworkAttachment]) -> Vec<Self> {
        let one = |attachment: &wire::NetworkAttachment| {
            let network = attachment.network.clone().unwrap_or_default();
            let name = network.spec.and_then(|spec| spec.annotations).unwrap_or_default().name;
            let (addresses, aliases) = (attachment.addresses.clone(), attachment.aliases.clone());
            Self { network_id: network.id, network: name, addresses, aliases }
        };
        attachments.iter().map(one).collect()
    }
}
