//! One session with one manager: from its opening until something ends it.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use swarmkit_api::{TaskId, TaskStatus, wire};
use swarmkit_runtime::{Backoff, Env};
use tonic::{Code, Status};
use wire::{
    assignment::Item, assignment_change::AssignmentAction, assignments_message::Type,
    update_task_status_request::TaskStatusUpdate, update_volume_status_request::VolumeStatusUpdate,
};

use crate::{
    SessionError,
    backoff::Pulse,
    manager::{ManagerClient, Messages},
    reports::{Batch, Reports},
    volumes::Volumes,
    worker::WorkerHandle,
};

/// How long a manager may take to open a session, to answer a heartbeat, and to begin a stream. As upstream.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a manager may take to record a batch of statuses. Longer, since it answers when that is replicated.
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an agent that ends may take to tell its last statuses. What is missed is told by the next agent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often in a row a manager may leave out assignments before it is given up: each time it is asked for all of them.
const GAPS: u32 = 3;
/// How many statuses one report holds.
const STATUSES_PER_REPORT: usize = 1024;
/// The first pause before volumes are reported again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The period of heartbeats if a manager gives none.
const DEFAULT_PERIOD: Duration = Duration::from_secs(5);

/// A session that was opened, and what its parts need. All parts are futures of one session: the first to end ends it.
pub(crate) struct Session<'a> {
    pub(crate) env: &'a Env,
    pub(crate) manager: &'a Arc<dyn ManagerClient>,
    pub(crate) id: String,
    pub(crate) worker: &'a WorkerHandle,
    pub(crate) reports: &'a Reports,
    pub(crate) volumes: &'a Volumes,
    pub(crate) pulse: &'a Pulse,
}

/// Opens a session, or the same one again, and gives its first message.
pub(crate) async fn open(
    manager: &dyn ManagerClient,
    description: Option<wire::NodeDescription>,
    session_id: String,
) -> Result<(wire::SessionMessage, Messages<wire::SessionMessage>), SessionError> {
    let request = wire::SessionRequest { description, session_id };
    let opening = async {
        let mut messages = manager.session(request).await?;
        let first = messages.next().await.ok_or(SessionError::Ended("the session"))??;
        Ok((first, messages))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, opening).await.unwrap_or(Err(SessionError::NotOpened))
}

