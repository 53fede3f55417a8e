//! The root of trust is replaced by the loops of one or more leaders, in paused time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use swarmkit_api::{
    Cluster, ClusterId, Kind, Node, NodeId, wire,
    wire::{issuance_status::State, node_spec::Membership},
};
use swarmkit_ca::{Expiry, JoinToken, KeyPair, KeySource as _, NoExternalCa, NodeCertificate, RootCa, SystemKeys};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Interest, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// Everything here happens in minutes of this time, which take no real ones.
const PATIENCE: Duration = Duration::from_secs(600);
const CLUSTER: &str = "c";

struct World {
    env: Env,
    store: Store,
    first: RootCa,
}

impl World {
    /// A cluster with so many nodes, which nobody leads.
    async fn new(nodes: usize) -> Self {
        let env = swarmkit_testing::env();
        let store = Store::local(env.clone());
        let first = RootCa::create(&SystemKeys, &env).unwrap();
        let world = Self { env, store, first };
        let mut cluster = Cluster::new(ClusterId::from(CLUSTER));
        let annotations = Some(swarmkit_testing::named("default"));
        cluster.spec = Arc::new(wire::ClusterSpec { annotations, ..Default::default() });
        cluster.root_ca = Arc::new(wire::RootCa {
            ca_key: pem(&world.first),
            ca_cert: world.first.bundle().to_owned().into(),
            ca_cert_hash: world.first.digest().to_string(),
            ..Default::default()
        });
        world.store.update(|tx| tx.create(cluster).map(drop)).await.unwrap();
        for number in 0..nodes {
            world.add(&format!("n{number:02}"), State::Issued).await;
        }
        world
    }

    async fn add(&self, id: &str, state: State) {
        let node = swarmkit_testing::node(id).ready().with(|node| {
            node.certificate.status = Some(wire::IssuanceStatus { state: state.into(), err: String::new() });
            node.certificate.csr = request().1.into();
            Arc::make_mut(&mut node.spec).set_membership(Membership::Accepted);
        });
        self.store.update(|tx| tx.create(node.build()).map(drop)).await.unwrap();
    }

    /// What only a leader does, until it is dropped.
    fn lead(&self) -> Crew {
        let mut crew = Crew::under(&CancellationToken::new());
        let (env, store) = (self.env.clone(), self.store.clone());
        crew.spawn("issuer", |stop| swarmkit_issuer::run(env, store, Arc::new(NoExternalCa), stop));
        let (env, store) = (self.env.clone(), self.store.clone());
        crew.spawn("root rotation", |stop| swarmkit_issuer::rotate(env, store, stop));
        crew
    }

    /// The nodes do what they are told, until they are dropped. Those named never hear of anything.
    fn live(&self, down: &[&str]) -> Crew {
        let down: Vec<_> = down.iter().map(|id| NodeId::from(*id)).collect();
        let mut crew = Crew::under(&CancellationToken::new());
        let (env, store) = (self.env.clone(), self.store.clone());
        crew.spawn("nodes", |stop| async move {
            let mut updates = store.watch(Interest::none().kinds([Kind::Node]));
            let mut keys = BTreeMap::new();
            loop {
                tokio::select! { biased; // stopping comes first
                    () = stop.cancelled() => return Ok::<_, StoreError>(()),
                    update = updates.next() => drop(update),
                }
                let view = store.view();
                for node in view.all::<Node>().filter(|node| !down.contains(&node.id)) {
                    react(&env, &store, &mut keys, node).await;
                }
            }
        });
        crew
    }

    /// A root that is to be the cluster's from now on, whatever was wanted before.
    async fn want(&self) -> RootCa {
        let next = RootCa::create(&SystemKeys, &self.env).unwrap();
        loop {
            let view = self.store.view();
            let root_ca = &view.cluster().unwrap().root_ca;
            let trusted = RootCa::from_pem(std::str::from_utf8(&root_ca.ca_cert).unwrap(), self.env.now()).unwrap();
            let key = KeyPair::from_pem(std::str::from_utf8(&root_ca.ca_key).unwrap()).unwrap();
            let crossed = trusted.with_key(key, &self.env).unwrap().cross_sign(next.bundle()).unwrap();
            let rotation = wire::RootRotation {
                ca_cert: next.bundle().to_owned().into(),
                ca_key: pem(&next),
                cross_signed_ca_cert: crossed.into(),
            };
            // As in an update of the settings: of that cluster, or not at all.
            let mut cluster = Cluster::clone(view.cluster().unwrap());
            Arc::make_mut(&mut cluster.root_ca).root_rotation = Some(rotation);
            match self.store.update(|tx| tx.update(cluster).map(drop)).await {
                Ok(_) => return next,
                Err(error) => assert_eq!(error, StoreError::OutOfSequence),
            }
        }
    }

