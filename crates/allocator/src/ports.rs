//! Which published ports a service has, and which are free.
//!
//! Ports in ingress mode are published by the whole cluster, so each number is given out once per protocol. Ports in
//! host mode belong to the node that a task is on, and are the scheduler's business; here they are only copied.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use swarmkit_api::{
    Service, ServiceId,
    wire::{
        Endpoint, EndpointSpec, PortConfig,
        port_config::{Protocol, PublishMode},
    },
};

/// The numbers that ports without a wish get, as upstream.
pub const DYNAMIC_PORTS: RangeInclusive<u32> = 30_000..=32_767;

/// Why a service cannot have its ports for now, or ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Another service has it. It will be tried again when that one lets go.
    #[error("port {port}/{protocol} is already in use by service {service}")]
    InUse {
        /// The published port.
        port: u32,
        /// `tcp`, `udp` or `sctp`.
        protocol: &'static str,
        /// Who has it.
        service: ServiceId,
    },
    /// The same port is asked for twice. The specification has to change.
    #[error("port {port}/{protocol} is published twice")]
    Twice {
        /// The published port.
        port: u32,
        /// `tcp`, `udp` or `sctp`.
        protocol: &'static str,
    },
    /// No such port exists. The specification has to change.
    #[error("port {0} is out of range")]
    OutOfRange(u32),
    /// All numbers for ports without a wish are taken. It will be tried again when a service lets go of one.
    #[error("no port of the range 30000-32767 is free")]
    Exhausted,
}

/// The ports that services have, and where the next one without a wish is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ports {
    owners: BTreeMap<(Protocol, u32), BTreeSet<ServiceId>>,
    /// The number after the one given out last, so that one that was let go is not reused at once.
    next: BTreeMap<Protocol, u32>,
}

// === impl Ports ===

impl Ports {
    /// Books the ports that a service has.
    pub(crate) fn claim(&mut self, service: &Service) {
        for port in ingress_ports(service.endpoint.as_deref()) {
            let (protocol, number) = (port.protocol(), port.published_port);
            self.owners.entry((protocol, number)).or_default().insert(service.id.clone());
            if DYNAMIC_PORTS.contains(&number) {
                self.next.insert(protocol, number + 1);
            }
        }
    }

    /// Takes back what [`Ports::claim`] booked for the same record. Gives whether there was anything.
    pub(crate) fn release(&mut self, service: &Service) -> bool {
        let mut any = false;
        for port in ingress_ports(service.endpoint.as_deref()) {
            let key = (port.protocol(), port.published_port);
            if let Some(owners) = self.owners.get_mut(&key) {
                any |= owners.remove(&service.id);
                if owners.is_empty() {
                    self.owners.remove(&key);
                }
            }
        }
        any
    }

    /// The ports that a service shall have: those with a number as they are asked for, those without keep the one that
    /// they have, or get a new one.
    pub(crate) fn plan(&self, service: &Service, spec: &EndpointSpec) -> Result<Vec<PortConfig>, PortError> {
        let had = service.endpoint.as_deref().map_or(&[][..], |endpoint| &endpoint.ports);
        let mut ports = spec.ports.clone();
        if ports.len() == had.len() {
            ports.sort_by_key(|port| (port.publish_mode() != PublishMode::Host, port.published_port == 0));
        }
        let mut taken = BTreeSet::new();
        for port in ports.iter().filter(|port| is_ingress(port) && port.published_port != 0) {
            self.check(service, port)?;
            if !taken.insert((port.protocol(), port.published_port)) {
                let (port, protocol) = (port.published_port, name(port.protocol()));
                return Err(PortError::Twice { port, protocol });
            }
        }
        for port in ports.iter_mut().filter(|port| is_ingress(port) && port.published_port == 0) {
            let protocol = port.protocol();
            let is_free =
                |number: u32| !taken.contains(&(protocol, number)) && self.owner(service, protocol, number).is_none();
            let kept = had.iter().filter(|had| key(had) == key(port) && is_ingress(had)).map(|had| had.published_port);
            let number = kept.filter(|number| *number != 0).find(|number| is_free(*number));
            let number = number.or_else(|| self.numbers(protocol).find(|number| is_free(*number)));
            port.published_port = number.ok_or(PortError::Exhausted)?;
            taken.insert((protocol, port.published_port));
        }
        Ok(ports)
    }

