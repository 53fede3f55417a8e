//! An executor of your own: tasks are functions of this program.
//!
//! The image of a service names the function, which is given its task and returns an exit code. One that panics has
//! failed; one that is to stop is dropped, as futures are. So a cluster looks after the parts of a program as it does
//! after processes: how many run, where, and what replaces a broken one.
//!
//! Here three workers take numbers off a queue, and one number is too much for them. The tests below hold the executor
//! against the conformance suite that every executor passes: `cargo test -p swarmkit --example custom_executor`.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use swarmkit::{
    CancellationToken,
    api::{ServiceId, Task, TaskId, TaskState, wire},
    executor::{Assignment, Controller, ExecError, Executor, Job, Jobs, Workload, container_spec, describe_node},
    node::Node,
    runtime::{Crew, PartError, Spawner},
    store::{Interest, TaskBy},
};
use tokio::sync::mpsc;

// The executor itself begins here.

/// What a task runs.
type Function = Arc<dyn Fn(Arc<Task>) -> BoxFuture<'static, i32> + Send + Sync>;

/// Runs the functions that it knows. Clones are one machine.
#[derive(Clone)]
struct Functions {
    known: BTreeMap<String, Function>,
    jobs: Jobs,
}

/// Drives one task.
struct FunctionController {
    task: Arc<Task>,
    known: Option<Function>,
    job: Job,
}

impl Functions {
    fn new<const N: usize>(spawner: Spawner, known: [(&str, Function); N]) -> Self {
        let known = known.map(|(name, function)| (name.to_owned(), function)).into();
        Self { known, jobs: Jobs::new(spawner) }
    }
}

impl Executor for Functions {
    type Controller = FunctionController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        Ok(describe_node("functions", &[Workload::Container]))
    }

    async fn controller(&self, Assignment { task, .. }: Assignment) -> Result<FunctionController, ExecError> {
        let known = container_spec(&task.spec).and_then(|container| self.known.get(&container.image)).cloned();
        Ok(FunctionController { known, job: self.jobs.job(&task.id), task })
    }

    async fn reconcile(&self, known: &[TaskId]) -> Result<(), ExecError> {
        self.jobs.retain(known);
        Ok(())
    }
}

impl FunctionController {
    fn function(&self) -> Result<&Function, ExecError> {
        if container_spec(&self.task.spec).is_some_and(|container| container.healthcheck.is_some()) {
            return Err(ExecError::rejected("functions have no health checks"));
        }
        self.known.as_ref().ok_or_else(|| ExecError::rejected("there is no function of that name"))
    }
}

impl Controller for FunctionController {
    async fn prepare(&self) -> Result<(), ExecError> {
        self.function()?;
        self.job.prepare()
    }

    async fn start(&self) -> Result<(), ExecError> {
        let (function, task) = (self.function()?.clone(), self.task.clone());
        self.job.start(move || function(task))
    }

    async fn wait(&self) -> Result<(), ExecError> {
        self.job.wait().await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.job.terminate().await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        self.job.remove().await
    }

    async fn close(&self) -> Result<(), ExecError> {
        self.job.close()
    }
}

// The executor ends here; what follows uses it.

/// How many numbers may wait for a worker, and squares for whoever adds them up.
const QUEUE: usize = 100;
/// The number that is too much for a worker.
const UNLUCKY: u64 = 13;

/// A worker: squares numbers for as long as there are some.
async fn square(queue: Queue, squares: mpsc::Sender<u64>) -> i32 {
    loop {
        match queue.lock().await.recv().await {
            Some(UNLUCKY) => return 1,
            Some(number) if squares.send(number * number).await.is_ok() => {}
            Some(_) | None => return 0,
        }
    }
}

type Queue = Arc<tokio::sync::Mutex<mpsc::Receiver<u64>>>;

/// A service of so many tasks that run a function. A broken one is replaced at once.
fn service(function: &str, replicas: u64) -> wire::ServiceSpec {
    let container = wire::ContainerSpec { image: function.to_owned(), ..Default::default() };
    let restart = wire::RestartPolicy {
        condition: wire::restart_policy::RestartCondition::OnFailure.into(),
        delay: Some(Default::default()),
        ..Default::default()
    };
    let runtime = Some(wire::task_spec::Runtime::Container(container));
    let task = wire::TaskSpec { runtime, restart: Some(restart), ..Default::default() };
    wire::ServiceSpec {
        annotations: Some(wire::Annotations { name: function.to_owned(), ..Default::default() }),
        task: Some(task),
        mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas })),
        ..Default::default()
    }
}

