//! What is there when a manager begins to lead.

use swarmkit_allocator::{DriverPurpose, InertNetworks, NetworkAllocator, NetworkError, NetworkOptions};
use swarmkit_api::Kind;
use swarmkit_ca::{ManagerLock, RootCa, SystemKeys};

use super::*;

/// A manager on an empty store.
struct World {
    env: Env,
    store: Store,
    own: Identity,
    first: FirstLeader,
    raft: RaftOptions,
}

impl World {
    fn new() -> Self {
        let env = swarmkit_testing::env();
        Self {
            store: Store::local(env.clone()),
            own: Identity::new("n1".into(), NodeRole::Manager, "c1".into()),
            first: FirstLeader {
                root: RootCa::create(&SystemKeys, &env).unwrap(),
                lock: None,
                external_cas: Vec::new(),
                networks: NetworkOptions::default(),
            },
            raft: RaftOptions::default(),
            env,
        }
    }

    fn founding(&self) -> Bootstrap<'_> {
        Bootstrap { first: Some(&self.first), ..self.leading() }
    }

    fn leading(&self) -> Bootstrap<'_> {
        Bootstrap { env: &self.env, own: &self.own, first: None, raft: &self.raft, networks: &InertNetworks }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_leader_writes_the_cluster_with_its_defaults() {
    let world = World::new();
    ensure(&world.store, &world.founding()).await.unwrap();
    let view = world.store.view();
    let cluster = view.cluster().unwrap();
    assert_eq!(cluster.id, world.own.cluster);
    let spec = &cluster.spec;
    assert_eq!(spec.annotations.as_ref().unwrap().name, "default");
    assert_eq!(spec.orchestration.as_ref().unwrap().task_history_retention_limit, 5);
    assert_eq!(spec.dispatcher.as_ref().unwrap().heartbeat_period, Some(Duration { seconds: 5, nanos: 0 }));
    let ca = spec.ca_config.as_ref().unwrap();
    assert_eq!(ca.node_cert_expiry, Some(Duration { seconds: 2160 * 3600, nanos: 0 }));
    assert!(ca.external_cas.is_empty());
    let raft = spec.raft.as_ref().unwrap();
    assert_eq!(
        (raft.snapshot_interval, raft.keep_old_snapshots, raft.log_entries_for_slow_followers),
        (10_000, 0, 500)
    );
    assert_eq!((raft.heartbeat_tick, raft.election_tick), (1, 6), "as many heartbeats as an election waits");
    assert!(!spec.encryption_config.as_ref().is_some_and(|config| config.auto_lock_managers));
    assert!(cluster.unlock_keys.is_empty() && !cluster.fips);
    assert!(cluster.default_address_pool.is_empty() && cluster.subnet_size == 0 && cluster.vxlan_udp_port == 0);

    let root = &cluster.root_ca;
    let digest = world.first.root.digest();
    assert_eq!((root.ca_cert_hash.as_str(), root.ca_cert.is_empty()), (digest.to_string().as_str(), false));
    assert!(!root.ca_key.is_empty(), "it holds the key");
    let tokens = root.join_tokens.as_ref().unwrap();
    assert_ne!(tokens.worker, tokens.manager);
    for token in [&tokens.worker, &tokens.manager] {
        assert!(token.starts_with("SWMTKN-1-"), "{token}");
        assert_eq!(JoinToken::parse(token).unwrap().digest(), digest);
    }
    assert_eq!(cluster.network_bootstrap_keys.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_has_the_address_pools_that_it_was_founded_with_whoever_leads_it() {
    let mut world = World::new();
    let pools = vec!["10.20.0.0/16".to_owned(), "fd12::/48".to_owned()];
    world.first.networks =
        NetworkOptions { default_address_pool: pools.clone(), subnet_size: 26, vxlan_udp_port: 4790 };
    ensure(&world.store, &world.founding()).await.unwrap();
    world.first.networks = NetworkOptions::default();
    ensure(&world.store, &world.founding()).await.unwrap();
    let view = world.store.view();
    let cluster = view.cluster().unwrap();
    assert_eq!((&cluster.default_address_pool, cluster.subnet_size, cluster.vxlan_udp_port), (&pools, 26, 4790));
    assert_eq!(view.get::<Node>(&world.own.node).unwrap().vxlan_udp_port, 4790, "engines take it from their node");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_founded_locked_holds_the_given_key_for_its_managers() {
    let mut world = World::new();
    let key = UnlockKey::generate(&world.env);
    world.first.lock = Some(key.clone());
    ensure(&world.store, &world.founding()).await.unwrap();
    let view = world.store.view();
    let cluster = view.cluster().unwrap();
    assert!(cluster.spec.encryption_config.unwrap().auto_lock_managers);
    let keys: Vec<_> = cluster.unlock_keys.iter().map(|key| (key.subsystem.as_str(), key.key.to_vec())).collect();
    assert_eq!(keys, [("swarm-manager", key.as_bytes().to_vec())]);
    assert_eq!(ManagerLock::of(cluster).unwrap().key, Some(key));
}

#[tokio::test(start_paused = true)]
async fn the_first_leader_writes_its_own_node_and_the_ingress_network() {
    let world = World::new();
    ensure(&world.store, &world.founding()).await.unwrap();
    let view = world.store.view();
    let node = view.get::<Node>(&world.own.node).unwrap();
    assert_eq!((node.role, node.spec.desired_role()), (NodeRole::Manager, NodeRole::Manager));
    assert_eq!((node.spec.membership(), node.spec.availability()), (Membership::Accepted, Availability::Active));
    assert_eq!((node.certificate.cn.as_str(), node.certificate.role()), ("n1", NodeRole::Manager));
    assert_eq!(node.certificate.status.as_ref().unwrap().state(), State::Issued);

    let networks: Vec<_> = view.all::<Network>().collect();
    let [ingress] = networks.as_slice() else { panic!("{networks:?}") };
    assert_eq!(ingress.id.as_str().len(), 25, "a drawn id");
    let spec = &ingress.spec;
    assert_eq!((spec.annotations.as_ref().unwrap().name.as_str(), spec.ingress), ("ingress", true));
    assert_eq!(spec.driver_config, Some(wire::Driver::default()));
    let ipam = spec.ipam.as_ref().unwrap();
    assert_eq!((ipam.driver.clone(), ipam.configs.len()), (Some(wire::Driver::default()), 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_next_makes_nothing_again_that_is_there_or_was_removed() {
    let world = World::new();
    ensure(&world.store, &world.founding()).await.unwrap();
    let version = world.store.version();
    ensure(&world.store, &world.founding()).await.unwrap();
    ensure(&world.store, &world.leading()).await.unwrap();
    assert_eq!(world.store.version(), version, "a cluster that exists is left alone");

    let ingress = world.store.view().all::<Network>().next().unwrap().id.clone();
    world.store.update(|tx| tx.delete::<Network>(&ingress).map(drop)).await.unwrap();
    ensure(&world.store, &world.founding()).await.unwrap();
    assert_eq!(world.store.view().count::<Network>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_its_cluster_does_not_know_is_entered_unless_it_was_removed() {
    let mut world = World::new();
    ensure(&world.store, &world.leading()).await.unwrap();
    assert_eq!(world.store.view().count::<Node>(), 0, "without a cluster there are no nodes");

    let mut cluster = cluster(&world.env, &world.own, &world.first, &world.raft);
    cluster.blacklisted_certificates.insert("n1".to_owned(), wire::BlacklistedCertificate::default());
    world.store.update(|tx| tx.create(cluster.clone()).map(drop)).await.unwrap();
    ensure(&world.store, &world.leading()).await.unwrap();
    assert_eq!(world.store.view().count::<Node>(), 0, "it was removed");

    world.own = Identity::new("n2".into(), NodeRole::Manager, "c1".into());
    ensure(&world.store, &world.leading()).await.unwrap();
    assert_eq!(world.store.view().get::<Node>(&world.own.node).unwrap().role, NodeRole::Manager);
}

/// Nodes whose engine has a network of its own.
struct Engine;

impl NetworkProvider for Engine {
    fn check_driver(&self, _: DriverPurpose, _: Option<&wire::Driver>) -> Result<(), NetworkError> {
        Ok(())
    }

    fn predefined(&self) -> Vec<PredefinedNetwork> {
        vec![PredefinedNetwork { name: "host".to_owned(), driver: "host".to_owned() }]
    }

    fn allocator(&self, options: &NetworkOptions) -> Result<Box<dyn NetworkAllocator>, NetworkError> {
        InertNetworks.allocator(options)
    }
}

#[tokio::test(start_paused = true)]
async fn networks_that_every_node_has_by_itself_are_entered_once() {
    let world = World::new();
    ensure(&world.store, &world.founding()).await.unwrap();
    let version = world.store.version();
    for _ in 0..2 {
        ensure(&world.store, &Bootstrap { networks: &Engine, ..world.leading() }).await.unwrap();
    }
    let view = world.store.view();
    let host = view.find(NetworkBy::Name("host")).next().unwrap();
    assert_eq!(host.spec.driver_config.as_ref().unwrap().name, "host");
    let labels = &host.spec.annotations.as_ref().unwrap().labels;
    assert_eq!(labels.get("com.docker.swarm.predefined").map(String::as_str), Some("true"));
    assert_eq!(view.count::<Network>(), 2);
    let mut updates = world.store.watch_from(version, Kind::Network).unwrap();
    updates.next().await.unwrap();
    assert!(updates.try_next().unwrap().is_none(), "one write");
}
