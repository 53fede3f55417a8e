//! The deallocator: deletes services and networks that were to be deleted when nobody uses them any more.
//!
//! Such a service keeps its name, its addresses and its ports until its last task is gone, and such a network its range, so
//! that nothing is given to others that is still in use. Both are marked in the store, so whoever leads goes on.

use std::{collections::BTreeSet, mem};

use swarmkit_api::{
    Kind, Network, NetworkId, Service, ServiceId, Task, TaskState,
    wire::{ServiceSpec, port_config::PublishMode},
};
use swarmkit_runtime::Env;
use swarmkit_store::{Change, Edit, ServiceBy, State, Store, StoreError, TaskBy, Transaction, Update, View};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    keeper::{Keeper, keep},
    slot::is_live,
};

/// Deletes until told to stop.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub(crate) async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    keep::<Deallocator>(env, store, stop).await
}

#[derive(Default)]
struct Deallocator {
    view: Option<View>,
    /// All that are marked. Most often there are none, and nothing else is looked at.
    leaving: Leaving,
    /// Those of which a user may have gone.
    due: Leaving,
}

#[derive(Debug, Default)]
struct Leaving {
    services: BTreeSet<ServiceId>,
    networks: BTreeSet<NetworkId>,
}

/// What is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gone {
    /// A service, and with it the networks that only it still used.
    Service(ServiceId),
    Network(NetworkId),
}

impl Keeper for Deallocator {
    const NAME: &str = "deallocator";
    const KINDS: &[Kind] = &[Kind::Network, Kind::Service, Kind::Task];
    const SEES_ITS_WRITES: bool = true;
    type Write = Gone;

    fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => {
                self.leaving = Leaving::default();
                view.all::<Service>().for_each(|service| self.absorb_service(None, Some(service)));
                view.all::<Network>().for_each(|network| self.absorb_network(None, Some(network)));
            }
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    match change {
                        Change::Service(Edit { before, after }) => {
                            self.absorb_service(before.as_deref(), after.as_deref());
                        }
                        Change::Network(Edit { before, after }) => {
                            self.absorb_network(before.as_deref(), after.as_deref());
                        }
                        Change::Task(Edit { before: Some(before), after }) => {
                            self.absorb_task(before, after.as_deref());
                        }
                        _ => {}
                    }
                }
            }
        }
        self.view = Some(update.view().clone());
    }

    fn plan(&mut self) -> Vec<Gone> {
        let due = mem::take(&mut self.due);
        let Some(view) = &self.view else { return Vec::new() };
        let services: Vec<_> = due.services.into_iter().filter(|id| is_unused_service(view, id)).collect();
        // A network that only these services use goes with them.
        let networks = due.networks.into_iter().filter(|id| is_unused_network(view, id));
        services.into_iter().map(Gone::Service).chain(networks.map(Gone::Network)).collect()
    }

    fn write(gone: &Gone, tx: &mut Transaction) -> Result<bool, StoreError> {
        match gone {
            Gone::Service(id) if is_unused_service(tx, id) => {
                let service = tx.get::<Service>(id).cloned();
                tx.delete::<Service>(id)?;
                for network in service.iter().flat_map(|service| networks(tx, service)).collect::<Vec<_>>() {
                    if is_unused_network(tx, &network) {
                        tx.delete::<Network>(&network)?;
                    }
                }
            }
            Gone::Network(id) if is_unused_network(tx, id) => drop(tx.delete::<Network>(id)?),
            Gone::Service(_) | Gone::Network(_) => {}
        }
        // What somebody uses again, or is gone, is not asked about before that changes.
        Ok(true)
    }

    fn again(&mut self, gone: &Gone) {
        match gone {
            Gone::Service(id) => self.due.services.insert(id.clone()),
            Gone::Network(id) => self.due.networks.insert(id.clone()),
        };
    }
}

impl Deallocator {
    fn absorb_service(&mut self, before: Option<&Service>, after: Option<&Service>) {
        if let Some(before) = before {
            self.leaving.services.remove(&before.id);
            // It may have been the last that used one of them.
            self.due.networks.extend(self.leaving.networks.iter().cloned());
        }
        if let Some(service) = after.filter(|service| service.pending_delete) {
            self.leaving.services.insert(service.id.clone());
            self.due.services.insert(service.id.clone());
        }
    }

    fn absorb_network(&mut self, before: Option<&Network>, after: Option<&Network>) {
        if let Some(before) = before {
            self.leaving.networks.remove(&before.id);
        }
        if let Some(network) = after.filter(|network| network.pending_delete) {
            self.leaving.networks.insert(network.id.clone());
            self.due.networks.insert(network.id.clone());
        }
    }

    fn absorb_task(&mut self, before: &Task, after: Option<&Task>) {
        let service = before.service_id.as_ref().filter(|id| after.is_none() && self.leaving.services.contains(*id));
        self.due.services.extend(service.cloned());
        if !self.leaving.networks.is_empty() && after.is_none_or(|after| is_over(after) && !is_over(before)) {
            let targets = before.spec.networks.iter().map(|network| NetworkId::from(network.target.as_str()));
            self.due.networks.extend(targets.filter(|id| self.leaving.networks.contains(id)));
        }
    }
}

/// Whether a service is marked and has no task, not even one that has ended: who reaps those comes first.
fn is_unused_service(state: &State, id: &ServiceId) -> bool {
    state.get::<Service>(id).is_some_and(|service| service.pending_delete)
        && state.find(TaskBy::Service(id)).next().is_none()
}

/// Whether a network is marked, no service refers to it, and no task may still be attached to it.
fn is_unused_network(state: &State, id: &NetworkId) -> bool {
    let Some(network) = state.get::<Network>(id).filter(|network| network.pending_delete) else { return false };
    let is_ingress = network.spec.ingress;
    state.find(ServiceBy::Network(id)).next().is_none()
        && state.find(TaskBy::Network(id)).all(|task| is_over(task))
        && !(is_ingress && state.all::<Service>().any(|service| publishes_through_ingress(&service.spec)))
}

/// The networks that a service used, of those that are marked.
#[allow(deprecated, reason = "old clients still list networks there")]
fn networks(state: &State, service: &Service) -> BTreeSet<NetworkId> {
    let of_task = service.spec.task.iter().flat_map(|task| &task.networks);
    let named = of_task.chain(&service.spec.networks).map(|network| NetworkId::from(network.target.as_str()));
    let ingress = state.all::<Network>().filter(|network| network.spec.ingress).map(|network| network.id.clone());
    named.chain(ingress.filter(|_| publishes_through_ingress(&service.spec))).collect()
}

fn publishes_through_ingress(spec: &ServiceSpec) -> bool {
    let mut ports = spec.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    ports.any(|port| port.publish_mode() == PublishMode::Ingress)
}

/// Whether nothing of a task is attached to anything, or will be: it has ended, or was given up before anybody had it.
fn is_over(task: &Task) -> bool {
    task.status.state > TaskState::Running || (task.status.state < TaskState::Assigned && !is_live(task))
}
