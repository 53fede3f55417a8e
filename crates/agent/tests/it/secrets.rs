//! Secrets and configs on their way from the store to the tasks that list them.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use swarmkit_api::{Config, TaskState, wire};
use swarmkit_executor::{
    Assignment, Controller, Dependencies, DynController, ExecError, Executor, InertExecutor, Machine, container_spec,
};
use tokio::time::{Duration, sleep};

use crate::cluster::Cluster;

/// An executor whose tasks read everything that they list before they are prepared.
#[derive(Clone)]
struct Reader {
    inner: InertExecutor,
    /// How long they take before they do so.
    delay: Duration,
    /// What each task has read.
    read: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

struct ReadingController {
    inner: Arc<dyn DynController>,
    assignment: Assignment,
    delay: Duration,
    read: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Reader {
    fn on(machine: &Machine) -> Self {
        Self { inner: InertExecutor::on(machine.clone()), delay: Duration::ZERO, read: Arc::default() }
    }

    fn read(&self, task: &str) -> Vec<String> {
        self.read.lock().get(task).cloned().unwrap_or_default()
    }
}

impl Executor for Reader {
    type Controller = ReadingController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        Executor::describe(&self.inner).await
    }

    async fn controller(&self, assignment: Assignment) -> Result<ReadingController, ExecError> {
        let inner = Executor::controller(&self.inner, assignment.clone()).await?;
        Ok(ReadingController { inner: Arc::new(inner), assignment, delay: self.delay, read: Arc::clone(&self.read) })
    }

    async fn reconcile(&self, known: &[swarmkit_api::TaskId]) -> Result<(), ExecError> {
        Executor::reconcile(&self.inner, known).await
    }
}

impl ReadingController {
    fn read_all(&self) -> Result<Vec<String>, ExecError> {
        let Assignment { task, dependencies } = &self.assignment;
        let Some(spec) = container_spec(&task.spec) else { return Ok(Vec::new()) };
        let dependencies: &dyn Dependencies = dependencies.as_ref();
        let secrets = spec.secrets.iter().map(|reference| dependencies.secret(&reference.secret_id));
        let configs = spec.configs.iter().map(|reference| dependencies.config(&reference.config_id));
        secrets.chain(configs).map(|read| Ok(String::from_utf8_lossy(&read?.data).into_owned())).collect()
    }
}

impl Controller for ReadingController {
    async fn prepare(&self) -> Result<(), ExecError> {
        sleep(self.delay).await;
        let read = self.read_all()?;
        self.read.lock().insert(self.assignment.task.id.to_string(), read);
        self.inner.prepare().await
    }

    async fn start(&self) -> Result<(), ExecError> {
        self.inner.start().await
    }

    async fn wait(&self) -> Result<(), ExecError> {
        self.inner.wait().await
    }

    async fn shutdown(&self) -> Result<(), ExecError> {
        self.inner.shutdown().await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.inner.terminate().await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        self.inner.remove().await
    }

    async fn close(&self) -> Result<(), ExecError> {
        self.inner.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_has_its_secret_and_its_expanded_config_when_it_is_prepared() {
    let cluster = Cluster::new("node a; secret s=hush; config c=x; service w secret=s config=c").await;
    cluster
        .store
        .update(|tx| {
            tx.edit::<Config>(&"c".into(), |config| {
                let spec = Arc::make_mut(&mut config.spec);
                spec.data = "{{.Service.Name}} on {{.Node.Hostname}}".into();
                spec.templating = Some(wire::Driver { name: "golang".into(), ..Default::default() });
            })
        })
        .await
        .unwrap();
    let executor = Reader::on(&Machine::new(cluster.env.clone()));
    let agent = cluster.start("a", executor.clone(), None);
    cluster.amend("task w.1 on a assigned");
    cluster.until_state("w.1", TaskState::Running).await;
    assert_eq!(executor.read("w.1"), ["hush", "w on inert"]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_does_not_exist_rejects_the_task() {
    let cluster = Cluster::new("node a; service w secret=s; task w.1 on a assigned").await;
    let agent = cluster.start("a", Reader::on(&Machine::new(cluster.env.clone())), None);
    cluster.until_state("w.1", TaskState::Rejected).await;
    assert_eq!(cluster.task("w.1").status.err, "secret s not found");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_found_again_while_it_was_prepared_waits_for_its_secret_until_there_is_a_manager() {
    let mut cluster = Cluster::new("node a; secret s=hush; service w secret=s; task w.1 on a assigned").await;
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(cluster.env.clone());
    let slow = Reader { delay: Duration::from_secs(3600), ..Reader::on(&machine) };
    let agent = cluster.start("a", slow, Some(&dir));
    cluster.until_state("w.1", TaskState::Preparing).await;
    sleep(Duration::from_secs(1)).await;
    let dir = agent.kill().await;

    cluster.cut();
    let executor = Reader::on(&machine);
    let agent = cluster.start("a", executor.clone(), Some(&dir));
    sleep(Duration::from_secs(30)).await;
    assert!(!agent.handle.contact().borrow().established);
    cluster.listen().await;
    cluster.until_state("w.1", TaskState::Running).await;
    assert_eq!(executor.read("w.1"), ["hush"]);
    agent.stop().await;
}
