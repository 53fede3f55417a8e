//! What a leader writes before it does anything else: the cluster, if it founds one, and itself.

use std::{collections::BTreeMap, sync::Arc};

use prost_types::Duration;
use swarmkit_allocator::{NetworkProvider, PredefinedNetwork};
use swarmkit_api::{
    Cluster, Network, Node, NodeRole, wire,
    wire::{
        issuance_status::State,
        node_spec::{Availability, Membership},
    },
};
use swarmkit_ca::{Identity, JoinToken, MANAGER, UnlockKey};
use swarmkit_raft::RaftOptions;
use swarmkit_runtime::Env;
use swarmkit_store::{DEFAULT_CLUSTER, NetworkBy, Store, StoreError};

use crate::{FirstLeader, network_keys};

/// How many finished tasks of each slot are kept, as upstream.
const TASK_HISTORY: i64 = 5;
/// How often agents say that they are alive, as upstream.
const HEARTBEAT: Duration = Duration { seconds: 5, nanos: 0 };
/// How long a node's certificate lives: 90 days, as upstream.
const NODE_CERT_EXPIRY: Duration = Duration { seconds: 90 * 24 * 3600, nanos: 0 };

/// The label of networks that every node has by itself, as upstream.
const PREDEFINED: &str = "com.docker.swarm.predefined";
/// The name of the network that carries published ports, as upstream.
const INGRESS: &str = "ingress";

/// What a leader needs for that.
pub(crate) struct Bootstrap<'a> {
    pub(crate) env: &'a Env,
    pub(crate) own: &'a Identity,
    pub(crate) first: Option<&'a FirstLeader>,
    pub(crate) raft: &'a RaftOptions,
    pub(crate) networks: &'a dyn NetworkProvider,
}

/// Writes the cluster with its ingress network, if this manager founds it, its own node, and the networks that every node
/// has, where they are not there yet. In a cluster that was restored from a backup it is the node that is missing; one that
/// was removed is not made again, and neither is an ingress network.
pub(crate) async fn ensure(store: &Store, with: &Bootstrap<'_>) -> Result<(), StoreError> {
    let Bootstrap { env, own, first, raft, networks } = with;
    store
        .update(|tx| {
            if let (None, Some(first)) = (tx.cluster(), first) {
                tx.create(cluster(env, own, first, raft))?;
                tx.create(ingress(env))?;
            }
            let welcome = |cluster: &Cluster| !cluster.blacklisted_certificates.contains_key(own.node.as_str());
            if tx.get::<Node>(&own.node).is_none() && tx.cluster().is_some_and(|cluster| welcome(cluster)) {
                let port = tx.cluster().map(|cluster| cluster.vxlan_udp_port).unwrap_or_default();
                tx.create(node(own, port))?;
            }
            for wanted in networks.predefined() {
                if tx.cluster().is_some() && tx.find(NetworkBy::Name(&wanted.name)).next().is_none() {
                    tx.create(predefined(env, wanted))?;
                }
            }
            Ok::<_, StoreError>(())
        })
        .await
        .map(drop)
}

/// The network that carries published ports. Driver and addresses are whatever the provider of networks has.
fn ingress(env: &Env) -> Network {
    let mut network = Network::new(env.new_id().as_str().into());
    network.spec = Arc::new(wire::NetworkSpec {
        annotations: Some(wire::Annotations { name: INGRESS.to_owned(), ..Default::default() }),
        ingress: true,
        driver_config: Some(wire::Driver::default()),
        ipam: Some(wire::IpamOptions { driver: Some(wire::Driver::default()), ..Default::default() }),
        ..Default::default()
    });
    network
}

fn predefined(env: &Env, wanted: PredefinedNetwork) -> Network {
    let mut network = Network::new(env.new_id().as_str().into());
    let labels = BTreeMap::from([(PREDEFINED.to_owned(), "true".to_owned())]);
    network.spec = Arc::new(wire::NetworkSpec {
        annotations: Some(wire::Annotations { name: wanted.name, labels, ..Default::default() }),
        driver_config: Some(wire::Driver { name: wanted.driver, ..Default::default() }),
        ..Default::default()
    });
    network
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
    cluster.default_address_pool.clone_from(&first.networks.default_address_pool);
    cluster.subnet_size = first.networks.subnet_size;
    cluster.vxlan_udp_port = first.networks.vxlan_udp_port;
    cluster.spec = Arc::new(wire::ClusterSpec {
        encryption_config,
        annotations: Some(wire::Annotations { name: DEFAULT_CLUSTER.to_owned(), ..Default::default() }),
        orchestration: Some(wire::OrchestrationConfig {
            task_history_retention_limit: TASK_HISTORY,
            ..Default::default()
        }),
        raft: Some(raft_config(raft)),
        dispatcher: Some(wire::DispatcherConfig { heartbeat_period: Some(HEARTBEAT) }),
        ca_config: Some(wire::CaConfig {
            node_cert_expiry: Some(NODE_CERT_EXPIRY),
            external_cas: first.external_cas.clone(),
            ..Default::default()
        }),
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

fn node(own: &Identity, vxlan_udp_port: u32) -> Node {
    let mut node = Node::new(own.node.clone());
    node.vxlan_udp_port = vxlan_udp_port;
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
mod tests;