impl Session<'_> {
    /// Says that this node is alive, as often as the manager wants to hear it.
    pub(crate) async fn heartbeats(&self) -> SessionError {
        loop {
            let request = wire::HeartbeatRequest { session_id: self.id.clone() };
            let period = match in_time("a heartbeat", ANSWER_TIMEOUT, self.manager.heartbeat(request)).await {
                Ok(answer) => answer.period.and_then(|period| Duration::try_from(period).ok()),
                Err(error) => return error,
            };
            let period = period.unwrap_or(DEFAULT_PERIOD);
            self.pulse.heard(period);
            self.env.sleep(period).await;
        }
    }

    /// Tells what happens to tasks. One report at a time, and what happens meanwhile is in the next.
    pub(crate) async fn report(&self) -> SessionError {
        self.reports.repeat_all();
        loop {
            let batch = self.reports.take(STATUSES_PER_REPORT).await;
            if let Err(error) = self.tell(batch).await {
                return error;
            }
        }
    }

    /// Tells what there is to tell at this moment, as far as that can be done quickly: the agent is about to end.
    pub(crate) async fn flush(&self) {
        let telling = async {
            while let Some(batch) = self.reports.take_now(STATUSES_PER_REPORT) {
                self.tell(batch).await?;
            }
            Ok::<_, SessionError>(())
        };
        if let Err(error) = tokio::time::timeout(FLUSH_TIMEOUT, telling).await.unwrap_or(Err(SessionError::Closed)) {
            tracing::debug!(%error, "the last statuses were not told; the next agent tells them");
        }
    }

    /// Tells a batch. What is not taken, whatever the reason, is to be told again.
    async fn tell(&self, batch: Batch) -> Result<(), SessionError> {
        match self.update(batch.statuses()).await {
            Err(SessionError::Refused(status)) if status.code() == Code::PermissionDenied => {
                self.tell_singly(batch.statuses()).await?;
            }
            answer => answer?,
        }
        batch.told();
        Ok(())
    }

    /// A batch was refused because of a task that is not, or no more, this node's. The others are told one by one.
    async fn tell_singly(&self, statuses: &[(TaskId, TaskStatus)]) -> Result<(), SessionError> {
        for one in statuses {
            match self.update(std::slice::from_ref(one)).await {
                Err(SessionError::Refused(status)) if status.code() == Code::PermissionDenied => {
                    tracing::warn!(task = %one.0, %status, "the manager does not take this task's status");
                }
                answer => answer?,
            }
        }
        Ok(())
    }

    async fn update(&self, statuses: &[(TaskId, TaskStatus)]) -> Result<(), SessionError> {
        let update = |(task, status): &(TaskId, TaskStatus)| TaskStatusUpdate {
            task_id: task.to_string(),
            status: Some(status.to_wire()),
        };
        let updates = statuses.iter().map(update).collect();
        let request = wire::UpdateTaskStatusRequest { session_id: self.id.clone(), updates };
        in_time("a report", REPORT_TIMEOUT, self.manager.update_task_status(request)).await.map(drop)
    }

    /// Tells which volumes are not published here any more. Not being heard does not end the session.
    pub(crate) async fn report_volumes(&self) -> SessionError {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, self.env.rng("agent/volumes"));
        loop {
            let untold = self.volumes.wait_untold().await;
            let updates = untold.iter().map(|id| VolumeStatusUpdate { id: id.to_string(), unpublished: true });
            let request = wire::UpdateVolumeStatusRequest { session_id: self.id.clone(), updates: updates.collect() };
            match in_time("a report", REPORT_TIMEOUT, self.manager.update_volume_status(request)).await {
                Ok(_) => {
                    self.volumes.told(&untold);
                    backoff.reset();
                }
                Err(error) => {
                    tracing::warn!(%error, "the manager does not take the volumes' status");
                    self.env.sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Takes what this node shall have: all of it, then what changes. A gap is mended by asking for all of it again; a
    /// manager whose every answer has one is given up.
    pub(crate) async fn assignments(&self) -> SessionError {
        let mut gaps = 0;
        loop {
            let request = wire::AssignmentsRequest { session_id: self.id.clone() };
            let mut messages = match in_time("assignments", ANSWER_TIMEOUT, self.manager.assignments(request)).await {
                Ok(messages) => messages,
                Err(SessionError::Refused(status)) if status.code() == Code::Unimplemented => {
                    return self.tasks().await;
                }
                Err(error) => return error,
            };
            let mut last: Option<String> = None;
            loop {
                let message = match next("assignments", &mut messages).await {
                    Ok(message) => message,
                    Err(SessionError::Refused(status)) if status.code() == Code::Unimplemented => {
                        return self.tasks().await;
                    }
                    Err(error) => return error,
                };
                let complete = message.r#type() == Type::Complete;
                match &last {
                    None if !complete => return SessionError::Ended("the assignments before they began"),
                    Some(last) if *last != message.applies_to => {
                        gaps += 1;
                        if gaps > GAPS {
                            return SessionError::Gaps;
                        }
                        tracing::warn!(expected = last, got = message.applies_to, "missed assignments, asking again");
                        break;
                    }
                    Some(_) => gaps = 0,
                    None => {}
                }
                last = Some(message.results_in.clone());
                if self.worker.assign(message).await.is_err() {
                    return SessionError::Closed;
                }
            }
        }
    }

    /// The same with a manager that knows no assignments: every list is a complete set.
    async fn tasks(&self) -> SessionError {
        let request = wire::TasksRequest { session_id: self.id.clone() };
        let mut messages = match in_time("the task list", ANSWER_TIMEOUT, self.manager.tasks(request)).await {
            Ok(messages) => messages,
            Err(error) => return error,
        };
        loop {
            let list = match next("the task list", &mut messages).await {
                Ok(list) => list,
                Err(error) => return error,
            };
            let changes = list.tasks.into_iter().map(|task| wire::AssignmentChange {
                assignment: Some(wire::Assignment { item: Some(Item::Task(task)) }),
                action: AssignmentAction::Update.into(),
            });
            let message = wire::AssignmentsMessage {
                r#type: Type::Complete.into(),
                changes: changes.collect(),
                ..Default::default()
            };
            if self.worker.assign(message).await.is_err() {
                return SessionError::Closed;
            }
        }
    }
}

/// The answer to a call, if it comes in time.
pub(crate) async fn in_time<T>(
    what: &'static str,
    timeout: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, SessionError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(SessionError::NoAnswer(what)),
    }
}

/// The next message of a stream that should go on.
pub(crate) async fn next<T>(what: &'static str, messages: &mut Messages<T>) -> Result<T, SessionError> {
    match messages.next().await {
        Some(message) => Ok(message?),
        None => Err(SessionError::Ended(what)),
    }
}
