//! A store in which services have all their tasks running, and the orchestrator on it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{Node, NodeId, Service, ServiceId, Task, TaskId, TaskState, Version, wire},
    runtime::{Crew, Env},
    store::{Change, Edit, Interest, State, Store, StoreError, Transaction, Update, Watch},
};

use crate::figures::store::fill;

/// How many nodes most tasks are on.
const NODES: usize = 1000;
/// How many more there are with few tasks, and how few.
pub(super) const SMALL_NODES: usize = 400;
pub(super) const FEW: usize = 10;

/// A store, and what runs on it.
pub(super) struct Setting {
    pub(super) store: Store,
    running: Option<Crew>,
}

impl Setting {
    /// So many services with so many running tasks each. Tasks of one service are on many nodes, and a node's tasks are those
    /// of many services.
    pub(super) async fn of(services: usize, tasks: usize) -> Result<Self> {
        let store = Store::local(Env::real());
        let nodes = (0..NODES).map(|number| format!("n{number}"));
        let nodes = nodes.chain((0..SMALL_NODES).map(|number| small_node(number).to_string()));
        create(&store, nodes.map(|id| ready(NodeId::from(id)))).await?;
        create(&store, (0..services).map(|number| service(number, tasks as u64))).await?;
        fill(&store, running(&store, services, tasks)?).await?;
        Ok(Self { store, running: None })
    }

    /// Starts the orchestrator, all of it, and waits until it has seen everything.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let mut crew = Crew::under(&CancellationToken::new());
        let store = self.store.clone();
        crew.spawn("orchestrator", |stop| swarmkit::orchestrator::run(Env::real(), store, stop));
        self.running = Some(crew);
        let probe = ServiceId::from("probe");
        let mut tasks = self.tasks_of(&probe).await?;
        create(&self.store, [Service { id: probe, ..service(0, 1) }].map(named_after_its_id)).await?;
        made(&mut tasks, 1).await
    }

    pub(super) async fn end(self) -> Result<()> {
        let Some(crew) = self.running else { return Ok(()) };
        crew.stop().cancel();
        crew.finish().await.map_err(|error| anyhow!(error))
    }

    /// What happens to the tasks of a service from now on.
    pub(super) async fn tasks_of(&self, service: &ServiceId) -> Result<Watch> {
        let mut watch = self.store.watch(Interest::none().tasks_of_service(service.clone()));
        watch.next().await?;
        Ok(watch)
    }

    /// Gives a service another image, as the control API does.
    pub(super) async fn update(&self, id: &ServiceId, image: &str) -> Result<()> {
        let version = self.store.version();
        let change = |service: &mut Service| {
            let mut spec = (*service.spec).clone();
            spec.task.get_or_insert_default().runtime = Some(container(image));
            service.previous_spec = Some(std::mem::replace(&mut service.spec, Arc::new(spec)));
            service.previous_spec_version = service.spec_version.replace(version);
            service.update_status = None;
        };
        self.store.update(|tx| tx.edit::<Service>(id, change)).await?;
        Ok(())
    }
}

/// The service of a number.
pub(super) fn service_id(number: usize) -> ServiceId {
    ServiceId::from(format!("s{number}"))
}

/// One of the nodes that have few tasks.
pub(super) fn small_node(number: usize) -> NodeId {
    NodeId::from(format!("small{number}"))
}

/// A task of a service.
pub(super) fn task_id(service: usize, slot: usize) -> TaskId {
    TaskId::from(format!("t{service}.{slot}"))
}

/// Waits until so many tasks were made.
pub(super) async fn made(watch: &mut Watch, mut tasks: usize) -> Result<()> {
    while tasks > 0 {
        let update = watch.next().await?;
        let Update::Delta(delta) = update else { anyhow::bail!("the watch has fallen behind") };
        let is_new = |change: &&Change| matches!(change, Change::Task(Edit { before: None, after: Some(_) }));
        tasks = tasks.saturating_sub(delta.changes.iter().filter(is_new).count());
    }
    Ok(())
}

