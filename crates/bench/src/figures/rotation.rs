//! How long it takes until a thousand nodes have another root of trust.
//!
//! One manager, a whole node on a folder that is synced, and the other nodes are all in this process, and reach it over
//! sockets of this machine with mutual TLS. Those nodes are thin: each has a session, shows signs of life, and renews
//! over the calls that nodes use, for a fresh key, when its session tells it to and half a second has passed, as nodes do.
//! After that it connects anew with what it got.
use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{Cluster, Kind, Node as NodeObject, NodeId, NodeRole, wire},
    executor::InertExecutor,
    node::Node,
    runtime::{Crew, Env, Spawner},
    store::Store,
};
use swarmkit_ca::{
    Credentials, Identity, KeyPair, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys,
};
use swarmkit_rpc::{Channel, ChannelOptions, ServerRole, TlsTransport};
use wire::{
    dispatcher_client::DispatcherClient, issuance_status::State, node_ca_client::NodeCaClient, node_spec::Membership,
};

use crate::lab::{Lab, Stopwatch};

/// The nodes beside the manager.
const NODES: usize = 1000;
/// What a node waits after it has been told to renew. Part of what is measured.
const WISH_PAUSE: Duration = Duration::from_millis(500);
/// How often a node shows a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(4);
/// The pause before a call that has failed is made again.
const PAUSE: Duration = Duration::from_millis(100);
/// A measurement that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// `ca.rotate_1000`
pub(crate) fn rotate_1000(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    // As programs do that say `#[tokio::main]`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    (0..repeats).map(|_| runtime.block_on(sample(NODES))).collect()
}

