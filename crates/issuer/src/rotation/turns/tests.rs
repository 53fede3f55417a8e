//! A cluster that is to have another root, and whose turn it is.

use proptest::prelude::*;
use swarmkit_api::{ClusterId, Kind, NodeId, wire, wire::issuance_status::State as Certificate};
use swarmkit_ca::{RootCa, SystemKeys};
use swarmkit_store::{Interest, Store, Watch};
use swarmkit_testing::NodeBuilder;

use super::*;

/// A leader that follows a store.
struct World {
    store: Store,
    updates: Watch,
    turns: Turns,
    roots: Vec<RootCa>,
    now: Instant,
}

/// The roots of these stories: the present one, the next one, and one after that.
const OLD: usize = 0;
const NEXT: usize = 1;
const OTHER: usize = 2;

impl World {
    /// A cluster that trusts the old root and is on its way nowhere.
    async fn at_rest() -> Self {
        let env = swarmkit_testing::env();
        let store = Store::local(env.clone());
        let roots: Vec<_> = (0..3).map(|_| RootCa::create(&SystemKeys, &env).unwrap()).collect();
        let mut cluster = swarmkit_testing::cluster();
        cluster.root_ca = root(&roots, None);
        store.update(|tx| tx.create(cluster).map(drop)).await.unwrap();
        let updates = store.watch(Interest::none().kinds([Kind::Node, Kind::Cluster]));
        Self { store, updates, turns: Turns::default(), roots, now: Instant::now() }
    }

    /// The same, on its way to the next root.
    async fn rotating() -> Self {
        let world = Self::at_rest().await;
        world.aim(Some(NEXT)).await;
        world
    }

    async fn aim(&self, at: Option<usize>) {
        let root_ca = root(&self.roots, at);
        let id = self.store.view().cluster().unwrap().id.clone();
        self.store.update(|tx| tx.edit::<Cluster>(&id, |cluster| cluster.root_ca = root_ca).map(drop)).await.unwrap();
    }

    /// A node that tells of a certificate by one of the roots, or of none.
    fn node(&self, id: &str, by: Option<usize>, state: Certificate) -> NodeBuilder {
        let tls_info = by.map(|root| tells(&self.roots[root]));
        swarmkit_testing::node(id).ready().description(|description| description.tls_info = tls_info).with(|node| {
            node.certificate.status = Some(wire::IssuanceStatus { state: state.into(), err: String::new() });
        })
    }

    async fn add(&self, id: &str, by: Option<usize>, state: Certificate) {
        let node = self.node(id, by, state).build();
        self.store.update(|tx| tx.create(node).map(drop)).await.unwrap();
    }

    /// So many nodes with a certificate of the old root.
    async fn add_many(&self, prefix: &str, count: usize) {
        for number in 0..count {
            self.add(&format!("{prefix}{number:03}"), Some(OLD), Certificate::Issued).await;
        }
    }

    /// A node is in another state than before.
    async fn becomes(&self, id: &str, by: Option<usize>, state: Certificate) {
        let node = self.node(id, by, state).build();
        let edit = |known: &mut Node| {
            known.description = node.description;
            known.certificate = node.certificate;
        };
        self.store.update(|tx| tx.edit::<Node>(&id.into(), edit).map(drop)).await.unwrap();
    }

    async fn remove(&self, id: &str) {
        self.store.update(|tx| tx.delete::<Node>(&NodeId::from(id)).map(drop)).await.unwrap();
    }

    fn follow(&mut self) {
        while let Some(update) = self.updates.try_next().unwrap() {
            self.turns.absorb(&update, self.now);
        }
    }

    /// What there is to do now.
    fn step(&mut self) -> Step {
        self.follow();
        self.turns.step(&self.store.view(), self.now)
    }

    /// Who is told now. Whoever is told has it written down, as the loop does.
    async fn told(&mut self) -> Vec<String> {
        let Step::Tell(nodes) = self.step() else { return Vec::new() };
        for node in &nodes {
            let rotate = Some(wire::IssuanceStatus { state: Certificate::Rotate.into(), err: String::new() });
            self.store.update(|tx| tx.edit::<Node>(node, |node| node.certificate.status = rotate)).await.unwrap();
        }
        nodes.into_iter().map(String::from).collect()
    }
}

/// What a node tells whose certificate is signed by a root.
fn tells(root: &RootCa) -> wire::NodeTlsInfo {
    wire::NodeTlsInfo {
        trust_root: bytes::Bytes::new(),
        cert_issuer_subject: root.issuer_info().subject.clone().into(),
        cert_issuer_public_key: root.issuer_info().public_key.clone().into(),
    }
}

fn root(roots: &[RootCa], next: Option<usize>) -> Arc<wire::RootCa> {
    let root_rotation =
        next.map(|next| wire::RootRotation { ca_cert: roots[next].bundle().to_owned().into(), ..Default::default() });
    Arc::new(wire::RootCa { ca_cert: roots[OLD].bundle().to_owned().into(), root_rotation, ..Default::default() })
}

