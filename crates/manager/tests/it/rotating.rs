//! A hundred nodes, three managers, and a root of trust that is replaced under them.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};

use swarmkit_api::{Cluster, Node, NodeRole, Object as _, wire};
use swarmkit_ca::{Credentials, JoinToken, RootCa};
use swarmkit_issuer::Progress;
use swarmkit_store::View;

use crate::{
    group::{Seat, cluster, leader},
    turning::Turning,
    world::{Callers, PATIENCE, Running, in_time, until},
};

/// All of them, managers included.
const NODES: usize = 100;
/// Those that are down when it begins.
const DOWN: [&str; 5] = ["w10", "w20", "w30", "w40", "w50"];

struct World {
    seats: Vec<Seat>,
    callers: Arc<Callers>,
    nodes: BTreeMap<String, Turning>,
}

impl World {
    async fn new() -> Self {
        let seats = cluster(&["m2", "m3"]).await;
        let callers = Arc::new(seats[0].machine.callers());
        let workers: Vec<_> = (0..NODES - seats.len()).map(|number| format!("w{number}")).collect();
        let store = seats[leader(&seats).await].manager().store();
        store
            .update(|tx| {
                workers.iter().try_for_each(|name| tx.create::<Node>(swarmkit_testing::node(name).build()).map(drop))
            })
            .await
            .unwrap();
        let mut world = Self { seats, callers, nodes: BTreeMap::new() };
        for name in ["m", "m2", "m3"] {
            world.start(name, NodeRole::Manager, None);
        }
        for name in workers.iter().filter(|name| !DOWN.contains(&name.as_str())) {
            world.start(name, NodeRole::Worker, None);
        }
        world
    }

    fn start(&mut self, name: &str, role: NodeRole, before: Option<Credentials>) {
        let managers: Vec<_> = self.seats.iter().map(|seat| seat.machine.address()).collect();
        let node = Turning::start(&self.seats[0].machine, name, role, &managers, &self.callers, before);
        self.nodes.insert(name.to_owned(), node);
    }

    async fn leader(&self) -> &Running {
        self.seats[leader(&self.seats).await].manager()
    }

    async fn view(&self) -> View {
        self.leader().await.store().view()
    }

    /// Changes what is wanted of the root, as an operator does who tries again.
    async fn want(&self, change: impl Fn(&mut wire::CaConfig)) {
        let attempts = async {
            loop {
                let manager = self.leader().await;
                let view = manager.store().view();
                let cluster = view.cluster().unwrap();
                let mut spec = cluster.spec.as_ref().clone();
                change(spec.ca_config.get_or_insert_default());
                let request = wire::UpdateClusterRequest {
                    cluster_id: cluster.id.to_string(),
                    cluster_version: Some(cluster.meta.version.into()),
                    spec: Some(spec),
                    rotation: None,
                };
                match manager.control().update_cluster(request).await {
                    Ok(_) => return,
                    Err(status) => assert!(status.message().contains("out of sequence"), "{status}"),
                }
            }
        };
        in_time(attempts).await;
    }

    /// Waits until so many nodes have turned, or more, and gives how far it has got.
    async fn turned(&self, count: usize) -> Progress {
        let store = self.leader().await.store();
        until(store, |view| progress(view).is_some_and(|progress| progress.converged >= count)).await;
        progress(&store.view()).unwrap()
    }

    /// Waits until the root has been replaced, and every node that lives trusts the next one.
    async fn replaced(&self, by: &str) {
        until(self.leader().await.store(), |view| {
            let root_ca = &view.cluster().unwrap().root_ca;
            root_ca.root_rotation.is_none() && root_ca.ca_cert == by.as_bytes()
        })
        .await;
        for (name, node) in &self.nodes {
            let mut changes = node.credentials.subscribe();
            let follows = tokio::time::timeout(PATIENCE, changes.wait_for(|trust| trust.root().bundle() == by)).await;
            assert!(follows.is_ok(), "{name} does not follow: {:?}", node.credentials.trust().certificate().identity());
        }
    }
}

