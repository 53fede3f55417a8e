//! A whole cluster in one program: a manager and a worker, and a service of real processes on both.
//!
//! The two nodes are as separate as on two machines: each has its identity and its state directory, and they reach each
//! other over mutual TLS on the loopback. The program itself calls the manager without a socket.

use std::{path::Path, sync::Arc, time::Duration};

use swarmkit::{
    CancellationToken,
    api::{Node as NodeObject, ServiceId, Task, TaskState, wire},
    executor::PROCESS_IMAGE,
    executor_process::{self, ProcessExecutor},
    node::{Node, NodeBuilder, NodeHandle},
    runtime::{Crew, PartError},
    store::{Interest, Store, TaskBy, View},
};

/// How long tasks may take to stop before they are killed.
const LEAVE: Duration = Duration::from_secs(5);

fn main() -> Result<(), PartError> {
    // The executor starts this program once more for each task, to look after it when this one is gone.
    executor_process::run_if_requested();
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<(), PartError> {
    let (dir, stop) = (tempfile::tempdir()?, CancellationToken::new());
    let mut crew = Crew::under(&stop);

    // Whoever has nothing to join founds a cluster.
    let founder = node(&dir.path().join("founder")).await?.listen_remote("127.0.0.1:0");
    let founder = start(founder, "founder", &mut crew, &stop).await?;
    let mut control = founder.control().ok_or("a founder is a manager")?;
    let store = founder.store().ok_or("a manager has a store")?;

    // The cluster has a token for each role; it says which one a node gets.
    let tokens = store.view().cluster().and_then(|cluster| cluster.root_ca.join_tokens.clone()).unwrap_or_default();
    let joiner = node(&dir.path().join("joiner")).await?;
    let joiner = joiner.join(founder.remote_addr().ok_or("a manager listens")?, Some(tokens.worker));
    let joiner = start(joiner, "joiner", &mut crew, &stop).await?;

    println!("create a service of 3 replicas");
    let request = wire::CreateServiceRequest { spec: Some(sleepers(3)) };
    let service = control.create_service(request).await?.into_inner().service.unwrap_or_default();
    let id = ServiceId::from(service.id.clone());
    show(&until_running(&store, &id, 3).await?, &id);

    println!("scale it to 6");
    let request = wire::UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: service.meta.and_then(|meta| meta.version),
        spec: Some(sleepers(6)),
        ..Default::default()
    };
    control.update_service(request).await?;
    show(&until_running(&store, &id, 6).await?, &id);

    // Tasks outlive the node that started them, so that one can be replaced under them. To end them, it leaves.
    println!("remove it, and stop");
    control.remove_service(wire::RemoveServiceRequest { service_id: service.id, ..Default::default() }).await?;
    joiner.leave(LEAVE).await?;
    founder.leave(LEAVE).await?;
    stop.cancel();
    crew.finish().await
}

/// A node that runs processes, with all that it knows in `dir`.
async fn node(dir: &Path) -> Result<NodeBuilder, PartError> {
    let executor = ProcessExecutor::builder(dir.join("executor")).open().await?;
    Ok(Node::builder(dir, Arc::new(executor)))
}

/// Starts a node as a part of the crew, and waits until it takes part in the cluster.
async fn start(
    node: NodeBuilder,
    name: &'static str,
    crew: &mut Crew,
    stop: &CancellationToken,
) -> Result<NodeHandle, PartError> {
    let node = node.hostname(name).start(stop).await?;
    let handle = node.handle();
    crew.spawn(name, |stop| node.run(stop));
    handle.ready().await?;
    Ok(handle)
}

/// A service of processes that sleep. A real one differs in nothing but its command.
fn sleepers(replicas: u64) -> wire::ServiceSpec {
    let container = wire::ContainerSpec {
        image: PROCESS_IMAGE.to_owned(),
        command: vec!["sleep".to_owned(), "600".to_owned()],
        ..Default::default()
    };
    let runtime = Some(wire::task_spec::Runtime::Container(container));
    wire::ServiceSpec {
        annotations: Some(wire::Annotations { name: "sleepers".to_owned(), ..Default::default() }),
        task: Some(wire::TaskSpec { runtime, ..Default::default() }),
        mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas })),
        ..Default::default()
    }
}

/// Waits until so many tasks of the service run, and gives the state of the cluster at that moment.
async fn until_running(store: &Store, service: &ServiceId, count: usize) -> Result<View, PartError> {
    let mut watch = store.watch(Interest::none().tasks_of_service(service.clone()));
    loop {
        let view = watch.next().await?.view().clone();
        if view.find(TaskBy::Service(service)).filter(|task| runs(task)).count() == count {
            return Ok(view);
        }
    }
}

fn runs(task: &Task) -> bool {
    task.status.state == TaskState::Running
}

fn show(view: &View, service: &ServiceId) {
    let mut tasks: Vec<_> = view.find(TaskBy::Service(service)).filter(|task| runs(task)).collect();
    tasks.sort_by_key(|task| task.slot);
    for task in tasks {
        let node = task.node_id.as_ref().and_then(|id| view.get::<NodeObject>(id));
        let node = node.and_then(|node| node.description.as_ref()).map_or("", |description| &description.hostname);
        let pid = task.status.container.as_ref().map_or(0, |container| container.pid);
        println!("  slot {} on {node}, process {pid}", task.slot);
    }
}
