//! A manager and one node with an agent.

use std::{path::PathBuf, sync::Arc, time::Duration};

use swarmkit_agent::{Agent, AgentHandle, ClusterManagers};
use swarmkit_api::{NodeId, NodeRole, Task, TaskId, TaskState, wire};
use swarmkit_ca::Identity;
use swarmkit_dispatcher::{Dispatcher, DispatcherConfig, LogBroker};
use swarmkit_executor::{Executor, InertExecutor, Machine};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, MemoryNetwork, Remote, Remotes, ServerOptions, Services,
    Transport as _, serve,
};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Store, View};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::{dispatcher_server::DispatcherServer, log_broker_server::LogBrokerServer, logs_server::LogsServer};

/// Longer than anything takes that goes well.
const PATIENCE: Duration = Duration::from_secs(120);

/// A manager that leads, and a network.
pub(crate) struct Cluster {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) network: MemoryNetwork,
    managers: watch::Sender<Vec<wire::Peer>>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) logs: LogBroker,
    pub(crate) crew: Crew,
    pub(crate) server: Option<Crew>,
    term: CancellationToken,
}

/// An agent that runs.
pub(crate) struct Running {
    pub(crate) handle: AgentHandle,
    stop: CancellationToken,
    crew: Crew,
    dir: Option<PathBuf>,
}

impl Cluster {
    /// A cluster whose store is described as in [`swarmkit_testing::store`].
    pub(crate) async fn new(text: &str) -> Self {
        let env = swarmkit_testing::env();
        let store = swarmkit_testing::store(text);
        let (managers, receiver) = watch::channel(vec![wire::Peer { node_id: "m1".into(), addr: "m1:4242".into() }]);
        let config = DispatcherConfig { registration_window: Duration::ZERO, ..DispatcherConfig::default() };
        let dispatcher = Dispatcher::new(env.clone(), store.clone(), "m1".into(), receiver, config);
        let logs = LogBroker::new(env.clone(), store.clone());
        let crew = Crew::under(&CancellationToken::new());
        let network = MemoryNetwork::default();
        let term = CancellationToken::new();
        let mut cluster = Self { env, store, network, managers, dispatcher, logs, crew, server: None, term };
        cluster.lead();
        cluster.listen().await;
        cluster
    }

    pub(crate) fn lead(&mut self) {
        self.term = CancellationToken::new();
        let (dispatcher, term) = (self.dispatcher.clone(), self.term.clone());
        drop(self.crew.spawner().spawn("term", async move { dispatcher.run(term).await.unwrap() }));
        let (logs, term) = (self.logs.clone(), self.term.clone());
        drop(self.crew.spawner().spawn("logs", async move { logs.run(term).await.unwrap() }));
    }

    /// Runs what makes, places and replaces tasks, too.
    pub(crate) fn orchestrate(&self) {
        let spawner = self.crew.spawner();
        let (env, store, stop) = (self.env.clone(), self.store.clone(), self.crew.stop().clone());
        let networks = Arc::new(swarmkit_allocator::InertNetworks);
        let allocating = swarmkit_allocator::run(env, store, networks, stop);
        drop(spawner.spawn("allocator", async move { allocating.await.unwrap() }));
        let (env, store, stop) = (self.env.clone(), self.store.clone(), self.crew.stop().clone());
        drop(spawner.spawn("scheduler", async move { swarmkit_scheduler::run(env, store, stop).await.unwrap() }));
        let (env, store, stop) = (self.env.clone(), self.store.clone(), self.crew.stop().clone());
        drop(spawner.spawn("orchestrator", async move { swarmkit_orchestrator::run(env, store, stop).await.unwrap() }));
    }

    pub(crate) fn resign(&self) {
        self.term.cancel();
    }

    /// What the manager serves, as that node.
    pub(crate) fn services(&self, own: Identity) -> Services {
        Services::new(Authority::fixed(own))
            .with(DispatcherServer::new(self.dispatcher.clone()))
            .unwrap()
            .with(LogBrokerServer::new(self.logs.clone()))
            .unwrap()
            .with(LogsServer::new(self.logs.clone()))
            .unwrap()
    }

    /// Listens on the network.
    pub(crate) async fn listen(&mut self) {
        self.server = Some(self.listen_at("m1", "m1:4242").await);
    }

    /// Listens there too, as that node, until what this gives is dropped.
    pub(crate) async fn listen_at(&self, node: &str, address: &str) -> Crew {
        let own = identity(node, NodeRole::Manager);
        let services = self.services(own.clone());
        let listener = self.network.transport(Some(own)).listen(address).await.unwrap();
        let crew = Crew::under(self.crew.stop());
        let spawner = crew.spawner();
        let serving = serve(listener, services, ServerOptions::default(), spawner.clone());
        drop(spawner.spawn("server", serving));
        crew
    }

    /// These are the managers that there are.
    pub(crate) fn name(&self, managers: &[(&str, &str)]) {
        let peer = |(node, addr): &(&str, &str)| wire::Peer { node_id: (*node).into(), addr: (*addr).into() };
        self.managers.send_replace(managers.iter().map(peer).collect());
    }

    /// Cuts every connection. Nobody listens any more.
    pub(crate) fn cut(&mut self) {
        self.server = None;
    }

