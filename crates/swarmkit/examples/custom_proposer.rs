//! A replication of your own, in its smallest form: a journal in a file, and a cluster of one node on top of it.
//!
//! A store hands its change sets to a [`Proposer`], which says when they are committed. [`Journal`] commits by
//! appending to a file, one sync for all that came while the last one was under way, and replays the file when it is
//! opened. It is a toy: the file grows for ever and has no checksums. The real one is `swarmkit::raft`.
//!
//! Everything above the store asks for nothing else: allocator, orchestrator, scheduler, dispatcher and an agent run on
//! it here without raft, without certificates, and without a socket. The test below holds the journal against the
//! conformance suite that every proposer passes: `cargo test -p swarmkit --example custom_proposer`.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
    sync::{Arc, OnceLock},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use swarmkit::{
    CancellationToken,
    agent::{Agent, ConnectError, Connection, GrpcManager, Managers},
    allocator::{self, InertNetworks},
    api::{Node, NodeRole, ServiceId, TaskId, TaskState, wire},
    ca::Identity,
    control::{ControlApi, ControlConfig},
    dispatcher::{Dispatcher, DispatcherConfig},
    executor::{InertExecutor, Machine},
    orchestrator,
    rpc::{Authority, Channel, Services},
    runtime::{Crew, Env, PartError, Spawner},
    scheduler,
    store::{
        Applier, Interest, MAX_IN_FLIGHT, Proposal, ProposeError, Proposer, Store, StoreError, TaskBy, WatchEnded,
    },
};
use tokio::sync::{mpsc, watch};
use wire::{control_client::ControlClient, control_server::ControlServer, dispatcher_server::DispatcherServer};

/// Commits change sets by appending them to a file.
#[derive(Clone)]
struct Journal {
    queue: mpsc::Sender<Proposal>,
    applier: Arc<OnceLock<Applier>>,
}

/// The part that writes the file. Each change set follows its length, in four bytes.
struct Writer {
    file: File,
    queue: mpsc::Receiver<Proposal>,
    applier: Applier,
}

impl Proposer for Journal {
    fn attach(&self, applier: Applier) {
        self.applier.set(applier).ok();
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        // A store never has more under way than the queue has places.
        self.queue.try_send(proposal).map_err(|_| ProposeError::Stopped)
    }
}

impl Journal {
    /// A store with all that the file holds. It commits for as long as the crew runs.
    fn open(path: &Path, env: &Env, crew: &mut Crew) -> Result<Store, PartError> {
        let (sender, queue) = mpsc::channel(MAX_IN_FLIGHT);
        let journal = Self { queue: sender, applier: Arc::default() };
        let store = Store::new(env.clone(), journal);
        let file = File::options().read(true).append(true).create(true).open(path)?;
        let mut writer = Writer { file, queue, applier: store.applier() };
        writer.replay()?;
        crew.spawn("journal", |stop| writer.run(stop));
        Ok(store)
    }
}

impl Writer {
    /// Applies what the file holds, and cuts off what a crash has left incomplete: nobody was told that it is there.
    fn replay(&mut self) -> Result<(), PartError> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk()
            && let Some((payload, tail)) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)
        {
            self.applier.apply(payload)?;
            rest = tail;
        }
        Ok(self.file.set_len((bytes.len() - rest.len()) as u64)?)
    }

    async fn run(self, stop: CancellationToken) -> Result<(), PartError> {
        let applier = self.applier.clone();
        let ended = self.commit(stop).await;
        // Whoever still waits is told that the outcome is not known.
        applier.close();
        ended
    }

    async fn commit(mut self, stop: CancellationToken) -> Result<(), PartError> {
        let mut group = Vec::new();
        loop {
            let count = tokio::select! { biased; // stopping comes first
                () = stop.cancelled() => return Ok(()),
                count = self.queue.recv_many(&mut group, MAX_IN_FLIGHT) => count,
            };
            if count == 0 {
                return Ok(()); // nobody has the store any more
            }
            (self.file, group) = Spawner::blocking(|| append(self.file, group)).await??;
            for proposal in group.drain(..) {
                self.applier.apply(&proposal.payload)?;
            }
        }
    }
}

