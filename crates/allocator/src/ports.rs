//! Which published ports a service has, and which are free.
//!
//! Ports in ingress mode are published by the whole cluster, so each number is given out once per protocol. Ports in
//! host mode belong to the node that a task is on, and are the scheduler's business; here they are only copied.

mod dynamic;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use swarmkit_api::{
    Service, ServiceId,
    wire::{
        Endpoint, EndpointSpec, PortConfig,
        port_config::{Protocol, PublishMode},
    },
};

pub use self::dynamic::DYNAMIC_PORTS;
use self::dynamic::Dynamic;
use crate::holders::Holders;

/// Why a service cannot have its ports for now, or ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Another service has it. It will be tried again when that one lets go.
    #[error("port {port}/{} is already in use by service {name} ({service})", text(*protocol))]
    InUse {
        /// The published port.
        port: u32,
        /// The protocol.
        protocol: Protocol,
        /// Who has it.
        service: ServiceId,
        /// The name of that service.
        name: String,
    },
    /// The same port is asked for twice. The specification has to change.
    #[error("port {port}/{} is published twice", text(*protocol))]
    Twice {
        /// The published port.
        port: u32,
        /// The protocol.
        protocol: Protocol,
    },
    /// No such port exists. The specification has to change.
    #[error("port {0} is out of range")]
    OutOfRange(u32),
    /// All numbers for ports without a wish are taken. It will be tried again when a service lets go of one.
    #[error("no {} port of the range 30000-32767 is free", text(*protocol))]
    Exhausted {
        /// The protocol.
        protocol: Protocol,
    },
}

/// A published port: the number is one of its protocol.
pub(crate) type PortKey = (Protocol, u32);

/// The ports that services have, and where the next one without a wish is looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    owners: BTreeMap<PortKey, Holders<ServiceId>>,
    dynamic: BTreeMap<Protocol, Dynamic>,
}

/// Where the next port is looked for depends on what was given out before, and is no part of what is given out.
impl PartialEq for Ports {
    fn eq(&self, other: &Self) -> bool {
        self.owners == other.owners
    }
}

// === impl Ports ===

impl Ports {
    /// Books the ports that a service has. Booking them twice changes nothing.
    pub(crate) fn claim(&mut self, service: &ServiceId, ports: &[PortConfig]) {
        for key in published(ports) {
            match self.owners.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(Holders::One(service.clone()));
                    self.dynamic.entry(key.0).or_default().take(key.1);
                }
                Entry::Occupied(mut taken) => taken.get_mut().add(service),
            }
        }
    }

    /// Takes back those of `ports` that are booked for a service and are not among `kept`. Gives what is free by that.
    pub(crate) fn release(&mut self, service: &ServiceId, ports: &[PortConfig], kept: &[PortConfig]) -> Vec<PortKey> {
        let kept: BTreeSet<_> = published(kept).collect();
        let mut freed = Vec::new();
        for key in published(ports).filter(|key| !kept.contains(key)) {
            if self.owners.get_mut(&key).is_some_and(|owners| owners.remove(service)) {
                self.owners.remove(&key);
                self.dynamic.entry(key.0).or_default().put_back(key.1);
                freed.push(key);
            }
        }
        freed
    }

    /// The ports that a service shall have: those with a number as they are asked for, those without keep the one that
    /// they have, or get a new one. Nothing is booked. `name_of` names services in errors.
    pub(crate) fn choose(
        &self,
        service: &Service,
        spec: &EndpointSpec,
        name_of: impl Fn(&ServiceId) -> String,
    ) -> Result<Vec<PortConfig>, PortError> {
        let had = service.endpoint.as_deref().map_or(&[][..], |endpoint| &endpoint.ports);
        let mut ports = spec.ports.clone();
        if ports.len() == had.len() {
            ports.sort_by_key(|port| (port.publish_mode() != PublishMode::Host, port.published_port == 0));
        }
        let mut taken = BTreeSet::new();
        for port in ports.iter().filter(|port| is_ingress(port) && port.published_port != 0) {
            self.check(service, port, &name_of)?;
            if !taken.insert((port.protocol(), port.published_port)) {
                return Err(PortError::Twice { port: port.published_port, protocol: port.protocol() });
            }
        }
        let mut free = BTreeMap::new();
        for port in ports.iter_mut().filter(|port| is_ingress(port) && port.published_port == 0) {
            let protocol = port.protocol();
            let is_free = |number| !taken.contains(&(protocol, number));
            let kept = had.iter().filter(|had| key(had) == key(port) && is_ingress(had)).map(|had| had.published_port);
            let mut kept = kept.filter(|number| *number != 0 && self.owner(service, (protocol, *number)).is_none());
            let number = kept.find(|number| is_free(*number)).or_else(|| {
                let free = free
                    .entry(protocol)
                    .or_insert_with(|| self.dynamic.get(&protocol).cloned().unwrap_or_default().free());
                free.find(|number| is_free(*number))
            });
            port.published_port = number.ok_or(PortError::Exhausted { protocol })?;
            taken.insert((protocol, port.published_port));
        }
        Ok(ports)
    }

    fn check(
        &self,
        service: &Service,
        port: &PortConfig,
        name_of: impl Fn(&ServiceId) -> String,
    ) -> Result<(), PortError> {
        let (number, protocol) = (port.published_port, port.protocol());
        if !(1..=65_535).contains(&number) {
            return Err(PortError::OutOfRange(number));
        }
        match self.owner(service, (protocol, number)) {
            Some(owner) => {
                Err(PortError::InUse { port: number, protocol, service: owner.clone(), name: name_of(owner) })
            }
            None => Ok(()),
        }
    }

    /// Who else has a port.
    fn owner(&self, service: &Service, key: PortKey) -> Option<&ServiceId> {
        self.owners.get(&key)?.other_than(&service.id)
    }
}

/// The ports of an endpoint.
pub(crate) fn of_endpoint(endpoint: Option<&Endpoint>) -> &[PortConfig] {
    endpoint.map_or(&[], |endpoint| &endpoint.ports)
}

/// What of a list of ports is given out by the cluster.
fn published(ports: &[PortConfig]) -> impl Iterator<Item = PortKey> {
    let given = ports.iter().filter(|port| is_ingress(port) && port.published_port != 0);
    given.map(|port| (port.protocol(), port.published_port))
}

pub(crate) fn is_ingress(port: &PortConfig) -> bool {
    port.publish_mode() == PublishMode::Ingress
}

/// What stays the same of a port when its number is chosen for it.
fn key(port: &PortConfig) -> (&str, Protocol, u32) {
    (&port.name, port.protocol(), port.target_port)
}

fn text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
