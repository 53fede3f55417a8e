//! What the allocator knows, kept up change by change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use swarmkit_api::{
    Network, NetworkId, Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, Version, wire::PortConfig,
};
use swarmkit_store::{Change, Edit, State, Update};

use crate::{
    NetworkAllocator, NetworkError,
    addresses::{Addresses, Held, Holder, of_attachments, of_virtual_ips},
    is_ingress_network,
    ports::{Ports, is_ingress, of_endpoint},
    uses::Uses,
    waits::{Cause, TaskKey, Waiter, Waits, Wish},
};

/// What has to be looked at again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    /// What came free, or came to be: whoever waits for it may go on.
    pub(crate) causes: BTreeSet<Cause>,
    /// What is new, or has changed.
    pub(crate) objects: BTreeSet<Waiter>,
}

/// Networks, services, nodes, and the tasks that are new; and what all of them have been given.
///
/// What is given out is booked when it is decided, and free again when the store says so. So nothing that the store still
/// records is given to another, whatever becomes of the decision.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) version: Version,
    pub(crate) networks: BTreeMap<NetworkId, Arc<Network>>,
    pub(crate) nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(crate) services: BTreeMap<ServiceId, Arc<Service>>,
    /// Tasks that are new.
    pub(crate) tasks: BTreeMap<TaskKey, Arc<Task>>,
    /// Networks of which the provider wants nothing recorded.
    pub(crate) bare: BTreeSet<NetworkId>,
    /// Networks that are recorded as allocated, which the provider could not take over.
    pub(crate) lost: BTreeSet<NetworkId>,
    /// Networks that are to carry published ports. One of them does.
    ingresses: BTreeSet<NetworkId>,
    pub(crate) ports: Ports,
    pub(crate) addresses: Addresses,
    pub(crate) uses: Uses,
    pub(crate) waits: Waits,
    pub(crate) due: Due,
}

// === impl Due ===

impl Due {
    pub(crate) fn is_empty(&self) -> bool {
        self.causes.is_empty() && self.objects.is_empty()
    }
}

// === impl World ===

impl World {
    /// Takes over an update, and tells the provider what is given out and what no longer is. A snapshot replaces everything
    /// that was known, so it wants a provider that has given nothing out yet.
    pub(crate) fn absorb(&mut self, update: &Update, provider: &mut dyn NetworkAllocator) {
        match update {
            Update::Snapshot(view) => *self = Self::from_state(view, provider),
            Update::Delta(delta) => delta.changes.iter().for_each(|change| self.absorb_change(change, provider)),
        }
        self.version = update.view().version();
    }

    /// Everything that is in use is known before anything is given out, since nothing is given out while absorbing.
    fn from_state(state: &State, provider: &mut dyn NetworkAllocator) -> Self {
        let mut world = Self::default();
        state.all::<Network>().for_each(|network| world.absorb_network(None, Some(network), provider));
        state.all::<Node>().for_each(|node| world.absorb_node(None, Some(node), provider));
        state.all::<Service>().for_each(|service| world.absorb_service(None, Some(service), provider));
        state.all::<Task>().for_each(|task| world.absorb_task(None, Some(task), provider));
        world
    }

    fn absorb_change(&mut self, change: &Change, provider: &mut dyn NetworkAllocator) {
        match change {
            Change::Network(Edit { before, after }) => self.absorb_network(before.as_ref(), after.as_ref(), provider),
            Change::Node(Edit { before, after }) => self.absorb_node(before.as_ref(), after.as_ref(), provider),
            Change::Service(Edit { before, after }) => self.absorb_service(before.as_ref(), after.as_ref(), provider),
            Change::Task(Edit { before, after }) => self.absorb_task(before.as_ref(), after.as_ref(), provider),
            _ => {}
        }
    }

    fn absorb_network(
        &mut self,
        before: Option<&Arc<Network>>,
        after: Option<&Arc<Network>>,
        provider: &mut dyn NetworkAllocator,
    ) {
        let Some(network) = after else {
            return before.into_iter().for_each(|network| self.forget_network(network, provider));
        };
        let was_recorded = before.is_some_and(|before| is_recorded(before));
        self.networks.insert(network.id.clone(), network.clone());
        if is_ingress_network(network) {
            self.ingresses.insert(network.id.clone());
        }
        if is_recorded(network) && !was_recorded && self.restore_network(network, provider).is_err() {
            // Looked at again, it waits for what it cannot be without.
            self.due.objects.insert(Waiter::Network(network.id.clone()));
        }
        if !is_recorded(network) && before.is_none_or(|before| before.spec != network.spec) {
            self.due.objects.insert(Waiter::Network(network.id.clone()));
        }
        // Whoever waits for the network tells why it is not there yet.
        if before.is_none() {
            self.due.causes.insert(Cause::Network(network.id.clone()));
            if is_ingress_network(network) {
                self.ingress_changed();
            }
        }
    }