fn append(mut file: File, group: Vec<Proposal>) -> io::Result<(File, Vec<Proposal>)> {
    let mut bytes = Vec::new();
    for Proposal { payload, .. } in &group {
        // `MAX_PROPOSAL_BYTES` fits.
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    file.write_all(&bytes)?;
    file.sync_data()?;
    Ok((file, group))
}

/// The only node, which is manager and worker.
const NODE: &str = "6nkkxmkwpoxpolyy4gkrcgyqv";
const CLUSTER: &str = "3xqkvdh1v4ycrkjw6xx1eo5bw";

/// All that a manager and an agent do, on a journal.
struct Cluster {
    store: Store,
    control: ControlClient<Channel>,
    /// Stops the cluster, and after it the journal.
    stop: CancellationToken,
    crew: Crew,
}

/// The way of an agent to the manager in its own process.
struct Here(Channel);

impl Managers for Here {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        async { Ok(Connection::new(Arc::new(GrpcManager::new(self.0.clone())), |_| {})) }.boxed()
    }

    fn learn(&self, _: &[wire::WeightedPeer]) {}
}

impl Cluster {
    /// Goes on with what the directory holds: the journal, and what the agent knows of its tasks.
    async fn start(dir: &Path, machine: &Machine) -> Result<Self, PartError> {
        let (env, stop) = (Env::real(), CancellationToken::new());
        let mut crew = Crew::under(&CancellationToken::new());
        let store = Journal::open(&dir.join("journal"), &env, &mut crew)?;
        found(&store).await?;

        let mut parts = Crew::under(&stop);
        parts.spawn("allocator", |stop| allocator::run(env.clone(), store.clone(), Arc::new(InertNetworks), stop));
        parts.spawn("orchestrator", |stop| orchestrator::run(env.clone(), store.clone(), stop));
        parts.spawn("scheduler", |stop| scheduler::run(env.clone(), store.clone(), stop));

        let managers = watch::channel(vec![wire::Peer { node_id: NODE.to_owned(), addr: "here".to_owned() }]).1;
        let config = DispatcherConfig::default();
        let dispatcher = Dispatcher::new(env.clone(), store.clone(), NODE.into(), managers, config);
        let control = ControlApi::new(env.clone(), store.clone(), ControlConfig::default());
        let services = Services::new(Authority::fixed(Identity::new(NODE.into(), NodeRole::Manager, CLUSTER.into())))
            .with(DispatcherServer::new(dispatcher.clone()))?
            .with(ControlServer::new(control))?;
        parts.spawn("dispatcher", |stop| async move { dispatcher.run(stop).await });

        let here = Channel::here(&services);
        let executor = Arc::new(InertExecutor::on(machine.clone()));
        let agent = Agent::builder(env, executor, Arc::new(Here(here.clone())), dir.join("worker")).build()?;
        parts.spawn("agent", |stop| agent.run(stop));

        crew.spawn("cluster", |_| parts.finish());
        Ok(Self { store, control: ControlClient::new(here), stop, crew })
    }

    /// Waits until so many tasks of the service run, and says which.
    async fn running(&self, service: &ServiceId, count: usize) -> Result<BTreeSet<TaskId>, WatchEnded> {
        let mut watch = self.store.watch(Interest::none().tasks_of_service(service.clone()));
        loop {
            let update = watch.next().await?;
            let tasks = update.view().find(TaskBy::Service(service));
            let running = tasks.filter(|task| task.status.state == TaskState::Running);
            let running: BTreeSet<_> = running.map(|task| task.id.clone()).collect();
            if running.len() == count {
                return Ok(running);
            }
        }
    }

