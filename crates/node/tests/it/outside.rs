//! A cluster whose root is kept by an authority outside of it, from the beginning or for a while, over real TLS.

use std::{net::SocketAddr, path::Path, time::Duration};

use swarmkit_api::{
    Node as NodeObject, NodeRole, wire,
    wire::{issuance_status::State as Issuance, raft_member_status::Reachability},
};
use swarmkit_ca::{Identity, KeySource as _, KeyStore, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};
use swarmkit_external_ca::server::{CfsslServer, Fault, ServerHandle};
use swarmkit_node::{NodeBuilder, NodeHandle};
use swarmkit_raft::RaftOptions;
use swarmkit_runtime::{Crew, Env};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, Running, manager, state_of, tokens, until, worker};

/// How often a list is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A node whose manager bears with a machine that has other things to do.
fn calm(dir: &Path) -> NodeBuilder {
    let millis = Duration::from_millis;
    let (heartbeat, election_min, election_max) = (millis(150), millis(500), millis(1000));
    manager(dir).raft(RaftOptions { heartbeat, election_min, election_max, ..RaftOptions::default() })
}

/// The authority, and the files that it gives to the first manager.
struct Outside {
    root: RootCa,
    first: TempDir,
    server: ServerHandle,
    crew: Crew,
}

impl Outside {
    async fn new() -> Self {
        let env = Env::real();
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        let first = tempfile::tempdir().unwrap();
        let (keys, key) = (KeyStore::new(first.path(), &env), SystemKeys.generate().unwrap());
        let own = Identity::new("first".into(), NodeRole::Manager, "outside".into());
        let chain = root.issue(&key.request().unwrap(), &own, LEAF_VALIDITY_DEFAULT, &env).unwrap();
        keys.save_root(&root).unwrap();
        keys.save_node(&NodeCertificate::new(&chain, key).unwrap()).unwrap();
        let (server, crew) = serve(&root, &root).await;
        Self { root, first, server, crew }
    }

    /// The first manager of a cluster that this authority signs for.
    async fn found(&self) -> Running {
        let authority = wire::ExternalCa { url: self.server.url().to_owned(), ..Default::default() };
        let set_up = calm(self.first.path()).external_cas(vec![authority]);
        Running::start(set_up).await.unwrap().ready().await
    }

    /// Waits until it has been asked more often than that.
    async fn asked_after(&self, questions: u64) {
        let mut seen = self.server.seen();
        let asked = seen.wait_for(|seen| seen.questions > questions);
        tokio::time::timeout(PATIENCE, asked).await.expect("in time").unwrap();
    }

    fn questions(&self) -> u64 {
        self.server.seen().borrow().questions
    }

    async fn end(self) {
        self.crew.stop().cancel();
        self.crew.finish().await.unwrap();
    }
}

/// An authority that signs with a root, for managers that show a certificate of one of those.
async fn serve(root: &RootCa, clients: &RootCa) -> (ServerHandle, Crew) {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = CfsslServer::bind(address, root.clone(), clients, true, &Env::real()).await.unwrap();
    let (handle, mut crew) = (server.handle(), Crew::under(&CancellationToken::new()));
    crew.spawn("authority", |stop| server.run(stop));
    (handle, crew)
}

