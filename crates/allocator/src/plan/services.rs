//! What services are given: ports, and a virtual address on each of their networks.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{
    NetworkId, Service, ServiceId,
    wire::{Endpoint, NetworkAttachmentConfig, PortConfig, endpoint::VirtualIp, endpoint_spec::ResolutionMode},
};

use super::Draft;
use crate::{
    NetworkEnd,
    addresses::{Holder, of_virtual_ips},
    decision::Decision,
    plan::ends::End,
    ports::of_endpoint,
    waits::{Cause, Wait, Waiter},
    world::publishes,
};

impl Draft<'_> {
    pub(super) fn consider_service(&mut self, id: &ServiceId) {
        let Some(service) = self.world.services.get(id).cloned() else { return };
        let wait = match self.endpoint(&service) {
            Ok(endpoint) => {
                if endpoint != service.endpoint {
                    self.decisions.push(Decision::Endpoint { service: service.clone(), endpoint: endpoint.clone() });
                }
                self.endpoints.insert(id.clone(), endpoint);
                None
            }
            Err(wait) => Some(wait),
        };
        let (why, is_new) = self.note(Waiter::Service(id.clone()), wait);
        if let (Some(why), true) = (&why, is_new) {
            tracing::warn!(service = %id, reason = %why, "the service waits for what it asks for");
        }
        if is_new || why.is_none() {
            self.causes.insert(Cause::Service(id.clone()));
        }
    }

    /// The endpoint that a service shall have; the one that it has, if that is as it is asked for. All of it is booked, or
    /// nothing.
    fn endpoint(&mut self, service: &Service) -> Result<Option<Arc<Endpoint>>, Wait> {
        let spec = service.spec.endpoint.as_ref();
        let needs_addresses = spec.is_none_or(|spec| spec.mode() == ResolutionMode::Vip);
        let ingress = publishes(service).then(|| self.world.ingress().map(|it| it.id.clone()).ok_or(Wait::NoIngress));
        let ingress = ingress.transpose()?;
        let had = service.endpoint.as_deref();
        let mut networks = Vec::new();
        for network in asked(service, None).iter().map(|asked| NetworkId::from(asked.target.as_str())).chain(ingress) {
            if needs_addresses && !networks.contains(&network) {
                networks.push(network);
            }
        }
        let ports = match spec {
            Some(spec) => {
                let services = &self.world.services;
                let name_of = |id: &ServiceId| services.get(id).map_or_else(String::new, |it| it.name().to_owned());
                let ports = self.world.ports.choose(service, spec, name_of)?;
                self.world.ports.claim(&service.id, &ports);
                ports
            }
            None => Vec::new(),
        };
        let virtual_ips = match self.virtual_ips(service, &networks) {
            Ok(virtual_ips) => virtual_ips,
            Err(wait) => {
                self.world.ports.release(&service.id, &ports, of_endpoint(had));
                return Err(wait);
            }
        };
        if spec.is_none() && virtual_ips.is_empty() {
            return Ok(None);
        }
        Ok(Some(match &service.endpoint {
            Some(had) if had.spec.as_ref() == spec && same(&had.ports, &ports) && had.virtual_ips == virtual_ips => {
                had.clone()
            }
            _ => Arc::new(Endpoint { spec: spec.cloned(), ports, virtual_ips }),
        }))
    }

    /// The virtual addresses of a service: those that it has on networks that it is still attached to, and new ones on
    /// the others.
    fn virtual_ips(&mut self, service: &Service, networks: &[NetworkId]) -> Result<Vec<VirtualIp>, Wait> {
        let had = service.endpoint.as_ref().map_or(&[][..], |had| &had.virtual_ips);
        let networks = networks.iter().map(|network| self.ready(network)).collect::<Result<Vec<_>, _>>()?;
        let mut ips: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ip in had.iter().filter(|ip| !ip.addr.is_empty()) {
            let network = NetworkId::from(ip.network_id.as_str());
            if networks.iter().any(|attached| attached.id == network) {
                ips.entry(network).or_default().push(ip.clone());
            }
        }
        let kept: Vec<_> = ips.keys().cloned().collect();
        let holder = Holder::Service(service.id.clone());
        for network in networks.iter().filter(|network| !kept.contains(&network.id)) {
            let end = End { holder: holder.clone(), kind: NetworkEnd::Service, asked: None };
            match self.addresses(network, &end) {
                Ok(None) => {}
                Ok(Some(addresses)) => drop(ips.insert(network.id.clone(), recorded(&network.id, addresses))),
                Err(wait) => {
                    ips.retain(|network, _| !kept.contains(network));
                    let given: Vec<_> = ips.into_values().flatten().collect();
                    self.world.give_back(&holder, of_virtual_ips(&given), of_virtual_ips(had), self.provider);
                    return Err(wait);
                }
            }
        }
        let order = had
            .iter()
            .map(|ip| NetworkId::from(ip.network_id.as_str()))
            .chain(networks.iter().map(|network| network.id.clone()));
        Ok(order.filter_map(|network| ips.remove(&network)).flatten().collect())
    }
}

/// How virtual addresses on a network are recorded: one by one, and once without any on networks that are local to each
/// node.
fn recorded(network: &NetworkId, mut addresses: Vec<String>) -> Vec<VirtualIp> {
    if addresses.is_empty() {
        addresses.push(String::new());
    }
    addresses.into_iter().map(|addr| VirtualIp { network_id: network.to_string(), addr }).collect()
}

/// The networks that the tasks of a service are attached to: those of the task, or else those of the service.
#[expect(deprecated, reason = "services of old clusters name their networks beside the task")]
pub(super) fn asked<'s>(
    service: &'s Service,
    task: Option<&'s [NetworkAttachmentConfig]>,
) -> &'s [NetworkAttachmentConfig] {
    let of_task = task.unwrap_or_else(|| service.spec.task.as_ref().map_or(&[], |task| &task.networks));
    if of_task.is_empty() { &service.spec.networks } else { of_task }
}

/// Whether two lists have the same ports in whatever order.
fn same(had: &[PortConfig], ports: &[PortConfig]) -> bool {
    ports.len() == had.len() && ports.iter().all(|port| had.contains(port))
}
