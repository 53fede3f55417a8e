//! A state in the words of [`crate::world`].

use swarmkit_api::{
    Network, Node, NodeRole, Object, Service, Task, TaskState, Volume,
    wire::{node_spec::Availability, node_status::State as NodeState, service_spec::Mode},
};
use swarmkit_store::{State, Stored};

/// A kind that can be told in words.
pub trait Told: Stored {
    /// The statement that describes it, as far as the words go.
    fn told(&self) -> String;
}

/// All objects of a kind, a line each, in order of their ids.
#[must_use]
pub fn describe<O: Told>(state: &State) -> String {
    state.all::<O>().map(|object| object.told() + "\n").collect()
}

impl Told for Node {
    fn told(&self) -> String {
        let mut words = vec![format!("node {}", self.id)];
        match self.status.state() {
            NodeState::Ready => {}
            other => words.push(other.as_str_name().to_ascii_lowercase()),
        }
        match self.spec.availability() {
            Availability::Active => {}
            other => words.push(other.as_str_name().to_ascii_lowercase()),
        }
        match (self.role, self.spec.desired_role()) {
            (NodeRole::Worker, NodeRole::Worker) => {}
            (NodeRole::Manager, NodeRole::Manager) => words.push("manager".to_owned()),
            (NodeRole::Worker, NodeRole::Manager) => words.push("promoted".to_owned()),
            (NodeRole::Manager, NodeRole::Worker) => words.push("demoted".to_owned()),
        }
        words.join(" ")
    }
}

impl Told for Service {
    fn told(&self) -> String {
        let mode = match self.spec.mode {
            Some(Mode::Replicated(mode)) => format!("replicas={}", mode.replicas),
            Some(Mode::Global(_)) => "global".to_owned(),
            Some(Mode::ReplicatedJob(job)) if job.max_concurrent == job.total_completions => {
                format!("job={}", job.total_completions)
            }
            Some(Mode::ReplicatedJob(job)) => {
                format!("job={} concurrent={}", job.total_completions, job.max_concurrent)
            }
            Some(Mode::GlobalJob(_)) => "global-job".to_owned(),
            None => String::new(),
        };
        format!("service {} {mode}", self.name()).trim_end().to_owned()
    }
}

impl Told for Task {
    fn told(&self) -> String {
        let mut words = vec![format!("task {}", self.id)];
        if let Some(node) = &self.node_id {
            words.push(format!("on {node}"));
        }
        words.push(state_name(self.status.state));
        if self.desired_state != TaskState::Running {
            words.push(format!("wants {}", state_name(self.desired_state)));
        }
        words.join(" ")
    }
}

impl Told for Network {
    fn told(&self) -> String {
        format!("network {}", self.annotations().name)
    }
}

impl Told for Volume {
    fn told(&self) -> String {
        crate::volume::told(self)
    }
}

fn state_name(state: TaskState) -> String {
    state.as_str_name().to_ascii_lowercase()
}