    async fn stop(self) -> Result<(), PartError> {
        self.stop.cancel();
        self.crew.finish().await
    }
}

/// Writes down the node, unless an earlier start did. An agent can speak for a known one only.
async fn found(store: &Store) -> Result<(), StoreError> {
    let accepted = wire::node_spec::Membership::Accepted.into();
    let mut node = Node::new(NODE.into());
    node.spec = Arc::new(wire::NodeSpec { membership: accepted, ..Default::default() });
    match store.update(|tx| tx.create(node)).await {
        Ok(_) | Err(StoreError::Exists) => Ok(()),
        Err(error) => Err(error),
    }
}

fn service(name: &str, replicas: u64) -> wire::ServiceSpec {
    let container = wire::ContainerSpec { image: "any".to_owned(), ..Default::default() };
    let runtime = Some(wire::task_spec::Runtime::Container(container));
    wire::ServiceSpec {
        annotations: Some(wire::Annotations { name: name.to_owned(), ..Default::default() }),
        task: Some(wire::TaskSpec { runtime, ..Default::default() }),
        mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas })),
        ..Default::default()
    }
}

#[tokio::main]
async fn main() -> Result<(), PartError> {
    let (dir, machine) = (tempfile::tempdir()?, Machine::new(Env::real()));
    let mut cluster = Cluster::start(dir.path(), &machine).await?;
    let request = wire::CreateServiceRequest { spec: Some(service("web", 3)) };
    let web = cluster.control.create_service(request).await?.into_inner().service.unwrap_or_default();
    let three = cluster.running(&web.id.clone().into(), 3).await?;
    println!("three tasks run; the store is at version {}", cluster.store.version());
    cluster.stop().await?;

    let mut cluster = Cluster::start(dir.path(), &machine).await?;
    println!("the journal has brought all back; the store is at version {}", cluster.store.version());
    let request = wire::UpdateServiceRequest {
        service_id: web.id.clone(),
        service_version: web.meta.and_then(|meta| meta.version),
        spec: Some(service("web", 5)),
        ..Default::default()
    };
    cluster.control.update_service(request).await?;
    let five = cluster.running(&web.id.into(), 5).await?;
    assert!(five.is_superset(&three), "tasks outlive the programs that started them");
    println!("five tasks run, three of them all along; the machine has {}", machine.running());
    cluster.stop().await
}

#[cfg(test)]
mod tests {
    use swarmkit::store::conformance::{self, Subject};
    use tempfile::TempDir;

    use super::*;

    struct Journaled {
        dir: TempDir,
        store: Store,
        /// Its drop is the crash.
        _crew: Crew,
    }

    impl Journaled {
        fn open(dir: TempDir) -> Self {
            let mut crew = Crew::under(&CancellationToken::new());
            let store = Journal::open(&dir.path().join("journal"), &Env::real(), &mut crew).expect("it can be opened");
            Self { dir, store, _crew: crew }
        }
    }

    impl Subject for Journaled {
        fn store(&self) -> &Store {
            &self.store
        }

        async fn restart(self) -> Option<Self> {
            Some(Self::open(self.dir))
        }
    }

    #[tokio::test]
    async fn a_journal_keeps_every_obligation_of_a_proposer() {
        conformance::all(async || Journaled::open(tempfile::tempdir().expect("a directory"))).await;
    }

    #[tokio::test]
    async fn a_torn_end_is_cut_off_and_the_rest_is_kept() {
        let journaled = Journaled::open(tempfile::tempdir().unwrap());
        found(&journaled.store).await.unwrap();
        let (path, version) = (journaled.dir.path().join("journal"), journaled.store.version());
        let whole = std::fs::metadata(&path).unwrap().len();
        File::options().append(true).open(&path).unwrap().write_all(&[9, 0, 0, 0, 1, 2]).unwrap();

        let journaled = journaled.restart().await.unwrap();
        assert_eq!(journaled.store.version(), version);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
    }
}
