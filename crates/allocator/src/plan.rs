//! The decision: what networks, services and tasks are given, and what those that wait are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{
    Network, NetworkId, Object as _, Service, ServiceId, Task, TaskState,
    wire::{Endpoint, NetworkAttachment, NetworkAttachmentConfig},
};
use swarmkit_store::{StoreError, Transaction};

use crate::{
    AddressRequest, NetworkAllocator, NetworkEnd, NetworkError, NetworkGrant, PortError, is_ingress_network,
    ports::{Ports, is_ingress},
    world::{Due, World, is_new},
};

const PENDING: &str = "pending task scheduling";

/// What to write about one object.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// The network gets this.
    Network { network: Arc<Network>, grant: NetworkGrant },
    /// The service gets this endpoint, or loses the one that it no longer asks for.
    Endpoint { service: Arc<Service>, endpoint: Option<Arc<Endpoint>> },
    /// The task has all that it needs, and may be scheduled.
    Admit { task: Arc<Task>, endpoint: Option<Arc<Endpoint>>, networks: Vec<NetworkAttachment> },
    /// The task goes on waiting, for this reason.
    Explain { task: Arc<Task>, err: String },
}

/// What to write, and which services wait.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) decisions: Vec<Decision>,
    /// Why services that were looked at wait. `None` for those that do not.
    pub(crate) blocked: BTreeMap<ServiceId, Option<String>>,
}

/// Why something waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Wait {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("ingress network is missing")]
    NoIngress,
    #[error("network {0} does not exist")]
    NoNetwork(NetworkId),
}

/// A plan in the making.
struct Draft<'w> {
    world: &'w World,
    allocator: &'w mut dyn NetworkAllocator,
    /// Ports with those that are being given out.
    ports: Ports,
    /// Endpoints that are being given out.
    endpoints: BTreeMap<ServiceId, Option<Arc<Endpoint>>>,
    /// Networks that are being allocated.
    granted: BTreeMap<NetworkId, Network>,
    plan: Plan,
}

// === impl World ===

impl World {
    /// Decides about everything that is due. Addresses that a plan gives out are taken from `allocator` at once, and
    /// given back by [`Decision::put_back`] if they do not get into the store.
    pub(crate) fn plan(&self, due: &Due, allocator: &mut dyn NetworkAllocator) -> Plan {
        let (ports, plan) = (self.ports.clone(), Plan::default());
        let (endpoints, granted) = (BTreeMap::new(), BTreeMap::new());
        let mut draft = Draft { world: self, allocator, ports, endpoints, granted, plan };
        // What waits is looked at when something was freed; else only what is new or different.
        let waits = |id: &&NetworkId| self.networks.get(*id).is_some_and(|network| network.driver_state.is_none());
        let waiting = self.networks.keys().filter(|_| due.waiting);
        let networks: BTreeSet<_> = waiting.chain(&due.networks).filter(waits).collect();
        for network in networks.into_iter().filter_map(|id| self.networks.get(id)) {
            draft.consider_network(network);
        }
        let waiting = self.blocked.keys().filter(|_| due.waiting);
        let services: BTreeSet<_> = waiting.chain(&due.services).collect();
        for service in services.iter().filter_map(|id| self.services.get(*id)) {
            draft.consider_service(service);
        }
        let waiting = self.tasks.keys().filter(|_| due.waiting).cloned();
        let of_services = services.into_iter().cloned().map(Some);
        let groups: BTreeSet<_> = waiting.chain(of_services).chain(due.tasks.iter().cloned()).collect();
        for tasks in groups.iter().filter_map(|group| self.tasks.get(group)) {
            tasks.values().for_each(|task| draft.consider_task(task));
        }
        draft.plan
    }
}

// === impl Draft ===

