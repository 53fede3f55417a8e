//! What a leader writes before it does anything else: the cluster, if it founds one, and itself.

use std::sync::Arc;

use prost_types::Duration;
use swarmkit_api::{
    Cluster, Node, NodeRole, wire,
    wire::{
        issuance_status::State,
        node_spec::{Availability, Membership},
    },
};
use swarmkit_ca::{Identity, JoinToken, MANAGER, UnlockKey};
use swarmkit_raft::RaftOptions;
use swarmkit_runtime::Env;
use swarmkit_store::{DEFAULT_CLUSTER, Store, StoreError};

use crate::{FirstLeader, network_keys};

/// How many finished tasks of each slot are kept, as upstream.
const TASK_HISTORY: i64 = 5;
/// How often agents say that they are alive, as upstream.
const HEARTBEAT: Duration = Duration { seconds: 5, nanos: 0 };
/// How long a node's certificate lives: 90 days, as upstream.
const NODE_CERT_EXPIRY: Duration = Duration { seconds: 90 * 24 * 3600, nanos: 0 };

/// Writes the cluster, if `first` founds it, and this manager's node, where they are not there yet. In a cluster that was
/// restored from a backup it is the node that is missing; one that was removed is not made again.
pub(crate) async fn ensure(
    env: &Env,
    store: &Store,
    own: &Identity,
    first: Option<&FirstLeader>,
    raft: &RaftOptions,
) -> Result<(), StoreError> {
    store
        .update(|tx| {
            if let (None, Some(first)) = (tx.cluster(), first) {
                tx.create(cluster(env, own, first, raft))?;
            }
            let welcome = |cluster: &Cluster| !cluster.blacklisted_certificates.contains_key(own.node.as_str());
            if tx.get::<Node>(&own.node).is_none() && tx.cluster().is_some_and(|cluster| welcome(cluster)) {
                tx.create(node(own))?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .map(drop)
}

fn cluster(env: &Env, own: &Identity, first: &FirstLeader, raft: &RaftOptions) -> Cluster {
    let mut cluster = Cluster::new(own.cluster.clone());
    let encryption_config = Some(wire::EncryptionConfig { auto_lock_managers: first.lock.is_some() });
    let managers = |key: &UnlockKey| wire::EncryptionKey {
        subsystem: MANAGER.to_owned(),
        key: key.as_bytes().to_vec().into(),
        ..Default::default()
    };
    cluster.unlock_keys = first.lock.iter().map(managers).collect();
    cluster.spec = Arc::new(wire::ClusterSpec {
        encryption_config,
        annotations: Some(wire::Annotations { name: DEFAULT_CLUSTER.to_owned(), ..Default::default() }),
        orchestration: Some(wire::OrchestrationConfig { task_history_retention_limit: TASK_HISTORY }),
        raft: Some(raft_config(raft)),
        dispatcher: Some(wire::DispatcherConfig { heartbeat_period: Some(HEARTBEAT) }),
        ca_config: Some(wire::CaConfig { node_cert_expiry: Some(NODE_CERT_EXPIRY), ..Default::default() }),
        ..Default::default()
    });
    let token = || JoinToken::generate(first.root.digest(), false, env).as_str().to_owned();
    cluster.root_ca = Arc::new(wire::RootCa {
        ca_key: first.root.signing_key().map(|key| key.to_pem().as_bytes().to_vec().into()).unwrap_or_default(),
        ca_cert: first.root.bundle().to_owned().into(),
        ca_cert_hash: first.root.digest().to_string(),
        join_tokens: Some(wire::JoinTokens { worker: token(), manager: token() }),
        ..Default::default()
    });
    // Nodes are told of them in the first message of their first session.
    network_keys::keep(&mut cluster, &network_keys::Use::ALL, env);
    cluster
}

/// The options of raft as the wire says them: times as a number of heartbeats.
fn raft_config(options: &RaftOptions) -> wire::RaftConfig {
    let election = options.election_max.as_millis() / options.heartbeat.as_millis().max(1);
    wire::RaftConfig {
        snapshot_interval: options.snapshot_interval,
        keep_old_snapshots: 0,
        log_entries_for_slow_followers: options.kept_entries,
        heartbeat_tick: 1,
        election_tick: u32::try_from(election).unwrap_or(u32::MAX),
    }
}

fn node(own: &Identity) -> Node {
    let mut node = Node::new(own.node.clone());
    node.role = NodeRole::Manager;
    node.spec = Arc::new(wire::NodeSpec {
        desired_role: NodeRole::Manager.into(),
        membership: Membership::Accepted.into(),
        availability: Availability::Active.into(),
        ..Default::default()
    });
    node.certificate = wire::Certificate {
        role: NodeRole::Manager.into(),
        status: Some(wire::IssuanceStatus { state: State::Issued.into(), err: String::new() }),
        cn: own.node.to_string(),
        ..Default::default()
    };
    node
}

#[cfg(test)]
mod tests {
    use swarmkit_ca::{ManagerLock, RootCa, SystemKeys};

    use super::*;

    #[tokio::test]
    async fn the_first_leader_writes_the_cluster_and_itself_once() {
        let env = Env::real();
        let store = Store::local(env.clone());
        let own = Identity::new("n1".into(), NodeRole::Manager, "c1".into());
        let first = FirstLeader { root: RootCa::create(&SystemKeys, &env).unwrap(), lock: None };
        ensure(&env, &store, &own, Some(&first), &RaftOptions::default()).await.unwrap();
        let version = store.version();
        let view = store.view();
        let cluster = view.cluster().unwrap();
        assert_eq!(cluster.id, own.cluster);
        let raft = cluster.spec.raft.unwrap();
        assert_eq!((raft.snapshot_interval, raft.log_entries_for_slow_followers), (10_000, 500));
        assert_eq!((raft.heartbeat_tick, raft.election_tick), (1, 6));
        let tokens = cluster.root_ca.join_tokens.as_ref().unwrap();
        assert_ne!(tokens.worker, tokens.manager);
        assert_eq!(cluster.network_bootstrap_keys.len(), 6);
        assert_eq!(JoinToken::parse(&tokens.worker).unwrap().digest(), first.root.digest());
        assert_eq!(view.get::<Node>(&own.node).unwrap().role, NodeRole::Manager);

        ensure(&env, &store, &own, Some(&first), &RaftOptions::default()).await.unwrap();
        assert_eq!(store.version(), version, "a cluster that exists is left alone");
    }

    #[tokio::test]
    async fn a_cluster_that_is_founded_locked_holds_the_given_key_for_its_managers() {
        let env = Env::real();
        let store = Store::local(env.clone());
        let own = Identity::new("n1".into(), NodeRole::Manager, "c1".into());
        let key = UnlockKey::generate(&env);
        let first = FirstLeader { root: RootCa::create(&SystemKeys, &env).unwrap(), lock: Some(key.clone()) };
        ensure(&env, &store, &own, Some(&first), &RaftOptions::default()).await.unwrap();
        let view = store.view();
        let cluster = view.cluster().unwrap();
        assert!(cluster.spec.encryption_config.unwrap().auto_lock_managers);
        let keys: Vec<_> = cluster.unlock_keys.iter().map(|key| (key.subsystem.as_str(), key.key.to_vec())).collect();
        assert_eq!(keys, [("swarm-manager", key.as_bytes().to_vec())]);
        assert_eq!(ManagerLock::of(cluster).unwrap().key, Some(key));
    }

    #[tokio::test]
    async fn a_leader_that_its_cluster_does_not_know_is_entered_unless_it_was_removed() {
        let env = Env::real();
        let store = Store::local(env.clone());
        let own = Identity::new("n1".into(), NodeRole::Manager, "c1".into());
        ensure(&env, &store, &own, None, &RaftOptions::default()).await.unwrap();
        assert_eq!(store.view().count::<Node>(), 0, "without a cluster there are no nodes");

        let first = FirstLeader { root: RootCa::create(&SystemKeys, &env).unwrap(), lock: None };
        let mut cluster = cluster(&env, &own, &first, &RaftOptions::default());
        cluster.blacklisted_certificates.insert("n1".to_owned(), wire::BlacklistedCertificate::default());
        store.update(|tx| tx.create(cluster.clone())).await.unwrap();
        ensure(&env, &store, &own, None, &RaftOptions::default()).await.unwrap();
        assert_eq!(store.view().count::<Node>(), 0, "it was removed");

        let other = Identity::new("n2".into(), NodeRole::Manager, "c1".into());
        ensure(&env, &store, &other, None, &RaftOptions::default()).await.unwrap();
        assert_eq!(store.view().get::<Node>(&other.node).unwrap().role, NodeRole::Manager);
    }
}
