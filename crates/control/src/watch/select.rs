//! What a client of the Watch service wants to see.

use std::collections::BTreeSet;

use swarmkit_api::{
    AnyObject, Kind, NodeRole, TaskState, wire,
    wire::{WatchActionKind, node_spec::Membership, select_by::By},
};
use swarmkit_store::Change;

use super::action_kind;
use crate::ControlError;

/// All actions that there are, as the wire's bits.
const ACTIONS: i32 = WatchActionKind::WatchActionCreate as i32
    | WatchActionKind::WatchActionUpdate as i32
    | WatchActionKind::WatchActionRemove as i32;

/// One alternative of what a client wants to see: a kind, some actions, and filters that must all pass.
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Set for resources: the extension that they belong to.
    resource_kind: Option<String>,
    actions: i32,
    filters: Vec<By>,
}

impl Entry {
    pub(super) fn parse(entry: wire::watch_request::WatchEntry) -> Result<Self, ControlError> {
        if entry.kind.is_empty() {
            return Err(ControlError::invalid("no kind of object specified"));
        }
        if entry.action & ACTIONS == 0 {
            return Err(ControlError::invalid("unrecognized action"));
        }
        let built_in = Kind::ALL.into_iter().find(|kind| kind.as_str() == entry.kind && *kind != Kind::Resource);
        let (kind, resource_kind) = match built_in {
            Some(kind) => (kind, None),
            None => (Kind::Resource, Some(entry.kind)),
        };
        let filters: Vec<By> = entry.filters.into_iter().filter_map(|filter| filter.by).collect();
        let mut seen = BTreeSet::new();
        for filter in &filters {
            if !fits(filter, kind) {
                return Err(ControlError::invalid(format!("a {kind} cannot be selected by {}", selector(filter))));
            }
            if !seen.insert(family(filter)) {
                return Err(ControlError::invalid("conflicting filters specified"));
            }
        }
        Ok(Self { kind, resource_kind, actions: entry.action, filters })
    }

    pub(super) fn selects(&self, change: &Change) -> bool {
        if change.kind() != self.kind || self.actions & i32::from(action_kind(change.action())) == 0 {
            return false;
        }
        let Some(object) = change.after().or_else(|| change.before()) else { return false };
        if let (Some(wanted), AnyObject::Resource(resource)) = (&self.resource_kind, &object)
            && resource.kind != *wanted
        {
            return false;
        }
        self.filters.iter().all(|filter| passes(filter, &object))
    }
}

/// Filters of one family exclude each other: an id and an id prefix cannot both be asked for.
fn family(filter: &By) -> &'static str {
    match filter {
        By::Id(_) | By::IdPrefix(_) => "id",
        By::Name(_) | By::NamePrefix(_) => "name",
        By::Custom(_) | By::CustomPrefix(_) => "custom",
        By::ServiceId(_) | By::Slot(_) => "service_id",
        other => selector(other),
    }
}

fn selector(filter: &By) -> &'static str {
    match filter {
        By::Id(_) => "id",
        By::IdPrefix(_) => "id_prefix",
        By::Name(_) => "name",
        By::NamePrefix(_) => "name_prefix",
        By::Custom(_) => "custom",
        By::CustomPrefix(_) => "custom_prefix",
        By::ServiceId(_) => "service_id",
        By::NodeId(_) => "node_id",
        By::Slot(_) => "slot",
        By::DesiredState(_) => "desired_state",
        By::Role(_) => "role",
        By::Membership(_) => "membership",
        By::ReferencedNetworkId(_) => "referenced_network_id",
        By::ReferencedSecretId(_) => "referenced_secret_id",
        By::Kind(_) => "kind",
        By::ReferencedConfigId(_) => "referenced_config_id",
    }
}

/// Can objects of this kind be selected so?
fn fits(filter: &By, kind: Kind) -> bool {
    match filter {
        By::Id(_) | By::IdPrefix(_) | By::Name(_) | By::NamePrefix(_) | By::Custom(_) | By::CustomPrefix(_) => true,
        By::ServiceId(_) | By::NodeId(_) | By::Slot(_) | By::DesiredState(_) => kind == Kind::Task,
        By::Role(_) | By::Membership(_) => kind == Kind::Node,
        By::Kind(_) => kind == Kind::Resource,
        By::ReferencedNetworkId(_) | By::ReferencedSecretId(_) | By::ReferencedConfigId(_) => {
            matches!(kind, Kind::Task | Kind::Service)
        }
    }
}

