//! What the allocator knows, kept up change by change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{Network, NetworkId, Service, ServiceId, Task, TaskId, TaskState, Version};
use swarmkit_store::{Change, Edit, State, Update};

use crate::{
    NetworkAllocator, is_ingress_network,
    plan::{Plan, free_attachments},
    ports::Ports,
};

/// What has to be looked at again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    /// Something was freed, or a network came or went: whoever waits may go on.
    pub(crate) waiting: bool,
    pub(crate) networks: BTreeSet<NetworkId>,
    pub(crate) services: BTreeSet<ServiceId>,
    /// Services, or none, of which there are new tasks.
    pub(crate) tasks: BTreeSet<Option<ServiceId>>,
}

/// Services, networks, and the tasks that wait for what these are given.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) version: Version,
    pub(crate) ports: Ports,
    pub(crate) services: BTreeMap<ServiceId, Arc<Service>>,
    pub(crate) networks: BTreeMap<NetworkId, Arc<Network>>,
    /// Tasks that are new, by their service.
    pub(crate) tasks: BTreeMap<Option<ServiceId>, BTreeMap<TaskId, Arc<Task>>>,
    /// Why services that could not be given their ports wait.
    pub(crate) blocked: BTreeMap<ServiceId, String>,
    pub(crate) due: Due,
}

// === impl Due ===

impl Due {
    pub(crate) fn is_empty(&self) -> bool {
        !self.waiting && self.networks.is_empty() && self.services.is_empty() && self.tasks.is_empty()
    }
}

// === impl World ===

impl World {
    /// Takes over an update, and tells the allocator of networks what is given out and what no longer is. A snapshot
    /// replaces everything that was known, so it wants an allocator that has given nothing out yet.
    pub(crate) fn absorb(&mut self, update: &Update, networks: &mut dyn NetworkAllocator) {
        match update {
            Update::Snapshot(view) => *self = Self::from_state(view, networks),
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    match change {
                        Change::Network(Edit { before, after }) => {
                            self.absorb_network(before.as_ref(), after.as_ref(), networks);
                        }
                        Change::Service(Edit { before, after }) => self.absorb_service(before.as_ref(), after.as_ref()),
                        Change::Task(Edit { before, after }) => {
                            self.absorb_task(before.as_ref(), after.as_ref(), networks);
                        }
                        _ => {}
                    }
                }
            }
        }
        self.version = update.view().version();
    }

    /// Everything that is in use is known before anything is given out, since nothing is given out while absorbing.
    fn from_state(state: &State, networks: &mut dyn NetworkAllocator) -> Self {
        let mut world = Self::default();
        for network in state.all::<Network>() {
            world.absorb_network(None, Some(network), networks);
        }
        for service in state.all::<Service>() {
            world.absorb_service(None, Some(service));
        }
        for task in state.all::<Task>() {
            world.absorb_task(None, Some(task), networks);
        }
        world
    }

    fn absorb_network(
        &mut self,
        before: Option<&Arc<Network>>,
        after: Option<&Arc<Network>>,
        networks: &mut dyn NetworkAllocator,
    ) {
        match (before, after) {
            (_, Some(network)) => {
                if network.driver_state.is_some() {
                    if let Err(error) = networks.restore_network(network) {
                        tracing::warn!(network = %network.id, %error, "an allocated network could not be taken over");
                    }
                } else {
                    self.due.networks.insert(network.id.clone());
                }
                self.networks.insert(network.id.clone(), network.clone());
            }
            (Some(network), None) => {
                networks.free_network(network);
                self.networks.remove(&network.id);
            }
            (None, None) => {}
        }
        self.due.waiting = true;
    }

    fn absorb_service(&mut self, before: Option<&Arc<Service>>, after: Option<&Arc<Service>>) {
        if let Some(service) = before {
            let had_ports = self.ports.release(service);
            let keeps_them = after.is_some_and(|after| after.endpoint == service.endpoint);
            self.due.waiting |= had_ports && !keeps_them;
            self.services.remove(&service.id);
        }
        match (before, after) {
            (_, Some(service)) => {
                self.ports.claim(service);
                self.due.services.insert(service.id.clone());
                self.services.insert(service.id.clone(), service.clone());
            }
            (Some(service), None) => {
                self.blocked.remove(&service.id);
            }
            (None, None) => {}
        }
    }

    fn absorb_task(
        &mut self,
        before: Option<&Arc<Task>>,
        after: Option<&Arc<Task>>,
        networks: &mut dyn NetworkAllocator,
    ) {
        if let Some(task) = before.filter(|task| is_new(task))
            && let Some(tasks) = self.tasks.get_mut(&task.service_id)
        {
            tasks.remove(&task.id);
            if tasks.is_empty() {
                self.tasks.remove(&task.service_id);
            }
        }
        if let Some(task) = after.filter(|task| is_new(task)) {
            self.tasks.entry(task.service_id.clone()).or_default().insert(task.id.clone(), task.clone());
            if before.is_none_or(|before| before.desired_state != task.desired_state || !is_new(before)) {
                self.due.tasks.insert(task.service_id.clone());
            }
        }
        let held = before.filter(|task| holds_addresses(task));
        match after.filter(|task| holds_addresses(task)) {
            Some(task) => {
                for attachment in &task.networks {
                    if let Some(network) = &attachment.network {
                        networks.restore_addresses(&NetworkId::from(network.id.as_str()), &attachment.addresses);
                    }
                }
            }
            None => {
                if let Some(task) = held {
                    free_attachments(networks, &task.networks);
                    self.due.waiting = true;
                }
            }
        }
    }

    /// Remembers which services wait, and why.
    pub(crate) fn note(&mut self, plan: &Plan) {
        for (service, blocked) in &plan.blocked {
            match blocked {
                Some(reason) => self.blocked.insert(service.clone(), reason.clone()),
                None => self.blocked.remove(service),
            };
        }
    }

    /// The network that carries published ports.
    pub(crate) fn ingress(&self) -> Option<&Arc<Network>> {
        self.networks.values().find(|network| is_ingress_network(network))
    }
}

/// Whether a task waits to be given what it needs.
pub(crate) fn is_new(task: &Task) -> bool {
    task.status.state < TaskState::Pending && task.desired_state < TaskState::Remove
}

/// A task keeps its addresses until it is over.
fn holds_addresses(task: &Task) -> bool {
    task.status.state <= TaskState::Running && !task.networks.is_empty()
}
