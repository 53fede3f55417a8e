//! A cluster in this process: a manager and workers, each the whole daemon, that reach each other over sockets of this machine
//! with mutual TLS. Their tasks do nothing.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
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
use crate::process;

/// How many nodes join at the same time.
const JOINING: usize = 16;
/// What a node may have open, sockets of both ends included, and what this program has besides.
const OPEN_FILES_EACH: u64 = 16;
const OPEN_FILES: u64 = 256;

/// The nodes.
pub(in crate::figures) struct Cluster {
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
    pub(in crate::figures) async fn of(workers: usize) -> Result<Self> {
        let mut cluster = Self::of_one().await?;
        let address = cluster.first.remote_addr().context("a manager listens")?;
        let store = cluster.store()?;
        let tokens = store.view().cluster().and_then(|cluster| cluster.root_ca.join_tokens.clone());
        let token = tokens.context("the cluster has tokens")?.worker;
        process::allow_open_files(OPEN_FILES + OPEN_FILES_EACH * workers as u64)?;
        let stop = cluster.crew.stop().clone();
        let join = async |_| {
            let dir = tempfile::tempdir()?;
            let node = builder(&dir).join(&address, Some(token.clone())).start(&stop).await?;
            Ok::<_, anyhow::Error>((dir, node))
        };
        let joined: Vec<_> = stream::iter(0..workers).map(join).buffer_unordered(JOINING).try_collect().await?;
        let mut handles = Vec::new();
        for (dir, node) in joined {
            cluster._dirs.push(dir);
            handles.push(node.handle());
            cluster.crew.spawn("node", |stop| node.run(stop));
        }
        for handle in handles {
            handle.ready().await?;
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

    pub(in crate::figures) fn control(&self) -> Result<ControlClient<Channel>> {
        self.first.control().context("a manager has a control client")
    }

    /// Waits until so many tasks run, of a service or of all.
    pub(in crate::figures) async fn running(&self, service: Option<&ServiceId>, count: usize) -> Result<()> {
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

    pub(in crate::figures) async fn end(self) -> Result<()> {
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
