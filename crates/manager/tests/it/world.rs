//! A machine with a disk, on which a manager is started and stopped, and those who call it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use swarmkit_allocator::InertNetworks;
use swarmkit_api::{ClusterId, Node, NodeId, NodeRole, wire};
use swarmkit_ca::{
    Credentials, DataKey, Identity, KeySource as _, KeyStore, LEAF_VALIDITY_DEFAULT, NoExternalCa, NodeCertificate,
    RootCa, SystemKeys,
};
use swarmkit_csi::NoPlugins;
use swarmkit_manager::{Begin, Error, FirstLeader, Manager, ManagerConfig, ManagerHandle};
use swarmkit_raft::{LogKey, LogKeys, MemoryDisk, RaftOptions};
use swarmkit_rpc::{Channel, ChannelOptions, ConnectError, MemoryNetwork, Remote, Remotes, ServerRole, TlsTransport};
use swarmkit_runtime::{Crew, Env, PartError, Spawner};
use swarmkit_store::{Interest, Store, View};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wire::control_client::ControlClient;

/// Everything here happens in less than a second; a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ADDRESS: &str = "m:1";
const CLUSTER: &str = "c";
const MANAGER: &str = "m";

pub(crate) struct Machine {
    /// Its node, which listens at port 1 of the host of that name.
    pub(crate) name: String,
    pub(crate) env: Env,
    pub(crate) disk: MemoryDisk,
    pub(crate) root: RootCa,
    pub(crate) network: MemoryNetwork,
    pub(crate) keys: KeyStore,
    /// Told when the key file has become locked.
    pub(crate) locked: Arc<Notify>,
    credentials: Credentials,
    dir: TempDir,
}

/// A manager that runs.
pub(crate) struct Running {
    pub(crate) handle: ManagerHandle,
    stop: CancellationToken,
    crew: Crew,
}

/// Those who call a manager. Their connections end with it.
pub(crate) struct Callers {
    network: MemoryNetwork,
    crew: Crew,
}

impl Machine {
    pub(crate) fn new(env: Env) -> Self {
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        Self::on(env, MANAGER, root, MemoryNetwork::default())
    }

    /// Another machine on the same network, with the certificate of a manager of the same cluster.
    pub(crate) fn beside(&self, name: &str) -> Self {
        Self::on(self.env.clone(), name, self.root.clone(), self.network.clone())
    }

    fn on(env: Env, name: &str, root: RootCa, network: MemoryNetwork) -> Self {
        let certificate = certificate(&root, &identity(name, NodeRole::Manager), &env);
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path(), &env);
        keys.save_node(&certificate).unwrap();
        let log_key = LogKey::generate(&env);
        keys.update_data_keys(|keys| keys.current = Some((*log_key.as_bytes()).into())).unwrap();
        Self {
            name: name.to_owned(),
            keys,
            locked: Arc::default(),
            disk: MemoryDisk::new(),
            network,
            credentials: Credentials::new(root.without_signer(), certificate, &env).unwrap(),
            dir,
            env,
            root,
        }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What a root signs for somebody, by the clock of this machine.
    pub(crate) fn certificate(&self, root: &RootCa, own: &Identity) -> NodeCertificate {
        certificate(root, own, &self.env)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:1", self.name)
    }

    /// The keys of the log, as the key file holds them.
    fn log_keys(&self) -> LogKeys {
        let kept = self.keys.data_keys().unwrap();
        let key = |key: &DataKey| LogKey::new(**key);
        LogKeys { current: key(&kept.current.unwrap()), pending: kept.pending.as_ref().map(key) }
    }

    pub(crate) fn config(&self, begin: Begin) -> ManagerConfig {
        ManagerConfig {
            env: self.env.clone(),
            credentials: self.credentials.clone(),
            transport: Arc::new(self.network.transport(Some(self.credentials.identity()))),
            disk: Arc::new(self.disk.clone()),
            log_keys: self.log_keys(),
            keys: self.keys.clone(),
            locked: self.locked.clone(),
            raft: RaftOptions::default(),
            networks: Arc::new(InertNetworks),
            volume_plugins: Arc::new(NoPlugins),
            dispatcher: swarmkit_dispatcher::DispatcherConfig::default(),
            external_ca: Arc::new(NoExternalCa),
            listen_remote: self.address(),
            advertise: None,
            control_socket: self.socket(),
            begin,
        }
    }

    /// To found a cluster.
    pub(crate) fn first(&self) -> Begin {
        Begin::Found(FirstLeader {
            root: self.root.clone(),
            lock: None,
            external_cas: Vec::new(),
            networks: swarmkit_allocator::NetworkOptions::default(),
        })
    }

