//! A store with a cluster, an authority in front of it, and leader terms that come and go.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use swarmkit_api::{
    Cluster, ClusterId, Node, NodeId, NodeRole, wire,
    wire::{ca_client::CaClient, ca_server::CaServer, issuance_status::State, node_ca_client::NodeCaClient},
};
use swarmkit_ca::{Expiry, Identity, JoinToken, KeyPair, KeySource as _, NodeCertificate, RootCa, SystemKeys};
use swarmkit_issuer::CaApi;
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, MemoryNetwork, ServerOptions, ServerRole, Services, Transport as _, serve,
};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Applier, Proposal, ProposeError, Proposer, Store, StoreError, Transaction};
use swarmkit_testing::ExternalSigner;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::OUTSIDE;

const ADDRESS: &str = "m:1";
const CLUSTER: &str = "ours";
const MANAGER: &str = "m";

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) root: RootCa,
    /// Who holds the key of that root, if the cluster does not.
    pub(crate) outside: ExternalSigner,
    pub(crate) authority: Authority,
    pub(crate) stop: CancellationToken,
    network: MemoryNetwork,
    crew: Crew,
}

/// A leader term that runs until it is ended.
pub(crate) struct Term(Crew);

/// What a node asked for, and the key that it did so with.
pub(crate) struct Asked {
    pub(crate) node: NodeId,
    pub(crate) key: Arc<KeyPair>,
    csr: bytes::Bytes,
}

impl World {
    /// A cluster with one manager. Nothing is signed before [`World::lead`].
    pub(crate) async fn new() -> Self {
        let env = swarmkit_testing::env();
        let gate = Gate::default();
        let store = Store::new(env.clone(), gate.clone());
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        let outside = ExternalSigner::new(root.clone(), &env);
        let stop = CancellationToken::new();
        let own = identity(MANAGER, NodeRole::Manager);
        let world = Self {
            authority: Authority::fixed(own.clone()),
            network: MemoryNetwork::default(),
            crew: Crew::under(&CancellationToken::new()),
            env,
            store,
            gate,
            root,
            outside,
            stop,
        };
        world.put(|tx| tx.create(world.cluster()).map(drop)).await;
        world.put(|tx| tx.create(member(MANAGER, NodeRole::Manager)).map(drop)).await;
        world.serve(own).await;
        world
    }

    /// The authority of a manager that is started on the same store.
    pub(crate) async fn again(&self) -> Self {
        let own = identity(MANAGER, NodeRole::Manager);
        let world = Self {
            authority: Authority::fixed(own.clone()),
            network: MemoryNetwork::default(),
            crew: Crew::under(&CancellationToken::new()),
            env: self.env.clone(),
            store: self.store.clone(),
            gate: self.gate.clone(),
            root: self.root.clone(),
            stop: CancellationToken::new(),
            outside: self.outside.clone(),
        };
        world.serve(own).await;
        world
    }

