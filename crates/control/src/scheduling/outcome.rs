//! What would become of a service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{
    Node, NodeId, Service, ServiceId, Task, TaskId, TaskState,
    wire::{service_spec::Mode, swarmkit::scheduling::v1 as wire},
};
use swarmkit_orchestrator::{Outlook, outlook};
use swarmkit_runtime::Env;
use swarmkit_scheduler::{DryRun, dry_run, explain};
use swarmkit_store::{State, View};

use super::{allocation::Allocation, nodes_told, tell};
use crate::{ControlError, request::missing, services, validate};

/// The most tasks that a plan is made for, about 1 KB of memory each.
const TASKS_MAX: u64 = 100_000;

/// The most nodes of which it is said what they would have, about 50 bytes each.
const PLACEMENTS_MAX: usize = 10_000;

/// Says what would become of the service of a request.
pub(super) fn plan(env: &Env, view: &View, request: wire::PlanRequest) -> Result<wire::PlanResponse, ControlError> {
    let max_nodes = nodes_told(request.max_nodes);
    let (with_service, id) = supposed(env, view, request)?;
    is_feasible(&with_service, &id)?;
    let outlook = outlook(&with_service, &id, env)?;
    let (ready, service) = allocated(&outlook, &id, env)?;
    let waits_for_node = |id: &&TaskId| {
        outlook.created.contains(*id) || ready.get::<Task>(id).is_some_and(|task| task.node_id.is_none())
    };
    let tasks: BTreeSet<_> = outlook.created.iter().chain(&outlook.kept).filter(waits_for_node).cloned().collect();
    let run = dry_run(&ready, &tasks, env.now(), max_nodes)?;
    let nodes = explain(&ready, &sample(&ready, &service), env.now(), max_nodes);
    let count = |tasks: &BTreeSet<TaskId>| tasks.len() as u64;
    let (placements, placements_left_out) = placements(&outlook, &run);
    let preempted = run.preempted.iter().filter_map(|id| run.view.get::<Task>(id)).map(|task| wire::Preempted {
        task_id: task.id.to_string(),
        service_id: task.service_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        node_id: task.node_id.as_ref().map(ToString::to_string).unwrap_or_default(),
    });
    let preempted = preempted.collect();
    let waits = run.waiting.into_iter().map(|waiting| wire::Wait {
        tasks: waiting.tasks.len() as u64,
        explanation: Some(tell::explanation(waiting.explanation)),
    });
    Ok(wire::PlanResponse {
        version: view.version().0,
        waits_for: outlook.waits_for.clone().unwrap_or_default(),
        kept: count(&outlook.kept),
        replaced: count(&outlook.replaced),
        given_up: count(&outlook.given_up),
        created: count(&outlook.created),
        placements,
        placements_left_out,
        waits: waits.collect(),
        nodes: Some(tell::explanation(nodes)),
        preempted,
    })
}

/// The state in which the service is as the request wants it, after the checks of a request that really wants it.
fn supposed(env: &Env, view: &View, request: wire::PlanRequest) -> Result<(View, ServiceId), ControlError> {
    let now = prost_types::Timestamp::from(env.now());
    if let Some(spec) = &request.spec {
        validate::service(spec)?;
    }
    let id = ServiceId::from(request.service_id);
    let supposed = match request.spec {
        Some(spec) if id.as_ref().is_empty() => {
            let service = services::new(ServiceId::from(env.new_id()), spec, now);
            view.suppose(now, |tx| services::create(tx, service))
        }
        None if id.as_ref().is_empty() => return Err(ControlError::missing_argument()),
        spec => {
            let stored = view.get::<Service>(&id).ok_or_else(|| missing("service", &id))?;
            match spec.filter(|spec| *spec != *stored.spec) {
                None => return Ok((view.clone(), id)),
                Some(spec) => view.suppose(now, |tx| services::update(tx, &id, spec, stored.meta.version, false, now)),
            }
        }
    };
    let (view, service) = supposed?;
    Ok((view, service.id.clone()))
}

/// Refuses what would take more memory than a question is worth.
fn is_feasible(view: &State, id: &ServiceId) -> Result<(), ControlError> {
    let mode = view.get::<Service>(id).and_then(|service| service.spec.mode.as_ref());
    let tasks = match mode {
        Some(Mode::Replicated(mode)) => mode.replicas,
        Some(Mode::ReplicatedJob(job)) => job.max_concurrent.min(job.total_completions),
        Some(Mode::Global(_) | Mode::GlobalJob(_)) => view.count::<Node>() as u64,
        None => 0,
    };
    if tasks > TASKS_MAX {
        return Err(ControlError::invalid(format!("plans are made for at most {TASKS_MAX} tasks, not for {tasks}")));
    }
    Ok(())
}

/// The state in which the new tasks have what they are given before they are scheduled, and the service.
fn allocated(outlook: &Outlook, id: &ServiceId, env: &Env) -> Result<(View, Arc<Service>), ControlError> {
    let service = outlook.view.get::<Service>(id).ok_or_else(|| missing("service", id))?;
    let allocation = Allocation::of(&outlook.view, service);
    let (view, ()) = outlook.view.suppose(env.now().into(), |tx| {
        let give = |id| tx.edit::<Task>(id, |task| allocation.give(task)).map(drop);
        outlook.created.iter().try_for_each(give)
    })?;
    Ok((view, service.clone()))
}

/// A task of a service that is made for no node, and waits for one.
fn sample(view: &State, service: &Service) -> Task {
    let mut task = Task::new(TaskId::from("plan"), service.spec.task.clone().unwrap_or_default());
    task.service_id = Some(service.id.clone());
    task.spec_version = service.spec_version;
    task.desired_state = TaskState::Running;
    Allocation::of(view, service).give(&mut task);
    task
}

/// What each node would have, and how many nodes are left out.
fn placements(outlook: &Outlook, run: &DryRun) -> (Vec<wire::Placement>, u64) {
    let mut nodes = BTreeMap::<&NodeId, (u64, u64)>::new();
    for (_, node) in &run.placed {
        nodes.entry(node).or_default().0 += 1;
    }
    let placed: BTreeSet<_> = run.placed.iter().map(|(task, _)| task).collect();
    let kept = outlook.kept.iter().filter(|id| !placed.contains(id));
    for node in kept.filter_map(|id| run.view.get::<Task>(id)?.node_id.as_ref()) {
        nodes.entry(node).or_default().1 += 1;
    }
    let left_out = nodes.len().saturating_sub(PLACEMENTS_MAX) as u64;
    let placement =
        |(node, (created, kept)): (&NodeId, _)| wire::Placement { node_id: node.to_string(), created, kept };
    (nodes.into_iter().take(PLACEMENTS_MAX).map(placement).collect(), left_out)
}
