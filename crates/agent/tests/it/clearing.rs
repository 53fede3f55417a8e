//! What earlier agents have left on the machine, with executors that cannot clear it at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use swarmkit_api::{TaskId, TaskState, wire};
use swarmkit_executor::{Assignment, Controller, DynController, ExecError, Executor, InertExecutor, Machine};
use tokio::time::sleep;

use crate::cluster::{Cluster, eventually};

/// An executor that fails to clear or to remove as often as a test says.
#[derive(Clone)]
struct Reluctant {
    inner: InertExecutor,
    /// How often clearing fails. `None` if it does nothing and says that all is well, as an executor may.
    clearing_fails: Option<Arc<AtomicU32>>,
    /// How often removals fail.
    removal_fails: Arc<AtomicU32>,
    /// The tasks that were known whenever it was to clear.
    known: Arc<Mutex<Vec<Vec<String>>>>,
}

struct ReluctantController {
    inner: Arc<dyn DynController>,
    removal_fails: Arc<AtomicU32>,
}

impl Reluctant {
    fn on(machine: &Machine) -> Self {
        let inner = InertExecutor::on(machine.clone());
        Self { inner, clearing_fails: None, removal_fails: Arc::default(), known: Arc::default() }
    }
}

/// Whether one more attempt fails.
fn fails(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Executor for Reluctant {
    type Controller = ReluctantController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        Executor::describe(&self.inner).await
    }

    async fn controller(&self, assignment: Assignment) -> Result<ReluctantController, ExecError> {
        let inner = Arc::new(Executor::controller(&self.inner, assignment).await?);
        Ok(ReluctantController { inner, removal_fails: Arc::clone(&self.removal_fails) })
    }

    async fn reconcile(&self, known: &[TaskId]) -> Result<(), ExecError> {
        self.known.lock().push(known.iter().map(ToString::to_string).collect());
        match &self.clearing_fails {
            None => Ok(()),
            Some(left) if fails(left) => Err(ExecError::temporary("the engine is starting")),
            Some(_) => Executor::reconcile(&self.inner, known).await,
        }
    }
}

impl Controller for ReluctantController {
    async fn prepare(&self) -> Result<(), ExecError> {
        self.inner.prepare().await
    }

    async fn start(&self) -> Result<(), ExecError> {
        self.inner.start().await
    }

    async fn wait(&self) -> Result<(), ExecError> {
        self.inner.wait().await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.inner.terminate().await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        if fails(&self.removal_fails) {
            return Err(ExecError::failed("has active endpoints"));
        }
        self.inner.remove().await
    }

    async fn close(&self) -> Result<(), ExecError> {
        self.inner.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_cleared_at_the_start_is_cleared_later_and_spares_what_was_begun_meanwhile() {
    let cluster = Cluster::new("node a; task old.1 on a assigned").await;
    let machine = Machine::new(cluster.env.clone());
    let agent = cluster.start("a", InertExecutor::on(machine.clone()), None);
    cluster.until_state("old.1", TaskState::Running).await;
    drop(agent.kill().await);
    cluster.delete("old.1").await;
    cluster.amend("task w.1 on a assigned");

    let executor = Reluctant { clearing_fails: Some(Arc::new(AtomicU32::new(3))), ..Reluctant::on(&machine) };
    let agent = cluster.start("a", executor.clone(), None);
    cluster.until_state("w.1", TaskState::Running).await;
    assert_eq!(machine.running(), 2, "tasks do not wait for the clearing");
    eventually("the old one is cleared", || machine.running() == 1).await;
    sleep(Duration::from_secs(300)).await;
    let known = executor.known.lock().clone();
    assert_eq!(known, [vec![], vec!["w.1".to_owned()], vec!["w.1".to_owned()], vec!["w.1".to_owned()]]);
    assert_eq!((machine.running(), cluster.task("w.1").status.state), (1, TaskState::Running));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_an_agent_has_begun_is_finished_by_the_next_one() {
    let cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(cluster.env.clone());
    let stuck = Reluctant { removal_fails: Arc::new(AtomicU32::new(u32::MAX)), ..Reluctant::on(&machine) };
    let agent = cluster.start("a", stuck.clone(), Some(&dir));
    cluster.until_state("w.1", TaskState::Running).await;
    cluster.delete("w.1").await;
    eventually("it is stopped", || machine.running() == 0).await;
    sleep(Duration::from_secs(5)).await;
    let dir = agent.kill().await;
    assert!(machine.knows(&"w.1".into()), "what it has left is there still");

    let removing = Reluctant { removal_fails: Arc::new(AtomicU32::new(4)), ..Reluctant::on(&machine) };
    let agent = cluster.start("a", removing, Some(&dir));
    agent.handle.ready().await.unwrap();
    eventually("nothing is left", || !machine.knows(&"w.1".into())).await;
    agent.handle.leave(Duration::ZERO).await.unwrap();
    agent.stop().await;
    let idle = Reluctant { clearing_fails: Some(Arc::default()), ..Reluctant::on(&machine) };
    let agent = cluster.start("a", idle.clone(), Some(&dir));
    eventually("it clears", || !idle.known.lock().is_empty()).await;
    assert_eq!(*idle.known.lock(), [Vec::<String>::new()], "the task is not on record any more");
    agent.stop().await;
}