impl Draft<'_> {
    fn consider_network(&mut self, network: &Arc<Network>) {
        match self.allocator.allocate_network(network) {
            Ok(None) => {}
            Ok(Some(grant)) => {
                let mut granted = Network::clone(network);
                granted.driver_state = Some(grant.driver_state.clone());
                granted.ipam = Some(grant.ipam.clone());
                self.granted.insert(network.id.clone(), granted);
                self.plan.decisions.push(Decision::Network { network: network.clone(), grant });
            }
            Err(error) => tracing::debug!(network = %network.id, %error, "the network waits"),
        }
    }

    fn consider_service(&mut self, service: &Arc<Service>) {
        let blocked = match self.endpoint(service) {
            Ok(endpoint) => {
                if endpoint != service.endpoint {
                    let mut given = Service::clone(service);
                    given.endpoint.clone_from(&endpoint);
                    self.ports.release(service);
                    self.ports.claim(&given);
                    self.plan
                        .decisions
                        .push(Decision::Endpoint { service: service.clone(), endpoint: endpoint.clone() });
                }
                self.endpoints.insert(service.id.clone(), endpoint);
                None
            }
            Err(wait) => {
                if !self.world.blocked.contains_key(&service.id) {
                    tracing::warn!(service = %service.id, reason = %wait, "the service waits for what it publishes");
                }
                Some(wait.to_string())
            }
        };
        self.plan.blocked.insert(service.id.clone(), blocked);
    }

    /// The endpoint that a service shall have; the one that it has, if that is as it is asked for.
    fn endpoint(&self, service: &Service) -> Result<Option<Arc<Endpoint>>, Wait> {
        let Some(spec) = &service.spec.endpoint else { return Ok(None) };
        if spec.ports.iter().any(is_ingress) && self.world.ingress().is_none() {
            return Err(Wait::NoIngress);
        }
        let ports = self.ports.plan(service, spec)?;
        if let Some(had) = service.endpoint.as_ref().filter(|had| had.spec.as_ref() == Some(spec)) {
            let is_same = ports.len() == had.ports.len() && ports.iter().all(|port| had.ports.contains(port));
            if is_same {
                return Ok(Some(had.clone()));
            }
        }
        let virtual_ips = service.endpoint.as_ref().map(|had| had.virtual_ips.clone()).unwrap_or_default();
        Ok(Some(Arc::new(Endpoint { spec: Some(spec.clone()), ports, virtual_ips })))
    }

    fn consider_task(&mut self, task: &Arc<Task>) {
        // Asked to stop before it was given anything. It needs nothing; the scheduler ends it.
        if task.desired_state > TaskState::Complete {
            let (endpoint, networks) = (task.endpoint.clone(), Vec::new());
            return self.plan.decisions.push(Decision::Admit { task: task.clone(), endpoint, networks });
        }
        let service = match task.service_id.as_ref().map(|id| self.world.services.get(id)) {
            None => None,
            Some(Some(service)) => Some(service),
            Some(None) => return,
        };
        let endpoint = match service.map(|service| self.settled_endpoint(service)) {
            None => task.endpoint.clone(),
            Some(Ok(endpoint)) => endpoint.or_else(|| task.endpoint.clone()),
            Some(Err(reason)) => return self.explain(task, reason),
        };
        match self.attach(task, service.map(AsRef::as_ref)) {
            Ok(networks) => self.plan.decisions.push(Decision::Admit { task: task.clone(), endpoint, networks }),
            Err(wait) => self.explain(task, wait.to_string()),
        }
    }

    /// What a service has been given, or is being given by this plan; or why it waits.
    fn settled_endpoint(&self, service: &Service) -> Result<Option<Arc<Endpoint>>, String> {
        if let Some(endpoint) = self.endpoints.get(&service.id) {
            return Ok(endpoint.clone());
        }
        let here = self.plan.blocked.get(&service.id);
        match here.unwrap_or(&self.world.blocked.get(&service.id).cloned()) {
            Some(reason) => Err(reason.clone()),
            None => Ok(service.endpoint.clone()),
        }
    }

    /// All attachments of a task, or none.
    #[expect(deprecated, reason = "services of old clusters name their networks beside the task")]
    fn attach(&mut self, task: &Task, service: Option<&Service>) -> Result<Vec<NetworkAttachment>, Wait> {
        let ports = service.and_then(|service| service.spec.endpoint.as_ref()).map_or(&[][..], |spec| &spec.ports);
        let ingress = self.world.ingress().filter(|_| ports.iter().any(is_ingress));
        let ingress =
            ingress.map(|network| NetworkAttachmentConfig { target: network.id.to_string(), ..Default::default() });
        let of_service = service.map_or(&[][..], |service| &service.spec.networks);
        let asked = if task.spec.networks.is_empty() { of_service } else { &task.spec.networks };
        let mut attachments = Vec::new();
        for asked in ingress.iter().chain(asked) {
            match self.attach_one(asked) {
                Ok(attachment) => attachments.extend(attachment),
                Err(wait) => {
                    free_attachments(self.allocator, &attachments);
                    return Err(wait);
                }
            }
        }
        Ok(attachments)
    }

    fn attach_one(&mut self, asked: &NetworkAttachmentConfig) -> Result<Option<NetworkAttachment>, Wait> {
        let id = NetworkId::from(asked.target.as_str());
        let stored = self.world.networks.get(&id).ok_or_else(|| Wait::NoNetwork(id.clone()))?;
        let network = self.granted.get(&id).unwrap_or(stored);
        if network.driver_state.is_none() && !is_ingress_network(network) {
            // It waits itself. Asking again tells why.
            self.allocator.allocate_network(network)?;
        }
        let request = AddressRequest {
            end: NetworkEnd::Task,
            addresses: &asked.addresses,
            options: &asked.driver_attachment_opts,
        };
        let addresses = self.allocator.allocate_addresses(network, &request)?;
        Ok(addresses.map(|addresses| NetworkAttachment {
            network: Some(network.to_wire()),
            addresses,
            aliases: asked.aliases.clone(),
            driver_attachment_opts: asked.driver_attachment_opts.clone(),
        }))
    }

    fn explain(&mut self, task: &Arc<Task>, err: String) {
        if task.status.err != err {
            self.plan.decisions.push(Decision::Explain { task: task.clone(), err });
        }
    }
}

