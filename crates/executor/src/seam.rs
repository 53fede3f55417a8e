//! The two traits that an executor implements.

use std::{future::Future, sync::Arc};

use swarmkit_api::{Node, Task, TaskId, wire};

use crate::{Assignment, AttachOptions, ExecCommand, ExecError, ExecInputs, ExecOutputs, LogOptions, LogStream, Usage};

/// Describes what a node can run, and makes a controller for each task.
///
/// # Obligations
///
/// - All methods may be called at the same time. A future that is dropped leaves nothing half done that a repetition
///   would not complete.
/// - Tasks belong to the machine, not to this value: dropping the executor, or killing the program around it, stops
///   no task, and an executor opened again on the same state finds them. One that cannot keep its tasks alive without
///   its program ends them for good at the next opening, and says so when asked for them ([`ExecError::Failed`]).
/// - At most one executor is open on one state.
pub trait Executor: Send + Sync + 'static {
    /// What drives one task.
    type Controller: Controller;

    /// What this node is and can run. Asked at the start of every session and every 20 s, so it should be cheap.
    ///
    /// The engine's plugin list holds one [`crate::Workload::plugin`] for each kind of task that it runs.
    fn describe(&self) -> impl Future<Output = Result<wire::NodeDescription, ExecError>> + Send;

    /// Takes note of what the managers say about this node. Called on the first session and after every change.
    fn configure(&self, node: &Node) -> impl Future<Output = Result<(), ExecError>> + Send {
        let _ = node;
        std::future::ready(Ok(()))
    }

    /// Makes a controller for a task that this node was assigned, and starts nothing.
    ///
    /// A task that is already running, because an earlier program on this state started it, is adopted: the
    /// controller's `start` finds it started and `wait` waits for it. At most one controller for a task is in use at a
    /// time; a second one is made only after the first was closed or dropped.
    fn controller(&self, assignment: Assignment) -> impl Future<Output = Result<Self::Controller, ExecError>> + Send;

    /// Stops and removes every task of this state that is not in `known`.
    ///
    /// The agent calls it after it has read its own records and before it makes the first controller, so that what an
    /// earlier program started and nobody asks for any more does not run for ever. If it fails, or takes longer than a
    /// minute, the agent goes on and calls it again later, with the tasks that it has then; it makes no controller
    /// meanwhile.
    fn reconcile(&self, known: &[TaskId]) -> impl Future<Output = Result<(), ExecError>> + Send {
        let _ = known;
        std::future::ready(Ok(()))
    }

    /// Takes the keys that encrypt the traffic of networks. They replace all earlier ones.
    fn set_network_bootstrap_keys(
        &self,
        keys: &[wire::EncryptionKey],
    ) -> impl Future<Output = Result<(), ExecError>> + Send {
        let _ = keys;
        std::future::ready(Ok(()))
    }
}