    /// Starts an agent with its state in `dir`, or in memory.
    pub(crate) fn start<E: Executor>(&self, node: &str, executor: E, dir: Option<&TempDir>) -> Running {
        self.start_with(node, executor, dir, &["m1:4242"], |managers| managers)
    }

    /// Starts an agent that knows managers at several places.
    pub(crate) fn start_knowing<E: Executor>(&self, node: &str, executor: E, addresses: &[&str]) -> Running {
        self.start_with(node, executor, None, addresses, |managers| managers)
    }

    /// Starts an agent on a node that runs a manager too.
    pub(crate) fn start_beside(&self, node: &str, own: watch::Receiver<Option<Channel>>) -> Running {
        let executor = InertExecutor::new().hostname(node);
        self.start_with(node, executor, None, &["m1:4242"], |managers| managers.preferring(node.into(), own))
    }

    fn start_with<E: Executor>(
        &self,
        node: &str,
        executor: E,
        dir: Option<&TempDir>,
        addresses: &[&str],
        managers: impl FnOnce(ClusterManagers) -> ClusterManagers,
    ) -> Running {
        let stop = CancellationToken::new();
        let crew = Crew::under(&stop);
        let known = addresses.iter().map(|address| Remote { node: None, address: (*address).to_owned() });
        let remotes = Remotes::new(known, &self.env);
        let transport = Arc::new(self.network.transport(Some(identity(node, NodeRole::Worker))));
        let channels = Channels::new(transport, ChannelOptions::default(), crew.spawner());
        let managers = Arc::new(managers(ClusterManagers::new(remotes, channels)));
        let dir = dir.map(|dir| dir.path().to_owned());
        let state_dir = dir.clone().unwrap_or_default();
        let builder = Agent::builder(self.env.clone(), Arc::new(executor), managers, state_dir);
        let builder = if dir.is_some() { builder } else { builder.without_disk() };
        let agent = builder.build().unwrap();
        let handle = agent.handle();
        drop(crew.spawner().spawn("agent", agent.run(stop.clone())));
        Running { handle, stop, crew, dir }
    }

    /// Starts an agent whose tasks do nothing.
    pub(crate) fn start_inert(&self, node: &str) -> (Running, Machine) {
        let machine = Machine::new(self.env.clone());
        (self.start(node, InertExecutor::on(machine.clone()).hostname(node), None), machine)
    }

    pub(crate) fn amend(&self, text: &str) {
        swarmkit_testing::amend(&self.store, text);
    }

    pub(crate) async fn edit(&self, task: &str, edit: impl FnOnce(&mut Task)) {
        self.store.update(|tx| tx.edit::<Task>(&TaskId::from(task), edit)).await.unwrap();
    }

    pub(crate) async fn delete(&self, task: &str) {
        self.store.update(|tx| tx.delete::<Task>(&TaskId::from(task))).await.unwrap();
    }

    /// Waits until the store is as it should be.
    pub(crate) async fn until(&self, what: &str, test: impl Fn(&View) -> bool) {
        let mut watch = self.store.watch(swarmkit_store::Interest::all());
        let seen = async { while !test(watch.next().await.unwrap().view()) {} };
        if tokio::time::timeout(PATIENCE, seen).await.is_err() {
            panic!("waited in vain for: {what}\n{}", swarmkit_testing::describe::<Task>(&self.store.view()));
        }
    }

    pub(crate) async fn until_state(&self, task: &str, state: TaskState) {
        let id = TaskId::from(task);
        self.until(&format!("{task} {state:?}"), |view| {
            view.get::<Task>(&id).is_some_and(|task| task.status.state == state)
        })
        .await;
    }

    pub(crate) fn task(&self, task: &str) -> Task {
        Task::clone(self.store.view().get::<Task>(&TaskId::from(task)).expect("the task is there"))
    }
}

impl Running {
    /// Ends the agent as a signal to its process would: everything is written, tasks go on.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.crew.join().await;
    }

    /// Ends the agent as a kill would, in the middle of whatever it does. What it leaves is the state directory as it is
    /// at this moment.
    pub(crate) async fn kill(self) -> TempDir {
        let left = TempDir::new().unwrap();
        for file in self.dir.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap()) {
            let file = file.unwrap().path();
            std::fs::copy(&file, left.path().join(file.file_name().unwrap())).unwrap();
        }
        drop(self.crew);
        // What was started is dropped when it would run next; parts of parts one round later.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        left
    }
}

pub(crate) fn identity(node: &str, role: NodeRole) -> Identity {
    Identity::new(NodeId::from(node), role, "c1".into())
}

/// Waits for a session after so many, and gives how many there were then.
pub(crate) async fn next_session(agent: &Running, after: u64) -> u64 {
    let mut contact = agent.handle.contact();
    let opened = contact.wait_for(|contact| contact.established && contact.sessions > after);
    let contact = tokio::time::timeout(PATIENCE, opened).await.expect("a session in time");
    contact.expect("the agent runs").sessions
}

/// Waits until something holds that nobody tells of.
pub(crate) async fn eventually(what: &str, test: impl Fn() -> bool) {
    let held = async {
        while !test() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}
