//! What one more assignment costs, and that it costs the same however many nodes are connected.
//!
//! Everything runs on one thread, and what is measured is the processor time of that thread. The agents are thin and in this
//! process, without sockets: each reads its two streams, and says RUNNING of every task that it is given.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use futures_util::StreamExt as _;
use swarmkit::{
    CancellationToken,
    api::{ClusterId, Node, NodeId, NodeRole, Task, TaskId, TaskState, wire},
    ca::Identity,
    dispatcher::{Dispatcher, DispatcherConfig},
    rpc::Peer,
    runtime::{Crew, Env},
    store::{Interest, Store, StoreError, Transaction},
};
use tonic::Request;
use wire::{
    assignment::Item, dispatcher_server::Dispatcher as _, node_spec::Membership,
    update_task_status_request::TaskStatusUpdate,
};

use crate::{lab::Lab, process::thread_time};

/// How many changes one sample is made of, one after the other, each on another node.
const CHANGES: usize = 2000;
/// No heartbeat is due while it is measured.
const HEARTBEAT: Duration = Duration::from_secs(3600);

/// `disp.change_*`, with so many nodes.
pub(super) fn among<const NODES: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    lab.block_on(async {
        let setting = Setting::of(if cfg!(debug_assertions) { NODES / 50 } else { NODES }).await?;
        let mut samples = Vec::new();
        for round in 0..repeats {
            let begin = thread_time();
            for number in 0..CHANGES {
                setting.change(round, number).await?;
            }
            let used = thread_time().saturating_sub(begin);
            samples.push(used.as_secs_f64() * 1e6 / CHANGES as f64);
        }
        setting.end().await?;
        Ok(samples)
    })
}

/// A dispatcher, and nodes that have sessions with it.
struct Setting {
    store: Store,
    nodes: Vec<NodeId>,
    dispatcher: Crew,
    agents: Crew,
}

impl Setting {
    async fn of(count: usize) -> Result<Self> {
        let env = Env::real();
        let store = Store::local(env.clone());
        let nodes: Vec<NodeId> = (0..count).map(|_| NodeId::from(env.new_id())).collect();
        let create = nodes.iter().map(|id| {
            let mut node = Node::new(id.clone());
            node.spec = Arc::new(wire::NodeSpec { membership: Membership::Accepted.into(), ..Default::default() });
            move |tx: &mut Transaction| tx.create(node).map(drop)
        });
        store.batch::<StoreError, _>(create).await?;
        let (_, managers) = tokio::sync::watch::channel(Vec::new());
        let config = DispatcherConfig { heartbeat_period: HEARTBEAT, ..DispatcherConfig::default() };
        let dispatcher = Dispatcher::new(env, store.clone(), NodeId::from("m1"), managers, config);
        let none = CancellationToken::new();
        let (mut leader, mut agents) = (Crew::under(&none), Crew::under(&none));
        let leading = dispatcher.clone();
        leader.spawn("dispatcher", move |stop| async move { leading.run(stop).await });
        let (ready, mut are_ready) = tokio::sync::mpsc::channel(1);
        for id in &nodes {
            let (agent, ready) = (Thin { dispatcher: dispatcher.clone(), node: id.clone() }, ready.clone());
            agents.spawn("agent", move |stop| async move {
                stop.run_until_cancelled(agent.live(ready)).await.unwrap_or(Ok(()))
            });
        }
        for _ in &nodes {
            are_ready.recv().await.context("the agents have ended")?;
        }
        Ok(Self { store, nodes, dispatcher: leader, agents })
    }

    /// Assigns one task more, and waits until it runs.
    async fn change(&self, round: u32, number: usize) -> Result<()> {
        let id = TaskId::from(format!("t{round}.{number}"));
        let mut task = Task::new(id.clone(), wire::TaskSpec::default());
        // Neighbours in a list are neighbours in memory, too.
        task.node_id = Some(self.nodes[number * 7919 % self.nodes.len()].clone());
        (task.desired_state, task.status.state) = (TaskState::Running, TaskState::Assigned);
        let mut watch = self.store.watch(Interest::none().object::<Task>(&id));
        self.store.update(|tx| tx.create(task).map(drop)).await?;
        loop {
            let update = watch.next().await?;
            if update.view().get::<Task>(&id).is_some_and(|task| task.status.state == TaskState::Running) {
                return Ok(());
            }
        }
    }

    async fn end(self) -> Result<()> {
        // Agents first: to them it is an error that the dispatcher ends.
        for crew in [self.agents, self.dispatcher] {
            crew.stop().cancel();
            crew.finish().await.map_err(|error| anyhow!(error))?;
        }
        Ok(())
    }
}

/// An agent without anything around it.
struct Thin {
    dispatcher: Dispatcher,
    node: NodeId,
}

impl Thin {
    async fn live(self, ready: tokio::sync::mpsc::Sender<()>) -> Result<()> {
        let request =
            wire::SessionRequest { description: Some(wire::NodeDescription::default()), ..Default::default() };
        let mut session = self.dispatcher.session(self.says(request)).await?.into_inner();
        let session_id = session.next().await.context("the session has ended")??.session_id;
        let request = wire::AssignmentsRequest { session_id: session_id.clone() };
        let mut assignments = self.dispatcher.assignments(self.says(request)).await?.into_inner();
        assignments.next().await.context("the assignments have ended")??;
        ready.send(()).await?;
        loop {
            let message = tokio::select! { biased; // there is nothing to put in order
                message = assignments.next() => message.context("the assignments have ended")??,
                message = session.next() => { message.context("the session has ended")??; continue }
            };
            let request = wire::UpdateTaskStatusRequest { session_id: session_id.clone(), updates: running(message) };
            self.dispatcher.update_task_status(self.says(request)).await?;
        }
    }

    /// A call as the node makes it.
    fn says<T>(&self, request: T) -> Request<T> {
        let identity = Identity::new(self.node.clone(), NodeRole::Worker, ClusterId::from("ours"));
        let mut request = Request::new(request);
        request.extensions_mut().insert(Peer {
            identity: Some(identity),
            addr: None,
            local: false,
            forwarded_by: None,
        });
        request
    }
}

/// That every task of a message runs.
fn running(message: wire::AssignmentsMessage) -> Vec<TaskStatusUpdate> {
    let items = message.changes.into_iter().filter_map(|change| change.assignment?.item);
    let tasks = items.filter_map(|item| match item {
        Item::Task(task) => Some(task.id),
        Item::Secret(_) | Item::Config(_) | Item::Volume(_) => None,
    });
    let status = wire::TaskStatus { state: wire::TaskState::Running.into(), ..Default::default() };
    tasks.map(|task_id| TaskStatusUpdate { task_id, status: Some(status.clone()) }).collect()
}
