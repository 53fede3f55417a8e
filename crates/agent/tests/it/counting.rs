//! An executor that counts what is asked of its tasks.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use swarmkit_api::{TaskId, wire};
use swarmkit_executor::{
    Assignment, Controller, DynController, ExecError, Executor, InertExecutor, Machine, RuntimeStatus,
};

/// Inert tasks on a machine, and how often each of their operations was called.
#[derive(Clone)]
pub(crate) struct Counting {
    inner: InertExecutor,
    calls: Arc<Mutex<BTreeMap<(&'static str, String), u32>>>,
}

pub(crate) struct CountingController {
    task: String,
    inner: Arc<dyn DynController>,
    calls: Arc<Mutex<BTreeMap<(&'static str, String), u32>>>,
}

impl Counting {
    pub(crate) fn on(machine: &Machine, hostname: &str) -> Self {
        Self { inner: InertExecutor::on(machine.clone()).hostname(hostname), calls: Arc::default() }
    }

    /// How often that was called, for each task for which it was.
    pub(crate) fn calls(&self, operation: &str) -> Vec<u32> {
        self.calls.lock().iter().filter(|((called, _), _)| *called == operation).map(|(_, count)| *count).collect()
    }
}

impl CountingController {
    fn count(&self, operation: &'static str) {
        *self.calls.lock().entry((operation, self.task.clone())).or_default() += 1;
    }
}

impl Executor for Counting {
    type Controller = CountingController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        Executor::describe(&self.inner).await
    }

    async fn controller(&self, assignment: Assignment) -> Result<CountingController, ExecError> {
        let task = assignment.task.id.to_string();
        let inner = Arc::new(Executor::controller(&self.inner, assignment).await?);
        Ok(CountingController { task, inner, calls: Arc::clone(&self.calls) })
    }

    async fn reconcile(&self, known: &[TaskId]) -> Result<(), ExecError> {
        Executor::reconcile(&self.inner, known).await
    }
}

impl Controller for CountingController {
    async fn prepare(&self) -> Result<(), ExecError> {
        self.inner.prepare().await
    }

    async fn start(&self) -> Result<(), ExecError> {
        self.count("start");
        self.inner.start().await
    }

    async fn wait(&self) -> Result<(), ExecError> {
        self.inner.wait().await
    }

    async fn shutdown(&self) -> Result<(), ExecError> {
        self.count("shutdown");
        self.inner.shutdown().await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.count("terminate");
        self.inner.terminate().await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        self.count("remove");
        self.inner.remove().await
    }

    async fn close(&self) -> Result<(), ExecError> {
        self.inner.close().await
    }

    async fn status(&self) -> Result<RuntimeStatus, ExecError> {
        self.inner.status().await
    }
}
