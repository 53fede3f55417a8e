//! What an operation that takes long is doing: told to managers in the task's message while it goes on.

use std::{convert::Infallible, time::Duration};

use swarmkit_api::{TaskId, TaskStatus};
use swarmkit_executor::DynController;

use crate::{
    runner::Tools,
    step::{self, Operation},
};

/// How far apart two such messages of a task are at least, and how long an operation goes on before the first one. Each
/// is a write of the managers.
const APART: Duration = Duration::from_secs(2);
/// How long such a message is at most, in characters.
const LENGTH: usize = 200;

/// Tells what is done for one task that stays at `status` meanwhile.
pub(crate) struct Telling<'a> {
    pub(crate) id: &'a TaskId,
    pub(crate) tools: &'a Tools,
    pub(crate) status: &'a TaskStatus,
}

impl Telling<'_> {
    /// Tells what the executor says of `operation` until it is dropped.
    ///
    /// The status of the task stays what it was: this is neither written down nor built upon.
    pub(crate) async fn tell(&self, controller: &dyn DynController, operation: Operation) -> Infallible {
        if !matches!(operation, Operation::Prepare | Operation::Start) {
            return std::future::pending().await;
        }
        loop {
            // First, so that what takes no time says nothing.
            self.tools.env.sleep(APART).await;
            let said: String = controller.progress().await.chars().take(LENGTH).collect();
            let message = format!("{}: {said}", self.status.message);
            let shown = TaskStatus { message, ..self.status.clone() };
            let shown = step::stamped(self.status, shown, self.tools.env.now());
            self.tools.reports.put(self.id, &shown);
        }
    }
}
