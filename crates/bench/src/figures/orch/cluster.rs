//! A cluster in this process: a manager and workers, each the whole daemon, that reach each other over sockets of this machine
//! with mutual TLS. Their tasks do nothing.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{Node as NodeObject, ServiceId, Task, TaskState, wire},
    executor::InertExecutor,
    node::{Node, NodeBuilder, NodeHandle},
    rpc::Channel,
    runtime::Crew,
    store::{Interest, Store, TaskBy},
};
use tempfile::TempDir;
use wire::control_client::ControlClient;

use super::setting::until;

/// The nodes.
pub(super) struct Cluster {
    first: NodeHandle,
    crew: Crew,
    _dirs: Vec<TempDir>,
}

impl Cluster {
    /// One node that manages and runs tasks.
    pub(super) async fn of_one() -> Result<Self> {
        let (dir, mut crew) = (tempfile::tempdir()?, Crew::under(&CancellationToken::new()));
        let first = start(&mut crew, builder(&dir)).await?;
        Ok(Self { first, crew, _dirs: vec![dir] })
    }

    /// A manager that runs no tasks, and so many that do nothing else.
    pub(super) async fn of(workers: usize) -> Result<Self> {
        let mut cluster = Self::of_one().await?;
        let address = cluster.first.remote_addr().context("a manager listens")?;
        let store = cluster.store()?;
        let tokens = store.view().cluster().and_then(|cluster| cluster.root_ca.join_tokens.clone());
        let token = tokens.context("the cluster has tokens")?.worker;
        for _ in 0..workers {
            let dir = tempfile::tempdir()?;
            start(&mut cluster.crew, builder(&dir).join(&address, Some(token.clone()))).await?;
            cluster._dirs.push(dir);
        }
        let drain = |node: &mut NodeObject| {
            Arc::make_mut(&mut node.spec).set_availability(wire::node_spec::Availability::Drain);
        };
        store.update(|tx| tx.edit::<NodeObject>(cluster.first.id(), drain)).await?;
        Ok(cluster)
    }

    pub(super) fn store(&self) -> Result<Store> {
        self.first.store().context("a manager has a store")
    }

    pub(super) fn control(&self) -> Result<ControlClient<Channel>> {
        self.first.control().context("a manager has a control client")
    }

    /// Waits until so many tasks run, of a service or of all.
    pub(super) async fn running(&self, service: Option<&ServiceId>, count: usize) -> Result<()> {
        let store = self.store()?;
        let interest = match service {
            Some(service) => Interest::none().tasks_of_service(service.clone()),
            None => Interest::none().kinds([swarmkit::api::Kind::Task]),
        };
        let runs = |task: &&Arc<Task>| {
            task.status.state == TaskState::Running && service.is_none_or(|own| task.service_id.as_ref() == Some(own))
        };
        let mut changes = store.watch(interest);
        until(&mut changes, count, |state| state.find(TaskBy::State(TaskState::Running)).filter(runs).count()).await
    }

    pub(super) async fn end(self) -> Result<()> {
        self.crew.stop().cancel();
        self.crew.finish().await.map_err(|error| anyhow!(error))
    }
}

fn builder(dir: &TempDir) -> NodeBuilder {
    Node::builder(dir.path(), Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0")
}

async fn start(crew: &mut Crew, node: NodeBuilder) -> Result<NodeHandle> {
    let node = node.start(crew.stop()).await?;
    let handle = node.handle();
    crew.spawn("node", |stop| node.run(stop));
    handle.ready().await?;
    Ok(handle)
}
