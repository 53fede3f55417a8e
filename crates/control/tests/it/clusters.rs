//! The cluster: its settings and its tokens.

use std::sync::Arc;

use prost_types::{Duration, Timestamp};
use swarmkit_api::{Cluster, wire};
use swarmkit_ca::{JoinToken, RootDigest};
use swarmkit_testing::EPOCH_SECONDS;
use tonic::Code;

use crate::world::{World, annotations, default_cluster, invalid, no_argument, not_found};

async fn update(world: &World, change: impl FnOnce(&mut wire::UpdateClusterRequest)) -> wire::Cluster {
    let mut request = world.cluster_update();
    change(&mut request);
    world.control().update_cluster(request).await.unwrap().into_inner().cluster.unwrap()
}

async fn refused(world: &World, change: impl FnOnce(&mut wire::UpdateClusterRequest)) -> (Code, String) {
    let mut request = world.cluster_update();
    change(&mut request);
    world.refused(world.control().update_cluster(request)).await
}

fn spec(request: &mut wire::UpdateClusterRequest) -> &mut wire::ClusterSpec {
    request.spec.as_mut().unwrap()
}

fn expiry(seconds: i64) -> Option<wire::CaConfig> {
    Some(wire::CaConfig { node_cert_expiry: Some(Duration { seconds, nanos: 0 }), ..Default::default() })
}

fn heartbeat(seconds: i64, nanos: i32) -> Option<wire::DispatcherConfig> {
    Some(wire::DispatcherConfig { heartbeat_period: Some(Duration { seconds, nanos }) })
}

#[tokio::test]
async fn no_key_leaves_through_an_answer() {
    let world = World::with_cluster().await;
    world
        .put(|tx| {
            tx.edit::<Cluster>(&default_cluster(), |cluster| {
                Arc::make_mut(&mut cluster.root_ca).ca_key = b"the key".as_slice().into();
                let key = wire::EncryptionKey { key: b"unlock".as_slice().into(), ..Default::default() };
                cluster.unlock_keys = vec![key.clone()];
                cluster.network_bootstrap_keys = vec![key];
                cluster.fips = true;
                let spec = Arc::make_mut(&mut cluster.spec);
                spec.ca_config = Some(wire::CaConfig {
                    signing_ca_cert: b"cert".as_slice().into(),
                    signing_ca_key: b"key".as_slice().into(),
                    ..Default::default()
                });
            })
            .map(drop)
        })
        .await;
    let request = wire::GetClusterRequest { cluster_id: "default".into() };
    let got = world.control().get_cluster(request).await.unwrap().into_inner().cluster.unwrap();
    let listed = world.control().list_clusters(wire::ListClustersRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.clusters, std::slice::from_ref(&got), "listed as it is shown");
    let root = got.root_ca.as_ref().unwrap();
    assert!(root.ca_key.is_empty() && !root.ca_cert.is_empty() && root.join_tokens.is_some());
    assert!(got.unlock_keys.is_empty() && got.network_bootstrap_keys.is_empty() && got.fips);
    let config = got.spec.as_ref().unwrap().ca_config.as_ref().unwrap();
    assert!(config.signing_ca_cert.is_empty() && config.signing_ca_key.is_empty());
    assert_eq!((got.default_address_pool, got.subnet_size), (vec!["10.0.0.0/8".to_owned()], 24));
    assert_eq!(got.vxlanudp_port, 4789);
}

#[tokio::test]
async fn who_names_no_cluster_or_another_one_is_told() {
    let world = World::with_cluster().await;
    let get = |id: &str| wire::GetClusterRequest { cluster_id: id.into() };
    assert_eq!(world.refused(world.control().get_cluster(get(""))).await, no_argument());
    assert_eq!(world.refused(world.control().get_cluster(get("x"))).await, not_found("cluster x not found"));
    assert_eq!(refused(&world, |request| request.cluster_id.clear()).await, no_argument());
    assert_eq!(refused(&world, |request| request.cluster_version = None).await, no_argument());
    assert_eq!(refused(&world, |request| request.spec = None).await, no_argument());
    assert_eq!(refused(&world, |request| request.cluster_id = "x".into()).await, not_found("cluster x not found"));
}