    fn check(&self, service: &Service, port: &PortConfig) -> Result<(), PortError> {
        let (number, protocol) = (port.published_port, port.protocol());
        if !(1..=65_535).contains(&number) {
            return Err(PortError::OutOfRange(number));
        }
        match self.owner(service, protocol, number) {
            Some(owner) => Err(PortError::InUse { port: number, protocol: name(protocol), service: owner.clone() }),
            None => Ok(()),
        }
    }

    /// Who else has a port.
    fn owner(&self, service: &Service, protocol: Protocol, number: u32) -> Option<&ServiceId> {
        self.owners.get(&(protocol, number))?.iter().find(|owner| **owner != service.id)
    }

    /// All numbers that may be given out, the next one first.
    fn numbers(&self, protocol: Protocol) -> impl Iterator<Item = u32> {
        let next = self.next.get(&protocol).copied().unwrap_or(*DYNAMIC_PORTS.start());
        (next..=*DYNAMIC_PORTS.end()).chain(*DYNAMIC_PORTS.start()..next.min(DYNAMIC_PORTS.end() + 1))
    }
}

fn ingress_ports(endpoint: Option<&Endpoint>) -> impl Iterator<Item = &PortConfig> {
    let ports = endpoint.into_iter().flat_map(|endpoint| &endpoint.ports);
    ports.filter(|port| is_ingress(port) && port.published_port != 0)
}

pub(crate) fn is_ingress(port: &PortConfig) -> bool {
    port.publish_mode() == PublishMode::Ingress
}

