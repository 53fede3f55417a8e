//! A dispatcher that leads, and what nodes can do with it.

use std::time::Duration;

use futures_util::StreamExt as _;
use swarmkit_api::{Node, NodeId, NodeRole, Task, TaskId, TaskState, wire};
use swarmkit_ca::Identity;
use swarmkit_dispatcher::{Dispatcher, DispatcherConfig};
use swarmkit_rpc::Peer;
use swarmkit_runtime::Crew;
use swarmkit_store::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use wire::{dispatcher_server::Dispatcher as _, node_status::State as NodeState};

/// Longer than anything that happens at once.
const SOON: Duration = Duration::from_millis(100);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) managers: watch::Sender<Vec<wire::Peer>>,
    crew: Crew,
    term: CancellationToken,
}

/// A stream that a node reads.
pub(crate) struct Reader<T>(pub(crate) futures_util::stream::BoxStream<'static, Result<T, Status>>);

impl World {
    /// A dispatcher that leads, over a store that is described as in [`swarmkit_testing::store`].
    pub(crate) async fn new(text: &str) -> Self {
        Self::with(text, DispatcherConfig::default()).await
    }

    pub(crate) async fn with(text: &str, config: DispatcherConfig) -> Self {
        let mut world = Self::stopped(text, config);
        world.lead().await;
        world
    }

    pub(crate) fn stopped(text: &str, config: DispatcherConfig) -> Self {
        Self::over(swarmkit_testing::store(text), config)
    }

    pub(crate) fn over(store: Store, config: DispatcherConfig) -> Self {
        let (managers, receiver) = watch::channel(vec![peer("m1")]);
        let env = swarmkit_testing::env();
        let dispatcher = Dispatcher::new(env, store.clone(), "m1".into(), receiver, config);
        let stop = CancellationToken::new();
        Self { store, dispatcher, managers, crew: Crew::under(&stop), term: CancellationToken::new() }
    }

    /// Begins a term, and waits until it serves.
    pub(crate) async fn lead(&mut self) {
        self.term = CancellationToken::new();
        let (dispatcher, stop) = (self.dispatcher.clone(), self.term.clone());
        drop(self.crew.spawner().spawn("term", async move { dispatcher.run(stop).await.unwrap() }));
        while self.beat("nobody", "x").await.unwrap_err().code() == Code::Aborted {
            tokio::task::yield_now().await;
        }
    }

    /// Ends the term.
    pub(crate) async fn resign(&self) {
        self.term.cancel();
        while self.beat("nobody", "x").await.unwrap_err().code() != Code::Aborted {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn open(&self, node: &str, session: &str) -> Result<Reader<wire::SessionMessage>, Status> {
        self.announce(node, session, wire::NodeDescription { hostname: node.into(), ..Default::default() }).await
    }

    pub(crate) async fn announce(
        &self,
        node: &str,
        session: &str,
        description: wire::NodeDescription,
    ) -> Result<Reader<wire::SessionMessage>, Status> {
        let request = wire::SessionRequest { description: Some(description), session_id: session.into() };
        Ok(Reader(self.dispatcher.session(from(node, request)).await?.into_inner()))
    }

    /// Registers a node, and gives the id of its session.
    pub(crate) async fn register(&self, node: &str) -> String {
        self.open(node, "").await.unwrap().next().await.session_id
    }

    pub(crate) async fn beat(&self, node: &str, session: &str) -> Result<Duration, Status> {
        let answer =
            self.dispatcher.heartbeat(from(node, wire::HeartbeatRequest { session_id: session.into() })).await?;
        Ok(Duration::try_from(answer.into_inner().period.expect("a period is never absent")).unwrap())
    }

    pub(crate) async fn assignments(
        &self,
        node: &str,
        session: &str,
    ) -> Result<Reader<wire::AssignmentsMessage>, Status> {
        let request = wire::AssignmentsRequest { session_id: session.into() };
        Ok(Reader(self.dispatcher.assignments(from(node, request)).await?.into_inner()))
    }

    pub(crate) async fn tasks(&self, node: &str, session: &str) -> Result<Reader<wire::TasksMessage>, Status> {
        let request = wire::TasksRequest { session_id: session.into() };
        Ok(Reader(self.dispatcher.tasks(from(node, request)).await?.into_inner()))
    }

    pub(crate) async fn report(&self, node: &str, session: &str, tasks: &[(&str, TaskState)]) -> Result<(), Status> {
        let updates = tasks.iter().map(|(task, state)| {
            let status = wire::TaskStatus { state: (*state).into(), ..Default::default() };
            wire::update_task_status_request::TaskStatusUpdate { task_id: (*task).into(), status: Some(status) }
        });
        self.report_raw(node, session, updates.collect()).await
    }

    pub(crate) async fn report_raw(
        &self,
        node: &str,
        session: &str,
        updates: Vec<wire::update_task_status_request::TaskStatusUpdate>,
    ) -> Result<(), Status> {
        let request = wire::UpdateTaskStatusRequest { session_id: session.into(), updates };
        self.dispatcher.update_task_status(from(node, request)).await.map(drop)
    }

    /// What a node reports of volumes: whether each is not published there any more.
    pub(crate) async fn report_volumes(
        &self,
        node: &str,
        session: &str,
        volumes: &[(&str, bool)],
    ) -> Result<(), Status> {
        let updates = volumes.iter().map(|(volume, unpublished)| {
            wire::update_volume_status_request::VolumeStatusUpdate { id: (*volume).into(), unpublished: *unpublished }
        });
        let request = wire::UpdateVolumeStatusRequest { session_id: session.into(), updates: updates.collect() };
        self.dispatcher.update_volume_status(from(node, request)).await.map(drop)
    }

    pub(crate) fn amend(&self, text: &str) {
        swarmkit_testing::amend(&self.store, text);
    }

    pub(crate) async fn edit_task(&self, task: &str, edit: impl FnOnce(&mut Task)) {
        self.store.update(|tx| tx.edit::<Task>(&TaskId::from(task), edit)).await.unwrap();
    }

    pub(crate) async fn delete_task(&self, task: &str) {
        self.store.update(|tx| tx.delete::<Task>(&TaskId::from(task))).await.unwrap();
    }

    pub(crate) async fn write<T>(
        &self,
        edit: impl FnOnce(&mut swarmkit_store::Transaction) -> Result<T, StoreError>,
    ) -> T {
        self.store.update(edit).await.unwrap().value
    }

    pub(crate) fn node(&self, node: &str) -> Node {
        Node::clone(self.store.view().get::<Node>(&NodeId::from(node)).expect("the node is there"))
    }

    pub(crate) fn task(&self, task: &str) -> Task {
        Task::clone(self.store.view().get::<Task>(&TaskId::from(task)).expect("the task is there"))
    }

    /// The condition of a node, and why it is in it.
    pub(crate) fn condition(&self, node: &str) -> (NodeState, String) {
        let status = self.node(node).status;
        (status.state(), status.message)
    }
}

impl<T> Reader<T> {
    pub(crate) async fn next(&mut self) -> T {
        self.try_next().await.unwrap()
    }

    pub(crate) async fn try_next(&mut self) -> Result<T, Status> {
        self.0.next().await.expect("the stream goes on")
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(SOON, self.0.next()).await.is_err()
    }
}

/// A request as it comes from a node's certificate.
pub(crate) fn from<T>(node: &str, message: T) -> Request<T> {
    let identity = Identity::new(node.into(), NodeRole::Worker, "c1".into());
    let addr = Some("10.1.2.3:41000".parse().unwrap());
    let mut request = Request::new(message);
    request.extensions_mut().insert(Peer { identity: Some(identity), addr, local: false, forwarded_by: None });
    request
}

pub(crate) fn peer(node: &str) -> wire::Peer {
    wire::Peer { node_id: node.into(), addr: format!("{node}:4242") }
}

/// The code and the text of a refusal.
pub(crate) fn refusal<T>(result: Result<T, Status>) -> (Code, String) {
    let status = result.err().expect("a refusal");
    (status.code(), status.message().to_owned())
}