#[tokio::test]
async fn whoever_has_a_certificate_of_another_root_or_tells_of_none_is_told_to_renew() {
    let mut world = World::rotating().await;
    world.add("issued", Some(OLD), Certificate::Issued).await;
    world.add("failed", Some(OTHER), Certificate::Failed).await;
    world.add("silent", None, Certificate::Issued).await;
    world.add("turned", Some(NEXT), Certificate::Issued).await;
    assert_eq!(world.told().await, ["failed", "issued", "silent"]);
}

#[tokio::test]
async fn whoever_is_about_to_renew_is_left_alone() {
    let mut world = World::rotating().await;
    for (id, state) in [("renew", Certificate::Renew), ("pending", Certificate::Pending), ("told", Certificate::Rotate)]
    {
        world.add(id, Some(OLD), state).await;
    }
    world.add("turned", Some(NEXT), Certificate::Issued).await;
    assert_eq!(world.step(), Step::Rest(None));
}

#[tokio::test]
async fn so_many_renew_at_a_time_and_who_has_turned_makes_room_at_once() {
    let mut world = World::rotating().await;
    world.add_many("n", AT_ONCE + 5).await;
    assert_eq!(world.told().await.len(), AT_ONCE);
    assert_eq!(world.told().await, Vec::<String>::new(), "there is no room");
    world.becomes("n003", Some(NEXT), Certificate::Issued).await;
    world.becomes("n007", Some(NEXT), Certificate::Issued).await;
    world.remove("n011").await;
    assert_eq!(world.told().await, ["n030", "n031", "n032"]);
}

#[tokio::test]
async fn who_does_not_answer_keeps_its_place_for_a_while_and_holds_up_nobody_after_that() {
    let mut world = World::rotating().await;
    world.add_many("down", AT_ONCE).await;
    assert_eq!(world.told().await.len(), AT_ONCE);
    world.add_many("up", 3).await;
    assert_eq!(world.step(), Step::Rest(Some(world.now + TURN)));
    world.now += TURN;
    assert_eq!(world.told().await, ["up000", "up001", "up002"], "and it is still written down that the others are to");
}

#[tokio::test]
async fn who_can_renew_now_comes_before_who_is_down() {
    let mut world = World::rotating().await;
    for number in 0..AT_ONCE {
        let node = world.node(&format!("a{number:03}"), Some(OLD), Certificate::Issued).down().build();
        world.store.update(|tx| tx.create(node).map(drop)).await.unwrap();
    }
    world.add_many("z", 2).await;
    let told = world.told().await;
    assert_eq!((told[0].as_str(), told[1].as_str(), told.len()), ("z000", "z001", AT_ONCE));
}

#[tokio::test]
async fn who_has_renewed_and_has_the_wrong_signer_still_is_told_again_when_its_turn_is_over() {
    let mut world = World::rotating().await;
    world.add("n", Some(OLD), Certificate::Issued).await;
    assert_eq!(world.told().await, ["n"]);
    world.becomes("n", Some(OLD), Certificate::Issued).await;
    assert_eq!(world.step(), Step::Rest(Some(world.now + TURN)), "it may be about to tell of another one");
    world.now += TURN;
    assert_eq!(world.told().await, ["n"]);
}

#[tokio::test]
async fn who_was_told_long_ago_has_time_to_tell_of_its_certificate_when_it_has_one() {
    let mut world = World::rotating().await;
    world.add("n", Some(OLD), Certificate::Rotate).await;
    assert_eq!(world.step(), Step::Rest(None), "it was told by another leader");
    world.becomes("n", Some(OLD), Certificate::Renew).await;
    world.becomes("n", Some(OLD), Certificate::Issued).await;
    assert_eq!(world.step(), Step::Rest(Some(world.now + TURN)), "it has it, and nobody knows yet");
    world.now += TURN;
    assert_eq!(world.told().await, ["n"]);
}

#[tokio::test]
async fn a_node_that_comes_meanwhile_is_waited_for_and_one_that_goes_is_not() {
    let mut world = World::rotating().await;
    world.add("a", Some(NEXT), Certificate::Issued).await;
    world.add("b", Some(OLD), Certificate::Issued).await;
    assert_eq!(world.told().await, ["b"]);
    world.add("joining", None, Certificate::Pending).await;
    world.becomes("b", Some(NEXT), Certificate::Issued).await;
    assert_eq!(world.step(), Step::Rest(None), "its first certificate is on its way");
    world.becomes("joining", None, Certificate::Issued).await;
    assert_eq!(world.step(), Step::Rest(Some(world.now + TURN)), "it has yet to tell whose that is");
    world.remove("joining").await;
    assert_eq!(world.step(), Step::Finish);
}

