//! Renewal against a real authority, over pipes, in paused time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use swarmkit_api::{Cluster, ClusterId, Node, NodeId, NodeRole, wire};
use swarmkit_ca::{Identity, KeySource as _, LEAF_VALIDITY_MIN, NodeCertificate, RootCa, SystemKeys};
use swarmkit_issuer::CaApi;
use swarmkit_rpc::{Authority, ChannelOptions, MemoryNetwork, Remote, ServerOptions, Services, Transport as _, serve};
use swarmkit_runtime::{Clock, Crew};
use swarmkit_store::Store;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

const ADDRESS: &str = "m:1";
const MINUTE: Duration = Duration::from_secs(60);

/// A cluster whose certificates live for an hour, and a worker of it that was just given one.
struct World {
    env: Env,
    store: Store,
    network: MemoryNetwork,
    _dir: TempDir,
    own: Identity,
    credentials: Credentials,
    keys: KeyStore,
    remotes: Remotes,
    membership: watch::Sender<Membership>,
    crew: Crew,
}

impl World {
    /// Nobody listens, signs or renews yet.
    async fn new() -> Self {
        let env = swarmkit_testing::env();
        let root = RootCa::create(&SystemKeys, &env).unwrap();
        let store = Store::local(env.clone());
        let own = Identity::new("w".into(), NodeRole::Worker, "c".into());
        let (cluster, node) = (cluster(&own.cluster, &root), swarmkit_testing::node("w").build());
        store.update(|tx| tx.create(cluster).and_then(|_| tx.create(node))).await.unwrap();
        let key = SystemKeys.generate().unwrap();
        let chain = root.issue(&key.request().unwrap(), &own, LEAF_VALIDITY_MIN, &env).unwrap();
        let certificate = NodeCertificate::new(&chain, key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path());
        keys.save_node(&certificate).unwrap();
        let credentials = Credentials::new(root.without_signer(), certificate, &env).unwrap();
        let remotes = Remotes::new([Remote { node: None, address: ADDRESS.to_owned() }], &env);
        Self {
            env,
            store,
            network: MemoryNetwork::default(),
            _dir: dir,
            own,
            credentials,
            keys,
            remotes,
            membership: watch::Sender::default(),
            crew: Crew::under(&CancellationToken::new()),
        }
    }

    /// Certificates can be asked for from now on.
    async fn serve(&mut self) {
        let own = Identity::new("m".into(), NodeRole::Manager, self.own.cluster.clone());
        let ca = CaApi::new(self.env.clone(), self.store.clone(), self.crew.stop().clone());
        let services =
            Services::new(Authority::fixed(own.clone())).with(wire::node_ca_server::NodeCaServer::new(ca)).unwrap();
        let listener = self.network.transport(Some(own)).listen(ADDRESS).await.unwrap();
        let spawner = self.crew.spawner();
        drop(spawner.spawn("server", serve(listener, services, ServerOptions::default(), spawner.clone())));
    }

    /// Certificates are made from now on.
    fn sign(&mut self) {
        let (env, store) = (self.env.clone(), self.store.clone());
        self.crew.spawn("issuer", |stop| swarmkit_issuer::run(env, store, stop));
    }

    fn renew(&mut self) {
        let transport = Arc::new(self.network.transport(Some(self.own.clone())));
        let renewal = Renewal {
            env: self.env.clone(),
            credentials: self.credentials.clone(),
            keys: self.keys.clone(),
            remotes: self.remotes.clone(),
            channels: Channels::new(transport, ChannelOptions::default(), self.crew.spawner()),
            membership: self.membership.subscribe(),
        };
        self.crew.spawn("renewal", |stop| renewal.run(stop));
    }

    /// Waits for another certificate, and gives how long that took.
    async fn renewed(&self) -> Duration {
        let begin = Instant::now();
        let mut changes = self.credentials.subscribe();
        changes.changed().await.unwrap();
        begin.elapsed()
    }

    /// Lets the session say what the store has of this node.
    fn tell(&self, state: State) {
        let mut node = Node::clone(self.store.view().get(&NodeId::from("w")).unwrap());
        node.certificate.status = Some(wire::IssuanceStatus { state: state.into(), err: String::new() });
        self.membership.send_modify(|membership| membership.node = Some(Arc::new(node)));
    }

    fn expiry(&self) -> SystemTime {
        self.credentials.trust().certificate().validity().not_after
    }

    async fn end(self) -> Duration {
        let begin = Instant::now();
        self.crew.stop().cancel();
        self.crew.finish().await.unwrap();
        begin.elapsed()
    }
}

fn cluster(id: &ClusterId, root: &RootCa) -> Cluster {
    let mut cluster = Cluster::new(id.clone());
    let node_cert_expiry = LEAF_VALIDITY_MIN.try_into().ok();
    cluster.spec = Arc::new(wire::ClusterSpec {
        annotations: Some(swarmkit_testing::named("default")),
        ca_config: Some(wire::CaConfig { node_cert_expiry, ..Default::default() }),
        ..Default::default()
    });
    cluster.root_ca = Arc::new(wire::RootCa {
        ca_key: root.signing_key().unwrap().to_pem().as_bytes().to_vec().into(),
        ca_cert: root.bundle().to_owned().into(),
        ..Default::default()
    });
    cluster
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
    assert!(world.expiry() > world.env.now());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_renewal_that_hangs_or_rests() {
    let mut world = World::new().await;
    world.serve().await;
    world.renew();
    world.tell(State::Rotate);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = world.store.view().get::<Node>(&NodeId::from("w")).unwrap().certificate.clone();
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