    async fn serve(&self, own: Identity) {
        let ca = CaApi::new(self.env.clone(), self.store.clone(), self.stop.clone());
        let services = Services::new(self.authority.clone());
        let services = services.with(CaServer::new(ca.clone())).unwrap();
        let services = services.with(wire::node_ca_server::NodeCaServer::new(ca)).unwrap();
        let listener = self.network.transport(Some(own)).listen(ADDRESS).await.unwrap();
        let spawner = self.crew.spawner();
        drop(spawner.spawn("server", serve(listener, services, ServerOptions::default(), spawner.clone())));
    }

    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::new(ClusterId::from(CLUSTER));
        let annotations = Some(swarmkit_testing::named("default"));
        let ca_config = wire::CaConfig { external_cas: authorities(), ..Default::default() };
        let spec = wire::ClusterSpec { annotations, ca_config: Some(ca_config), ..Default::default() };
        cluster.spec = Arc::new(spec);
        cluster.root_ca = Arc::new(self.root_in_store());
        cluster.vxlan_udp_port = 4790;
        cluster
    }

    pub(crate) fn root_in_store(&self) -> wire::RootCa {
        let key = self.root.signing_key().unwrap().to_pem().as_bytes().to_vec();
        wire::RootCa {
            ca_key: if OUTSIDE { Default::default() } else { key.into() },
            ca_cert: self.root.bundle().to_owned().into(),
            ca_cert_hash: self.root.digest().to_string(),
            join_tokens: Some(wire::JoinTokens { worker: self.new_token(), manager: self.new_token() }),
            ..Default::default()
        }
    }

    pub(crate) fn new_token(&self) -> String {
        JoinToken::generate(self.root.digest(), false, &self.env).as_str().to_owned()
    }

    pub(crate) fn tokens(&self) -> wire::JoinTokens {
        self.store.view().cluster().unwrap().root_ca.join_tokens.clone().unwrap()
    }

    /// Begins a leader term: from now on certificates are signed.
    pub(crate) fn lead(&self) -> Term {
        let mut crew = Crew::under(&CancellationToken::new());
        let (env, store, outside) = (self.env.clone(), self.store.clone(), Arc::new(self.outside.clone()));
        crew.spawn("issuer", |stop| swarmkit_issuer::run(env, store, outside, stop));
        Term(crew)
    }

    /// A connection from a node, or from a machine without a certificate.
    pub(crate) async fn connect(&self, own: Option<Identity>) -> Channel {
        let transport = self.network.transport(own);
        let options = ChannelOptions { keep_alive: None, ..Default::default() };
        Channel::connect(&transport, ADDRESS, ServerRole::Authority, &options, &self.crew.spawner()).await.unwrap()
    }

    pub(crate) async fn stranger(&self) -> NodeCaClient<Channel> {
        NodeCaClient::new(self.connect(None).await)
    }

    pub(crate) async fn node(&self, node: &NodeId, role: NodeRole) -> NodeCaClient<Channel> {
        NodeCaClient::new(self.connect(Some(identity(node.as_str(), role))).await)
    }

    /// What an authority in the same process answers without a certificate.
    pub(crate) async fn anyone(&self) -> CaClient<Channel> {
        CaClient::new(self.connect(None).await)
    }

    pub(crate) async fn put(&self, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
        self.store.update(edit).await.unwrap();
    }

    pub(crate) async fn edit_node(&self, id: &NodeId, edit: impl FnOnce(&mut Node)) {
        self.put(|tx| tx.edit(id, edit).map(drop)).await;
    }

    pub(crate) async fn edit_cluster(&self, edit: impl FnOnce(&mut Cluster)) {
        self.put(|tx| tx.edit(&ClusterId::from(CLUSTER), edit).map(drop)).await;
    }

    pub(crate) fn stored(&self, id: &NodeId) -> Arc<Node> {
        self.store.view().get::<Node>(id).unwrap().clone()
    }

    /// The certificate in an answer, verified as the node would.
    pub(crate) fn verified(&self, asked: &Asked, answer: &wire::NodeCertificateStatusResponse) -> NodeCertificate {
        let certificate = answer.certificate.as_ref().unwrap();
        assert_eq!(certificate.csr, asked.csr, "the answer is for this request");
        let chain = std::str::from_utf8(&certificate.certificate).unwrap();
        let certificate = NodeCertificate::new(chain, asked.key.clone()).expect("made for the key that was asked with");
        certificate.verify(&self.root, Expiry::Enforced, self.env.now()).unwrap();
        certificate
    }
}

impl Asked {
    pub(crate) fn new(node: NodeId, key: Arc<KeyPair>, csr: bytes::Bytes) -> Self {
        Self { node, key, csr }
    }

    /// The signing request, as it was sent.
    pub(crate) fn request(&self) -> &bytes::Bytes {
        &self.csr
    }
}

