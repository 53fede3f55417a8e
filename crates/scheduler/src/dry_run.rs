//! What would be decided about some tasks, without deciding it: the same code, on a state that nobody else sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{NodeId, Task, TaskId};
use swarmkit_store::{StoreError, Update, View};

use crate::{
    decision::Decision,
    explain::{Explanation, Standing, Survey},
    preemption::claim,
    world::World,
};

/// What would be decided about some tasks.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// The state with what would be written, and nothing else that happens.
    pub view: View,
    /// Where those would be that would have a node, in the order of their ids; those included for which others would have
    /// to make room there first.
    pub placed: Vec<(TaskId, NodeId)>,
    /// The tasks that would have to make room for them, in the order of their ids.
    pub preempted: Vec<TaskId>,
    /// Those that would have to wait, by what they are told.
    pub waiting: Vec<Waiting>,
}

/// Tasks that would have to wait, all for the same reason.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Which tasks, in the order of their ids.
    pub tasks: Vec<TaskId>,
    /// Why, with all others placed: that of the first of them.
    pub explanation: Explanation,
}

/// Says what would become of these tasks, if what waits in `view` were decided about at once; and of so many nodes that
/// refuse a task that waits, why.
///
/// It looks at everything in the state.
///
/// # Errors
///
/// Those of the writes, which nobody else makes.
pub fn dry_run(view: &View, tasks: &BTreeSet<TaskId>, now: SystemTime, max_nodes: usize) -> Result<DryRun, StoreError> {
    let mut world = World::default();
    world.absorb(&Update::Snapshot(view.clone()), now);
    let plan = world.plan_all(&world.due, now);
    let counts = |decision: &&Decision| match decision {
        // What others are told changes nothing.
        Decision::Explain { task, .. } => tasks.contains(&task.id),
        _ => true,
    };
    let mut decisions = plan.decisions.iter().filter(counts);
    let (view, ()) = view.suppose(now.into(), |tx| decisions.try_for_each(|decision| decision.write(tx).map(drop)))?;
    let (mut placed, mut preempted) = (Vec::new(), BTreeSet::new());
    let mut waiting = BTreeMap::<_, Vec<&Arc<Task>>>::new();
    for task in tasks.iter().filter_map(|id| view.get::<Task>(id)) {
        match (Standing::of(task), &task.node_id) {
            (Standing::Placed, Some(node)) => placed.push((task.id.clone(), node.clone())),
            (Standing::Over | Standing::Stopped, _) => {}
            _ => match claim(task) {
                Some(claim) => {
                    placed.push((task.id.clone(), NodeId::from(claim.node_id.as_str())));
                    preempted.extend(claim.tasks.iter().map(|id| TaskId::from(id.as_str())));
                }
                None => waiting.entry(&task.status.err).or_default().push(task),
            },
        }
    }
    let survey = (!waiting.is_empty()).then(|| Survey::new(&view, now));
    let explain = |tasks: Vec<&Arc<Task>>| {
        let explanation = survey.as_ref()?.explain(tasks.first()?, max_nodes);
        Some(Waiting { tasks: tasks.iter().map(|task| task.id.clone()).collect(), explanation })
    };
    let waiting = waiting.into_values().filter_map(explain).collect();
    Ok(DryRun { view: view.clone(), placed, preempted: preempted.into_iter().collect(), waiting })
}