fn passes(filter: &By, object: &AnyObject) -> bool {
    let annotations = annotations(object);
    let custom = |wanted: &wire::SelectByCustom, fits: fn(&str, &str) -> bool| {
        annotations.indices.iter().any(|entry| entry.key == wanted.index && fits(&entry.val, &wanted.value))
    };
    match filter {
        By::Id(id) => object.id() == id,
        By::IdPrefix(prefix) => object.id().starts_with(prefix.as_str()),
        By::Name(name) => watch_name(object).is_some_and(|own| own == name),
        By::NamePrefix(prefix) => watch_name(object).is_some_and(|own| own.starts_with(prefix.as_str())),
        By::Custom(wanted) => custom(wanted, |value, wanted| value == wanted),
        By::CustomPrefix(wanted) => custom(wanted, |value, wanted| value.starts_with(wanted)),
        By::ServiceId(id) => task(object).is_some_and(|task| text(task.service_id.as_ref()) == id),
        By::NodeId(id) => task(object).is_some_and(|task| text(task.node_id.as_ref()) == id),
        By::Slot(slot) => {
            task(object).is_some_and(|task| task.slot == slot.slot && text(task.service_id.as_ref()) == slot.service_id)
        }
        By::DesiredState(state) => {
            TaskState::try_from(*state).is_ok_and(|state| task(object).is_some_and(|task| task.desired_state == state))
        }
        By::Role(role) => {
            NodeRole::try_from(*role).is_ok_and(|role| node(object).is_some_and(|node| node.role == role))
        }
        By::Membership(membership) => Membership::try_from(*membership)
            .is_ok_and(|membership| node(object).is_some_and(|node| node.spec.membership() == membership)),
        By::Kind(kind) => matches!(object, AnyObject::Resource(resource) if resource.kind == *kind),
        By::ReferencedNetworkId(id) => {
            task_spec(object).is_some_and(|spec| spec.networks.iter().any(|network| network.target == *id))
        }
        By::ReferencedSecretId(id) => {
            container(object).is_some_and(|spec| spec.secrets.iter().any(|secret| secret.secret_id == *id))
        }
        By::ReferencedConfigId(id) => {
            container(object).is_some_and(|spec| spec.configs.iter().any(|config| config.config_id == *id))
        }
    }
}

fn annotations(object: &AnyObject) -> &wire::Annotations {
    use swarmkit_api::Object as _;
    match object {
        AnyObject::Node(o) => o.annotations(),
        AnyObject::Service(o) => o.annotations(),
        AnyObject::Task(o) => o.annotations(),
        AnyObject::Network(o) => o.annotations(),
        AnyObject::Cluster(o) => o.annotations(),
        AnyObject::Secret(o) => o.annotations(),
        AnyObject::Resource(o) => o.annotations(),
        AnyObject::Extension(o) => o.annotations(),
        AnyObject::Config(o) => o.annotations(),
        AnyObject::Volume(o) => o.annotations(),
    }
}

/// The name that watchers select by: the host name of nodes, which may be unknown, and the given name of all others.
fn watch_name(object: &AnyObject) -> Option<&str> {
    match object {
        AnyObject::Node(node) => node.description.as_ref().map(|description| description.hostname.as_str()),
        other => Some(&annotations(other).name),
    }
}

fn text<I: AsRef<str>>(id: Option<&I>) -> &str {
    id.map_or("", AsRef::as_ref)
}

fn task(object: &AnyObject) -> Option<&swarmkit_api::Task> {
    if let AnyObject::Task(task) = object { Some(task) } else { None }
}

fn node(object: &AnyObject) -> Option<&swarmkit_api::Node> {
    if let AnyObject::Node(node) = object { Some(node) } else { None }
}

fn task_spec(object: &AnyObject) -> Option<&wire::TaskSpec> {
    match object {
        AnyObject::Task(task) => Some(&task.spec),
        AnyObject::Service(service) => service.spec.task.as_ref(),
        _ => None,
    }
}

fn container(object: &AnyObject) -> Option<&wire::ContainerSpec> {
    match task_spec(object)?.runtime.as_ref()? {
        wire::task_spec::Runtime::Container(container) => Some(container),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
