//! What requests of all kinds have in common.

use std::sync::Arc;

use swarmkit_api::{Cluster, wire, wire::task_spec::Runtime};
use swarmkit_store::{State, StoreError};

use crate::ControlError;

/// The name in a specification, empty when it has none.
pub(crate) fn name_of(annotations: &Option<wire::Annotations>) -> &str {
    annotations.as_ref().map_or("", |annotations| &annotations.name)
}

/// An id that a request cannot do without.
pub(crate) fn required<I: From<String>>(id: String) -> Result<I, ControlError> {
    if id.is_empty() { Err(ControlError::missing_argument()) } else { Ok(I::from(id)) }
}

pub(crate) fn missing(kind: &'static str, id: &impl ToString) -> ControlError {
    ControlError::NotFound { kind, id: id.to_string() }
}

/// Says whose name is taken, where the store only knows that one is.
pub(crate) fn taken(error: StoreError, kind: &'static str, name: &str) -> ControlError {
    match error {
        StoreError::NameConflict => ControlError::NameTaken { kind, name: name.to_owned() },
        error => error.into(),
    }
}

/// Refuses to remove what services refer to.
pub(crate) fn refuse_in_use(kind: &str, name: &str, users: &[String]) -> Result<(), ControlError> {
    if users.is_empty() {
        return Ok(());
    }
    let services = if users.len() == 1 { "service" } else { "services" };
    Err(ControlError::invalid(format!("{kind} '{name}' is in use by the following {services}: {}", users.join(", "))))
}

/// The only cluster there is.
pub(crate) fn cluster_of(view: &State) -> Result<&Arc<Cluster>, ControlError> {
    view.cluster().ok_or_else(|| missing("cluster", &"default"))
}

/// What runs a task, as lists filter by it: `container`, `attachment`, or the lower-cased kind of a generic runtime.
pub(crate) fn runtime_name(task: Option<&wire::TaskSpec>) -> Option<String> {
    match task?.runtime.as_ref()? {
        Runtime::Container(_) => Some("container".to_owned()),
        Runtime::Attachment(_) => Some("attachment".to_owned()),
        Runtime::Generic(generic) => Some(generic.kind.to_lowercase()),
    }
}

/// Refuses references to what is not there, all of them at once.
pub(crate) fn all_found<'a>(kind: &str, missing: impl Iterator<Item = &'a str>) -> Result<(), ControlError> {
    match missing.collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        [one] => Err(ControlError::invalid(format!("{kind} not found: {one}"))),
        more => Err(ControlError::invalid(format!("{kind}s not found: {}", more.join(", ")))),
    }
}