fn progress(view: &View) -> Option<Progress> {
    let nodes: Vec<_> = view.all::<Node>().map(|node| node.to_wire()).collect();
    Progress::of(&view.cluster()?.to_wire(), &nodes)
}

fn target(cluster: &Cluster) -> Option<String> {
    let rotation = cluster.root_ca.root_rotation.as_ref()?;
    Some(String::from_utf8(rotation.ca_cert.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_hundred_nodes_get_another_root_although_the_leader_changes_and_somebody_changes_their_mind() {
    let mut world = World::new().await;
    let first = world.seats[0].machine.root.clone();
    let before = world.view().await.cluster().unwrap().root_ca.clone();

    // It begins, and goes on under another leader as far as it can get.
    world.want(|config| config.force_rotate += 1).await;
    world.turned(20).await;
    world.leader().await.handle.hand_over().await.unwrap();
    let living = NODES - DOWN.len();
    let got = world.turned(living).await;
    assert_eq!((got.converged, got.total()), (living, NODES));
    let mut missing: Vec<_> = got.waiting.iter().chain(&got.down).map(|laggard| laggard.name().to_owned()).collect();
    missing.sort();
    assert_eq!(missing, DOWN);
    let given_up = target(world.view().await.cluster().unwrap()).expect("those who are down are waited for");
    for node in world.nodes.values() {
        assert_eq!(node.root(), first.bundle(), "trust stays until everybody has turned");
    }

    // Somebody thinks better of it.
    let key = first.signing_key().unwrap().to_pem();
    world
        .want(|config| {
            config.signing_ca_cert = first.bundle().to_owned().into();
            config.signing_ca_key = key.as_bytes().to_vec().into();
        })
        .await;
    let at_rest = world.view().await.cluster().unwrap().root_ca.clone();
    assert_eq!((&at_rest.root_rotation, &at_rest.join_tokens), (&None, &before.join_tokens));

    // And wants another one after all.
    world.want(|config| config.force_rotate += 1).await;
    let wanted = target(world.view().await.cluster().unwrap()).expect("it has begun");
    assert_ne!(wanted, given_up);
    let got = world.turned(living).await;
    assert_eq!(got.converged, living, "who had turned to the root that was given up has turned again");

    // One that is down is removed, the others come back.
    let (removed, back) = DOWN.split_first().unwrap();
    let request = wire::RemoveNodeRequest { node_id: (*removed).to_owned(), force: true };
    world.leader().await.control().remove_node(request).await.unwrap();
    for name in back {
        assert!(target(world.view().await.cluster().unwrap()).is_some(), "one is waited for");
        world.start(name, NodeRole::Worker, None);
    }
    world.replaced(&wanted).await;

    let view = world.view().await;
    let root_ca = view.cluster().unwrap().root_ca.clone();
    let root = RootCa::from_pem(&wanted, world.seats[0].machine.env.now()).unwrap();
    assert_eq!((root_ca.ca_cert_hash.as_str(), root_ca.last_forced_rotation), (root.digest().to_string().as_str(), 2));
    let (old, new) = (before.join_tokens.clone().unwrap(), root_ca.join_tokens.clone().unwrap());
    for (old, new) in [(old.worker, new.worker), (old.manager, new.manager)] {
        assert_ne!(old, new);
        assert_eq!(JoinToken::parse(&new).unwrap().digest(), root.digest());
    }
    for (name, node) in &world.nodes {
        assert_eq!(node.credentials.trust().issuer(), root.issuer_info(), "{name}");
        // Once for each of the two roots that were under way, and once more where the leader changed in between.
        assert!(node.asked.load(Ordering::Relaxed) <= 4, "{name} was told again and again");
    }
    drop(world.nodes);
    for seat in &mut world.seats {
        seat.end().await;
    }
}