    /// Has the provider take over a network that is recorded as allocated, with what is known to be given out on it.
    pub(crate) fn restore_network(
        &mut self,
        network: &Network,
        provider: &mut dyn NetworkAllocator,
    ) -> Result<(), NetworkError> {
        match provider.restore_network(network) {
            Ok(()) => {
                self.lost.remove(&network.id);
                self.addresses.tell(&network.id, provider);
                self.came(network);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(network = %network.id, %error, "an allocated network could not be taken over");
                self.lost.insert(network.id.clone());
                Err(error)
            }
        }
    }

    /// Wakes those who wait for a network that has just been allocated.
    fn came(&mut self, network: &Network) {
        self.due.causes.insert(Cause::Network(network.id.clone()));
        if is_ingress_network(network) {
            self.ingress_changed();
        }
    }

    fn forget_network(&mut self, network: &Network, provider: &mut dyn NetworkAllocator) {
        provider.free_network(network);
        self.networks.remove(&network.id);
        self.bare.remove(&network.id);
        self.lost.remove(&network.id);
        self.waits.clear(&Waiter::Network(network.id.clone()));
        self.due.causes.insert(Cause::Gone(network.id.clone()));
        self.due.causes.insert(Cause::Network(network.id.clone()));
        self.due.causes.extend([Wish::None, Wish::Dual, Wish::Own].map(Cause::AnyNetwork));
        self.due.objects.extend(self.uses.of(&network.id).cloned().map(Waiter::Node));
        if self.ingresses.remove(&network.id) {
            self.ingress_changed();
        }
    }

    /// Another network carries the published ports, or none does.
    fn ingress_changed(&mut self) {
        self.due.causes.insert(Cause::Ingress);
        self.due.objects.extend(self.nodes.keys().cloned().map(Waiter::Node));
        let publish = self.services.values().filter(|service| publishes(service));
        self.due.objects.extend(publish.map(|service| Waiter::Service(service.id.clone())));
    }

    fn absorb_node(
        &mut self,
        before: Option<&Arc<Node>>,
        after: Option<&Arc<Node>>,
        provider: &mut dyn NetworkAllocator,
    ) {
        let had = before.map_or(&[][..], |node| &node.attachments);
        let has = after.map_or(&[][..], |node| &node.attachments);
        if let Some(node) = after.or(before)
            && had != has
        {
            self.hold(&Holder::Node(node.id.clone()), of_attachments(had), of_attachments(has), provider);
        }
        match (before, after) {
            (_, Some(node)) => {
                self.nodes.insert(node.id.clone(), node.clone());
                if before.is_none() || had != has {
                    self.due.objects.insert(Waiter::Node(node.id.clone()));
                }
            }
            (Some(node), None) => {
                self.nodes.remove(&node.id);
                self.waits.clear(&Waiter::Node(node.id.clone()));
            }
            (None, None) => {}
        }
    }

    fn absorb_service(
        &mut self,
        before: Option<&Arc<Service>>,
        after: Option<&Arc<Service>>,
        provider: &mut dyn NetworkAllocator,
    ) {
        let had = before.and_then(|service| service.endpoint.as_deref());
        let has = after.and_then(|service| service.endpoint.as_deref());
        if let Some(service) = after.or(before)
            && had != has
        {
            let ips = [had, has].map(|endpoint| endpoint.map_or(&[][..], |endpoint| &endpoint.virtual_ips));
            let [had_ips, has_ips] = ips.map(of_virtual_ips);
            self.hold(&Holder::Service(service.id.clone()), had_ips, has_ips, provider);
            self.ports.claim(&service.id, of_endpoint(has));
            self.let_ports_go(&service.id, of_endpoint(had), of_endpoint(has));
        }
        match (before, after) {
            (_, Some(service)) => {
                self.services.insert(service.id.clone(), service.clone());
                if before.is_none_or(|before| before.spec != service.spec) {
                    // Its networks, and whether it needs the ingress network, are those of its tasks.
                    let tasks = self.tasks_of(&service.id).cloned().map(Waiter::Task);
                    let tasks: Vec<_> = tasks.collect();
                    self.due.objects.extend(tasks);
                    self.due.objects.insert(Waiter::Service(service.id.clone()));
                } else if had != has {
                    self.due.objects.insert(Waiter::Service(service.id.clone()));
                }
            }
            (Some(service), None) => {
                self.services.remove(&service.id);
                self.waits.clear(&Waiter::Service(service.id.clone()));
            }
            (None, None) => {}
        }
    }

