//! What a service asks of the nodes of its tasks, and who may stay where.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{
    Node, Service, ServiceId, Task,
    constraint::{self, Constraint},
    platform,
    wire::{Platform, TaskSpec, update_status::UpdateState},
};
use swarmkit_store::State;

use crate::{
    fit::age,
    policy::{self, Shape},
};

/// What a specification asks of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    constraints: Vec<Constraint>,
    platforms: Vec<Platform>,
    /// How many tasks of the service a node has at most. 0 means any number.
    max_replicas: u64,
}

/// Judges tasks by the rules of their services, each read once.
pub(crate) struct Judge<'s> {
    state: &'s State,
    services: BTreeMap<ServiceId, Option<(Arc<Service>, Rules)>>,
}

// === impl Rules ===

impl Rules {
    /// What cannot be read constrains nothing: the scheduler places no such task anyway.
    pub(crate) fn of(spec: Option<&TaskSpec>) -> Self {
        let Some(placement) = spec.and_then(|spec| spec.placement.as_ref()) else { return Self::default() };
        Self {
            constraints: constraint::parse_all(&placement.constraints).unwrap_or_default(),
            platforms: placement.platforms.clone(),
            max_replicas: placement.max_replicas,
        }
    }

    /// Whether a node that has that many tasks of the service besides may have one.
    fn admit(&self, node: &Node, others: u64) -> bool {
        constraint::all_match(&self.constraints, node)
            && platform::any_matches(&self.platforms, node)
            && (self.max_replicas == 0 || others < self.max_replicas)
    }
}

// === impl Judge ===

impl<'s> Judge<'s> {
    pub(crate) fn new(state: &'s State) -> Self {
        Self { state, services: BTreeMap::new() }
    }

    /// Splits the tasks of a node into those that may stay by the rules, and those that may not. Of a service that has
    /// more than it may have on one node, those stay that no rollout replaces, and of these the oldest.
    pub(crate) fn split<'t>(
        &mut self,
        node: &Node,
        mut tasks: Vec<&'t Arc<Task>>,
    ) -> (Vec<&'t Arc<Task>>, Vec<&'t Arc<Task>>) {
        tasks.sort_by(|a, b| age(a).cmp(&age(b)));
        tasks.sort_by_cached_key(|task| self.service(task).is_some_and(|(service, _)| is_rolled(service, task)));
        let mut counts = BTreeMap::<_, u64>::new();
        tasks.into_iter().partition(|task| {
            let others = counts.entry(task.service_id.clone()).or_default();
            let stays = self.may_stay(task, node, *others);
            *others += u64::from(stays);
            stays
        })
    }

    /// Whether a task may stay on a node: by what its service asks for now, since a change of that alone need not
    /// replace tasks; or, as long as a rollout is going to replace it, by what it was made with.
    fn may_stay(&mut self, task: &Task, node: &Node, others: u64) -> bool {
        let own = || Rules::of(Some(&task.spec)).admit(node, others);
        match self.service(task) {
            None => own(),
            Some((service, rules)) => rules.admit(node, others) || (is_rolled(service, task) && own()),
        }
    }

    /// The service of a task, as long as it is there, and its rules.
    fn service(&mut self, task: &Task) -> Option<&(Arc<Service>, Rules)> {
        let id = task.service_id.as_ref()?;
        let known = self.services.entry(id.clone()).or_insert_with(|| {
            let service = self.state.get::<Service>(id)?;
            let mut rules = Rules::of(service.spec.task.as_ref());
            if Shape::of(service).is_some_and(Shape::is_per_node) {
                rules.max_replicas = 0;
            }
            Some((service.clone(), rules))
        });
        known.as_ref()
    }
}

/// Whether a task is one that a rollout replaces, at the pace that was asked for, or one that it has stopped before.
fn is_rolled(service: &Service, task: &Task) -> bool {
    let is_over = matches!(policy::state(service), Some(UpdateState::Completed | UpdateState::RollbackCompleted));
    task.spec_version != service.spec_version && task.job_iteration.is_none() && !is_over
}