impl Term {
    pub(crate) async fn end(self) {
        self.0.stop().cancel();
        self.0.finish().await.unwrap();
    }

    /// Waits for an end that nobody asked for.
    pub(crate) async fn failure(self) -> String {
        self.0.finish().await.unwrap_err().to_string()
    }
}

/// The authorities in the settings of the cluster.
pub(crate) fn authorities() -> Vec<wire::ExternalCa> {
    let one = wire::ExternalCa { url: "https://authority/sign".to_owned(), ..Default::default() };
    if OUTSIDE { vec![one] } else { Vec::new() }
}

pub(crate) fn identity(node: &str, role: NodeRole) -> Identity {
    Identity::new(NodeId::from(node), role, ClusterId::from(CLUSTER))
}

/// A node of the cluster that has its certificate.
pub(crate) fn member(id: &str, role: NodeRole) -> Node {
    let mut node = swarmkit_testing::node(id).build();
    node.role = role;
    Arc::make_mut(&mut node.spec).desired_role = role.into();
    node.certificate.role = role.into();
    node.certificate.cn = id.to_owned();
    node.certificate.status = Some(wire::IssuanceStatus { state: State::Issued.into(), err: String::new() });
    node
}

pub(crate) fn fresh_key() -> (Arc<KeyPair>, bytes::Bytes) {
    let key = SystemKeys.generate().unwrap();
    let csr = key.request().unwrap();
    (Arc::new(key), csr.into())
}

/// Asks for a certificate for a fresh key.
pub(crate) async fn ask(authority: &mut NodeCaClient<Channel>, token: &str) -> Result<Asked, Status> {
    let (key, csr) = fresh_key();
    let request = wire::IssueNodeCertificateRequest { csr: csr.clone(), token: token.to_owned(), ..Default::default() };
    let answer = authority.issue_node_certificate(request).await?.into_inner();
    Ok(Asked { node: NodeId::from(answer.node_id), key, csr })
}

pub(crate) async fn outcome(
    authority: &mut NodeCaClient<Channel>,
    node: &NodeId,
) -> Result<wire::NodeCertificateStatusResponse, Status> {
    let request = wire::NodeCertificateStatusRequest { node_id: node.to_string() };
    authority.node_certificate_status(request).await.map(tonic::Response::into_inner)
}

pub(crate) fn state(answer: &wire::NodeCertificateStatusResponse) -> State {
    answer.status.as_ref().unwrap().state()
}

/// Lets everything happen that can happen without time passing.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A proposer that commits at once, unless it is told to wait or to fail.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    applier: Option<Applier>,
    closed: bool,
    queue: Vec<Proposal>,
    failures: Vec<ProposeError>,
    refused: BTreeSet<u64>,
}

impl Gate {
    /// From now on nothing is committed.
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Commits what waits, and what comes.
    pub(crate) fn open(&self) {
        let (applier, queue) = {
            let mut held = self.0.lock();
            held.closed = false;
            (held.applier.clone().unwrap(), std::mem::take(&mut held.queue))
        };
        for proposal in queue {
            applier.apply(&proposal.payload).unwrap();
        }
    }

    /// The next proposal fails so.
    pub(crate) fn fail(&self, error: ProposeError) {
        self.0.lock().failures.push(error);
    }

    /// How many proposals have failed.
    pub(crate) fn refused(&self) -> usize {
        self.0.lock().refused.len()
    }
}

impl Proposer for Gate {
    fn attach(&self, applier: Applier) {
        self.0.lock().applier = Some(applier);
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let applier = {
            let mut held = self.0.lock();
            if let Some(error) = held.failures.pop() {
                held.refused.insert(proposal.id.nonce);
                return Err(error);
            }
            if held.closed {
                held.queue.push(proposal);
                return Ok(());
            }
            held.applier.clone().unwrap()
        };
        applier.apply(&proposal.payload).map(drop).map_err(|error| ProposeError::Failed(error.to_string()))
    }
}
