//! Clusters whose tasks wait for nodes, and the scheduler on them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{Kind, Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, Version, wire},
    runtime::{Crew, Env},
    store::{Change, LocalProposer, Store, StoreError, Transaction, Update, Watch},
};
use tokio::runtime::Runtime;
use wire::swarmkit::scheduling::v1::{ServiceScheduling, Strategy};

use crate::lab::Stopwatch;

/// The plugin that every third node has.
const PLUGIN: &str = "network";

/// The scheduler on a store, and what is seen of the tasks.
pub(super) struct Setting {
    pub(super) store: Store,
    tasks: Watch,
    running: Crew,
}

/// One thread for the scheduler; the other one counts what was assigned.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

impl Setting {
    /// With nothing in the store: the scheduler waits.
    pub(super) async fn begin() -> Result<Self> {
        let store = Store::new(Env::real(), LocalProposer::unlimited());
        let mut running = Crew::under(&CancellationToken::new());
        let scheduled = store.clone();
        running.spawn("scheduler", |stop| swarmkit::scheduler::run(Env::real(), scheduled, stop));
        let mut tasks = store.watch([Kind::Task]);
        tasks.next().await?;
        // The scheduler is to wait already, as it does in upstream's cases.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Self { store, tasks, running })
    }

    /// Runs a transaction, and waits until so many tasks were assigned. Gives the seconds from the end of the transaction's own
    /// work on.
    pub(super) async fn assigned(
        &mut self,
        tasks: usize,
        make: impl FnOnce(&mut Transaction) -> Result<(), StoreError>,
    ) -> Result<f64> {
        let mut watch = Stopwatch::start();
        self.store
            .update(|tx| {
                make(tx)?;
                watch = Stopwatch::start();
                Ok::<(), StoreError>(())
            })
            .await?;
        self.seen(tasks).await?;
        Ok(watch.seconds())
    }

    /// Waits until so many more tasks were written.
    pub(super) async fn seen(&mut self, mut tasks: usize) -> Result<()> {
        while tasks > 0 {
            let Update::Delta(delta) = self.tasks.next().await? else { anyhow::bail!("the watch has fallen behind") };
            let is_update = |change: &&Change| matches!(change, Change::Task(edit) if edit.updated().is_some());
            tasks = tasks.saturating_sub(delta.changes.iter().filter(is_update).count());
        }
        Ok(())
    }

    pub(super) async fn write(&self, make: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) -> Result<()> {
        self.store.update(make).await?;
        Ok(())
    }

    pub(super) async fn end(self) -> Result<()> {
        self.running.stop().cancel();
        self.running.finish().await.map_err(|error| anyhow!(error)).context("the scheduler has ended")
    }
}

/// Ids as clusters make them: as long, and in no order.
fn scrambled(kind: u64, number: usize) -> String {
    let mixed = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31) ^ kind;
    format!("{mixed:025}")
}

/// A node that is ready.
pub(super) fn node(number: usize) -> Node {
    let mut node = Node::new(node_id(number));
    node.status.set_state(wire::node_status::State::Ready);
    let plugin = wire::PluginDescription { r#type: "Network".into(), name: PLUGIN.into() };
    let plugins = if number.is_multiple_of(3) { vec![plugin] } else { Vec::new() };
    let engine = wire::EngineDescription { plugins, ..Default::default() };
    node.description = Some(Arc::new(wire::NodeDescription { engine: Some(engine), ..Default::default() }));
    node
}

pub(super) fn node_id(number: usize) -> NodeId {
    NodeId::from(scrambled(1, number))
}

/// The same with resources and labels: one of ten zones, one of ten racks there, and one of a hundred shelves.
pub(super) fn large_node(number: usize) -> Node {
    let mut node = node(number);
    let mut description = node.description.as_deref().cloned().unwrap_or_default();
    description.resources =
        Some(wire::Resources { nano_cpus: 64_000_000_000, memory_bytes: 256 << 30, ..Default::default() });
    description.platform = Some(wire::Platform { os: "linux".into(), architecture: "x86_64".into() });
    node.description = Some(description.into());
    let labels = [
        ("zone".to_owned(), format!("z{}", number % 10)),
        ("rack".to_owned(), format!("r{}", number / 10 % 10)),
        ("shelf".to_owned(), format!("{}", number % 100)),
    ];
    let annotations = wire::Annotations { labels: labels.into(), ..Default::default() };
    node.spec = Arc::new(wire::NodeSpec { annotations: Some(annotations), ..Default::default() });
    node
}

/// A task that waits for a node, of no service.
pub(super) fn task(number: usize) -> Task {
    let mut task = Task::new(TaskId::from(scrambled(2, number)), wire::TaskSpec::default());
    task.desired_state = TaskState::Running;
    task.status.state = TaskState::Pending;
    task
}

/// The same with a network whose plugin every third node has.
pub(super) fn networked(number: usize) -> Task {
    let driver = wire::Driver { name: PLUGIN.to_owned(), ..Default::default() };
    let network = wire::Network { driver_state: Some(driver), ..Default::default() };
    let mut task = task(number);
    task.networks = vec![wire::NetworkAttachment { network: Some(network), ..Default::default() }];
    task
}

/// A service and what its tasks run.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) id: ServiceId,
    pub(super) spec: Arc<wire::TaskSpec>,
    pub(super) strategy: Strategy,
}

impl Asked {
    pub(super) fn new(number: usize) -> Self {
        let id = ServiceId::from(format!("s{number:05}"));
        Self { id, spec: Arc::default(), strategy: Strategy::Unset }
    }

    pub(super) fn placement(mut self, change: impl FnOnce(&mut wire::Placement)) -> Self {
        change(Arc::make_mut(&mut self.spec).placement.get_or_insert_default());
        self
    }

    pub(super) fn reserving(mut self, nano_cpus: i64, memory_bytes: i64) -> Self {
        let reservations = Some(wire::Resources { nano_cpus, memory_bytes, ..Default::default() });
        Arc::make_mut(&mut self.spec).resources =
            Some(wire::ResourceRequirements { reservations, ..Default::default() });
        self
    }

    pub(super) fn service(&self) -> Service {
        let annotations = wire::Annotations { name: self.id.to_string(), ..Default::default() };
        let scheduling = ServiceScheduling { strategy: self.strategy.into(), ..Default::default() };
        let scheduling = Some(scheduling).filter(|_| self.strategy != Strategy::Unset);
        let spec = wire::ServiceSpec { annotations: Some(annotations), scheduling, ..Default::default() };
        Service { spec_version: Some(Version(1)), ..Service::new(self.id.clone(), spec) }
    }

    /// A task of it; `number` is one among all tasks.
    pub(super) fn task(&self, number: usize, slot: usize) -> Task {
        let mut task = task(number);
        task.spec = self.spec.clone();
        task.service_id = Some(self.id.clone());
        task.spec_version = Some(Version(1));
        task.slot = slot as u64;
        task
    }
}
