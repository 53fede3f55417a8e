//! The controller of one task, made when it is first needed.

use std::sync::Arc;

use parking_lot::Mutex;
use swarmkit_api::Task;
use swarmkit_executor::{Assignment, DynController, DynExecutor, ExecError};

use crate::payloads::Payloads;

/// Makes the controller of one task, and hands out the same one to whoever asks. Clones share it.
#[derive(Clone)]
pub(crate) struct ControllerCell(Arc<Shared>);

struct Shared {
    executor: Arc<dyn DynExecutor>,
    payloads: Payloads,
    task: Mutex<Arc<Task>>,
    /// Held while making one, so that there is never a second.
    made: tokio::sync::Mutex<Made>,
}

enum Made {
    NotYet,
    Yes(Arc<dyn DynController>),
    Closed,
}

impl ControllerCell {
    pub(crate) fn new(executor: Arc<dyn DynExecutor>, payloads: Payloads, task: Arc<Task>) -> Self {
        let (task, made) = (Mutex::new(task), tokio::sync::Mutex::new(Made::NotYet));
        Self(Arc::new(Shared { executor, payloads, task, made }))
    }

    /// The task as the managers want it now.
    pub(crate) fn task(&self) -> Arc<Task> {
        Arc::clone(&self.0.task.lock())
    }

    /// The controller, made for the present task if there is none yet.
    pub(crate) async fn get(&self) -> Result<Arc<dyn DynController>, ExecError> {
        let mut made = self.0.made.lock().await;
        match &*made {
            Made::Yes(controller) => return Ok(Arc::clone(controller)),
            Made::Closed => return Err(ExecError::Closed),
            Made::NotYet => {}
        }
        let dependencies = Arc::new(self.0.payloads.of(&self.task()));
        let task = self.expanded()?;
        let controller = self.0.executor.controller(Assignment { task, dependencies }).await?;
        *made = Made::Yes(Arc::clone(&controller));
        Ok(controller)
    }

    /// The controller, if there is one by now.
    pub(crate) async fn made(&self) -> Option<Arc<dyn DynController>> {
        match &*self.0.made.lock().await {
            Made::Yes(controller) => Some(Arc::clone(controller)),
            Made::NotYet | Made::Closed => None,
        }
    }

    /// The controller for a changed task.
    pub(crate) async fn update(&self, task: Arc<Task>) -> Result<(), ExecError> {
        *self.0.task.lock() = task;
        let made = self.0.made.lock().await;
        match &*made {
            Made::Yes(controller) => controller.update(self.expanded()?).await,
            Made::Closed | Made::NotYet => Ok(()),
        }
    }

    /// The task with the placeholders of its specification expanded. One that has none shares its specification with
    /// the other tasks of its service.
    fn expanded(&self) -> Result<Arc<Task>, ExecError> {
        let task = self.task();
        let node = self.0.payloads.node.get();
        let spec = swarmkit_template::expand_task(&task, node.as_deref()).map_err(ExecError::rejected)?;
        if spec == *task.spec {
            return Ok(task);
        }
        Ok(Arc::new(Task { spec: Arc::new(spec), ..Task::clone(&task) }))
    }

    /// Closes the controller, if there is one. There will be none any more.
    pub(crate) async fn close(&self) {
        let made = std::mem::replace(&mut *self.0.made.lock().await, Made::Closed);
        if let Made::Yes(controller) = made
            && let Err(error) = controller.close().await
        {
            tracing::debug!(task = %self.task().id, %error, "closing the controller");
        }
    }
}
