//! Room that tasks make for more important ones.
//!
//! Where nothing is left for a task, tasks of services with a lower priority may have to go. The task *claims* the room: it
//! says on which node, and whose, and nobody of the same or a lower priority is placed there meanwhile if it would not be
//! enough for both. Those that go *yield*: they are told to stop, and for whom. Both is in the tasks, so that any leader
//! goes on with it; what replaces those that went waits for a node like any other task.
//!
//! A claim ends when its task has a node, there or elsewhere, or is wanted no more; and when the room would not do any
//! more, since the node is different or somebody more important took it. Then it is decided anew.
//!
//! It ends: who goes is always of a strictly lower priority than who comes. So each time more tasks of some priority have a
//! place, and none of a higher one loses its own.

mod budget;
mod claims;
mod planner;
mod search;
mod site;
mod upkeep;
mod victims;
mod write;

use swarmkit_api::{
    Service, Task,
    wire::swarmkit::scheduling::v1::preemption::{Claim, Side},
};

use budget::Budgets;
#[cfg(test)]
pub(crate) use budget::missing;
pub(crate) use claims::Claims;
pub(crate) use planner::Scope;
pub(crate) use search::{Limited, Making};
pub(crate) use upkeep::Known;
pub(crate) use write::{Room, release};

/// How important the tasks of a service are. Those that belong to none, or to one that does not say, have 0.
pub(crate) fn priority(service: Option<&Service>) -> i32 {
    asked_priority(service).unwrap_or(0)
}

/// The priority that a service asks for. One that asks for none makes nobody go.
pub(crate) fn asked_priority(service: Option<&Service>) -> Option<i32> {
    service?.spec.scheduling.as_ref()?.priority
}

/// How many tasks of a service may be missing. `None` is without limit.
pub(crate) fn max_disrupted(service: &Service) -> Option<u64> {
    service.spec.scheduling.as_ref()?.max_disrupted
}

/// Whether two records of a service say the same about who makes room for whom.
pub(crate) fn is_as_important(before: Option<&Service>, after: Option<&Service>) -> bool {
    let said = |service: Option<&Service>| (asked_priority(service), service.and_then(max_disrupted));
    said(before) == said(after)
}

/// The room that a task claims.
pub(crate) fn claim(task: &Task) -> Option<&Claim> {
    match task.preemption.as_ref()?.side.as_ref()? {
        Side::Claim(claim) => Some(claim),
        Side::Yield(_) => None,
    }
}

/// Whether a task was told to make room.
pub(crate) fn yields(task: &Task) -> bool {
    let side = task.preemption.as_ref().and_then(|preemption| preemption.side.as_ref());
    matches!(side, Some(Side::Yield(_)))
}
