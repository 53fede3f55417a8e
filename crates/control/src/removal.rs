//! What is to be deleted when nobody uses it any more: until then it takes no changes and no new users, and keeps its
//! name. Who deletes it then is the deallocator of the leader.

use swarmkit_api::{Network, NetworkId, Service, ServiceId, wire};
use swarmkit_store::{NetworkBy, State, StoreError, Transaction};

use crate::{
    ControlError,
    request::{missing, name_of, taken},
};

/// Marks a service, which is deleted when its tasks are gone.
pub(crate) fn defer_service(tx: &mut Transaction, id: &ServiceId) -> Result<(), ControlError> {
    let service = tx.get::<Service>(id).ok_or_else(|| missing("service", id))?;
    if !service.pending_delete {
        tx.edit::<Service>(id, |service| service.pending_delete = true)?;
    }
    Ok(())
}

/// Marks a network, which is deleted when no service and no task uses it.
pub(crate) fn defer_network(tx: &mut Transaction, id: &NetworkId) -> Result<(), ControlError> {
    let network = tx.get::<Network>(id).ok_or_else(|| missing("network", id))?;
    if !network.pending_delete {
        tx.edit::<Network>(id, |network| network.pending_delete = true)?;
    }
    Ok(())
}

/// Refuses to change a service that is being removed.
pub(crate) fn service_stays(service: &Service) -> Result<(), ControlError> {
    if service.pending_delete {
        let name = service.name();
        return Err(ControlError::Precondition(format!("service {name} is being removed and cannot be updated")));
    }
    Ok(())
}

/// Refuses to attach to networks that are being removed, unless that was so before.
pub(crate) fn networks_stay(
    view: &State,
    spec: &wire::ServiceSpec,
    before: Option<&wire::ServiceSpec>,
) -> Result<(), ControlError> {
    let leaving = networks(spec).find_map(|target| {
        let network = view.get::<Network>(&target.into()).filter(|network| network.pending_delete)?;
        let is_old = before.is_some_and(|before| networks(before).any(|known| known == target));
        (!is_old).then(|| name_of(&network.spec.annotations).to_owned())
    });
    match leaving {
        Some(name) => Err(ControlError::Precondition(format!("network {name} is being removed and cannot be used"))),
        None => Ok(()),
    }
}

/// Says whose name is taken, and whether it will soon be free.
pub(crate) fn service_name_taken(view: &State, error: StoreError, name: &str) -> ControlError {
    let leaves = view.service_by_name(name).is_some_and(|service| service.pending_delete);
    if leaves { leaving(error, "service", name) } else { taken(error, "service", name) }
}

/// As [`service_name_taken`], of a network.
pub(crate) fn network_name_taken(view: &State, error: StoreError, name: &str) -> ControlError {
    let leaves = view.find(NetworkBy::Name(name)).any(|network| network.pending_delete);
    if leaves { leaving(error, "network", name) } else { taken(error, "network", name) }
}

fn leaving(error: StoreError, kind: &'static str, name: &str) -> ControlError {
    match taken(error, kind, name) {
        taken @ ControlError::NameTaken { .. } => {
            ControlError::AlreadyPresent(format!("{taken}, but is being removed: its name is free when it is gone"))
        }
        error => error,
    }
}

/// The ids of all networks that a specification attaches to.
#[allow(deprecated, reason = "old clients still list networks there")]
fn networks(spec: &wire::ServiceSpec) -> impl Iterator<Item = &str> {
    let of_task = spec.task.iter().flat_map(|task| &task.networks);
    of_task.chain(&spec.networks).map(|network| network.target.as_str())
}