/// Drives one task.
///
/// # Obligations
///
/// - Every method may be repeated; what is already so is success. One operation is called at a time, except that
///   `remove`, `logs`, `status`, `usage` and `progress` may come while another one is being dropped or still waits.
/// - Every future may be dropped at any point; calling again resumes or finds the work done. Dropping one never stops
///   a task that runs.
/// - After [`Controller::close`] every method answers [`ExecError::Closed`].
pub trait Controller: Send + Sync + 'static {
    /// Takes a new definition of the task. Comes before the next step after a change; unchanged fields are accepted.
    ///
    /// The default accepts everything and changes nothing, which is right where nothing can be changed in flight.
    fn update(&self, task: Arc<Task>) -> impl Future<Output = Result<(), ExecError>> + Send {
        let _ = task;
        std::future::ready(Ok(()))
    }

    /// Creates everything that the task needs, so that starting it is immediate.
    ///
    /// # Errors
    ///
    /// [`ExecError::Rejected`] for what this node can never run: it is found here rather than at the start.
    fn prepare(&self) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Starts the task and returns when it is up, and healthy where the specification says how to tell.
    ///
    /// A task is started once in its life: one that already runs, or has run and ended, is success.
    fn start(&self) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Returns when the task has ended, also when it did so long ago.
    ///
    /// # Errors
    ///
    /// [`ExecError::Exited`] when the code was not 0, [`ExecError::Failed`] when it was lost or became unhealthy.
    fn wait(&self) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Stops the task politely: its stop signal, then at most its stop grace, then by force. In any state, also before
    /// `prepare`; what does not run is success.
    ///
    /// The default is for what cannot be asked politely.
    fn shutdown(&self) -> impl Future<Output = Result<(), ExecError>> + Send {
        self.terminate()
    }

    /// Stops the task by force and at once.
    fn terminate(&self) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Frees everything that the task has on this machine, running or not. When it returned, no later program on this
    /// state finds anything of the task.
    fn remove(&self) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Lets go of what is in memory. The task itself goes on.
    fn close(&self) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// What is known of the running or ended task. The default knows nothing.
    fn status(&self) -> impl Future<Output = Result<RuntimeStatus, ExecError>> + Send {
        std::future::ready(Ok(RuntimeStatus::default()))
    }

    /// What `prepare` or `start` is doing, for people: returns when there is something to say that was not said before,
    /// such as how much of an image is here. Called again and again beside the operation, and dropped with it.
    ///
    /// The agent passes it on in the task's message while the operation takes longer than a few seconds, and not more
    /// often than that, so what matters is the latest text and not each one. The default never has anything to say.
    fn progress(&self) -> impl Future<Output = String> + Send {
        std::future::pending()
    }

    /// What the task has written. Waits until it runs or has ended.
    ///
    /// The default is [`ExecError::Unsupported`].
    fn logs(&self, options: LogOptions) -> impl Future<Output = Result<LogStream, ExecError>> + Send {
        let _ = options;
        std::future::ready(Err(ExecError::Unsupported("logs")))
    }

    /// Runs a command where the task runs: in its container, or beside its process with its limits.
    ///
    /// May be called while other operations wait, and several times at once. The command is none of the task's: however it
    /// ends, the task goes on. When the task ends, so does the command. When the stream is dropped, so is the command, with
    /// everything that it has started: by SIGHUP, and by force some seconds later. Signals go to the command itself.
    ///
    /// The default is [`ExecError::Unsupported`].
    ///
    /// # Errors
    ///
    /// [`ExecError::NoProgram`] when there is no such program, [`ExecError::Failed`] when the task does not run. Either may
    /// also be the first item of the stream.
    fn exec(
        &self,
        command: ExecCommand,
        inputs: ExecInputs,
    ) -> impl Future<Output = Result<ExecOutputs, ExecError>> + Send {
        let _ = (command, inputs);
        std::future::ready(Err(ExecError::Unsupported("commands in tasks")))
    }

    /// Reads what the task writes from now on, and writes to its standard input if that is asked for. Ends with the task.
    /// When the stream is dropped, nothing happens to the task.
    ///
    /// The default is [`ExecError::Unsupported`]; who calls makes do with [`Controller::logs`] then, without standard input.
    ///
    /// # Errors
    ///
    /// [`ExecError::Rejected`] for standard input that the task does not have, [`ExecError::Failed`] when it does not run.
    fn attach(
        &self,
        options: AttachOptions,
        inputs: ExecInputs,
    ) -> impl Future<Output = Result<ExecOutputs, ExecError>> + Send {
        let _ = (options, inputs);
        std::future::ready(Err(ExecError::Unsupported("attaching to tasks")))
    }

    /// What the task uses of its machine at this moment. Measured when it is called, within a second or so, and cheap
    /// enough to be asked every few seconds.
    ///
    /// The default is [`ExecError::Unsupported`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Failed`] when the task does not run, so that there is nothing to measure.
    fn usage(&self) -> impl Future<Output = Result<Usage, ExecError>> + Send {
        std::future::ready(Err(ExecError::Unsupported("resource usage")))
    }
}

/// What an executor knows of a task beyond its state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeStatus {
    /// Its id below, process id and exit code. `None` before it was started, and for executors without such things.
    pub container: Option<wire::ContainerStatus>,
    /// The ports of the machine that it really has. `None` for executors that do not deal with ports.
    pub ports: Option<wire::PortStatus>,
}