/// Waits until there are as many of something as there shall be. Each change of the watch makes at most one more.
pub(super) async fn until(watch: &mut Watch, wanted: usize, count: impl Fn(&State) -> usize) -> Result<()> {
    let mut left = wanted;
    while left > 0 {
        let update = watch.next().await?;
        // There is no need to count again before as many changes as are missing.
        left = match &update {
            Update::Delta(delta) => left.saturating_sub(delta.changes.len()),
            Update::Snapshot(_) => 0,
        };
        if left == 0 {
            left = wanted.saturating_sub(count(update.view()));
        }
    }
    Ok(())
}

pub(super) async fn create<O: swarmkit::store::Stored>(
    store: &Store,
    objects: impl IntoIterator<Item = O>,
) -> Result<()> {
    let edits = objects.into_iter().map(|object| move |tx: &mut Transaction| tx.create(object).map(drop));
    store.batch::<StoreError, _>(edits).await.map_err(|error| anyhow!(error))?;
    Ok(())
}

fn ready(id: NodeId) -> Node {
    let mut node = Node::new(id);
    node.status.state = wire::node_status::State::Ready.into();
    node
}

/// A service as the control API makes it. What replaces its tasks starts without delay.
pub(super) fn service(number: usize, replicas: u64) -> Service {
    let restart = wire::RestartPolicy {
        condition: wire::restart_policy::RestartCondition::Any.into(),
        delay: Duration::ZERO.try_into().ok(),
        ..Default::default()
    };
    let task = wire::TaskSpec { runtime: Some(container("web:1")), restart: Some(restart), ..Default::default() };
    let spec = wire::ServiceSpec {
        task: Some(task),
        mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas })),
        ..Default::default()
    };
    let mut service = Service::new(service_id(number), spec);
    service.spec_version = Some(Version(1));
    named_after_its_id(service)
}

fn named_after_its_id(mut service: Service) -> Service {
    let annotations = wire::Annotations { name: service.id.to_string(), ..Default::default() };
    Arc::make_mut(&mut service.spec).annotations = Some(annotations);
    service
}

fn container(image: &str) -> wire::task_spec::Runtime {
    wire::task_spec::Runtime::Container(wire::ContainerSpec { image: image.to_owned(), ..Default::default() })
}

/// The tasks of all services, running. Nodes that have few have none of the first slot, where rollouts begin.
fn running(store: &Store, services: usize, tasks: usize) -> Result<impl Iterator<Item = Task>> {
    let view = store.view();
    let shared: Vec<_> = (0..services)
        .map(|number| {
            let service = view.get::<Service>(&service_id(number)).context("a service is missing")?;
            let spec = Arc::new(service.spec.task.clone().unwrap_or_default());
            let annotations = Arc::new(service.spec.annotations.clone().unwrap_or_default());
            Ok((service.id.clone(), spec, annotations))
        })
        .collect::<Result<_>>()?;
    let endpoint = Arc::new(wire::Endpoint::default());
    let now = Env::real().now();
    Ok((0..services * tasks).map(move |number| {
        let (service, slot) = (number % services, number / services + 1);
        let (id, spec, annotations) = &shared[service];
        let mut task = Task::new(task_id(service, slot), spec.clone());
        task.service_id = Some(id.clone());
        task.service_annotations = annotations.clone();
        task.spec_version = Some(Version(1));
        task.slot = slot as u64;
        let few = number.checked_sub(services).filter(|after| *after < SMALL_NODES * FEW);
        let small = few.map(|after| small_node(after / FEW));
        task.node_id = small.or_else(|| Some(NodeId::from(format!("n{}", number.wrapping_mul(7919) % NODES))));
        task.endpoint = Some(endpoint.clone());
        task.status.timestamp = Some(now.into());
        task.status.state = TaskState::Running;
        task.status.message = "started".into();
        task.desired_state = TaskState::Running;
        task
    }))
}