/// Changes what the cluster's settings say of its root, and waits until the root that follows from it is everybody's.
async fn replace_root(node: &Running, change: impl Fn(&mut wire::CaConfig)) -> (bytes::Bytes, bytes::Bytes) {
    let store = node.handle.store().unwrap();
    let before = store.view().cluster().unwrap().root_ca.ca_cert.clone();
    let attempts = async {
        loop {
            let mut control = node.handle.control().expect("a manager");
            let cluster = store.view().cluster().unwrap().clone();
            let mut spec = cluster.spec.as_ref().clone();
            change(spec.ca_config.get_or_insert_default());
            let request = wire::UpdateClusterRequest {
                cluster_id: cluster.id.to_string(),
                cluster_version: Some(cluster.meta.version.into()),
                spec: Some(spec),
                rotation: None,
            };
            match control.update_cluster(request).await {
                Ok(_) => return,
                // The cluster has changed meanwhile: an operator would try again.
                Err(status) => assert!(status.message().contains("out of sequence"), "{status}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempts).await.expect("in time");
    until(&store, |view| {
        let root = &view.cluster().unwrap().root_ca;
        root.root_rotation.is_none() && root.ca_cert != before
    })
    .await;
    let root = store.view().cluster().unwrap().root_ca.clone();
    (root.ca_cert.clone(), root.ca_key.clone())
}

/// The nodes, as `swarmctl node ls` asks for them.
async fn nodes(handle: &NodeHandle) -> Vec<wire::Node> {
    let mut control = handle.control().expect("a manager");
    control.list_nodes(wire::ListNodesRequest::default()).await.unwrap().into_inner().nodes
}

/// Waits until a node is a manager that the others count on.
async fn until_manages(first: &NodeHandle, node: &NodeHandle) {
    let manages = |listed: Vec<wire::Node>| {
        let member =
            listed.into_iter().find(|listed| listed.id == node.id().as_str()).and_then(|node| node.manager_status);
        member.is_some_and(|member| member.reachability() == Reachability::Reachable)
    };
    let wait = async {
        while node.role() != NodeRole::Manager || !manages(nodes(first).await) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("in time");
}

/// Makes a worker a manager.
async fn promote(handle: &NodeHandle, node: &str) {
    let mut control = handle.control().expect("a manager");
    let found = control.get_node(wire::GetNodeRequest { node_id: node.to_owned() }).await.unwrap().into_inner();
    let found = found.node.unwrap();
    let spec = wire::NodeSpec { desired_role: NodeRole::Manager.into(), ..found.spec.unwrap() };
    let request = wire::UpdateNodeRequest {
        node_id: node.to_owned(),
        node_version: found.meta.unwrap().version,
        spec: Some(spec),
    };
    control.update_node(request).await.unwrap();
}

#[tokio::test]
async fn a_cluster_whose_root_is_kept_outside_admits_and_renews_and_goes_on_while_the_authority_is_away() {
    let outside = Outside::new().await;
    let first = outside.found().await;
    let store = first.handle.store().unwrap();
    let cluster = store.view().cluster().unwrap().clone();
    assert_eq!((cluster.id.as_str(), first.handle.id().as_str()), ("outside", "first"));
    assert!(cluster.root_ca.ca_key.is_empty(), "the cluster does not have the key");
    assert_eq!(cluster.root_ca.ca_cert, outside.root.bundle().as_bytes());
    let (address, token) = (first.handle.remote_addr().unwrap(), tokens(&store).0);

    let dir = tempfile::tempdir().unwrap();
    let set_up = calm(dir.path()).join(address.clone(), Some(token.clone()));
    let member = Running::start(set_up).await.unwrap().ready().await;
    let joined = outside.questions();
    assert!(joined > 0);

    // A node that is promoted gets a certificate of its new role: renewals are signed outside, too.
    promote(&first.handle, member.handle.id().as_str()).await;
    until_manages(&first.handle, &member.handle).await;
    assert!(outside.questions() > joined, "its new certificate was signed outside");

    // While the authority is away nobody joins, and everything else goes on.
    outside.server.misbehave(Some(Fault::Status));
    let before = outside.questions();
    let late = tempfile::tempdir().unwrap();
    let set_up = worker(late.path(), &address, &token);
    let joining = async { Running::start(set_up).await.unwrap().ready().await };
    let meanwhile = async {
        outside.asked_after(before + 1).await;
        assert!(nodes(&first.handle).await.len() > 2, "who waits is known");
        let waiting = store
            .view()
            .all::<NodeObject>()
            .filter(|node| node.certificate.status.as_ref().is_some_and(|status| status.state() == Issuance::Pending))
            .count();
        assert!(waiting > 0);
        outside.server.misbehave(None);
    };
    let (late, ()) = tokio::join!(joining, meanwhile);
    until(&store, |view| state_of(view, &late.handle) == Some(wire::node_status::State::Ready)).await;

    late.end().await.unwrap();
    member.end().await.unwrap();
    first.end().await.unwrap();
    outside.end().await;
}

#[tokio::test]
async fn a_manager_of_such_a_cluster_comes_back_as_the_one_that_it_was() {
    let outside = Outside::new().await;
    let mut first = outside.found().await;
    let tokens_before = tokens(&first.handle.store().unwrap());
    first.stop().await.unwrap();
    let again = outside.found().await;
    let store = again.handle.store().unwrap();
    assert_eq!(again.handle.id().as_str(), "first");
    assert_eq!(tokens(&store), tokens_before, "the same cluster, not another one");
    again.end().await.unwrap();
    outside.end().await;
}

#[tokio::test]
async fn the_root_of_a_running_cluster_goes_to_an_authority_outside_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let first = Running::start(calm(dir.path())).await.unwrap().ready().await;
    let store = first.handle.store().unwrap();
    let address = first.handle.remote_addr().unwrap();
    let own = store.view().cluster().unwrap().root_ca.ca_cert.clone();
    let worker_dir = tempfile::tempdir().unwrap();
    let member = Running::start(worker(worker_dir.path(), &address, &tokens(&store).0)).await.unwrap().ready().await;
    until(&store, |view| state_of(view, &member.handle) == Some(wire::node_status::State::Ready)).await;

    // Its managers show certificates of the root that they come from, and then of its own.
    let env = Env::real();
    let kept_outside = RootCa::create(&SystemKeys, &env).unwrap();
    let both = String::from_utf8(own.to_vec()).unwrap() + kept_outside.bundle();
    let clients = RootCa::from_pem(&both, env.now()).unwrap();
    let (server, crew) = serve(&kept_outside, &clients).await;
    let asked = || server.seen().borrow().questions;

    let (root, key) = replace_root(&first, |config| {
        config.signing_ca_cert = kept_outside.bundle().to_owned().into();
        config.external_cas = vec![wire::ExternalCa {
            url: server.url().to_owned(),
            ca_cert: kept_outside.bundle().to_owned().into(),
            ..Default::default()
        }];
    })
    .await;
    assert_eq!((&*root, &*key), (kept_outside.bundle().as_bytes(), b"".as_slice()), "its key is not here");
    let moved = asked();
    assert!(moved >= 2, "the manager and the worker have certificates that were made outside");
    let late_dir = tempfile::tempdir().unwrap();
    let late = Running::start(worker(late_dir.path(), &address, &tokens(&store).0)).await.unwrap().ready().await;
    assert!(asked() > moved, "whoever joins gets one from outside, too");

    // The authority signs the certificate of the root that takes its place, and is not needed from then on.
    let (root, key) = replace_root(&first, |config| config.force_rotate += 1).await;
    assert!(root != own && root != kept_outside.bundle() && !key.is_empty());
    crew.stop().cancel();
    crew.finish().await.unwrap();
    let last_dir = tempfile::tempdir().unwrap();
    let last = Running::start(worker(last_dir.path(), &address, &tokens(&store).0)).await.unwrap().ready().await;
    for node in [&member, &late, &last] {
        until(&store, |view| state_of(view, &node.handle) == Some(wire::node_status::State::Ready)).await;
    }
    for node in [last, late, member, first] {
        node.end().await.unwrap();
    }
}
