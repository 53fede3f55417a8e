//! Which services come first, what is waited for, and whether a service goes.

use serde::Serialize;
use swarmkit_api::wire;

use super::time;

/// Part of [`Service`](super::Service).
#[derive(Clone, Debug, Serialize)]
pub(super) struct Start {
    depends_on: Vec<Dependency>,
    /// `null` when it waits for nothing.
    waiting: Option<Waiting>,
    /// Whether it goes when its tasks have stopped.
    removing: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Dependency {
    service: String,
    condition: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Waiting {
    since: Option<String>,
    message: String,
}

impl Start {
    pub(super) fn new(service: &wire::Service) -> Self {
        let depends_on = service.spec.iter().flat_map(|spec| &spec.depends_on);
        let waiting = service.waiting.as_ref();
        Self {
            depends_on: depends_on
                .map(|one| Dependency { service: one.service.clone(), condition: one.condition().as_str_name() })
                .collect(),
            waiting: waiting
                .map(|waiting| Waiting { since: time(waiting.since.as_ref()), message: waiting.message.clone() }),
            removing: service.pending_delete,
        }
    }
}