#[tokio::test]
async fn settings_are_kept_and_stale_ones_refused() {
    let world = World::with_cluster().await;
    let stale = world.cluster_update();
    let changed = update(&world, |request| {
        spec(request).ca_config = expiry(3600);
        spec(request).dispatcher = heartbeat(0, 0);
        spec(request).orchestration =
            Some(wire::OrchestrationConfig { task_history_retention_limit: 3, ..Default::default() });
    })
    .await;
    assert_eq!(changed.spec.unwrap().orchestration.unwrap().task_history_retention_limit, 3);
    assert_eq!(world.view().cluster().unwrap().spec.ca_config, expiry(3600));
    let (_, text) = world.refused(world.control().update_cluster(stale)).await;
    assert_eq!(text, "update out of sequence");
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let world = World::with_cluster().await;
    let named = |name: &'static str| {
        move |request: &mut wire::UpdateClusterRequest| {
            spec(request).annotations = annotations(name);
        }
    };
    for name in ["", "other", "Default"] {
        assert_eq!(refused(&world, named(name)).await, invalid("modification of cluster name is not allowed"));
    }
    let short = invalid("minimum certificate expiry time is: 1h0m0s");
    for seconds in [29 * 60, 3599, 0, -1] {
        assert_eq!(refused(&world, |request| spec(request).ca_config = expiry(seconds)).await, short);
    }
    let endless = refused(&world, |request| spec(request).ca_config = expiry(i64::MAX)).await;
    assert_eq!(endless, invalid("node certificate expiry: duration is out of range"));
    let negative = invalid("heartbeat time period cannot be a negative duration");
    for (seconds, nanos) in [(-1, 0), (0, -1)] {
        assert_eq!(refused(&world, |request| spec(request).dispatcher = heartbeat(seconds, nanos)).await, negative);
    }
    let torn = refused(&world, |request| spec(request).dispatcher = heartbeat(1, -1)).await;
    assert_eq!(torn, invalid("heartbeat period: duration is out of range"));
}

#[tokio::test]
#[allow(deprecated, reason = "still checked for old clients")]
async fn an_acceptance_secret_is_hashed_in_one_way_only() {
    use wire::acceptance_policy::{RoleAdmissionPolicy, role_admission_policy::Secret};
    let world = World::with_cluster().await;
    let hashed = |alg: &str| {
        let secret = Some(Secret { alg: alg.into(), ..Default::default() });
        Some(wire::AcceptancePolicy { policies: vec![RoleAdmissionPolicy { secret, ..Default::default() }] })
    };
    update(&world, |request| spec(request).acceptance_policy = hashed("BCrypt")).await;
    let refusal = refused(&world, |request| spec(request).acceptance_policy = hashed("sha1")).await;
    assert_eq!(refusal, invalid("hashing algorithm is not supported: sha1"));
}

#[tokio::test]
async fn each_join_token_is_replaced_by_itself() {
    let world = World::with_cluster().await;
    let tokens = |cluster: wire::Cluster| cluster.root_ca.unwrap().join_tokens.unwrap();
    let rotate = async |worker_join_token, manager_join_token| {
        let rotation = wire::KeyRotation { worker_join_token, manager_join_token, ..Default::default() };
        tokens(update(&world, |request| request.rotation = Some(rotation)).await)
    };
    let first = rotate(false, false).await;
    let second = rotate(true, false).await;
    assert!(second.worker != first.worker && second.manager == first.manager);
    let third = rotate(false, true).await;
    assert!(third.worker == second.worker && third.manager != second.manager);
    let fourth = rotate(true, true).await;
    assert!(fourth.worker != third.worker && fourth.manager != third.manager);
    let root = world.view().cluster().unwrap().root_ca.ca_cert.clone();
    for token in [&fourth.worker, &fourth.manager] {
        assert_eq!(JoinToken::parse(token).unwrap().digest(), RootDigest::of(&root));
    }
    assert_eq!(world.view().cluster().unwrap().root_ca.join_tokens.as_ref(), Some(&fourth));
}

#[tokio::test]
async fn nothing_of_a_cluster_is_changed_whose_root_cannot_be_read() {
    let world = World::new();
    world.put(|tx| tx.create(swarmkit_testing::cluster()).map(drop)).await;
    let rotation = Some(wire::KeyRotation { worker_join_token: true, ..Default::default() });
    let text = "invalid cluster root CA object in raft: no valid root CA certificates found";
    assert_eq!(refused(&world, |request| request.rotation = rotation).await, (Code::Internal, text.to_owned()));
    assert_eq!(refused(&world, |_| {}).await, (Code::Internal, text.to_owned()));
}

#[tokio::test]
async fn removed_nodes_are_forgotten_a_week_after_their_certificates() {
    let world = World::with_cluster().await;
    let now = i64::try_from(EPOCH_SECONDS).unwrap();
    let week = 7 * 24 * 3600;
    world
        .put(|tx| {
            tx.edit::<Cluster>(&default_cluster(), |cluster| {
                for (node, seconds) in [
                    ("old", Some(now - week - 60)),
                    ("recent", Some(now - week + 60)),
                    ("future", Some(now + 60)),
                    ("unknown", None),
                ] {
                    let expiry = seconds.map(|seconds| Timestamp { seconds, nanos: 0 });
                    cluster.blacklisted_certificates.insert(node.into(), wire::BlacklistedCertificate { expiry });
                }
            })
            .map(drop)
        })
        .await;
    let shown = update(&world, |_| {}).await.blacklisted_certificates;
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["future", "recent", "unknown"]);
}
