//! What the tasks of this node use.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use swarmkit_api::{Task, TaskId, wire::swarmkit::exec::v1 as exec};
use swarmkit_executor::{ExecError, Usage};

use crate::{controller::ControllerCell, roster::Roster};

/// How many tasks are measured at once.
const AT_ONCE: usize = 16;
/// How long measuring one may take. The runtime below may hang, and the others shall be told nevertheless.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many tasks one answer tells of. Far more than a node runs, and less than a message may hold.
const TASKS_MAX: usize = 10_000;

/// What one task of this node uses.
#[derive(Clone, PartialEq)]
pub struct TaskUsage {
    /// The task, as the managers want it.
    pub task: Arc<Task>,
    /// What it uses.
    pub usage: Usage,
}

/// What was measured, and of which tasks that run nothing can be told.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// By task id.
    pub(crate) tasks: Vec<TaskUsage>,
    /// The executor cannot tell.
    pub(crate) unsupported: Vec<TaskId>,
}

/// Measures the tasks that run, of those that are `wanted`, and no more than `limit` of them.
///
/// What does not run is left out, and so is what cannot be measured now: that is logged.
pub(crate) async fn measure(roster: &Roster, limit: usize, wanted: impl Fn(&Task) -> bool) -> Measured {
    let tasks = roster.all().into_iter().filter(|controller| wanted(&controller.task())).take(limit);
    let samples: Vec<_> = stream::iter(tasks).map(sample).buffered(AT_ONCE).collect().await;
    let mut measured = Measured::default();
    for (task, sample) in samples {
        match sample {
            Some(Ok(usage)) => measured.tasks.push(TaskUsage { task, usage }),
            Some(Err(ExecError::Unsupported(_))) => measured.unsupported.push(task.id.clone()),
            // Not begun, or over.
            Some(Err(ExecError::Failed(_) | ExecError::Exited { .. } | ExecError::Closed)) | None => {}
            Some(Err(error @ (ExecError::Temporary(_) | ExecError::Rejected(_)))) => {
                tracing::debug!(task = %task.id, %error, "cannot tell what the task uses");
            }
            Some(Err(error)) => tracing::warn!(task = %task.id, %error, "cannot tell what the task uses"),
        }
    }
    measured
}

/// What is told to somebody who asks for one task, or for all that run where none is named.
///
/// # Errors
///
/// When there is nothing to tell: the task is not here or does not run, or the executor cannot tell.
pub(crate) async fn answer(roster: &Roster, task: &str) -> Result<exec::Usage, ExecError> {
    let Measured { tasks, unsupported } =
        measure(roster, TASKS_MAX, |found| task.is_empty() || found.id.as_str() == task).await;
    match (tasks.is_empty(), unsupported.is_empty()) {
        (true, false) => Err(ExecError::Unsupported("resource usage")),
        (true, true) if !task.is_empty() => Err(ExecError::failed(format!("task {task} does not run on this node"))),
        _ => Ok(exec::Usage { tasks: tasks.iter().map(exec::TaskUsage::from).collect() }),
    }
}

/// Measures one task. `None` if it has no controller yet.
async fn sample(controller: ControllerCell) -> (Arc<Task>, Option<Result<Usage, ExecError>>) {
    let task = controller.task();
    let sample = async { Some(controller.made().await?.usage().await) };
    let sample = tokio::time::timeout(PATIENCE, sample).await;
    let silence = |_| Some(Err(ExecError::temporary(format!("nothing was told within {} s", PATIENCE.as_secs()))));
    (task, sample.unwrap_or_else(silence))
}

impl fmt::Debug for TaskUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskUsage").field("task", &self.task.id).field("usage", &self.usage).finish()
    }
}