#[tokio::main]
async fn main() -> Result<(), PartError> {
    let (state_dir, stop) = (tempfile::tempdir()?, CancellationToken::new());
    let mut crew = Crew::under(&stop);

    let (numbers, queue) = mpsc::channel(QUEUE);
    let (squares, mut results) = mpsc::channel(QUEUE);
    let queue = Arc::new(tokio::sync::Mutex::new(queue));
    let worker: Function = Arc::new(move |_| square(queue.clone(), squares.clone()).boxed());
    let functions = Functions::new(crew.spawner(), [("square", worker)]);

    let node = Node::builder(state_dir.path(), Arc::new(functions)).listen_remote("127.0.0.1:0").start(&stop).await?;
    let handle = node.handle();
    crew.spawn("node", |stop| node.run(stop));
    handle.ready().await?;

    let mut control = handle.control().ok_or("a node that founds a cluster is a manager")?;
    let request = wire::CreateServiceRequest { spec: Some(service("square", 3)) };
    let created = control.create_service(request).await?.into_inner().service.unwrap_or_default();

    for number in 1..=100 {
        numbers.send(number).await?;
    }
    let mut sum = 0;
    for _ in 1..100 {
        sum += results.recv().await.ok_or("all workers are gone")?;
    }
    println!("the squares of 1 to 100 without that of {UNLUCKY} come to {sum}");

    // Every change of the service's tasks comes by here.
    let id = ServiceId::from(created.id);
    let mut watch = handle.store().ok_or("a manager has a store")?.watch(Interest::none().tasks_of_service(id.clone()));
    loop {
        let update = watch.next().await?;
        let tasks = update.view().find(TaskBy::Service(&id));
        let (running, ended): (Vec<_>, _) = tasks.partition(|task| task.status.state <= TaskState::Running);
        let replaced = running.iter().filter(|task| task.status.state == TaskState::Running).count() == 3;
        if let Some(broken) = ended.first().filter(|_| replaced) {
            println!("the worker in slot {} ended ({}) and was replaced", broken.slot, broken.status.err);
            break;
        }
    }
    stop.cancel();
    crew.finish().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swarmkit::executor::conformance::{Ability, Act, Suite};

    use super::*;

    /// The function acts as its arguments say.
    fn spec(act: Act) -> wire::TaskSpec {
        let (function, milliseconds, code) = match act {
            Act::Exits(code) => ("exit", 0, code),
            Act::ExitsAfter(milliseconds, code) => ("exit", milliseconds, code),
            Act::Impossible => ("nothing of that name", 0, 0),
            _ => ("run", 0, 0),
        };
        let well_or_not = matches!(act, Act::Well | Act::Unwell);
        let container = wire::ContainerSpec {
            image: function.to_owned(),
            args: vec![milliseconds.to_string(), code.to_string()],
            healthcheck: well_or_not.then(wire::HealthConfig::default),
            ..Default::default()
        };
        wire::TaskSpec { runtime: Some(wire::task_spec::Runtime::Container(container)), ..Default::default() }
    }

    async fn exit(task: Arc<Task>) -> i32 {
        let args = &container_spec(&task.spec).expect("made by spec").args;
        let [milliseconds, code] = [0, 1].map(|n| args[n].parse::<u16>().expect("made by spec"));
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
        code.into()
    }

    fn functions(crew: &Crew) -> Functions {
        let exit: Function = Arc::new(|task| exit(task).boxed());
        let panic: Function = Arc::new(|_| panic!("as the test wants"));
        let run: Function = Arc::new(|_| std::future::pending().boxed());
        Functions::new(crew.spawner(), [("exit", exit), ("panic", panic), ("run", run)])
    }

    #[tokio::test(start_paused = true)]
    async fn functions_keep_every_obligation_of_an_executor() {
        let crew = Crew::under(&CancellationToken::new());
        let functions = functions(&crew);
        let suite = Suite::new(async || functions.clone(), spec)
            .without(Ability::Health, "a function has no health check")
            .without(Ability::Logs, "a function writes nothing")
            .without(Ability::StopSignals, "a function is cancelled, not signalled")
            .without(Ability::Usage, "a function shares the memory and processors of the program");
        suite.run().await;
        assert!(functions.jobs.is_empty(), "nothing is left behind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_panics_has_failed() {
        let crew = Crew::under(&CancellationToken::new());
        let container = wire::ContainerSpec { image: "panic".to_owned(), ..Default::default() };
        let runtime = Some(wire::task_spec::Runtime::Container(container));
        let task = Task::new(TaskId::from("t1"), wire::TaskSpec { runtime, ..Default::default() });
        let controller = functions(&crew).controller(Assignment::new(Arc::new(task))).await.unwrap();
        controller.prepare().await.unwrap();
        controller.start().await.unwrap();
        assert_eq!(controller.wait().await.unwrap_err().exit_code(), Some(101));
    }
}
