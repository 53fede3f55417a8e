//! Renewal against a real authority, over pipes, in paused time.

mod roots;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use swarmkit_api::{Cluster, Node, NodeId, NodeRole, Version, wire, wire::node_ca_server::NodeCaServer};
use swarmkit_ca::{Error as CaError, Identity, ManagerLock, UnlockKey};
use swarmkit_issuer::CaApi;
use swarmkit_rpc::{Remote, Services};
use swarmkit_runtime::Clock;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::testing::{ADDRESS, Authority, Server, identity};

const MINUTE: Duration = Duration::from_secs(60);

/// A worker that was just given a certificate for an hour, and the authority of its cluster.
struct World {
    authority: Authority,
    server: Option<Server>,
    dir: TempDir,
    own: Identity,
    credentials: Credentials,
    keys: KeyStore,
    remotes: Remotes,
    here: watch::Sender<Option<Channel>>,
    locked: Arc<Notify>,
    membership: watch::Sender<Membership>,
    asked: Arc<Notify>,
}

impl World {
    /// Nobody listens, signs or renews yet.
    async fn new() -> Self {
        let authority = Authority::new().await;
        let own = identity("w", NodeRole::Worker);
        let node = swarmkit_testing::node("w").build();
        authority.store.update(|tx| tx.create(node)).await.unwrap();
        let certificate = authority.certificate(&own);
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path(), &authority.env);
        keys.save_node(&certificate).unwrap();
        let root = authority.root.without_signer();
        Self {
            credentials: Credentials::new(root, certificate, &authority.env).unwrap(),
            remotes: Remotes::new([Remote { node: None, address: ADDRESS.to_owned() }], &authority.env),
            authority,
            server: None,
            dir,
            own,
            keys,
            here: watch::Sender::default(),
            locked: Arc::default(),
            membership: watch::Sender::default(),
            asked: Arc::default(),
        }
    }

    /// A manager is there from now on.
    async fn serve(&mut self) {
        self.server = Some(self.authority.serve().await);
    }

    /// And makes certificates.
    fn sign(&self) {
        self.authority.sign();
    }

    fn renew(&mut self) {
        let transport = Arc::new(self.authority.network.transport(Some(self.own.clone())));
        let network = self.authority.network.clone();
        let renewal = Renewal {
            env: self.authority.env.clone(),
            credentials: self.credentials.clone(),
            keys: self.keys.clone(),
            remotes: self.remotes.clone(),
            here: self.here.subscribe(),
            locked: self.locked.clone(),
            spawner: self.authority.spawner(),
            as_manager: Box::new(move |shown| {
                Arc::new(network.transport(Some(shown.identity()))) as Arc<dyn Transport>
            }),
            channels: Channels::new(transport, ChannelOptions::default(), self.authority.spawner()),
            membership: self.membership.subscribe(),
            asked: self.asked.clone(),
        };
        self.authority.crew.spawn("renewal", |stop| renewal.run(stop));
    }

    /// Waits for another certificate, and gives how long that took.
    async fn renewed(&self) -> Duration {
        let begin = Instant::now();
        let mut changes = self.credentials.subscribe();
        changes.changed().await.unwrap();
        begin.elapsed()
    }

    fn stored(&self) -> Node {
        self.authority.store.view().get::<Node>(&NodeId::from("w")).unwrap().as_ref().clone()
    }

    /// Lets the session say what the store has of this node.
    fn tell(&self, state: State) {
        let mut node = self.stored();
        node.certificate.status = Some(wire::IssuanceStatus { state: state.into(), err: String::new() });
        self.membership.send_modify(|membership| membership.node = Some(Arc::new(node)));
    }

    /// Gives the node another role, in the store and in the session.
    async fn change_role(&self, role: NodeRole) {
        let id = NodeId::from("w");
        self.authority.store.update(|tx| tx.edit::<Node>(&id, |node| node.role = role)).await.unwrap();
        self.tell(State::Issued);
    }

    fn expiry(&self) -> SystemTime {
        self.credentials.trust().certificate().validity().not_after
    }

    /// Ends everything, and gives how long that took.
    async fn end(self) -> Duration {
        let begin = Instant::now();
        self.authority.crew.stop().cancel();
        self.authority.crew.finish().await.unwrap();
        let took = begin.elapsed();
        if let Some(server) = self.server {
            server.end().await;
        }
        took
    }
}

