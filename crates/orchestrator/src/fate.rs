//! What became of the node that a task is on.

use swarmkit_api::{
    Node,
    wire::{node_spec::Availability, node_status},
};

/// What a node means for the tasks on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs tasks. So does one that was not heard from for a moment.
    Fine,
    /// It runs what it has, and nothing new.
    Paused,
    /// It shall run nothing.
    Drained,
    /// It is lost; nobody will say that its tasks have stopped.
    Down,
    /// It is no member any more.
    Gone,
}

// === impl Fate ===

impl Fate {
    pub(crate) fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Self::Gone };
        match (node.status.state(), node.spec.availability()) {
            (node_status::State::Down, _) => Self::Down,
            (_, Availability::Drain) => Self::Drained,
            (_, Availability::Pause) => Self::Paused,
            (_, Availability::Active) => Self::Fine,
        }
    }

    /// Whether its tasks have to be elsewhere.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Self::Drained | Self::Down | Self::Gone)
    }

    /// Whether nobody will say any more that a task there has stopped.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Down | Self::Gone)
    }
}
