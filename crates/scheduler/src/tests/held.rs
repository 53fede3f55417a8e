//! Decisions, held to the [plainest reading](super::naive) one by one.

use swarmkit_api::{NodeId, TaskId, TaskState};
use wire::GenericResource;

use super::{naive::Naive, *};

/// A decision, as far as objects show it.
#[derive(Debug)]
pub(super) enum Outcome {
    Placed { task: TaskId, node: NodeId, given: Vec<GenericResource> },
    Told { task: TaskId, err: String },
    Stopped { task: TaskId },
}

pub(super) fn outcomes(plan: &Plan) -> Vec<Outcome> {
    let outcome = |decision: &Decision| match decision {
        Decision::Assign { task, node, given, .. } => {
            Outcome::Placed { task: task.id.clone(), node: node.id.clone(), given: given.clone() }
        }
        Decision::Explain { task, err } => Outcome::Told { task: task.id.clone(), err: err.to_string() },
        Decision::Stop { task } => Outcome::Stopped { task: task.id.clone() },
        // No cluster has volumes here.
        Decision::MakeRoom { .. } | Decision::Release { .. } => panic!("nobody asks for a priority"),
        Decision::Free { .. } => panic!("nothing is to be let go of"),
    };
    plan.decisions.iter().map(outcome).collect()
}

/// When the reasons that tasks are told were worked out.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Reasons {
    Now,
    /// A task that joins others that wait is told what they were told.
    Before,
}

/// Checks decisions one by one, each at its turn.
pub(super) fn are_allowed(naive: &mut Naive, outcomes: &[Outcome], reasons: Reasons) {
    for outcome in outcomes {
        match outcome {
            Outcome::Placed { task, node, given } => {
                let task = naive.tasks[task].clone();
                let on = &naive.nodes[node].clone();
                assert!(naive::waits(&task), "{} was not to be placed: {task:?}", task.id);
                assert_eq!(naive.refusal(&task, on), None, "{} cannot run on {node}", task.id);
                match &task.node_id {
                    Some(own) => assert_eq!(node, own, "{} was made for another node", task.id),
                    None => {
                        let best = naive.best(&task);
                        assert!(best.contains(node), "{} is better off on {best:?} than on {node}", task.id);
                    }
                }
                assert_eq!(*given, naive.given(&task, on), "what {} is given", task.id);
                naive.place(&task.id, node, given);
            }
            Outcome::Told { task, err } => {
                let task = &naive.tasks[task];
                assert!(naive::waits(task) && *err != task.status.err, "{} was not to be told {err}", task.id);
                let expected = match &task.node_id {
                    None => naive.no_suitable_node(task),
                    Some(own) => match naive.nodes.get(own) {
                        Some(node) => naive.not_there(task, naive.refusal(task, node).expect("its node refuses it")),
                        None => format!("node {own} does not exist"),
                    },
                };
                let is_known = reasons == Reasons::Before && task.node_id.is_none();
                assert!(*err == expected || is_known, "{} is told {err}, which is {expected}", task.id);
                assert!(task.node_id.is_some() || naive.is_told(task), "nobody asks about {} any more", task.id);
            }
            Outcome::Stopped { task } => {
                let task = &naive.tasks[task];
                assert_eq!(task.status.state, TaskState::Pending);
                assert_eq!(task.desired_state, TaskState::Shutdown);
            }
        }
    }
}

/// Checks that whatever still waits cannot be placed, and knows why.
pub(super) fn nothing_is_left_out(naive: &Naive, outcomes: &[Outcome]) {
    let is_told =
        |id: &TaskId| outcomes.iter().any(|outcome| matches!(outcome, Outcome::Told { task, .. } if task == id));
    for task in naive.tasks.values().filter(|task| naive::waits(task)) {
        match &task.node_id {
            None => {
                assert!(naive.best(task).is_empty(), "{} could be placed", task.id);
                assert!(!task.status.err.is_empty() || !naive.is_told(task) || is_told(&task.id), "{}", task.id);
            }
            Some(own) => {
                let refusal = naive.nodes.get(own).map(|node| naive.refusal(task, node));
                assert_ne!(refusal, Some(None), "{} could be confirmed", task.id);
            }
        }
    }
}