    fn absorb_task(
        &mut self,
        before: Option<&Arc<Task>>,
        after: Option<&Arc<Task>>,
        provider: &mut dyn NetworkAllocator,
    ) {
        let Some(any) = after.or(before) else { return };
        if let Some(task) = before.filter(|task| is_new(task)) {
            self.tasks.remove(&key(task));
        }
        match after.filter(|task| is_new(task)) {
            Some(task) => {
                if before.is_none_or(|before| before.desired_state != task.desired_state || !is_new(before)) {
                    self.due.objects.insert(Waiter::Task(key(task)));
                }
                self.tasks.insert(key(task), task.clone());
            }
            None => drop(self.waits.clear(&Waiter::Task(key(any)))),
        }
        let had = before.filter(|task| holds_addresses(task)).map_or(&[][..], |task| &task.networks);
        let has = after.filter(|task| holds_addresses(task)).map_or(&[][..], |task| &task.networks);
        let on = |task: Option<&Arc<Task>>| task.and_then(|task| task.node_id.clone());
        let (was_on, is_on) = (on(before), on(after));
        if had != has {
            self.hold(&Holder::Task(any.id.clone()), of_attachments(had), of_attachments(has), provider);
        }
        if had != has || was_on != is_on {
            for (node, (network, _)) in is_on.iter().flat_map(|node| of_attachments(has).map(move |held| (node, held)))
            {
                let is_first = self.uses.add(node, network);
                self.due.objects.extend(is_first.then(|| Waiter::Node(node.clone())));
            }
            for (node, (network, _)) in was_on.iter().flat_map(|node| of_attachments(had).map(move |held| (node, held)))
            {
                let is_last = self.uses.remove(node, network);
                self.due.objects.extend(is_last.then(|| Waiter::Node(node.clone())));
            }
        }
    }

    /// Books what a record has now, takes back what it had beside that, and wakes those who can have it.
    pub(crate) fn hold<'a>(
        &mut self,
        holder: &Holder,
        had: impl Iterator<Item = Held<'a>>,
        has: impl Iterator<Item = Held<'a>> + Clone,
        provider: &mut dyn NetworkAllocator,
    ) {
        has.clone().for_each(|held| self.addresses.claim(holder, held, provider));
        for (network, address) in self.give_back(holder, had, has, provider) {
            let any = [Wish::None, Wish::Dual, Wish::Own].map(|wish| Cause::AnyAddress(network.clone(), wish));
            self.due.causes.extend(any);
            self.due.causes.insert(Cause::Address(network, address));
        }
    }

    /// Takes back what was given, but for what is kept. Gives what is free by that.
    pub(crate) fn give_back<'a>(
        &mut self,
        holder: &Holder,
        given: impl Iterator<Item = Held<'a>>,
        kept: impl Iterator<Item = Held<'a>> + Clone,
        provider: &mut dyn NetworkAllocator,
    ) -> Vec<(NetworkId, IpAddr)> {
        let mut all = Vec::new();
        for (network, addresses) in given {
            let is_kept = |address: &String| kept.clone().any(|(of, held)| of == network && held.contains(address));
            let freed: Vec<_> = addresses.iter().filter(|address| !is_kept(address)).cloned().collect();
            let freed = self.addresses.release(holder, (network.clone(), &freed), provider);
            all.extend(freed.into_iter().map(|address| (network.clone(), address)));
        }
        all
    }

    /// Takes back ports that a service has no more.
    pub(crate) fn let_ports_go(&mut self, service: &ServiceId, had: &[PortConfig], has: &[PortConfig]) {
        for (protocol, number) in self.ports.release(service, had, has) {
            self.due.causes.extend([Cause::Port(protocol, number), Cause::AnyPort(protocol)]);
        }
    }

    /// The tasks of a service that are new.
    fn tasks_of(&self, service: &ServiceId) -> impl Iterator<Item = &TaskKey> {
        let from = (Some(service.clone()), TaskId::from(""));
        let of = Some(service.clone());
        self.tasks.range(from..).map(|(key, _)| key).take_while(move |(service, _)| *service == of)
    }

    /// Whether a network has all that it needs.
    pub(crate) fn is_allocated(&self, network: &Network) -> bool {
        (is_recorded(network) || self.bare.contains(&network.id)) && !self.lost.contains(&network.id)
    }

    /// The network that carries published ports: of several the one that is allocated, and of those the oldest.
    pub(crate) fn ingress(&self) -> Option<&Arc<Network>> {
        let networks = self.ingresses.iter().filter_map(|id| self.networks.get(id));
        networks.min_by_key(|network| (!self.is_allocated(network), network.meta.created_version, network.id.clone()))
    }
}

fn key(task: &Task) -> TaskKey {
    (task.service_id.clone(), task.id.clone())
}

/// Whether a network is recorded as allocated.
pub(crate) fn is_recorded(network: &Network) -> bool {
    network.driver_state.is_some() && network.ipam.is_some()
}

/// Whether a service needs the network that carries published ports.
pub(crate) fn publishes(service: &Service) -> bool {
    service.spec.endpoint.as_ref().is_some_and(|spec| spec.ports.iter().any(is_ingress))
}

/// Whether a task waits to be given what it needs.
pub(crate) fn is_new(task: &Task) -> bool {
    task.status.state < TaskState::Pending && task.desired_state < TaskState::Remove
}

/// A task keeps its addresses until it is over.
pub(crate) fn holds_addresses(task: &Task) -> bool {
    task.status.state <= TaskState::Running && !task.networks.is_empty()
}