/// Founds a cluster, lets so many nodes have sessions, replaces the root, and gives how many seconds that took.
async fn sample(nodes: usize) -> Result<f64> {
    let (dir, stop, env) = (tempfile::tempdir()?, CancellationToken::new(), Env::real());
    let manager = Node::builder(dir.path(), Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0");
    let manager = manager.start(&stop).await?;
    let handle = manager.handle();
    let mut crew = Crew::under(&stop);
    crew.spawn("manager", |stop| manager.run(stop));
    handle.ready().await?;
    let store = handle.store().context("a manager has no store")?;
    let address = handle.remote_addr().context("a manager listens nowhere")?;

    let mut lives = Crew::under(&CancellationToken::new());
    for life in admit(&store, nodes, &address, &env, &lives.spawner()).await? {
        lives.spawn("a thin node", |stop| life.run(stop));
    }
    let all_told = |store: &Store| {
        let told = |node: &&Arc<NodeObject>| node.description.as_ref().is_some_and(|told| told.tls_info.is_some());
        store.view().all::<NodeObject>().filter(told).count() > nodes
    };
    until(&store, Kind::Node, all_told).await?;

    let watch = Stopwatch::start();
    let mut control = handle.control().context("the founder of a cluster is no manager")?;
    let known = store.view().cluster().context("there is no cluster")?.clone();
    let mut spec = known.spec.as_ref().clone();
    spec.ca_config.get_or_insert_default().force_rotate += 1;
    let request = wire::UpdateClusterRequest {
        cluster_id: known.id.to_string(),
        cluster_version: Some(known.meta.version.into()),
        spec: Some(spec),
        rotation: None,
    };
    control.update_cluster(request).await?;
    let replaced = |store: &Store| {
        let is_other = |cluster: &Arc<Cluster>| {
            cluster.root_ca.root_rotation.is_none() && cluster.root_ca.ca_cert != known.root_ca.ca_cert
        };
        store.view().cluster().is_some_and(is_other)
    };
    until(&store, Kind::Cluster, replaced).await?;
    let seconds = watch.seconds();

    lives.stop().cancel();
    lives.finish().await.map_err(|error| anyhow!(error))?;
    stop.cancel();
    crew.finish().await.map_err(|error| anyhow!(error))?;
    Ok(seconds)
}

/// Waits until the store holds what is asked for.
async fn until(store: &Store, kind: Kind, holds: impl Fn(&Store) -> bool) -> Result<()> {
    let mut updates = store.watch(kind);
    let wait = async {
        while !holds(store) {
            updates.next().await?;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.context("waited in vain")?
}

/// Nodes that are members of the cluster, with certificates that its root has signed.
async fn admit(store: &Store, count: usize, address: &str, env: &Env, spawner: &Spawner) -> Result<Vec<Life>> {
    let cluster = store.view().cluster().context("there is no cluster")?.clone();
    let root = RootCa::from_pem(std::str::from_utf8(&cluster.root_ca.ca_cert)?, env.now())?;
    let signer = root.clone().with_key(KeyPair::from_pem(std::str::from_utf8(&cluster.root_ca.ca_key)?)?, env)?;
    let mut lives = Vec::with_capacity(count);
    for _ in 0..count {
        let id = NodeId::from(env.new_id());
        let own = Identity::new(id.clone(), NodeRole::Worker, cluster.id.clone());
        let key = SystemKeys.generate()?;
        let chain = signer.issue(&key.request()?, &own, LEAF_VALIDITY_DEFAULT, env)?;
        let credentials = Credentials::new(root.clone(), NodeCertificate::new(&chain, key)?, env)?;
        lives.push(Life { id, address: address.to_owned(), credentials, spawner: spawner.clone() });
    }
    let nodes = lives.iter().map(|life| life.id.clone());
    store
        .batch(nodes.map(|id| {
            move |tx: &mut swarmkit::store::Transaction| {
                let mut node = NodeObject::new(id);
                let membership = Membership::Accepted.into();
                node.spec = Arc::new(wire::NodeSpec { membership, ..Default::default() });
                let status = wire::IssuanceStatus { state: State::Issued.into(), err: String::new() };
                node.certificate.status = Some(status);
                tx.create(node).map(drop)
            }
        }))
        .await?;
    Ok(lives)
}

/// A node that does nothing but follow the root of its cluster.
struct Life {
    id: NodeId,
    address: String,
    credentials: Credentials,
    spawner: Spawner,
}

impl Life {
    async fn run(self, stop: CancellationToken) -> Result<()> {
        let live = async {
            loop {
                if self.session().await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        tokio::select! { biased; // there is nothing to put in order
            () = stop.cancelled() => Ok(()),
            never = live => never,
        }
    }

    /// One session, until it ends or this node has another certificate to show.
    async fn session(&self) -> Result<()> {
        let transport = TlsTransport::new(self.credentials.clone());
        let options = ChannelOptions::default();
        let channel = Channel::connect(&transport, &self.address, ServerRole::Manager, &options, &self.spawner).await?;
        let tls_info = Some(self.credentials.trust().tls_info());
        let description = Some(wire::NodeDescription { tls_info, ..Default::default() });
        let mut dispatcher = DispatcherClient::new(channel.clone());
        let request = wire::SessionRequest { description, session_id: String::new() };
        let mut messages = dispatcher.session(request).await?.into_inner();
        let mut session_id = String::new();
        loop {
            let message = tokio::select! { biased; // what is said comes before the next sign of life
                message = messages.message() => message?.context("the session is over")?,
                () = tokio::time::sleep(HEARTBEAT) => {
                    dispatcher.heartbeat(wire::HeartbeatRequest { session_id: session_id.clone() }).await?;
                    continue;
                }
            };
            session_id = message.session_id;
            let status = message.node.and_then(|node| node.certificate).and_then(|certificate| certificate.status);
            if status.is_some_and(|status| status.state() == State::Rotate) {
                tokio::time::sleep(WISH_PAUSE).await;
                return self.renew(channel).await;
            }
        }
    }

    async fn renew(&self, channel: Channel) -> Result<()> {
        let key = SystemKeys.generate()?;
        let csr = key.request()?.into_bytes();
        let mut authority = NodeCaClient::new(channel);
        let request = wire::IssueNodeCertificateRequest { csr: csr.clone().into(), ..Default::default() };
        authority.issue_node_certificate(request).await?;
        let request = wire::NodeCertificateStatusRequest { node_id: self.id.to_string() };
        let answer = authority.node_certificate_status(request).await?.into_inner();
        let certificate = answer.certificate.filter(|answered| answered.csr == csr).context("another request's")?;
        let chain = std::str::from_utf8(&certificate.certificate)?;
        Ok(self.credentials.replace_certificate(NodeCertificate::new(chain, key)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_small_cluster_gets_another_root() {
        let seconds = sample(5).await.unwrap();
        assert!(seconds >= WISH_PAUSE.as_secs_f64(), "no node turns before its pause is over: {seconds}");
    }
}