    async fn until(&self, holds: impl Fn(&wire::RootCa) -> bool) {
        let mut updates = self.store.watch(Kind::Cluster);
        let wait = async { while !holds(&updates.next().await.unwrap().view().cluster().unwrap().root_ca) {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("in time");
    }

    async fn replaced_by(&self, root: &RootCa) {
        self.until(|stored| stored.root_rotation.is_none() && stored.ca_cert == root.bundle().as_bytes()).await;
        let view = self.store.view();
        let stored = &view.cluster().unwrap().root_ca;
        assert_eq!((&stored.ca_key, &stored.ca_cert_hash), (&pem(root), &root.digest().to_string()));
        let tokens = stored.join_tokens.clone().unwrap();
        assert_eq!(JoinToken::parse(&tokens.worker).unwrap().digest(), root.digest());
        for node in view.all::<Node>() {
            let told = node.description.as_ref().unwrap().tls_info.clone().unwrap();
            assert_eq!(told.cert_issuer_public_key, root.issuer_info().public_key, "{}", node.id);
        }
    }
}

fn pem(root: &RootCa) -> bytes::Bytes {
    root.signing_key().unwrap().to_pem().as_bytes().to_vec().into()
}

fn request() -> (KeyPair, String) {
    let key = SystemKeys.generate().unwrap();
    let request = key.request().unwrap();
    (key, request)
}

/// What a node does about what it is told: it asks for another certificate, and tells who has signed the one it gets.
async fn react(env: &Env, store: &Store, keys: &mut BTreeMap<NodeId, (String, Arc<KeyPair>)>, node: &Node) {
    let state = node.certificate.status.as_ref().map_or(State::Unknown, wire::IssuanceStatus::state);
    let id = node.id.clone();
    match (state, keys.get(&node.id)) {
        (State::Rotate, _) => {
            let (key, csr) = request();
            keys.insert(id.clone(), (csr.clone(), Arc::new(key)));
            let status = Some(wire::IssuanceStatus { state: State::Renew.into(), err: String::new() });
            let ask = |node: &mut Node| {
                node.certificate.csr = csr.into();
                node.certificate.status = status;
            };
            // A node that is gone asks for nothing.
            let _ = store.update(|tx| tx.edit::<Node>(&id, ask).map(drop)).await;
        }
        (State::Issued, Some((csr, key))) if node.certificate.csr == csr.as_bytes() => {
            let chain = std::str::from_utf8(&node.certificate.certificate).unwrap();
            let certificate = NodeCertificate::new(chain, key.clone()).expect("made for the key that was asked with");
            let Some(tls_info) = signer(env, store, &certificate) else { return };
            let description = wire::NodeDescription { tls_info: Some(tls_info), ..Default::default() };
            if node.description.as_deref() != Some(&description) {
                let tell = |node: &mut Node| node.description = Some(Arc::new(description));
                let _ = store.update(|tx| tx.edit::<Node>(&id, tell).map(drop)).await;
            }
        }
        _ => {}
    }
}

/// Who has signed a certificate, as a node tells it that trusts what the cluster trusts.
fn signer(env: &Env, store: &Store, certificate: &NodeCertificate) -> Option<wire::NodeTlsInfo> {
    let view = store.view();
    let root_ca = &view.cluster()?.root_ca;
    let trusted = RootCa::from_pem(std::str::from_utf8(&root_ca.ca_cert).unwrap(), env.now()).unwrap();
    let issuer = certificate.verify(&trusted, Expiry::Enforced, env.now()).ok()?;
    Some(wire::NodeTlsInfo {
        trust_root: root_ca.ca_cert.clone(),
        cert_issuer_subject: issuer.subject.into(),
        cert_issuer_public_key: issuer.public_key.into(),
    })
}

async fn end(crew: Crew) {
    crew.stop().cancel();
    crew.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_nobody_saw_begin_is_carried_out_by_the_first_leader() {
    let world = World::new(40).await;
    let next = world.want().await;
    let nodes = world.live(&[]);
    let leader = world.lead();
    world.replaced_by(&next).await;
    end(leader).await;
    end(nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_laggard_that_is_removed_and_a_node_that_comes_meanwhile_do_not_keep_it_from_ending() {
    let world = World::new(5).await;
    let (leader, nodes) = (world.lead(), world.live(&["n03"]));
    let next = world.want().await;
    let others_told = |view: &swarmkit_store::View| {
        view.all::<Node>().filter(|node| node.id.as_str() != "n03").all(|node| {
            node.description
                .as_ref()
                .and_then(|told| told.tls_info.as_ref())
                .is_some_and(|told| told.cert_issuer_public_key == next.issuer_info().public_key)
        })
    };
    world.add("late", State::Pending).await;
    // Its first session, with which it comes to be known.
    let rotate = Some(wire::IssuanceStatus { state: State::Rotate.into(), err: String::new() });
    let id = NodeId::from("late");
    world.store.update(|tx| tx.edit::<Node>(&id, |node| node.certificate.status = rotate).map(drop)).await.unwrap();
    let mut updates = world.store.watch(Interest::none().kinds([Kind::Node]));
    let turned = async { while !others_told(updates.next().await.unwrap().view()) {} };
    tokio::time::timeout(PATIENCE, turned).await.expect("in time");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let view = world.store.view();
    assert!(view.cluster().unwrap().root_ca.root_rotation.is_some(), "one is waited for");
    assert_eq!(view.cluster().unwrap().root_ca.ca_cert, world.first.bundle().as_bytes());
    let laggard = NodeId::from("n03");
    world.store.update(|tx| tx.delete::<Node>(&laggard).map(drop)).await.unwrap();
    world.replaced_by(&next).await;
    end(leader).await;
    end(nodes).await;
}

#[tokio::test(start_paused = true)]
async fn ten_rotations_in_a_row_under_leaders_that_overlap_end_at_the_last_root() {
    let world = World::new(6).await;
    let nodes = world.live(&[]);
    let leaders = [world.lead(), world.lead()];
    let mut last = world.first.clone();
    for round in 0..10_u64 {
        last = world.want().await;
        // Some are given up at once, some on the way, and some come to be.
        tokio::time::sleep(Duration::from_millis(round * round * 10)).await;
    }
    world.replaced_by(&last).await;
    for leader in leaders {
        end(leader).await;
    }
    end(nodes).await;
}