/// What stays the same of a port when its number is chosen for it.
fn key(port: &PortConfig) -> (&str, Protocol, u32) {
    (&port.name, port.protocol(), port.target_port)
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port(target: u32, published: u32) -> PortConfig {
        PortConfig { target_port: target, published_port: published, ..Default::default() }
    }

    fn udp(target: u32, published: u32) -> PortConfig {
        PortConfig { protocol: Protocol::Udp.into(), ..port(target, published) }
    }

    fn host(target: u32, published: u32) -> PortConfig {
        PortConfig { publish_mode: PublishMode::Host.into(), ..port(target, published) }
    }

    fn service(id: &str, has: &[PortConfig]) -> Service {
        let mut service = swarmkit_testing::service(id).build();
        service.endpoint = Some(Endpoint { ports: has.to_vec(), ..Default::default() }.into());
        service
    }

    fn plan(ports: &Ports, service: &Service, asked: &[PortConfig]) -> Result<Vec<u32>, String> {
        let planned = ports.plan(service, &EndpointSpec { ports: asked.to_vec(), ..Default::default() });
        planned.map(|ports| ports.iter().map(|port| port.published_port).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn ports_without_a_wish_come_from_the_dynamic_range_each_protocol_by_itself() {
        let asked = [port(80, 0), port(81, 0), udp(80, 0), port(443, 443)];
        assert_eq!(plan(&Ports::default(), &service("web", &[]), &asked).unwrap(), [30_000, 30_001, 30_000, 443]);
    }

    #[test]
    fn a_port_of_another_service_is_refused_and_an_own_one_is_not() {
        let mut ports = Ports::default();
        let web = service("web", &[port(80, 8080)]);
        ports.claim(&web);
        let refused = plan(&ports, &service("api", &[]), &[port(80, 8080)]).unwrap_err();
        assert_eq!(refused, "port 8080/tcp is already in use by service web");
        assert_eq!(plan(&ports, &service("api", &[]), &[udp(80, 8080)]).unwrap(), [8080]);
        assert_eq!(plan(&ports, &web, &[port(80, 8080)]).unwrap(), [8080]);
        assert!(ports.release(&web));
        assert_eq!(plan(&ports, &service("api", &[]), &[port(80, 8080)]).unwrap(), [8080]);
        assert_eq!(ports, Ports { next: ports.next.clone(), ..Ports::default() });
    }

    #[test]
    fn what_is_asked_for_twice_or_does_not_exist_is_refused() {
        let web = service("web", &[]);
        let refused = plan(&Ports::default(), &web, &[port(80, 8080), port(81, 8080)]).unwrap_err();
        assert_eq!(refused, "port 8080/tcp is published twice");
        assert_eq!(plan(&Ports::default(), &web, &[port(80, 65_536)]).unwrap_err(), "port 65536 is out of range");
        assert_eq!(plan(&Ports::default(), &web, &[host(80, 80), host(81, 80)]).unwrap(), [80, 80], "not ours to say");
    }

    #[test]
    fn a_port_that_was_chosen_is_kept_as_long_as_it_is_the_same_port() {
        let web = service("web", &[port(80, 30_005), port(81, 30_006)]);
        let mut ports = Ports::default();
        ports.claim(&web);
        assert_eq!(plan(&ports, &web, &[port(81, 0), port(80, 0)]).unwrap(), [30_006, 30_005]);
        assert_eq!(plan(&ports, &web, &[port(80, 0), port(82, 0)]).unwrap(), [30_005, 30_007]);
        assert_eq!(plan(&ports, &web, &[port(80, 0)]).unwrap(), [30_005]);
    }

    #[test]
    fn host_ports_come_first_and_chosen_ones_last_when_a_list_keeps_its_length() {
        let web = service("web", &[port(1, 30_000), port(2, 2), host(3, 3)]);
        assert_eq!(plan(&Ports::default(), &web, &[port(1, 0), port(2, 2), host(3, 3)]).unwrap(), [3, 2, 30_000]);
        let fresh = service("web", &[]);
        assert_eq!(plan(&Ports::default(), &fresh, &[port(1, 0), port(2, 2), host(3, 3)]).unwrap(), [30_000, 2, 3]);
    }

    #[test]
    fn a_number_that_was_let_go_is_not_reused_at_once() {
        let mut ports = Ports::default();
        let web = service("web", &[port(80, 30_000)]);
        ports.claim(&web);
        ports.release(&web);
        assert_eq!(plan(&ports, &service("api", &[]), &[port(80, 0)]).unwrap(), [30_001]);
        ports.claim(&service("last", &[port(80, 32_767)]));
        assert_eq!(plan(&ports, &service("api", &[]), &[port(80, 0)]).unwrap(), [30_000], "it wraps");
    }

    #[test]
    fn when_all_are_taken_the_service_waits() {
        let mut ports = Ports::default();
        let all: Vec<_> = DYNAMIC_PORTS.map(|number| port(number, number)).collect();
        ports.claim(&service("greedy", &all));
        let refused = plan(&ports, &service("web", &[]), &[port(80, 0)]).unwrap_err();
        assert_eq!(refused, "no port of the range 30000-32767 is free");
        assert_eq!(plan(&ports, &service("web", &[]), &[udp(80, 0), port(80, 80)]).unwrap(), [30_000, 80]);
    }

    proptest! {
        #[test]
        fn no_number_is_given_out_twice(asked in prop::collection::vec(
            prop::collection::vec((0..4_u32, prop::sample::select(vec![0, 80, 30_000, 30_001, 30_002]), any::<bool>()), 0..4), 1..12))
        {
            let mut ports = Ports::default();
            let mut given = BTreeSet::new();
            for (n, wanted) in asked.into_iter().enumerate() {
                let wanted: Vec<_> = wanted.into_iter()
                    .map(|(target, number, is_udp)| if is_udp { udp(target, number) } else { port(target, number) })
                    .collect();
                let id = format!("s{n}");
                let spec = EndpointSpec { ports: wanted.clone(), ..Default::default() };
                if let Ok(planned) = ports.plan(&service(&id, &[]), &spec) {
                    for (wanted, planned) in wanted.iter().zip(&planned) {
                        prop_assert!(wanted.published_port == 0 || wanted.published_port == planned.published_port);
                        prop_assert!(given.insert((planned.protocol, planned.published_port)), "given out twice");
                    }
                    let has = service(&id, &planned);
                    prop_assert_eq!(&ports.plan(&has, &spec).map_err(|_| ()).map(|again| again.len()), &Ok(planned.len()));
                    ports.claim(&has);
                    let mut again = ports.plan(&has, &spec).unwrap();
                    let mut planned = planned;
                    again.sort_by_key(|port| (port.protocol, port.published_port));
                    planned.sort_by_key(|port| (port.protocol, port.published_port));
                    prop_assert_eq!(again, planned, "what is allocated stays as it is");
                }
            }
        }
    }
}
