//! What to write about one object, and what to do if that is no longer right.

use std::sync::Arc;

use swarmkit_api::{
    Network, NetworkId, Node, Service, Task, TaskState, Waiting,
    wire::{Endpoint, NetworkAttachment},
};
use swarmkit_store::{State, StoreError, Transaction};

use crate::{
    NetworkAllocator, NetworkGrant,
    addresses::{Held, Holder, of_attachments, of_virtual_ips},
    ports::of_endpoint,
    waits::Waiter,
    world::{World, holds_addresses, is_new, is_recorded},
};

const PENDING: &str = "pending task scheduling";

/// What to write about one object. What it was decided on is the object as it was.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// The network gets this, if anything, and waits no more.
    Network { network: Arc<Network>, grant: Option<NetworkGrant> },
    /// The network goes on waiting, for this reason.
    Wait { network: Arc<Network>, why: String },
    /// The load balancer of the node gets these.
    Attach { node: Arc<Node>, attachments: Vec<NetworkAttachment> },
    /// The service gets this endpoint, or loses the one that it no longer asks for.
    Endpoint { service: Arc<Service>, endpoint: Option<Arc<Endpoint>> },
    /// The task has all that it needs, and may be scheduled.
    Admit { task: Arc<Task>, endpoint: Option<Arc<Endpoint>>, networks: Vec<NetworkAttachment> },
    /// The task goes on waiting, for this reason.
    Explain { task: Arc<Task>, why: String },
}

// === impl Decision ===

impl Decision {
    /// Writes the decision, if what it was based on still holds. Gives whether it did. Only what the allocator decides is
    /// written, so what others have written to the object since stays.
    pub(crate) fn write(&self, tx: &mut Transaction) -> Result<bool, StoreError> {
        if !self.still_holds(tx) {
            return Ok(false);
        }
        let now = Some(tx.now());
        match self {
            Self::Network { network, grant } => drop(tx.edit::<Network>(&network.id, |network| {
                if let Some(grant) = grant {
                    network.driver_state = Some(grant.driver_state.clone());
                    network.ipam = Some(grant.ipam.clone());
                }
                network.waiting = None;
            })?),
            Self::Wait { network, why } => drop(tx.edit::<Network>(&network.id, |network| {
                let since = network.waiting.as_ref().map_or(now, |waiting| waiting.since);
                network.waiting = Some(Waiting { since, message: why.clone() });
            })?),
            Self::Attach { node, attachments } => {
                tx.edit::<Node>(&node.id, |node| node.attachments.clone_from(attachments))?;
            }
            Self::Endpoint { service, endpoint } => {
                tx.edit::<Service>(&service.id, |service| service.endpoint.clone_from(endpoint))?;
            }
            Self::Admit { task, endpoint, networks } => drop(tx.edit::<Task>(&task.id, |task| {
                task.endpoint.clone_from(endpoint);
                task.networks.clone_from(networks);
                task.status.state = TaskState::Pending;
                task.status.message = PENDING.to_owned();
                task.status.err.clear();
                task.status.timestamp = now;
            })?),
            Self::Explain { task, why } => drop(tx.edit::<Task>(&task.id, |task| {
                task.status.err.clone_from(why);
                task.status.timestamp = now;
            })?),
        }
        Ok(true)
    }

    fn still_holds(&self, tx: &Transaction) -> bool {
        match self {
            Self::Network { network, grant } => {
                let stored = tx.get::<Network>(&network.id);
                stored.is_some_and(|stored| grant.is_none() || !is_recorded(stored))
            }
            Self::Wait { network, .. } => {
                tx.get::<Network>(&network.id).is_some_and(|stored| is_recorded(stored) == is_recorded(network))
            }
            Self::Attach { node, attachments } => {
                let is_same = |stored: &Arc<Node>| stored.attachments == node.attachments;
                tx.get::<Node>(&node.id).is_some_and(is_same)
                    && of_attachments(attachments).all(|held| exists(tx, &held))
            }
            Self::Endpoint { service, endpoint } => {
                let is_same =
                    |stored: &Arc<Service>| stored.spec == service.spec && stored.endpoint == service.endpoint;
                tx.get::<Service>(&service.id).is_some_and(is_same)
                    && endpoint.iter().flat_map(|it| of_virtual_ips(&it.virtual_ips)).all(|held| exists(tx, &held))
            }
            Self::Admit { task, endpoint, networks } => {
                still_waits(tx, task)
                    && has_endpoint(tx, task, endpoint.as_deref())
                    && of_attachments(networks).all(|held| exists(tx, &held))
            }
            Self::Explain { task, .. } => still_waits(tx, task),
        }
    }

    /// Takes back what was booked for a decision that is not written, but for what the store records nevertheless, and
    /// has the object looked at again.
    pub(crate) fn put_back(&self, world: &mut World, provider: &mut dyn NetworkAllocator, view: &State) {
        let again = match self {
            Self::Network { network, grant } => {
                if let Some(grant) = grant {
                    world.ungrant(network, grant, provider);
                }
                Waiter::Network(network.id.clone())
            }
            Self::Wait { network, .. } => Waiter::Network(network.id.clone()),
            Self::Attach { node, attachments } => {
                let stored = world.nodes.get(&node.id).cloned();
                let has = stored.as_ref().map_or(&[][..], |node| &node.attachments);
                let holder = Holder::Node(node.id.clone());
                world.hold(&holder, of_attachments(attachments), of_attachments(has), provider);
                Waiter::Node(node.id.clone())
            }
            Self::Endpoint { service, endpoint } => {
                let stored = world.services.get(&service.id).cloned();
                let has = stored.as_ref().and_then(|service| service.endpoint.as_deref());
                let ips = [endpoint.as_deref(), has].map(|it| it.map_or(&[][..], |it| &it.virtual_ips));
                let [given, kept] = ips.map(of_virtual_ips);
                world.hold(&Holder::Service(service.id.clone()), given, kept, provider);
                world.let_ports_go(&service.id, of_endpoint(endpoint.as_deref()), of_endpoint(has));
                Waiter::Service(service.id.clone())
            }
            Self::Admit { task, networks, .. } => {
                // Tasks that are not new are not kept here.
                let stored = view.get::<Task>(&task.id).filter(|task| holds_addresses(task));
                let has = stored.map_or(&[][..], |task| &task.networks);
                let holder = Holder::Task(task.id.clone());
                world.hold(&holder, of_attachments(networks), of_attachments(has), provider);
                Waiter::Task((task.service_id.clone(), task.id.clone()))
            }
            Self::Explain { task, .. } => Waiter::Task((task.service_id.clone(), task.id.clone())),
        };
        world.due.objects.insert(again);
    }
}

impl World {
    /// Takes back what a network was given, but for what the store records nevertheless.
    fn ungrant(&mut self, network: &Network, grant: &NetworkGrant, provider: &mut dyn NetworkAllocator) {
        provider.free_network(&granted(network, grant));
        if let Some(stored) = self.networks.get(&network.id).cloned().filter(|stored| is_recorded(stored))
            && self.restore_network(&stored, provider).is_err()
        {
            self.due.objects.insert(Waiter::Network(stored.id.clone()));
        }
    }
}

/// The network with what it is given.
pub(crate) fn granted(network: &Network, grant: &NetworkGrant) -> Network {
    let mut granted = network.clone();
    granted.driver_state = Some(grant.driver_state.clone());
    granted.ipam = Some(grant.ipam.clone());
    granted.waiting = None;
    granted
}

fn exists(tx: &Transaction, (network, _): &Held<'_>) -> bool {
    let network: &NetworkId = network;
    tx.get::<Network>(network).is_some()
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