#[tokio::test(start_paused = true)]
async fn the_node_itself_may_ask_for_another_certificate_and_gets_the_role_of_that_moment() {
    let mut world = World::new().await;
    world.serve().await;
    world.sign();
    world.renew();
    let id = NodeId::from("w");
    world.authority.store.update(|tx| tx.edit::<Node>(&id, |node| node.role = NodeRole::Manager)).await.unwrap();
    world.asked.notify_one();
    assert!(world.renewed().await < Duration::from_secs(5));
    assert_eq!(world.credentials.identity().role, NodeRole::Manager, "nobody had told it");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_between_50_and_80_percent_of_its_life_again_and_again() {
    let mut world = World::new().await;
    world.serve().await;
    world.sign();
    world.renew();
    for _ in 0..5 {
        let before = world.expiry();
        // It counts from an hour ago until in an hour, so half of its life is over when it is made.
        let waited = world.renewed().await;
        assert!(waited <= MINUTE * 37, "{waited:?}");
        assert!(world.expiry() > before);
        assert_eq!(world.credentials.identity(), world.own);
        let kept = world.keys.load_node().unwrap();
        assert_eq!(kept.chain_pem(), world.credentials.trust().certificate().chain_pem());
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_answered_soon_and_once() {
    let mut world = World::new().await;
    world.serve().await;
    world.sign();
    world.tell(State::Issued);
    world.renew();
    let before = world.credentials.trust().generation();
    world.tell(State::Rotate);
    world.tell(State::Rotate);
    let waited = world.renewed().await;
    assert!((WISH_PAUSE..WISH_PAUSE + Duration::from_millis(100)).contains(&waited), "{waited:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.credentials.trust().generation(), before + 1, "one wish, one certificate");

    world.tell(State::Issued);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.credentials.trust().generation(), before + 1);
    world.tell(State::Rotate);
    assert!(world.renewed().await < Duration::from_secs(1), "another wish, another certificate");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_managers_it_is_tried_less_and_less_often_and_succeeds_when_one_is_back() {
    let mut world = World::new().await;
    world.sign();
    world.renew();
    world.tell(State::Rotate);
    let mut changes = world.credentials.subscribe();
    tokio::time::sleep(MINUTE * 60 * 12).await;
    assert!(!changes.has_changed().unwrap(), "nobody is there");
    world.serve().await;
    changes.changed().await.unwrap();
    // The certificate had run out long ago; on this network that is no obstacle.
    assert!(world.expiry() > world.authority.env.now());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_renewal_that_hangs_or_rests() {
    let mut world = World::new().await;
    world.serve().await;
    world.renew();
    world.tell(State::Rotate);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = world.stored().certificate;
    assert_eq!(asked.status.unwrap().state(), State::Renew, "it has asked, and waits for the outcome");
    let kept = world.keys.load_node().unwrap().chain_pem();
    assert_eq!(kept, world.credentials.trust().certificate().chain_pem());
    assert_eq!(world.end().await, Duration::ZERO);

    let mut world = World::new().await;
    world.renew();
    world.tell(State::Rotate);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.end().await, Duration::ZERO);
}

/// A clock that goes as tokio's does, and can be set forward.
#[derive(Clone)]
struct Wall(Instant, Arc<AtomicU64>);

impl Clock for Wall {
    fn now(&self) -> SystemTime {
        let set_forward = Duration::from_secs(self.1.load(Ordering::Relaxed));
        SystemTime::UNIX_EPOCH + self.0.elapsed() + set_forward
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_of_day_is_waited_for_also_when_the_clock_is_set() {
    let day = MINUTE * 60 * 24;
    let wall = Wall(Instant::now(), Arc::default());
    let env = Env::seeded(1, wall.clone());
    let begin = Instant::now();
    let at = env.now() + day;
    until(&env, at).await;
    assert_eq!(begin.elapsed(), day);
    until(&env, at).await;
    assert_eq!(begin.elapsed(), day, "what has passed is not waited for");

    let at = env.now() + day;
    let set = async {
        tokio::time::sleep(MINUTE * 10).await;
        wall.1.store(2 * day.as_secs(), Ordering::Relaxed);
    };
    tokio::join!(until(&env, at), set);
    assert!(begin.elapsed() <= day + LOOK_AGAIN, "noticed within the hour");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_gets_another_role_has_the_certificate_for_it_soon_and_keeps_its_name() {
    let mut world = World::new().await;
    world.serve().await;
    world.sign();
    world.tell(State::Issued);
    world.renew();
    for role in [NodeRole::Manager, NodeRole::Worker, NodeRole::Manager] {
        world.change_role(role).await;
        let waited = world.renewed().await;
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        let own = world.credentials.identity();
        assert_eq!((own.node.as_str(), own.role), ("w", role));
        assert_eq!(world.keys.load_node().unwrap().identity().role, role, "on disk too");
    }
    let generation = world.credentials.trust().generation();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.credentials.trust().generation(), generation, "what has its role is left alone");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_desired_role_is_not_acted_on_before_the_cluster_has_made_it_the_nodes_own() {
    let mut world = World::new().await;
    world.serve().await;
    world.sign();
    world.renew();
    let mut node = world.stored();
    Arc::make_mut(&mut node.spec).desired_role = NodeRole::Manager.into();
    world.membership.send_modify(|membership| membership.node = Some(Arc::new(node)));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.credentials.trust().generation(), 0);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn news_of_a_role_end_the_pause_after_failures() {
    let mut world = World::new().await;
    world.sign();
    world.renew();
    world.tell(State::Rotate);
    tokio::time::sleep(MINUTE * 60 * 12).await;
    world.serve().await;
    world.change_role(NodeRole::Manager).await;
    let waited = world.renewed().await;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn managers_that_are_gone_are_passed_over_within_one_attempt() {
    let mut world = World::new().await;
    world.serve().await;
    world.sign();
    for gone in ["gone:1", "gone:2"] {
        world.remotes.observe(Remote { node: None, address: gone.to_owned() }, OBSERVATION_DEFAULT);
    }
    world.renew();
    world.tell(State::Rotate);
    let waited = world.renewed().await;
    assert!(waited < RETRY.0, "{waited:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_had_been_in_clear_before_it_was_locked_is_replaced_at_once() {
    let mut world = World::new().await;
    world.serve().await;
    world.sign();
    world.renew();
    let before = world.credentials.trust().certificate().key().public_key();
    world.locked.notify_one();
    let waited = world.renewed().await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert_ne!(world.credentials.trust().certificate().key().public_key(), before);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.credentials.trust().generation(), 1, "once");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_due_to_a_lock_is_made_by_the_next_life_if_the_last_one_was_cut_off() {
    let mut world = World::new().await;
    let env = world.authority.env.clone();
    let certificate = world.authority.certificate(&identity("w", NodeRole::Manager));
    let lock = ManagerLock { version: Version(3), key: Some(UnlockKey::generate(&env)) };
    world.keys.save_node(&certificate).unwrap();
    world.keys.set_lock(&lock).unwrap();
    world.serve().await;
    world.sign();
    world.renew();
    let waited = world.renewed().await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert!(!world.keys.needs_renewal().unwrap());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_becomes_a_manager_of_a_locked_cluster_is_locked_with_its_first_certificate() {
    let mut world = World::new().await;
    let unlock = UnlockKey::generate(&world.authority.env);
    let (id, key) = ("c".into(), unlock.as_bytes().to_vec().into());
    let lock = |cluster: &mut Cluster| {
        let spec = Arc::make_mut(&mut cluster.spec);
        spec.encryption_config = Some(wire::EncryptionConfig { auto_lock_managers: true });
        cluster.unlock_keys =
            vec![wire::EncryptionKey { subsystem: "swarm-manager".to_owned(), key, ..Default::default() }];
    };
    world.authority.store.update(|tx| tx.edit::<Cluster>(&id, lock)).await.unwrap();
    world.serve().await;
    world.sign();
    world.renew();
    let on_disk =
        |key: Option<UnlockKey>| KeyStore::new(world.dir.path(), &world.authority.env).with_unlock_key(key).load_node();
    assert!(on_disk(None).is_ok(), "a worker is not locked");
    world.change_role(NodeRole::Manager).await;
    world.renewed().await;
    assert!(matches!(on_disk(None), Err(CaError::Locked)));
    assert_eq!(on_disk(Some(unlock.clone())).unwrap().identity().role, NodeRole::Manager);

    world.change_role(NodeRole::Worker).await;
    world.renewed().await;
    assert_eq!(on_disk(None).unwrap().identity().role, NodeRole::Worker, "and is not any more");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_reaches_nobody_is_renewed_by_itself_also_after_its_time() {
    let mut world = World::new().await;
    world.sign();
    world.renew();
    world.tell(State::Rotate);
    // Its certificate has run out long ago, and no connection is to be had.
    tokio::time::sleep(MINUTE * 60 * 12).await;
    assert!(world.expiry() < world.authority.env.now());
    let (env, store) = (world.authority.env.clone(), world.authority.store.clone());
    let ca = NodeCaServer::new(CaApi::new(env, store, world.authority.crew.stop().clone()));
    let services = Services::new(swarmkit_rpc::Authority::fixed(world.own.clone())).with(ca).unwrap();
    world.here.send_replace(Some(Channel::here(&services)));
    let waited = world.renewed().await;
    assert!(waited <= RETRY.1, "{waited:?}");
    assert!(world.expiry() > world.authority.env.now());
    world.end().await;
}