impl From<&TaskUsage> for exec::TaskUsage {
    fn from(TaskUsage { task, usage }: &TaskUsage) -> Self {
        Self {
            task_id: task.id.to_string(),
            at: Some(usage.taken_at.into()),
            cpu_nanos: usage.cpu.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            memory_bytes: usage.memory,
            memory_limit_bytes: usage.memory_limit,
            processes: usage.pids,
            processes_limit: usage.pids_limit,
            read_bytes: usage.block_read,
            written_bytes: usage.block_written,
            received_bytes: usage.network_received,
            sent_bytes: usage.network_sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use swarmkit_api::wire;
    use swarmkit_executor::{Behaviour, Ending, InertExecutor, Machine};
    use swarmkit_runtime::Env;

    use super::*;
    use crate::payloads::Payloads;

    /// Tasks whose slot says what they are like: 0 is not started, 1 cannot be measured, 2 has ended, others use as much
    /// memory as their slot says.
    async fn roster(slots: &[u64]) -> Roster {
        let usage = |slot| Usage { memory: Some(slot), ..Usage::at(SystemTime::UNIX_EPOCH) };
        let executor = InertExecutor::on(Machine::new(Env::real())).behaving(move |task| Behaviour {
            usage: (task.slot != 1).then(|| usage(task.slot)),
            ending: if task.slot == 2 { Ending::After(Duration::ZERO, 0) } else { Ending::Never },
            ..Behaviour::default()
        });
        let roster = Roster::default();
        for slot in slots {
            let task = Task { slot: *slot, ..Task::new(TaskId::from(format!("t{slot}")), wire::TaskSpec::default()) };
            let cell = ControllerCell::new(Arc::new(executor.clone()), Payloads::default(), Arc::new(task));
            if *slot != 0 {
                let controller = cell.get().await.unwrap();
                controller.prepare().await.unwrap();
                controller.start().await.unwrap();
            }
            roster.add(TaskId::from(format!("t{slot}")), cell);
        }
        roster
    }

    fn told(measured: &Measured) -> Vec<(&str, Option<u64>)> {
        measured.tasks.iter().map(|told| (told.task.id.as_str(), told.usage.memory)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_is_measured_and_what_cannot_be_is_named() {
        let roster = roster(&[0, 1, 2, 3, 4]).await;
        let measured = measure(&roster, 100, |_| true).await;
        assert_eq!(told(&measured), [("t3", Some(3)), ("t4", Some(4))]);
        assert_eq!(measured.unsupported, [TaskId::from("t1")]);
        assert!(roster.all()[0].made().await.is_none(), "measuring begins nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_wanted_is_measured_and_never_more_than_the_limit() {
        let roster = roster(&[3, 4, 5, 6]).await;
        let measured = measure(&roster, 2, |task| task.slot > 3).await;
        assert_eq!(told(&measured), [("t4", Some(4)), ("t5", Some(5))]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_is_told_why_there_is_no_answer() {
        let several = roster(&[0, 1, 2, 3]).await;
        let told = async |task: &str| match answer(&several, task).await {
            Ok(usage) => usage.tasks.into_iter().map(|task| task.task_id).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(told("").await, "t3", "what one cannot tell of is no reason to tell nothing of the others");
        assert_eq!(told("t3").await, "t3");
        assert_eq!(told("t1").await, "this executor does not offer resource usage");
        assert_eq!(told("t2").await, "task t2 does not run on this node");
        assert_eq!(told("t9").await, "task t9 does not run on this node");
        let silent = answer(&roster(&[1]).await, "").await;
        assert!(matches!(silent, Err(ExecError::Unsupported(_))), "{silent:?}");
        assert_eq!(answer(&Roster::default(), "").await.unwrap().tasks, [], "nothing runs, and that is an answer");
    }

    #[test]
    fn what_is_not_known_is_absent_on_the_wire() {
        let task = Arc::new(Task::new(TaskId::from("t1"), wire::TaskSpec::default()));
        let usage = Usage { cpu: Some(Duration::from_millis(3)), pids: Some(0), ..Usage::at(SystemTime::UNIX_EPOCH) };
        let told = exec::TaskUsage::from(&TaskUsage { task, usage });
        let at = Some(prost_types::Timestamp::default());
        let task_id = "t1".to_owned();
        let expected =
            exec::TaskUsage { task_id, at, cpu_nanos: Some(3_000_000), processes: Some(0), ..Default::default() };
        assert_eq!(told, expected);
    }
}