    /// To join the cluster through the manager at an address.
    pub(crate) fn through(&self, address: &str) -> Begin {
        Begin::Join(Remotes::new([Remote { node: None, address: address.to_owned() }], &self.env))
    }

    /// The first start, which makes the cluster.
    pub(crate) async fn found(&self) -> Running {
        let running = Running::start(self.config(self.first())).await.unwrap();
        running.ready().await;
        running
    }

    /// A later start on the same disk.
    pub(crate) async fn start_again(&self) -> Running {
        let running = Running::start(self.config(Begin::Restart)).await.unwrap();
        running.ready().await;
        running
    }

    pub(crate) fn callers(&self) -> Callers {
        Callers { network: self.network.clone(), crew: Crew::under(&CancellationToken::new()) }
    }
}

impl Running {
    pub(crate) async fn start(config: ManagerConfig) -> Result<Self, Error> {
        let manager = Manager::start(config).await?;
        let (handle, stop) = (manager.handle(), CancellationToken::new());
        let mut crew = Crew::under(&stop);
        crew.spawn("manager", |stop| manager.run(stop));
        Ok(Self { handle, stop, crew })
    }

    /// Waits until it leads, and the cluster is in the store.
    pub(crate) async fn ready(&self) {
        in_time(self.handle.has_leader()).await.unwrap();
        until(self.handle.store(), |view| view.cluster().is_some()).await;
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.handle.channel())
    }

    pub(crate) fn store(&self) -> &Store {
        self.handle.store()
    }

    /// Dies at once, as of a kill.
    pub(crate) fn kill(self) {
        drop(self.crew);
    }

    /// Is told to stop, twice, as by somebody in a hurry.
    pub(crate) async fn end(self) -> Result<(), PartError> {
        self.stop.cancel();
        tokio::task::yield_now().await;
        self.stop.cancel();
        in_time(self.crew.finish()).await
    }

    /// Waits for an end that nobody asked for.
    pub(crate) async fn failure(self) -> String {
        in_time(self.crew.finish()).await.unwrap_err().to_string()
    }
}

impl Callers {
    pub(crate) fn spawner(&self) -> Spawner {
        self.crew.spawner()
    }

    /// Connects to a real port.
    pub(crate) async fn dial(
        &self,
        transport: &TlsTransport,
        address: &str,
        role: ServerRole,
    ) -> Result<Channel, ConnectError> {
        Channel::connect(transport, address, role, &ChannelOptions::default(), &self.crew.spawner()).await
    }

    pub(crate) async fn connect(&self, own: Option<Identity>) -> Channel {
        self.connect_to(ADDRESS, own).await
    }

    pub(crate) async fn connect_to(&self, address: &str, own: Option<Identity>) -> Channel {
        let transport = self.network.transport(own);
        let options = ChannelOptions { keep_alive: None, ..Default::default() };
        Channel::connect(&transport, address, ServerRole::Manager, &options, &self.crew.spawner()).await.unwrap()
    }

    pub(crate) async fn stranger(&self) -> Channel {
        self.connect(None).await
    }

    pub(crate) async fn worker(&self, node: &str) -> Channel {
        self.connect(Some(identity(node, NodeRole::Worker))).await
    }

    pub(crate) async fn hang_up(self) {
        self.crew.finish().await.unwrap();
    }
}

fn certificate(root: &RootCa, own: &Identity, env: &Env) -> NodeCertificate {
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), own, LEAF_VALIDITY_DEFAULT, env).unwrap();
    NodeCertificate::new(&chain, key).unwrap()
}

pub(crate) fn identity(node: &str, role: NodeRole) -> Identity {
    Identity::new(NodeId::from(node), role, ClusterId::from(CLUSTER))
}

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// Waits until the store holds what is asked for.
pub(crate) async fn until(store: &Store, holds: impl Fn(&View) -> bool) {
    let mut updates = store.watch(Interest::all());
    in_time(async { while !holds(updates.next().await.expect("the store is open").view()) {} }).await;
}

pub(crate) fn web(name: &str, replicas: u64) -> wire::CreateServiceRequest {
    let mut service = swarmkit_testing::service(name).replicas(replicas).build();
    let spec = Arc::make_mut(&mut service.spec);
    wire::CreateServiceRequest { spec: Some(spec.clone()) }
}

/// A worker that has its certificate.
pub(crate) async fn add_worker(store: &Store, name: &str) {
    let node = swarmkit_testing::node(name).build();
    store.update(|tx| tx.create::<Node>(node)).await.unwrap();
}

/// A node that is to be a manager.
pub(crate) async fn add_manager(store: &Store, name: &str) {
    let node = swarmkit_testing::node(name).manager().build();
    store.update(|tx| tx.create::<Node>(node)).await.unwrap();
}

/// Lets everything happen that can happen without time passing.
pub(crate) async fn settle() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}