// === impl Decision ===

impl Decision {
    /// Writes the decision, if what it was based on still holds. Gives whether it did.
    pub(crate) fn write(&self, tx: &mut Transaction) -> Result<bool, StoreError> {
        match self {
            Self::Network { network, grant } => {
                if tx.get::<Network>(&network.id).is_none_or(|stored| stored.driver_state.is_some()) {
                    return Ok(false);
                }
                tx.edit::<Network>(&network.id, |network| {
                    network.driver_state = Some(grant.driver_state.clone());
                    network.ipam = Some(grant.ipam.clone());
                })?;
            }
            Self::Endpoint { service, endpoint } => {
                let is_same = |stored: &Arc<Service>| {
                    stored.spec.endpoint == service.spec.endpoint && stored.endpoint == service.endpoint
                };
                if !tx.get::<Service>(&service.id).is_some_and(is_same) {
                    return Ok(false);
                }
                tx.edit::<Service>(&service.id, |service| service.endpoint.clone_from(endpoint))?;
            }
            Self::Admit { task, endpoint, networks } => {
                if !still_waits(tx, task) || !has_endpoint(tx, task, endpoint.as_deref()) {
                    return Ok(false);
                }
                let now = Some(tx.now());
                tx.edit::<Task>(&task.id, |task| {
                    task.endpoint.clone_from(endpoint);
                    task.networks.clone_from(networks);
                    task.status.state = TaskState::Pending;
                    task.status.message = PENDING.to_owned();
                    task.status.err.clear();
                    task.status.timestamp = now;
                })?;
            }
            Self::Explain { task, err } => {
                if !still_waits(tx, task) {
                    return Ok(false);
                }
                let now = Some(tx.now());
                tx.edit::<Task>(&task.id, |task| {
                    task.status.err.clone_from(err);
                    task.status.timestamp = now;
                })?;
            }
        }
        Ok(true)
    }

    /// Marks what has to be looked at again because the decision no longer held.
    pub(crate) fn put_back(&self, due: &mut Due, allocator: &mut dyn NetworkAllocator) {
        match self {
            Self::Network { network, .. } => {
                allocator.free_network(network);
                due.networks.insert(network.id.clone());
            }
            Self::Endpoint { service, .. } => drop(due.services.insert(service.id.clone())),
            Self::Admit { task, networks, .. } => {
                free_attachments(allocator, networks);
                due.tasks.insert(task.service_id.clone());
            }
            Self::Explain { task, .. } => drop(due.tasks.insert(task.service_id.clone())),
        }
    }
}

/// Takes back the addresses of attachments.
pub(crate) fn free_attachments(allocator: &mut dyn NetworkAllocator, attachments: &[NetworkAttachment]) {
    for attachment in attachments {
        if let Some(network) = &attachment.network {
            allocator.free_addresses(&NetworkId::from(network.id.as_str()), &attachment.addresses);
        }
    }
}

fn still_waits(tx: &Transaction, task: &Task) -> bool {
    let is_same = |stored: &Arc<Task>| is_new(stored) && stored.desired_state == task.desired_state;
    tx.get::<Task>(&task.id).is_some_and(is_same)
}

/// Whether the service of a task has the endpoint that the task is given a copy of.
fn has_endpoint(tx: &Transaction, task: &Task, endpoint: Option<&Endpoint>) -> bool {
    if task.desired_state > TaskState::Complete {
        return true;
    }
    let Some(service) = &task.service_id else { return true };
    tx.get::<Service>(service)
        .is_some_and(|service| service.endpoint.is_none() || service.endpoint.as_deref() == endpoint)
}