#[tokio::test]
async fn it_is_over_when_every_node_tells_of_the_next_root() {
    let mut world = World::rotating().await;
    world.add("a", Some(OLD), Certificate::Issued).await;
    world.add("b", Some(OLD), Certificate::Issued).await;
    assert_eq!(world.told().await.len(), 2);
    world.becomes("a", Some(NEXT), Certificate::Issued).await;
    assert_eq!(world.step(), Step::Rest(Some(world.now + TURN)));
    world.becomes("b", Some(NEXT), Certificate::Issued).await;
    assert_eq!(world.step(), Step::Finish);
}

#[tokio::test]
async fn nodes_are_left_alone_while_the_root_stays() {
    let mut world = World::at_rest().await;
    world.add("old", Some(OLD), Certificate::Issued).await;
    world.add("strange", Some(OTHER), Certificate::Issued).await;
    assert_eq!(world.step(), Step::Rest(None));
    world.becomes("old", None, Certificate::Failed).await;
    assert_eq!(world.step(), Step::Rest(None));
    world.aim(Some(NEXT)).await;
    assert_eq!(world.told().await, ["old", "strange"]);
    world.aim(None).await;
    assert_eq!(world.step(), Step::Rest(None), "given up");
}

#[tokio::test]
async fn on_the_way_to_another_root_everybody_is_waited_for_anew() {
    let mut world = World::rotating().await;
    world.add("a", Some(NEXT), Certificate::Issued).await;
    world.add("b", Some(OLD), Certificate::Issued).await;
    assert_eq!(world.told().await, ["b"]);
    world.aim(Some(OTHER)).await;
    assert_eq!(world.told().await, ["a"], "b is told already, and will get what is wanted then");
}

#[tokio::test]
async fn another_token_or_another_form_of_the_key_changes_nobodys_turn() {
    let mut world = World::rotating().await;
    world.add_many("n", AT_ONCE + 1).await;
    assert_eq!(world.told().await.len(), AT_ONCE);
    let change = |cluster: &mut Cluster| {
        let root_ca = Arc::make_mut(&mut cluster.root_ca);
        root_ca.join_tokens = Some(wire::JoinTokens { worker: "w".into(), manager: "m".into() });
        root_ca.root_rotation.as_mut().unwrap().ca_key = "another".into();
    };
    let id: ClusterId = world.store.view().cluster().unwrap().id.clone();
    world.store.update(|tx| tx.edit::<Cluster>(&id, change).map(drop)).await.unwrap();
    assert_eq!(world.step(), Step::Rest(Some(world.now + TURN)));
    let kept = world.turns.rotation().unwrap().root.clone();
    assert!(Arc::ptr_eq(&kept, &world.store.view().cluster().unwrap().root_ca), "what is compared at the end is new");
}

#[tokio::test]
async fn a_next_root_that_cannot_be_read_is_waited_for_by_nobody() {
    let mut world = World::rotating().await;
    world.add("n", Some(OLD), Certificate::Issued).await;
    let id = world.store.view().cluster().unwrap().id.clone();
    let spoil = |cluster: &mut Cluster| {
        Arc::make_mut(&mut cluster.root_ca).root_rotation.as_mut().unwrap().ca_cert = "nonsense".into();
    };
    world.store.update(|tx| tx.edit::<Cluster>(&id, spoil).map(drop)).await.unwrap();
    assert_eq!(world.step(), Step::Rest(None));
}

/// What may happen to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Aim(Option<usize>),
    Node(u8, Option<usize>),
    Gone(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        proptest::option::of(OLD..=OTHER).prop_map(Event::Aim),
        (0..6_u8, proptest::option::of(OLD..=OTHER)).prop_map(|(id, by)| Event::Node(id, by)),
        (0..6_u8).prop_map(Event::Gone),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn following_what_happens_leads_where_looking_anew_leads(events in proptest::collection::vec(event(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::at_rest().await;
            world.follow();
            for event in events {
                match event {
                    Event::Aim(at) => world.aim(at).await,
                    Event::Node(id, by) => {
                        let id = format!("n{id}");
                        if world.store.view().get::<Node>(&id.as_str().into()).is_some() {
                            world.becomes(&id, by, Certificate::Issued).await;
                        } else {
                            world.add(&id, by, Certificate::Issued).await;
                        }
                    }
                    Event::Gone(id) => {
                        let id = NodeId::from(format!("n{id}"));
                        let _ = world.store.update(|tx| tx.delete::<Node>(&id).map(drop)).await;
                    }
                }
                world.follow();
                let mut anew = Turns::default();
                anew.absorb(&Update::Snapshot(world.store.view()), world.now);
                assert_eq!(world.turns.waiting, anew.waiting);
                assert_eq!(world.turns.rotation.is_some(), anew.rotation.is_some());
            }
        });
    }
}
