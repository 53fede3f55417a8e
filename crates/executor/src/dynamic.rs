//! Object-safe twins of the seam, so that an agent is not generic over its executor.
//!
//! Implement [`Executor`] and [`Controller`]; the twins follow by themselves, and any executor becomes an
//! `Arc<dyn DynExecutor>` by `Arc::new(executor)`.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use swarmkit_api::{Node, Task, TaskId, wire};

use crate::{
    Assignment, AttachOptions, Controller, ExecCommand, ExecError, ExecInputs, ExecOutputs, Executor, LogOptions,
    LogStream, RuntimeStatus, Usage,
};

/// [`Executor`] for use behind a pointer. Not to be implemented.
pub trait DynExecutor: Send + Sync + 'static {
    /// See [`Executor::describe`].
    fn describe(&self) -> BoxFuture<'_, Result<wire::NodeDescription, ExecError>>;
    /// See [`Executor::configure`].
    fn configure<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<(), ExecError>>;
    /// See [`Executor::controller`].
    fn controller(&self, assignment: Assignment) -> BoxFuture<'_, Result<Arc<dyn DynController>, ExecError>>;
    /// See [`Executor::reconcile`].
    fn reconcile<'a>(&'a self, known: &'a [TaskId]) -> BoxFuture<'a, Result<(), ExecError>>;
    /// See [`Executor::set_network_bootstrap_keys`].
    fn set_network_bootstrap_keys<'a>(
        &'a self,
        keys: &'a [wire::EncryptionKey],
    ) -> BoxFuture<'a, Result<(), ExecError>>;
}

/// [`Controller`] for use behind a pointer. Not to be implemented.
pub trait DynController: Send + Sync + 'static {
    /// See [`Controller::update`].
    fn update(&self, task: Arc<Task>) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::prepare`].
    fn prepare(&self) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::start`].
    fn start(&self) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::wait`].
    fn wait(&self) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::shutdown`].
    fn shutdown(&self) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::terminate`].
    fn terminate(&self) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::remove`].
    fn remove(&self) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::close`].
    fn close(&self) -> BoxFuture<'_, Result<(), ExecError>>;
    /// See [`Controller::status`].
    fn status(&self) -> BoxFuture<'_, Result<RuntimeStatus, ExecError>>;
    /// See [`Controller::progress`].
    fn progress(&self) -> BoxFuture<'_, String>;
    /// See [`Controller::logs`].
    fn logs(&self, options: LogOptions) -> BoxFuture<'_, Result<LogStream, ExecError>>;
    /// See [`Controller::exec`].
    fn exec(&self, command: ExecCommand, inputs: ExecInputs) -> BoxFuture<'_, Result<ExecOutputs, ExecError>>;
    /// See [`Controller::attach`].
    fn attach(&self, options: AttachOptions, inputs: ExecInputs) -> BoxFuture<'_, Result<ExecOutputs, ExecError>>;
    /// See [`Controller::usage`].
    fn usage(&self) -> BoxFuture<'_, Result<Usage, ExecError>>;
}

impl<E: Executor> DynExecutor for E {
    fn describe(&self) -> BoxFuture<'_, Result<wire::NodeDescription, ExecError>> {
        Executor::describe(self).boxed()
    }

    fn configure<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<(), ExecError>> {
        Executor::configure(self, node).boxed()
    }

    fn controller(&self, assignment: Assignment) -> BoxFuture<'_, Result<Arc<dyn DynController>, ExecError>> {
        async move {
            let controller: Arc<dyn DynController> = Arc::new(Executor::controller(self, assignment).await?);
            Ok(controller)
        }
        .boxed()
    }

    fn reconcile<'a>(&'a self, known: &'a [TaskId]) -> BoxFuture<'a, Result<(), ExecError>> {
        Executor::reconcile(self, known).boxed()
    }

    fn set_network_bootstrap_keys<'a>(
        &'a self,
        keys: &'a [wire::EncryptionKey],
    ) -> BoxFuture<'a, Result<(), ExecError>> {
        Executor::set_network_bootstrap_keys(self, keys).boxed()
    }
}

impl<C: Controller> DynController for C {
    fn update(&self, task: Arc<Task>) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::update(self, task).boxed()
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::prepare(self).boxed()
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::start(self).boxed()
    }

    fn wait(&self) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::wait(self).boxed()
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::shutdown(self).boxed()
    }

    fn terminate(&self) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::terminate(self).boxed()
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::remove(self).boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ExecError>> {
        Controller::close(self).boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<RuntimeStatus, ExecError>> {
        Controller::status(self).boxed()
    }

    fn progress(&self) -> BoxFuture<'_, String> {
        Controller::progress(self).boxed()
    }

    fn logs(&self, options: LogOptions) -> BoxFuture<'_, Result<LogStream, ExecError>> {
        Controller::logs(self, options).boxed()
    }

    fn exec(&self, command: ExecCommand, inputs: ExecInputs) -> BoxFuture<'_, Result<ExecOutputs, ExecError>> {
        Controller::exec(self, command, inputs).boxed()
    }

    fn attach(&self, options: AttachOptions, inputs: ExecInputs) -> BoxFuture<'_, Result<ExecOutputs, ExecError>> {
        Controller::attach(self, options, inputs).boxed()
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, ExecError>> {
        Controller::usage(self).boxed()
    }
}
