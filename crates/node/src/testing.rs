//! What the tests of this crate share: a cluster's authority on a network of pipes, in paused time.

use std::sync::Arc;

use swarmkit_api::{
    Cluster, Node, NodeId, NodeRole, wire,
    wire::{
        ca_server::CaServer,
        node_ca_server::{NodeCa, NodeCaServer},
    },
};
use swarmkit_ca::{Identity, JoinToken, KeySource as _, LEAF_VALIDITY_MIN, NodeCertificate, RootCa, SystemKeys};
use swarmkit_issuer::CaApi;
use swarmkit_rpc::{MemoryNetwork, ServerOptions, Services, Transport as _, serve};
use swarmkit_runtime::{Crew, Env, Spawner};
use swarmkit_store::Store;
use tokio_util::sync::CancellationToken;

pub(crate) const ADDRESS: &str = "m:1";
const CLUSTER: &str = "c";

/// A cluster whose certificates live for an hour. Nobody listens or signs yet.
pub(crate) struct Authority {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) network: MemoryNetwork,
    pub(crate) root: RootCa,
    pub(crate) crew: Crew,
}

/// A server that answers nodes until it is ended.
pub(crate) struct Server(Crew);

impl Authority {
    pub(crate) async fn new() -> Self {
        let env = swarmkit_testing::env();
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        let store = Store::local(env.clone());
        let cluster = cluster(&root, &env);
        store.update(|tx| tx.create(cluster)).await.unwrap();
        let (network, crew) = (MemoryNetwork::default(), Crew::under(&CancellationToken::new()));
        Self { env, store, network, root, crew }
    }

    pub(crate) fn spawner(&self) -> Spawner {
        self.crew.spawner()
    }

    /// Certificates can be asked for from now on.
    pub(crate) async fn serve(&self) -> Server {
        self.serve_at(ADDRESS, |ca| ca).await
    }

    /// The same, elsewhere, by an authority that is made from ours.
    pub(crate) async fn serve_at<A: NodeCa>(&self, address: &str, authority: impl FnOnce(CaApi) -> A) -> Server {
        let crew = Crew::under(&CancellationToken::new());
        let own = identity("m", NodeRole::Manager);
        let ca = CaApi::new(self.env.clone(), self.store.clone(), crew.stop().clone());
        let services = Services::new(swarmkit_rpc::Authority::fixed(own.clone()));
        let services = services.with(NodeCaServer::new(authority(ca.clone()))).unwrap();
        let services = services.with(CaServer::new(ca)).unwrap();
        let listener = self.network.transport(Some(own)).listen(address).await.unwrap();
        let spawner = crew.spawner();
        drop(spawner.spawn("server", serve(listener, services, ServerOptions::default(), spawner.clone())));
        Server(crew)
    }

    /// Certificates are made from now on.
    pub(crate) fn sign(&self) {
        let external = Arc::new(swarmkit_ca::NoExternalCa);
        let signing = swarmkit_issuer::run(self.env.clone(), self.store.clone(), external, self.crew.stop().clone());
        drop(self.spawner().spawn("issuer", signing));
    }

    /// A certificate that was just made.
    pub(crate) fn certificate(&self, own: &Identity) -> NodeCertificate {
        let key = SystemKeys.generate().unwrap();
        let chain = self.root.issue(&key.request().unwrap(), own, LEAF_VALIDITY_MIN, &self.env).unwrap();
        NodeCertificate::new(&chain, key).unwrap()
    }

    pub(crate) fn worker_token(&self) -> String {
        self.store.view().cluster().unwrap().root_ca.join_tokens.clone().unwrap().worker
    }

    pub(crate) fn nodes(&self) -> usize {
        self.store.view().count::<Node>()
    }

    pub(crate) fn has_node(&self, id: &NodeId) -> bool {
        self.store.view().get::<Node>(id).is_some()
    }
}

impl Server {
    pub(crate) async fn end(self) {
        self.0.stop().cancel();
        self.0.finish().await.unwrap();
    }
}

pub(crate) fn identity(node: &str, role: NodeRole) -> Identity {
    Identity::new(node.into(), role, CLUSTER.into())
}

fn cluster(root: &RootCa, env: &Env) -> Cluster {
    let mut cluster = Cluster::new(CLUSTER.into());
    cluster.spec = Arc::new(wire::ClusterSpec {
        annotations: Some(swarmkit_testing::named("default")),
        ca_config: Some(wire::CaConfig { node_cert_expiry: LEAF_VALIDITY_MIN.try_into().ok(), ..Default::default() }),
        ..Default::default()
    });
    let token = || JoinToken::generate(root.digest(), false, env).as_str().to_owned();
    cluster.root_ca = Arc::new(wire::RootCa {
        ca_key: root.signing_key().unwrap().to_pem().as_bytes().to_vec().into(),
        ca_cert: root.bundle().to_owned().into(),
        join_tokens: Some(wire::JoinTokens { worker: token(), manager: token() }),
        ..Default::default()
    });
    cluster
}
